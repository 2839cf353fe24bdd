//! Compose files that lie elsewhere: in a git repository, or published to a registry (`-f`, `include`, `extends`).
//!
//! Each is fetched into the user's cache once, into a folder that is called by its commit or digest, and read from there
//! (Compose CLI reference, §5 and §14). Nobody but the user can read it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::cli::arguments;
use crate::cli::failure::{Failure, chain};
use crate::runtime::git::{self, Keep, Repository};
use crate::runtime::image::artifact::{self, Artifact};
use crate::spec::remote::Fetch;
use crate::spec::source;
use crate::values::image_ref::ImageRef;

/// What a published project is.
pub const PROJECT: &str = "application/vnd.docker.compose.project";
/// The configuration of one in a registry that knows no kinds of artifacts (OCI image-spec 1.0).
pub const PROJECT_CONFIG: &str = "application/vnd.docker.compose.config.empty.v1+json";
/// One of its compose files.
pub const FILE: &str = "application/vnd.docker.compose.file+yaml";
/// One of its env files.
pub const ENV_FILE: &str = "application/vnd.docker.compose.envfile";
/// Says what a compose file is called.
pub const FILE_NAME: &str = "com.docker.compose.file";
/// Says that a compose file is only there to be extended.
pub const EXTENDED: &str = "com.docker.compose.extends";
/// Says what an env file is called.
pub const ENV_FILE_NAME: &str = "com.docker.compose.envfile";

const ALL: &str = "compose.yaml";

/// Fetches them, and knows which it fetched.
#[derive(Debug)]
pub struct Remote {
    /// None is known where there is no home.
    cache: Option<PathBuf>,
    git: bool,
    oci: bool,
    /// By address: the file, and what is wrong.
    fetched: RefCell<BTreeMap<String, Result<PathBuf, String>>>,
}

impl Remote {
    /// As the environment says.
    pub fn new(environment: &BTreeMap<String, String>) -> Remote {
        let set = |name: &str| environment.get(name).filter(|text| !text.is_empty());
        let home = || set("HOME").map(|home| Path::new(home).join(".cache"));
        let allowed = |name: &str| set(name).is_none_or(|text| arguments::yes(text));
        Remote {
            cache: set("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).map(|cache| cache.join("xcompose")),
            git: allowed("COMPOSE_EXPERIMENTAL_GIT_REMOTE"),
            oci: allowed("COMPOSE_EXPERIMENTAL_OCI_REMOTE"),
            fetched: RefCell::default(),
        }
    }

    /// What was fetched so far: addresses, and the folders they lie in now.
    pub fn fetched(&self) -> Vec<(String, PathBuf)> {
        let fetched = self.fetched.borrow();
        let folder = |file: &PathBuf| file.parent().map(Path::to_path_buf);
        fetched.iter().filter_map(|(address, file)| Some((address.clone(), folder(file.as_ref().ok()?)?))).collect()
    }

    fn cache(&self) -> Result<&Path, String> {
        let cache =
            self.cache.as_deref().ok_or("nowhere to keep what is fetched: neither HOME nor XDG_CACHE_HOME is set")?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(cache).map_err(cannot("make", cache))?;
        Ok(cache)
    }

    fn repository(&self, address: &str, repository: &Repository) -> Result<PathBuf, String> {
        if !self.git {
            return Err(format!("{address}: git repositories are switched off by COMPOSE_EXPERIMENTAL_GIT_REMOTE"));
        }
        let cache = self.cache()?;
        let said = |error: git::GitError| format!("{address}: {error}");
        let commit = git::commit(repository, &|| false).map_err(said)?;
        let place = cache.join(&commit);
        if !place.exists() {
            let folder = temporary(cache)?;
            let fetched = folder.path().join("fetched");
            let whole = Repository { reference: Some(commit), folder: None, ..repository.clone() };
            git::fetch(&whole, &fetched, Keep::History, &|| false).map_err(said)?;
            settle(&fetched, &place)?;
        }
        let asked = place.join(repository.folder.as_deref().unwrap_or(Path::new("")));
        let missing =
            |_| format!("{address}: the repository has no {}", asked.strip_prefix(&place).unwrap_or(&asked).display());
        let found = fs::canonicalize(&asked).map_err(missing)?;
        // A link must not lead out of the repository.
        if !found.starts_with(fs::canonicalize(&place).map_err(cannot("read", &place))?) {
            return Err(format!("{address}: {} leads out of the repository", asked.display()));
        }
        if found.is_file() {
            return Ok(asked);
        }
        source::in_directory(&asked).ok_or_else(|| format!("{address}: no compose file there"))
    }

    fn published(&self, address: &str, name: &str) -> Result<PathBuf, String> {
        if !self.oci {
            return Err(format!("{address}: registries are switched off by COMPOSE_EXPERIMENTAL_OCI_REMOTE"));
        }
        let name: ImageRef = name.parse().map_err(|error| format!("{address}: {error}"))?;
        let cache = self.cache()?;
        let fetched =
            wait(artifact::fetch(&name, PROJECT))?.map_err(|error| format!("{address}: {}", chain(&error)))?;
        let Some((digest, artifact)) = fetched else {
            return Err(format!("OCI index {name} doesn't refer to compose artifacts"));
        };
        if artifact.kind != PROJECT && artifact.kind != PROJECT_CONFIG {
            return Err(format!("{name} is not a compose project OCI artifact, but {}", artifact.kind));
        }
        let place = cache.join(digest.hex());
        if !place.exists() {
            let folder = temporary(cache)?;
            lay_out(&artifact, folder.path()).map_err(|why| format!("{address}: {why}"))?;
            settle(folder.path(), &place)?;
        }
        Ok(place.join(ALL))
    }
}

impl Fetch for Remote {
    fn fetch(&self, address: &str) -> Option<Result<PathBuf, String>> {
        let repository = match address.strip_prefix("oci://") {
            Some(_) => None,
            None => Some(Repository::parse(address)?),
        };
        if let Some(known) = self.fetched.borrow().get(address) {
            return Some(known.clone());
        }
        let file = match (repository, address.strip_prefix("oci://")) {
            (Some(Ok(repository)), _) => self.repository(address, &repository),
            (Some(Err(why)), _) => Err(format!("{address}: {why}")),
            (None, name) => self.published(address, name.unwrap_or_default()),
        };
        self.fetched.borrow_mut().insert(address.to_owned(), file.clone());
        Some(file)
    }
}

/// The digest that a registry knows an image by.
pub fn digest_of(image: &ImageRef) -> Result<String, Failure> {
    let unknown = |why: String| Failure::usage(format!("failed to resolve digest for {}: {why}", image.canonical()));
    let asked = wait(artifact::digest_of(image)).map_err(unknown)?;
    Ok(asked.map_err(|error| unknown(chain(&error)))?.to_string())
}

/// Writes the files of a published project. Those that make it up become one file of several documents.
fn lay_out(artifact: &Artifact, folder: &Path) -> Result<(), String> {
    let mut all = Vec::new();
    for document in &artifact.documents {
        let named = |name: &str| match document.annotations.get(name) {
            // It is a stranger's: it must not lead anywhere.
            Some(file) if !file.contains(['/', '\\']) && !matches!(file.as_str(), "" | "." | ".." | ALL) => {
                Ok(file.clone())
            }
            _ => Err("invalid OCI artifact".to_owned()),
        };
        match document.kind.as_str() {
            FILE if document.annotations.contains_key(EXTENDED) => {
                write(&folder.join(named(FILE_NAME)?), &document.bytes)?;
            }
            FILE => {
                if !all.is_empty() {
                    all.extend_from_slice(b"\n---\n");
                }
                all.extend_from_slice(&document.bytes);
            }
            ENV_FILE => write(&folder.join(named(ENV_FILE_NAME)?), &document.bytes)?,
            _ => {}
        }
    }
    write(&folder.join(ALL), &all)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| io::Write::write_all(&mut file, bytes)).map_err(cannot("write", path))
}

fn temporary(cache: &Path) -> Result<tempfile::TempDir, String> {
    tempfile::Builder::new().prefix(".fetching-").tempdir_in(cache).map_err(cannot("write to", cache))
}

/// Puts what was fetched in its place, unless somebody else did meanwhile.
fn settle(fetched: &Path, place: &Path) -> Result<(), String> {
    fs::set_permissions(fetched, fs::Permissions::from_mode(0o700)).map_err(cannot("change", fetched))?;
    match fs::rename(fetched, place) {
        Err(_) if place.exists() => Ok(()),
        other => other.map_err(cannot("write", place)),
    }
}

fn cannot(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> String {
    move |error| format!("cannot {verb} {}: {error}", path.display())
}

/// Waits for something, in the middle of what can't.
fn wait<T: Send>(work: impl Future<Output = T> + Send) -> Result<T, String> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map(|runtime| runtime.block_on(work)).map_err(|error| format!("cannot reach the network: {error}"))
    };
    std::thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|_| Err("fetching was broken off".to_owned()))
}
