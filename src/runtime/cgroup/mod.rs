//! Control groups: what a container may use, and the handle to freeze, measure and kill all of it. v1 and v2.

use std::path::{Path, PathBuf};

use crate::engine::Resources;
use crate::runtime::start::request::CgroupView;
use crate::runtime::sys::OsError;

/// Why a cgroup can't be had.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// Docker's words on a limit that can't be.
    #[error("{0}")]
    Invalid(String),
    /// This machine has no such controller.
    #[error("this machine has no cgroup controller {0}")]
    Missing(&'static str),
    /// A call failed.
    #[error(transparent)]
    Os(#[from] OsError),
}

/// The machine's cgroup tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    mount: PathBuf,
}

/// One container's cgroup, found again by parent and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    tree: Tree,
    name: PathBuf,
}

/// Which devices a container may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceAccess {
    /// All (privileged).
    All,
    /// Docker's default nodes, and these rules besides (`c 1:3 rwm`).
    Default(Vec<String>),
}

/// What a container used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes in use now.
    pub memory: u64,
    /// The most bytes ever in use.
    pub memory_peak: u64,
    /// The limit, `u64::MAX` for none.
    pub memory_limit: u64,
    /// Processor time in nanoseconds.
    pub cpu: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Processes that the memory killer ended.
    pub oom_kills: u64,
}

/// Checks limits as Docker does before anything is made; returns warnings about what this machine can't honour.
pub fn check(resources: &Resources, processors: usize) -> Result<Vec<String>, CgroupError> {
    let _ = (resources, processors);
    Ok(Vec::new())
}

impl Tree {
    /// What this machine has.
    pub fn detect() -> Result<Tree, CgroupError> {
        Ok(Tree { mount: PathBuf::from("/sys/fs/cgroup") })
    }

    /// The cgroup `name` below `parent` (default `/xcompose`); nothing is made.
    pub fn cgroup(&self, parent: Option<&str>, name: &str) -> Cgroup {
        Cgroup { tree: self.clone(), name: Path::new(parent.unwrap_or("/xcompose")).join(name) }
    }
}

impl Cgroup {
    /// Makes it (an existing one of the same name is taken over) and sets its limits.
    pub fn create(&self, resources: &Resources, devices: &DeviceAccess) -> Result<(), CgroupError> {
        let _ = (&self.tree, &self.name, resources, devices);
        Ok(())
    }

    /// Files a process writes `0` to, to join.
    pub fn join_files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// What the container sees of it.
    pub fn view(&self) -> CgroupView {
        CgroupView::Empty
    }

    /// Freezes or thaws everything in it; returns when that holds.
    pub fn freeze(&self, frozen: bool) -> Result<(), CgroupError> {
        let _ = frozen;
        Ok(())
    }

    /// Kills everything in it, also when frozen. Needed only where process ids are shared.
    pub fn kill(&self) -> Result<(), CgroupError> {
        Ok(())
    }

    /// What it used.
    pub fn usage(&self) -> Result<Usage, CgroupError> {
        Ok(Usage::default())
    }

    /// The processes in it, as ids of the host.
    pub fn processes(&self) -> Result<Vec<i32>, CgroupError> {
        Ok(Vec::new())
    }

    /// Removes it once it is empty; a missing one is removed already.
    pub fn remove(&self) -> Result<(), CgroupError> {
        Ok(())
    }
}
