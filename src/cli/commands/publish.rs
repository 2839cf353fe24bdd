//! `xcompose publish`: the compose files of a project, in a registry, for `-f oci://…`.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::context::{Context, Need, Stack};
use crate::cli::failure::{Exit, Failure, Kind};
use crate::cli::remote::{ENV_FILE, ENV_FILE_NAME, EXTENDED, FILE, FILE_NAME, PROJECT, PROJECT_CONFIG, digest_of};
use crate::cli::ui::time;
use crate::engine::EngineError;
use crate::planner::plan::Loss;
use crate::planner::request::{Dependencies, Operation, Push, Request};
use crate::runtime::image::artifact::{self, Artifact, Document, Form};
use crate::spec::Options;
use crate::spec::bundle::{self, Bundle};
use crate::spec::model::Model;
use crate::spec::print::Format;
use crate::values::image_ref::ImageRef;

/// Publish compose application
#[derive(Debug, clap::Args)]
pub struct Publish {
    /// Where to: a repository of a registry, with a tag
    #[arg(value_name = "REPOSITORY[:TAG]")]
    repository: String,
    /// OCI image/artifact specification version (default: what the registry takes)
    #[arg(long, value_name = "VERSION", value_parser = ["1.0", "1.1"], hide_possible_values = true)]
    oci_version: Option<String>,
    /// Pin image tags to digests
    #[arg(long)]
    resolve_image_digests: bool,
    /// Include environment variables in the published OCI artifact
    #[arg(long)]
    with_env: bool,
    /// Assume "yes" as answer to all prompts
    #[arg(short, long)]
    yes: bool,
}

impl Publish {
    /// Asks, pushes the images, then the files.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let name: ImageRef = self.repository.parse().map_err(|error| Failure::usage(format!("{error}")))?;
        let files = context.model(&Options::as_written())?;
        let stack = context.load(Need::Files, &[])?;
        refuse_unnamed(&stack)?;
        let source = context.source();
        let bundle = bundle::bundle(&files.files, &files.working_dir, &source.current_dir, context.remote())?;
        if !self.yes && !self.may_be_read(context, &bundle)? {
            return Err(Kind::Quiet(130).into());
        }
        let artifact = self.artifact(context, &bundle)?;
        if context.dry_run() {
            context.ui().say(&format!(" DRY-RUN MODE - {name} publishing\n DRY-RUN MODE - {name} published"));
            return Ok(Exit::SUCCESS);
        }
        let push = Push { dependencies: Dependencies::Include, failures: Loss::Bearable };
        context
            .carry_out(&stack, "publish", Request { services: Vec::new(), operation: Operation::Push(push) })
            .await?;
        context.ui().say(&format!(" {name} publishing"));
        let digest = self.send(&name, &artifact).await?;
        context.ui().say(&format!(" {name} published\n {name}@{digest}"));
        Ok(Exit::SUCCESS)
    }

    async fn send(&self, name: &ImageRef, artifact: &Artifact) -> Result<String, EngineError> {
        let form = match self.oci_version.as_deref() {
            Some("1.0") => Form::Configured(PROJECT_CONFIG),
            Some(_) => Form::Typed,
            None => Form::Either(PROJECT_CONFIG),
        };
        let digest = artifact::publish(name, artifact, form).await?;
        Ok(digest.to_string())
    }

    /// Asks for what may not be meant for others.
    fn may_be_read(&self, context: &Context<'_>, bundle: &Bundle) -> Result<bool, Failure> {
        let ui = context.ui();
        let doubts = &bundle.doubts;
        let listed = |all: &BTreeMap<String, Vec<String>>| {
            all.iter().map(|(name, what)| format!("  {name}: {}\n", what.join(", "))).collect::<String>()
        };
        let mut questions = Vec::new();
        if !doubts.binds.is_empty() {
            questions.push(format!(
                "These services mount files of this machine. The mounts are published, what is in them is not:\n{}\
                 Publish these bind mounts?",
                listed(&doubts.binds)
            ));
        }
        if !doubts.variables.is_empty() && !self.with_env {
            questions.push(format!(
                "These services have environment variables that may be secret:\n{}Publish these environment variables?",
                listed(&doubts.variables)
            ));
        }
        if !doubts.contents.is_empty() {
            let names: Vec<&str> = doubts.contents.iter().map(String::as_str).collect();
            questions.push(format!(
                "The content of these configs stands in the file: {}\nPublish this config content?",
                names.join(", ")
            ));
        }
        for question in questions {
            if !ui.confirm(&question, false)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn artifact(&self, context: &Context<'_>, bundle: &Bundle) -> Result<Artifact, Failure> {
        let version = ("com.docker.compose.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        let document = |kind: &str, bytes: Vec<u8>, said: &[(&str, &str)]| {
            let said = said.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Document { kind: kind.to_owned(), annotations: said.chain([version.clone()]).collect(), bytes }
        };
        let mut documents = Vec::new();
        for file in &bundle.files {
            documents.push(document(FILE, file.text.clone().into_bytes(), &[(FILE_NAME, &file.name)]));
        }
        for file in &bundle.extended {
            let said = [(FILE_NAME, file.name.as_str()), (EXTENDED, "true")];
            documents.push(document(FILE, file.text.clone().into_bytes(), &said));
        }
        for (name, path) in bundle.env_files.iter().filter(|_| self.with_env) {
            let bytes = match std::fs::read(path) {
                Ok(bytes) => bytes,
                // One that has to be there has been read before.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Failure::file("read", path)(error)),
            };
            documents.push(document(ENV_FILE, bytes, &[(ENV_FILE_NAME, name)]));
        }
        if self.resolve_image_digests {
            let mut model: Model = context.model(&Options { env_files: false, ..Options::default() })?;
            model.pin_images(digest_of)?;
            model.keep_images_only();
            let text = model.print_raw(Format::Yaml)?;
            documents.push(document(FILE, text.into_bytes(), &[(FILE_NAME, "image-digests.yaml")]));
        }
        let created = ("org.opencontainers.image.created".to_owned(), time::rfc3339(time::now()));
        Ok(Artifact { kind: PROJECT.to_owned(), annotations: [created].into(), documents })
    }
}

/// Elsewhere there is nothing to build from.
fn refuse_unnamed(stack: &Stack) -> Result<(), Failure> {
    let services = stack.project.iter().flat_map(|project| &project.services);
    let unnamed: BTreeSet<&str> = services
        .filter(|(_, service)| !service.image_named && service.build.is_some())
        .map(|(name, _)| name.as_str())
        .collect();
    if unnamed.is_empty() {
        return Ok(());
    }
    let head = "your Compose stack cannot be published as it only contains a build section for service(s):";
    let list: String = unnamed.iter().map(|name| format!("\n- {name}")).collect();
    Err(Failure::usage(format!("{head}{list}")).hint("give each an `image:` to push it under"))
}
