//! What images are built from, and the news of long work.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::engine::Labels;
use crate::values::image_ref::ImageRef;
use crate::values::ulimit::Ulimit;

/// What an image is built from. Never written down: it holds secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildConfig {
    /// What `COPY` and `ADD` take from.
    pub context: ContextSource,
    /// Further contexts by name; a name goes before the stage and the image called so.
    pub contexts: BTreeMap<String, ContextSource>,
    /// The Dockerfile: a path, relative to the context, or its text.
    pub dockerfile: DockerfileSource,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// The stage to build; the last by default.
    pub target: Option<String>,
    /// Names of the result.
    pub tags: Vec<ImageRef>,
    /// Labels of the result.
    pub labels: Labels,
    /// Run every step anew.
    pub no_cache: bool,
    /// Run the steps of these stages anew.
    pub no_cache_stages: Vec<String>,
    /// Ask registries for newer base images.
    pub pull: bool,
    /// Network of `RUN`: `default`, `host` or `none`.
    pub network: Option<String>,
    /// `/etc/hosts` lines during `RUN`.
    pub extra_hosts: Vec<(String, String)>,
    /// Size of `/dev/shm` during `RUN`, bytes.
    pub shm_size: Option<u64>,
    /// Memory of each `RUN`, bytes.
    pub memory: Option<u64>,
    /// Limits during `RUN`.
    pub ulimits: BTreeMap<String, Ulimit>,
    /// What `RUN --mount=type=secret` may ask for, by id.
    pub secrets: BTreeMap<String, BuildSecret>,
    /// What `RUN --mount=type=ssh` may ask for, by id: keys or an agent's socket; `None` is the caller's agent.
    pub ssh: BTreeMap<String, Option<PathBuf>>,
    /// What the Dockerfile may ask for beyond the usual.
    pub entitlements: BTreeSet<Entitlement>,
    /// Where results of former builds come from.
    pub cache_from: Vec<CacheStore>,
    /// Where the results of this build go.
    pub cache_to: Vec<CacheStore>,
}

impl BuildConfig {
    /// The `Dockerfile` of a context, and nothing that is not usual.
    pub fn new(context: ContextSource) -> BuildConfig {
        BuildConfig {
            context,
            contexts: BTreeMap::new(),
            dockerfile: DockerfileSource::Path("Dockerfile".into()),
            args: BTreeMap::new(),
            target: None,
            tags: Vec::new(),
            labels: BTreeMap::new(),
            no_cache: false,
            no_cache_stages: Vec::new(),
            pull: false,
            network: None,
            extra_hosts: Vec::new(),
            shm_size: None,
            memory: None,
            ulimits: BTreeMap::new(),
            secrets: BTreeMap::new(),
            ssh: BTreeMap::new(),
            entitlements: BTreeSet::new(),
            cache_from: Vec::new(),
            cache_to: Vec::new(),
        }
    }
}

/// Where the files of a build are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextSource {
    /// A directory of the host.
    Directory(PathBuf),
    /// An archive of the host (tar, also compressed).
    Archive(PathBuf),
    /// An address: a git repository (`#ref:folder` behind it), or an archive.
    Remote(String),
    /// An image's files; as a stage's base, the image itself.
    Image(ImageRef),
}

/// Where a Dockerfile is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerfileSource {
    /// A path, relative to the context.
    Path(PathBuf),
    /// The text itself.
    Inline(String),
}

/// A file that commands of a build may see, and no layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildSecret {
    /// Where its bytes come from.
    pub source: SecretSource,
    /// Owner, where the Dockerfile names none.
    pub uid: Option<u32>,
    /// Owning group, where the Dockerfile names none.
    pub gid: Option<u32>,
    /// Permission bits, where the Dockerfile names none.
    pub mode: Option<u32>,
}

/// Where a secret's bytes come from.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A file of the host.
    File(PathBuf),
    /// Themselves.
    Value(String),
}

/// Secrets must not reach a trace.
impl std::fmt::Debug for SecretSource {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SecretSource::File(path) => write!(out, "File({})", path.display()),
            SecretSource::Value(_) => out.write_str("Value(…)"),
        }
    }
}

/// What a Dockerfile may ask for only if whoever builds agrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entitlement {
    /// `network.host`: the machine's own network.
    NetworkHost,
    /// `security.insecure`: all capabilities and devices.
    SecurityInsecure,
}

impl Entitlement {
    /// By its name; a value behind `=` (devices, ports) says more than we tell apart.
    pub fn named(name: &str) -> Option<Entitlement> {
        match name {
            "network.host" => Some(Entitlement::NetworkHost),
            "security.insecure" => Some(Entitlement::SecurityInsecure),
            _ => None,
        }
    }
}

/// Where results of build steps are kept outside of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheStore {
    /// `type=local`: a folder.
    Local {
        /// Which.
        folder: PathBuf,
        /// What goes there.
        extent: CacheExtent,
    },
    /// `type=registry`: an image that has results with it.
    Registry {
        /// Which.
        image: ImageRef,
        /// What goes there.
        extent: CacheExtent,
    },
    /// `type=inline`: the image that is built has its own results with it.
    Inline,
    /// Another kind, which the engine may not know.
    Other(String),
}

/// The text names no place for results.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid cache {text:?}: {reason}")]
pub struct InvalidCacheStore {
    text: String,
    reason: &'static str,
}

impl std::str::FromStr for CacheStore {
    type Err = InvalidCacheStore;

    /// `type=local,src=folder`, `type=registry,ref=image,mode=max`, `type=inline`; a name alone is an image.
    fn from_str(text: &str) -> Result<CacheStore, InvalidCacheStore> {
        let fields: BTreeMap<&str, &str> = text.split(',').filter_map(|field| field.split_once('=')).collect();
        let wrong = |reason| InvalidCacheStore { text: text.to_owned(), reason };
        let extent = || match fields.get("mode") {
            None | Some(&"min") => Ok(CacheExtent::Image),
            Some(&"max") => Ok(CacheExtent::All),
            Some(_) => Err(wrong("mode is min or max")),
        };
        let image = |name: &str| name.parse::<ImageRef>().map_err(|_| wrong("its image has no valid name"));
        match fields.get("type") {
            Some(&"local") => {
                let folder = fields.get("src").or_else(|| fields.get("dest")).filter(|folder| !folder.is_empty());
                let folder = folder.ok_or_else(|| wrong("a local one has a folder: src= or dest="))?;
                Ok(CacheStore::Local { folder: folder.into(), extent: extent()? })
            }
            Some(&"registry") => {
                let name = fields.get("ref").ok_or_else(|| wrong("one in a registry has a name: ref="))?;
                Ok(CacheStore::Registry { image: image(name)?, extent: extent()? })
            }
            Some(&"inline") => Ok(CacheStore::Inline),
            Some(&"") => Err(wrong("its type is empty")),
            None if text.is_empty() || text.contains('=') => Err(wrong("it has no type")),
            None => Ok(CacheStore::Registry { image: image(text)?, extent: CacheExtent::Image }),
            Some(_) => Ok(CacheStore::Other(text.to_owned())),
        }
    }
}

/// Which results are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheExtent {
    /// Of the steps that the image consists of: `mode=min`.
    #[default]
    Image,
    /// Of every step: `mode=max`.
    All,
}

/// News of a long piece of work, for the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A step began: `[stage 2/5] RUN apt-get update`.
    Step {
        /// Which, unique within the work.
        id: String,
        /// In words.
        text: String,
    },
    /// Bytes of a step.
    Bytes {
        /// Which step.
        id: String,
        /// Done so far.
        done: u64,
        /// Of how many, where known.
        total: Option<u64>,
    },
    /// What a step printed.
    Output {
        /// Which step.
        id: String,
        /// As printed.
        bytes: Vec<u8>,
    },
    /// Something can't be honoured or is not as it should be.
    Warning {
        /// In words.
        text: String,
    },
    /// A step ended well.
    Done {
        /// Which step.
        id: String,
        /// Its result was known already.
        cached: bool,
    },
}
