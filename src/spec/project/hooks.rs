//! What is run inside a container at a point of its life, or on a change of a file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::spec::diagnostic::Location;
use crate::values::image_ref::ImageRef;

/// A command run at some point of a container's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The argument list.
    pub command: Vec<String>,
    /// As whom; default: the container's user.
    pub user: Option<String>,
    /// With all rights.
    pub privileged: bool,
    /// Where; default: the container's.
    pub working_dir: Option<String>,
    /// Over the container's.
    pub environment: BTreeMap<String, Option<String>>,
    /// Where it stands.
    pub location: Location,
}

/// A command run in a container of its own before a service starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreStart {
    /// What it runs on; default: the service's image.
    pub image: Option<ImageRef>,
    /// Once for each container instead of once.
    pub per_replica: bool,
    /// What runs, and how.
    pub hook: Hook,
}

/// What a change below a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchRule {
    /// A path of the host.
    pub path: PathBuf,
    /// What to do.
    pub action: WatchAction,
    /// Where files go in the container.
    pub target: Option<String>,
    /// Patterns of what does not count.
    pub ignore: Vec<String>,
    /// Patterns of what alone counts.
    pub include: Vec<String>,
    /// Run after `sync+exec`.
    pub exec: Option<Hook>,
    /// Copy everything when `watch` begins.
    pub initial_sync: bool,
    /// Where it stands.
    pub location: Location,
}

/// What `watch` does on a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchAction {
    /// Build and recreate.
    Rebuild,
    /// Restart.
    Restart,
    /// Copy.
    Sync,
    /// Copy, then restart.
    SyncRestart,
    /// Copy, then run a command.
    SyncExec,
}
