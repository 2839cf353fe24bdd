//! What a build takes files from: a folder of the host, or one that is filled from an archive or a repository.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::engine::{BuildConfig, ContextSource, DockerfileSource, EngineError, Subject};
use crate::runtime::build::fault::during;
use crate::runtime::build::ignore::Ignore;
use crate::runtime::build::remote;
use crate::runtime::git::{self, Keep, Repository};
use crate::runtime::image::compression::{Limit, decompress, is_archive};
use crate::runtime::image::staging::Staging;
use crate::runtime::image::tree::{empty_folder, open_directory, open_in};
use crate::runtime::image::unpack::{self, Whiteouts, unpack};
use crate::values::image_ref::ImageRef;

/// Files at hand.
#[derive(Debug)]
pub(super) struct Context {
    /// Where they are.
    pub(super) folder: PathBuf,
    /// What is left out.
    pub(super) ignore: Ignore,
}

/// The named contexts of a build, each opened when it is needed first.
pub(super) struct Contexts<'a> {
    sources: &'a BTreeMap<String, ContextSource>,
    staging: &'a Staging,
    cancelled: &'a (dyn Fn() -> bool + Sync),
    opened: BTreeMap<&'a str, OnceLock<Context>>,
    turn: Mutex<()>,
}

impl<'a> Contexts<'a> {
    /// Nothing is opened yet.
    pub(super) fn new(
        sources: &'a BTreeMap<String, ContextSource>,
        staging: &'a Staging,
        cancelled: &'a (dyn Fn() -> bool + Sync),
    ) -> Contexts<'a> {
        let opened = sources.keys().map(|name| (name.as_str(), OnceLock::new())).collect();
        Contexts { sources, staging, cancelled, opened, turn: Mutex::default() }
    }

    /// The context that goes before a stage or image called so: `alpine` is `docker.io/library/alpine:latest`.
    pub(super) fn named(&self, name: &str) -> Option<&'a str> {
        let same = |known: &&String| {
            known.as_str() == name
                || matches!((known.parse::<ImageRef>(), name.parse::<ImageRef>()), (Ok(known), Ok(name)) if known == name)
        };
        self.sources.keys().find(same).map(String::as_str)
    }

    /// The image that this context is.
    pub(super) fn image(&self, name: &str) -> Option<&ImageRef> {
        match self.sources.get(name) {
            Some(ContextSource::Image(image)) => Some(image),
            _ => None,
        }
    }

    /// The files of a context that is no image.
    pub(super) fn open(&self, name: &str) -> Result<&Context, EngineError> {
        let (Some(source), Some(place)) = (self.sources.get(name), self.opened.get(name)) else {
            return Err(EngineError::NotFound(Subject::Path(format!("build context {name}"))));
        };
        // Two stages may want it at once; it is fetched once.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(context) = place.get() {
            return Ok(context);
        }
        let folder =
            folder(source, &self.staging.path().join(format!("context-{name}").replace('/', "-")), self.cancelled)?;
        let ignore = ignore_file(&folder.join(".dockerignore"))?.unwrap_or_default();
        Ok(place.get_or_init(|| Context { folder, ignore }))
    }
}

/// Opens the main context, and reads the Dockerfile: its name and its text.
pub(super) fn open(
    config: &BuildConfig,
    staging: &Staging,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<(Context, String, String), EngineError> {
    let folder = folder(&config.context, &staging.path().join("context"), cancelled)?;
    let (name, text, beside) = match &config.dockerfile {
        DockerfileSource::Inline(text) => ("Dockerfile".to_owned(), text.clone(), None),
        DockerfileSource::Path(path) => {
            let text = dockerfile(config, &folder, path)?;
            let mut beside = folder.join(path).into_os_string();
            beside.push(".dockerignore");
            (path.display().to_string(), text, Some(PathBuf::from(beside)))
        }
    };
    let mut ignore = None;
    for path in beside.into_iter().chain([folder.join(".dockerignore")]) {
        if ignore.is_none() {
            ignore = ignore_file(&path)?;
        }
    }
    Ok((Context { folder, ignore: ignore.unwrap_or_default() }, name, text))
}

/// What of the context is a folder already, or is put into `place`.
fn folder(source: &ContextSource, place: &Path, cancelled: &(dyn Fn() -> bool + Sync)) -> Result<PathBuf, EngineError> {
    match source {
        ContextSource::Directory(folder) => {
            let found = fs::metadata(folder).map_err(during("read the build context", folder))?;
            if found.is_dir() { Ok(folder.clone()) } else { Err(wrong(folder, "the build context is not a directory")) }
        }
        ContextSource::Archive(path) => {
            let file = File::open(path).map_err(during("read the build context", path))?;
            unpacked(file, path, place)
        }
        ContextSource::Remote(address) => match Repository::parse(address) {
            Some(repository) => {
                let repository = repository.map_err(|reason| wrong(Path::new(address), reason))?;
                git::fetch(&repository, place, Keep::Nothing, cancelled)
                    .map_err(during("fetch the build context", Path::new(address)))
            }
            None if remote::is_web(address) => downloaded(address, place, cancelled),
            None => Err(wrong(
                Path::new(address),
                "a build context that is neither a directory, nor a git repository, nor an address of the web",
            )),
        },
        ContextSource::Image(image) => {
            Err(wrong(Path::new(&image.to_string()), "an image can't be the context itself, only a named one"))
        }
    }
}

/// An archive of the web, unpacked; anything else is a Dockerfile with nothing beside it, as with Docker.
fn downloaded(address: &str, place: &Path, cancelled: &(dyn Fn() -> bool + Sync)) -> Result<PathBuf, EngineError> {
    let shown = Path::new(address);
    let fetched = remote::fetch(address, "Dockerfile", None, place.with_extension("download"), cancelled)
        .map_err(during("fetch the build context", shown))?;
    let open = || File::open(fetched.folder.join("Dockerfile")).map_err(during("read the build context", shown));
    if is_archive(open()?) { unpacked(open()?, shown, place) } else { Ok(fetched.folder) }
}

fn unpacked(file: File, path: &Path, place: &Path) -> Result<PathBuf, EngineError> {
    let root: OwnedFd = empty_folder(place).map_err(during("prepare", place))?;
    let (_, input) = decompress(file, Limit::default())
        .map_err(|error| wrong(path, format!("the build context is no archive that can be read: {error}")))?;
    unpack(input, &root, Path::new(""), Whiteouts::Plain, unpack::Owner::Archive)
        .map_err(during("unpack the build context", path))?;
    Ok(place.to_owned())
}

/// The text of the Dockerfile. In a folder of the user's own a link may lead anywhere; in a fetched one it may not lead out.
fn dockerfile(config: &BuildConfig, folder: &Path, path: &Path) -> Result<String, EngineError> {
    let at = folder.join(path);
    let text = match &config.context {
        ContextSource::Directory(_) => fs::read(&at).map_err(|error| no_dockerfile(error, &at))?,
        _ => {
            let root = open_directory(folder).map_err(during("open", folder))?;
            let below = crate::runtime::build::copy::relative(path);
            let file = open_in(&root, &below, OFlag::O_RDONLY).map_err(|errno| no_dockerfile(errno.into(), path))?;
            let mut text = Vec::new();
            io::Read::read_to_end(&mut File::from(file), &mut text).map_err(during("read", path))?;
            text
        }
    };
    String::from_utf8(text).map_err(|_| wrong(&at, "it is no text (UTF-8)"))
}

fn no_dockerfile(error: io::Error, path: &Path) -> EngineError {
    match error.kind() {
        io::ErrorKind::NotFound => wrong(path, "there is no such Dockerfile"),
        _ => during("read", path)(error),
    }
}

/// The rules of an ignore file, if there is one.
fn ignore_file(path: &Path) -> Result<Option<Ignore>, EngineError> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::ENOTDIR as i32) => return Ok(None),
        other => other.map_err(during("read", path))?,
    };
    let parsed = Ignore::parse(&String::from_utf8_lossy(&text));
    parsed.map(Some).map_err(|(line, reason)| EngineError::Invalid {
        subject: Subject::Path(format!("{}:{line}", path.display())),
        reason,
    })
}

fn wrong(path: &Path, reason: impl Into<String>) -> EngineError {
    EngineError::Invalid { subject: Subject::Path(path.display().to_string()), reason: reason.into() }
}
