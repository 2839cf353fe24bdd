//! How an image is made.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::spec::diagnostic::Location;
use crate::spec::project::files::FileMount;
use crate::spec::project::keys::SecretKey;
use crate::values::names::ServiceName;
use crate::values::ulimit::Ulimit;

/// How an image is made.
#[derive(Debug, Clone, PartialEq)]
pub struct Build {
    /// Where it stands.
    pub location: Location,
    /// What the steps see.
    pub context: BuildContext,
    /// What to do.
    pub dockerfile: Dockerfile,
    /// Build arguments; those without value have been looked up or dropped.
    pub args: BTreeMap<String, String>,
    /// Further named contexts.
    pub additional_contexts: BTreeMap<String, BuildContext>,
    /// Stage to build.
    pub target: Option<String>,
    /// Further names of the result.
    pub tags: Vec<String>,
    /// Labels of the result.
    pub labels: BTreeMap<String, String>,
    /// Run each step anew.
    pub no_cache: bool,
    /// Fetch base images anew.
    pub pull: bool,
    /// Where results of former builds come from, as written.
    pub cache_from: Vec<String>,
    /// Where results go, as written.
    pub cache_to: Vec<String>,
    /// What the Dockerfile may ask for beyond the usual.
    pub entitlements: Vec<String>,
    /// Of `RUN`.
    pub network: Option<String>,
    /// `/etc/hosts` during `RUN`.
    pub extra_hosts: Vec<(String, String)>,
    /// Bytes of `/dev/shm` during `RUN`.
    pub shm_size: Option<u64>,
    /// During `RUN`.
    pub ulimits: BTreeMap<String, Ulimit>,
    /// `RUN --security=insecure`.
    pub privileged: bool,
    /// Files for `RUN --mount=type=secret`.
    pub secrets: Vec<FileMount<SecretKey>>,
    /// Agents and keys for `RUN --mount=type=ssh`: id, and path if any.
    pub ssh: BTreeMap<String, Option<String>>,
    /// To build for.
    pub platforms: Vec<String>,
}

/// Files given to a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildContext {
    /// A directory of the host.
    Directory(PathBuf),
    /// The image of another service.
    Service(ServiceName),
    /// An address: a repository, an archive, an image (`docker-image://…`).
    Remote(String),
}

/// The instructions of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dockerfile {
    /// A path, relative to the context.
    Path(PathBuf),
    /// The text itself.
    Inline(String),
}
