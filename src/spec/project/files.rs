//! Configs and secrets: where their bytes come from, and where they lie in a container.

use std::path::PathBuf;

use crate::spec::diagnostic::Location;

/// A config or secret as a service sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMount<Key> {
    /// Which.
    pub source: Key,
    /// Absolute path in the container (in a build: the secret's id).
    pub target: String,
    /// Owner.
    pub uid: Option<String>,
    /// Owning group.
    pub gid: Option<String>,
    /// Permission bits.
    pub mode: Option<u32>,
    /// Where it stands.
    pub location: Location,
}

/// A config or a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileObject {
    /// What the engine would call it.
    pub name: String,
    /// Where its bytes come from.
    pub origin: FileOrigin,
    /// Where it stands.
    pub location: Location,
}

/// Where a config's or secret's bytes come from.
#[derive(Clone, PartialEq, Eq)]
pub enum FileOrigin {
    /// A file of the host, absolute.
    File(PathBuf),
    /// The project file itself.
    Content(String),
    /// A variable of the project's environment; `None`: it is not set.
    Environment {
        /// Its name.
        variable: String,
        /// Its value.
        value: Option<String>,
    },
    /// The engine, which plain Compose does not support.
    External,
}

/// Secrets must not reach a trace, so only the kind is shown.
impl std::fmt::Debug for FileOrigin {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FileOrigin::File(path) => out.debug_tuple("File").field(path).finish(),
            FileOrigin::Content(_) => out.write_str("Content(…)"),
            FileOrigin::Environment { variable, .. } => out.debug_tuple("Environment").field(variable).finish(),
            FileOrigin::External => out.write_str("External"),
        }
    }
}
