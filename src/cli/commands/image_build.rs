//! `xcompose image build`: one image, without a compose file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::cli::commands::build::{absolute, bytes, check, keys, pairs};
use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::observer::Shown;
use crate::cli::ui::phase::Phase;
use crate::cli::ui::progress::News;
use crate::engine::{BuildConfig, BuildSecret, CacheStore, ContextSource, DockerfileSource, Entitlement, SecretSource};
use crate::values::image_ref::ImageRef;

/// How an image is built.
#[derive(Debug, clap::Args)]
pub struct Build {
    /// Name of the image
    #[arg(short, long, value_name = "NAME")]
    tag: Vec<String>,
    /// The Dockerfile (default: Dockerfile in the context); - is standard input
    #[arg(short, long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Add a custom host-to-IP mapping (format: "host:ip")
    #[arg(long, value_name = "HOST:IP")]
    add_host: Vec<String>,
    /// Allow extra privileged entitlement (network.host, security.insecure)
    #[arg(long, value_name = "ENTITLEMENT")]
    allow: Vec<String>,
    /// Set build-time variables
    #[arg(long, value_name = "KEY=VALUE")]
    build_arg: Vec<String>,
    /// Additional build contexts
    #[arg(long, value_name = "NAME=PATH")]
    build_context: Vec<String>,
    /// External cache sources (an IMAGE, type=registry,ref=IMAGE or type=local,src=FOLDER)
    #[arg(long, value_name = "CACHE")]
    cache_from: Vec<String>,
    /// Cache export destinations (type=inline, type=registry,ref=IMAGE or type=local,dest=FOLDER; mode=max for all stages)
    #[arg(long, value_name = "CACHE")]
    cache_to: Vec<String>,
    /// Check the Dockerfile, build nothing
    #[arg(long)]
    check: bool,
    /// Write the image ID to a file
    #[arg(long, value_name = "PATH")]
    iidfile: Option<PathBuf>,
    /// Set metadata for the image
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Set memory limit for the commands of the build
    #[arg(short, long, value_name = "BYTES", value_parser = bytes)]
    memory: Option<u64>,
    /// Set the networking mode for the RUN instructions during build (default, host, none)
    #[arg(long, value_name = "MODE")]
    network: Option<String>,
    /// Do not use cache when building the image
    #[arg(long)]
    no_cache: bool,
    /// Do not cache specified stages
    #[arg(long, value_name = "STAGE")]
    no_cache_filter: Vec<String>,
    /// Always attempt to pull all referenced images
    #[arg(long)]
    pull: bool,
    /// Suppress the build output and print the image's ID
    #[arg(short, long)]
    quiet: bool,
    /// Secret to expose to the build (id=ID[,src=PATH|env=NAME])
    #[arg(long, value_name = "SECRET")]
    secret: Vec<String>,
    /// Shared memory size for the commands of the build
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    shm_size: Option<u64>,
    /// SSH agent socket or key to expose to the build
    #[arg(long, value_name = "default|ID=PATH")]
    ssh: Vec<String>,
    /// Set the target build stage to build
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// What the steps see: a folder, a git repository; - is an archive or a Dockerfile on standard input
    #[arg(value_name = "PATH|URL|-")]
    context: String,
}

impl Build {
    /// Builds the image and prints its identity.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        // What came on standard input lies here until the build is done.
        let mut kept = None;
        let config = self.config(context, &mut kept)?;
        if self.check {
            return Ok(if check(context, &config)? { Exit(1) } else { Exit::SUCCESS });
        }
        let name = config.tags.first().map_or_else(|| self.context.clone(), ToString::to_string);
        let ui = context.ui();
        ui.quiet_builds(self.quiet);
        if self.quiet {
            ui.silence();
        }
        ui.begin("build");
        let shown = Shown::new(ui);
        let (sender, mut progress) = tokio::sync::mpsc::channel(64);
        let engine = context.engine();
        let mut build = std::pin::pin!(engine.build(&config, sender));
        let mut frame = tokio::time::interval(crate::cli::carry_out::FRAME);
        let done = loop {
            tokio::select! {
                biased;
                Some(news) = progress.recv() => shown.build(&name, news),
                done = &mut build => break done,
                _ = frame.tick() => ui.tick(),
            }
        };
        // What it told with its last breath.
        while let Ok(news) = progress.try_recv() {
            shown.build(&name, news);
        }
        let (phase, text) = if done.is_ok() { (Phase::Done, "Built") } else { (Phase::Error, "Error") };
        ui.news(News { id: format!("Image {name}"), phase, text: text.to_owned(), details: String::new() });
        ui.end();
        let id = done?;
        if let Some(path) = &self.iidfile {
            std::fs::write(path, &id.0).map_err(Failure::file("write", path))?;
        }
        ui.line(&id.0)?;
        Ok(Exit::SUCCESS)
    }

    fn config(&self, context: &Context<'_>, kept: &mut Option<Kept>) -> Result<BuildConfig, Failure> {
        let (source, dockerfile) = self.source(kept)?;
        let tags = self.tag.iter().map(|name| reference(name)).collect::<Result<Vec<_>, _>>()?;
        let mut contexts = BTreeMap::new();
        for text in &self.build_context {
            let (name, source) = text
                .split_once('=')
                .filter(|(name, _)| !name.is_empty())
                .ok_or_else(|| Failure::usage(format!("invalid value {text}, expected key=value")))?;
            contexts.insert(name.to_owned(), named_context(source)?);
        }
        let mut extra_hosts = Vec::new();
        for text in &self.add_host {
            let parts = text.split_once('=').or_else(|| text.split_once(':'));
            let (host, address) =
                parts.ok_or_else(|| Failure::usage(format!("invalid host {text:?}: write host:ip")))?;
            extra_hosts.push((host.to_owned(), address.to_owned()));
        }
        let mut entitlements = BTreeSet::new();
        for name in &self.allow {
            let found = Entitlement::named(name);
            entitlements.insert(found.ok_or_else(|| Failure::usage(format!("unknown entitlement {name}")))?);
        }
        let mut ssh = BTreeMap::new();
        for text in &self.ssh {
            ssh.extend(keys(text)?);
        }
        let caches = |texts: &[String]| {
            let read = texts.iter().map(|text| text.parse().map_err(|error| Failure::usage(format!("{error}"))));
            read.collect::<Result<Vec<CacheStore>, Failure>>()
        };
        let mut args: BTreeMap<_, _> = context.proxies().into_iter().collect();
        args.extend(pairs(context, &["SOURCE_DATE_EPOCH".to_owned()]));
        args.extend(pairs(context, &self.build_arg));
        Ok(BuildConfig {
            contexts,
            dockerfile,
            args,
            target: self.target.clone(),
            tags,
            labels: pairs(context, &self.label),
            no_cache: self.no_cache,
            no_cache_stages: self.no_cache_filter.clone(),
            pull: self.pull,
            network: self.network.clone(),
            extra_hosts,
            shm_size: self.shm_size,
            memory: self.memory,
            secrets: self.secret.iter().map(|text| secret(context, text)).collect::<Result<_, _>>()?,
            ssh,
            entitlements,
            cache_from: caches(&self.cache_from)?,
            cache_to: caches(&self.cache_to)?,
            ..BuildConfig::new(source)
        })
    }

    /// The context and the Dockerfile.
    fn source(&self, kept: &mut Option<Kept>) -> Result<(ContextSource, DockerfileSource), Failure> {
        let from_input = self.file.as_deref() == Some(Path::new("-"));
        if self.context == "-" {
            if from_input {
                return Err(Failure::usage("standard input can't be both the context and the Dockerfile"));
            }
            let dockerfile = DockerfileSource::Path(self.file.clone().unwrap_or_else(|| "Dockerfile".into()));
            let kept = kept.insert(Kept::read()?);
            return Ok(match &kept.dockerfile {
                // A Dockerfile alone has a context with nothing in it.
                Some(text) => (ContextSource::Directory(kept.folder.clone()), DockerfileSource::Inline(text.clone())),
                None => (ContextSource::Archive(kept.folder.join("context")), dockerfile),
            });
        }
        let remote = is_remote(&self.context);
        let source = match remote {
            true => ContextSource::Remote(self.context.clone()),
            false => {
                let folder = absolute(&self.context)?;
                if !folder.is_dir() {
                    return Err(Failure::usage(format!("the context {} is not a directory", folder.display())));
                }
                ContextSource::Directory(folder)
            }
        };
        let dockerfile = match &self.file {
            Some(_) if from_input => {
                let mut text = String::new();
                io::stdin().read_to_string(&mut text).map_err(Failure::system("read the Dockerfile"))?;
                DockerfileSource::Inline(text)
            }
            Some(path) if !remote => {
                DockerfileSource::Path(std::path::absolute(path).map_err(Failure::file("find", path))?)
            }
            Some(path) => DockerfileSource::Path(path.clone()),
            None => DockerfileSource::Path("Dockerfile".into()),
        };
        Ok((source, dockerfile))
    }
}

/// What came on standard input, in a folder that goes when this is dropped.
struct Kept {
    folder: PathBuf,
    /// It was no archive.
    dockerfile: Option<String>,
}

impl Kept {
    fn read() -> Result<Kept, Failure> {
        let folder = std::env::temp_dir().join(format!("xcompose-context-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&folder).map_err(Failure::file("make", &folder))?;
        let mut kept = Kept { folder, dockerfile: None };
        let mut start = Vec::new();
        io::stdin().take(512).read_to_end(&mut start).map_err(Failure::system("read the context"))?;
        // Archives have their mark within the first block, packed ones begin with bytes that no text has.
        let archive = start.get(257..262) == Some(b"ustar")
            || std::str::from_utf8(&start).is_err_and(|error| error.error_len().is_some());
        if archive || start.contains(&0) {
            let path = kept.folder.join("context");
            let copy = || -> io::Result<()> {
                let mut file = File::create(&path)?;
                file.write_all(&start)?;
                io::copy(&mut io::stdin(), &mut file).map(drop)
            };
            copy().map_err(Failure::file("write", &path))?;
        } else {
            io::stdin().read_to_end(&mut start).map_err(Failure::system("read the Dockerfile"))?;
            let text = String::from_utf8(start);
            kept.dockerfile = Some(text.map_err(|_| Failure::usage("standard input is neither an archive nor text"))?);
        }
        Ok(kept)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // A folder of temporary files: what stays is the system's to clear.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn is_remote(text: &str) -> bool {
    text.contains("://") || text.starts_with("github.com/") || text.starts_with("git@")
}

fn named_context(source: &str) -> Result<ContextSource, Failure> {
    Ok(match source.strip_prefix("docker-image://") {
        Some(image) => ContextSource::Image(reference(image)?),
        None if is_remote(source) => ContextSource::Remote(source.to_owned()),
        None => ContextSource::Directory(absolute(source)?),
    })
}

/// `id=ID,src=PATH`, `id=ID,env=NAME`; an ID alone is a variable's name, else a file's.
fn secret(context: &Context<'_>, text: &str) -> Result<(String, BuildSecret), Failure> {
    let wrong = |reason: &str| Failure::usage(format!("invalid secret {text:?}: {reason}"));
    let (mut id, mut file, mut variable, mut kind) = (None, None, None, None);
    for field in text.split(',') {
        match field.split_once('=') {
            Some(("id", value)) => id = Some(value),
            Some(("src" | "source", value)) => file = Some(value),
            Some(("env", value)) => variable = Some(value),
            Some(("type", value @ ("file" | "env"))) => kind = Some(value),
            _ => return Err(wrong("write id=ID,src=PATH or id=ID,env=NAME")),
        }
    }
    let id = id.filter(|id| !id.is_empty()).ok_or_else(|| wrong("it has no id"))?;
    if kind == Some("env") && variable.is_none() {
        variable = file.take().or(Some(id));
    }
    let known = || context.variable(id).is_some() && kind != Some("file");
    let source = match (file, variable) {
        (_, Some(name)) => {
            let value = context.variable(name).ok_or_else(|| wrong(&format!("the variable {name} is not set")))?;
            SecretSource::Value(value)
        }
        (Some(path), None) => SecretSource::File(absolute(path)?),
        (None, None) if known() => SecretSource::Value(context.variable(id).unwrap_or_default()),
        (None, None) => SecretSource::File(absolute(id)?),
    };
    if let SecretSource::File(path) = &source
        && !path.is_file()
    {
        return Err(wrong(&format!("there is no file {}", path.display())));
    }
    Ok((id.to_owned(), BuildSecret { source, uid: None, gid: None, mode: None }))
}

fn reference(text: &str) -> Result<ImageRef, Failure> {
    text.parse().map_err(|error| Failure::usage(format!("{error}")))
}
