//! Control groups: what a container may use, and the handle to freeze, measure and kill all of it.
//!
//! Both kernel interfaces, found out by what is mounted: v1, a tree for each controller, of which a container joins only
//! those it needs ([`v1`]), and v2, one tree ([`v2`]). Nothing is kept in memory: a cgroup is found again by its name.

mod check;
mod devices;
mod v1;
mod v2;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::engine::Resources;
use crate::runtime::start::request::CgroupView;
use crate::runtime::sys::{OrOs, OsError};

pub use check::check;
pub use devices::DeviceAccess;

/// Why a cgroup can't be had.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// Docker's words on a limit that can't be.
    #[error("{0}")]
    Invalid(String),
    /// This machine has no such controller.
    #[error("this machine has no cgroup controller {0}")]
    Missing(&'static str),
    /// It would not freeze or become empty.
    #[error("{0}")]
    Stuck(String),
    /// A call failed.
    #[error(transparent)]
    Os(#[from] OsError),
}

/// The machine's cgroup tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// Where each controller is mounted.
    V1(BTreeMap<String, PathBuf>),
    /// Where the tree is mounted.
    V2(PathBuf),
}

/// One container's cgroup, found again by parent and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    tree: Tree,
    /// Below each mount, without a leading slash.
    name: PathBuf,
}

/// What a container used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes in use now.
    pub memory: u64,
    /// Those of them that are files nobody has touched lately, which the kernel would give back at once.
    pub inactive: u64,
    /// The most bytes ever in use.
    pub memory_peak: u64,
    /// The limit, `u64::MAX` for none.
    pub memory_limit: u64,
    /// Processor time in nanoseconds.
    pub cpu: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Bytes read from and written to block devices.
    pub blocks: (u64, u64),
    /// Processes that the memory killer ended.
    pub oom_kills: u64,
}

/// Where containers go unless told otherwise.
const PARENT: &str = "/xcompose";

impl Tree {
    /// What this machine has; looked at once a process.
    pub fn detect() -> Result<Tree, CgroupError> {
        static FOUND: OnceLock<Tree> = OnceLock::new();
        if let Some(found) = FOUND.get() {
            return Ok(found.clone());
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").or_os("read", "/proc/self/mountinfo")?;
        let found = from_mounts(&mounts)?;
        Ok(FOUND.get_or_init(|| found).clone())
    }

    /// The cgroup `name` below `parent` (default `/xcompose`); nothing is made.
    pub fn cgroup(&self, parent: Option<&str>, name: &str) -> Cgroup {
        // Only downwards, whatever the parent says.
        let parent = Path::new(parent.filter(|parent| !parent.is_empty()).unwrap_or(PARENT));
        let parts = parent.join(name);
        let name = parts.components().filter(|part| matches!(part, Component::Normal(_))).collect();
        Cgroup { tree: self.clone(), name }
    }
}

/// The controllers that decide for v1: where the first is mounted by itself, the kernel's v2 tree lacks it.
fn from_mounts(mountinfo: &str) -> Result<Tree, CgroupError> {
    let mut controllers = BTreeMap::new();
    let mut unified = None;
    for line in mountinfo.lines() {
        let Some((place, kind)) = line.split_once(" - ") else { continue };
        let Some(mountpoint) = place.split(' ').nth(4) else { continue };
        let mut kind = kind.split(' ');
        match (kind.next(), kind.next(), kind.next()) {
            (Some("cgroup"), _, Some(options)) => {
                for controller in options.split(',').filter(|option| v1::CONTROLLERS.contains(option)) {
                    controllers.entry(controller.to_owned()).or_insert_with(|| PathBuf::from(mountpoint));
                }
            }
            (Some("cgroup2"), ..) => unified = unified.or_else(|| Some(PathBuf::from(mountpoint))),
            _ => (),
        }
    }
    match unified {
        _ if controllers.contains_key("memory") => Ok(Tree::V1(controllers)),
        Some(mount) => Ok(Tree::V2(mount)),
        None => Err(CgroupError::Missing("memory")),
    }
}

impl Cgroup {
    /// Makes it (an existing one of the same name is taken over) and sets its limits.
    pub fn create(&self, resources: &Resources, devices: &DeviceAccess) -> Result<(), CgroupError> {
        // What an earlier run left would count for this one (memory kills, programs); one in use stays.
        for folder in self.folders() {
            let _ = fs::remove_dir(folder);
        }
        match &self.tree {
            Tree::V1(mounts) => v1::create(mounts, &self.name, resources, devices),
            Tree::V2(mount) => v2::create(mount, &self.name, resources, devices),
        }
    }

    /// Files a process writes `0` to, to join.
    pub fn join_files(&self) -> Vec<PathBuf> {
        match &self.tree {
            // By thread: joining by process waits for every processor (runtime facts: 0.15 against 3 ms).
            Tree::V1(_) => {
                self.folders().into_iter().filter(|folder| folder.is_dir()).map(|folder| folder.join("tasks")).collect()
            }
            Tree::V2(mount) => vec![mount.join(&self.name).join("cgroup.procs")],
        }
    }

    /// What the container sees of it.
    pub fn view(&self) -> CgroupView {
        match &self.tree {
            Tree::V1(mounts) => {
                let shown =
                    mounts.values().collect::<std::collections::BTreeSet<_>>().into_iter().filter_map(|mount| {
                        let folder = mount.join(&self.name);
                        let name = mount.file_name()?.to_str()?.to_owned();
                        folder.exists().then_some((name, folder))
                    });
                CgroupView::Controllers(shown.collect())
            }
            Tree::V2(_) => CgroupView::Unified,
        }
    }

    /// Freezes or thaws everything in it; returns when that holds.
    pub fn freeze(&self, frozen: bool) -> Result<(), CgroupError> {
        match &self.tree {
            Tree::V1(mounts) => v1::freeze(mounts, &self.name, frozen),
            Tree::V2(mount) => v2::freeze(&mount.join(&self.name), frozen),
        }
    }

    /// Kills everything in it, also when frozen. Needed only where process ids are shared.
    pub fn kill(&self) -> Result<(), CgroupError> {
        if let Tree::V2(mount) = &self.tree {
            let file = mount.join(&self.name).join("cgroup.kill");
            if file.exists() {
                return write(&file, "1");
            }
        }
        // New ones may appear while the list is read; who is killed makes no more.
        for _ in 0..100 {
            let processes = self.processes()?;
            if processes.is_empty() {
                break;
            }
            for pid in processes {
                // Gone already is as good as killed.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            // A frozen process dies when it is thawed.
            self.freeze(false)?;
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// What it used.
    pub fn usage(&self) -> Result<Usage, CgroupError> {
        match &self.tree {
            Tree::V1(mounts) => v1::usage(mounts, &self.name, &self.processes()?),
            Tree::V2(mount) => Ok(v2::usage(&mount.join(&self.name))),
        }
    }

    /// The processes in it, as ids of the host.
    pub fn processes(&self) -> Result<Vec<i32>, CgroupError> {
        for folder in self.folders() {
            let file = folder.join("cgroup.procs");
            match fs::read_to_string(&file) {
                // Not in this tree.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => {
                    let text = other.or_os("read", file.display().to_string())?;
                    return Ok(text.lines().filter_map(|line| line.parse().ok()).collect());
                }
            }
        }
        Ok(Vec::new())
    }

    /// Removes it once it is empty; a missing one is removed already.
    pub fn remove(&self) -> Result<(), CgroupError> {
        for folder in self.folders() {
            remove_tree(&folder)?;
        }
        Ok(())
    }

    /// Its folder in each tree; not all of them need exist.
    fn folders(&self) -> Vec<PathBuf> {
        let mounts: Vec<&PathBuf> = match &self.tree {
            Tree::V1(mounts) => mounts.values().collect::<std::collections::BTreeSet<_>>().into_iter().collect(),
            Tree::V2(mount) => vec![mount],
        };
        mounts.into_iter().map(|mount| mount.join(&self.name)).collect()
    }
}

/// Removes a cgroup and those a privileged container made below it.
fn remove_tree(folder: &Path) -> Result<(), CgroupError> {
    let shown = || folder.display().to_string();
    // The last process may be reaped and still on its way out, for a moment.
    let mut pause = Duration::from_millis(1);
    loop {
        let removed = fs::remove_dir(folder);
        match removed {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.raw_os_error() == Some(nix::libc::EBUSY) && pause < Duration::from_millis(500) => {
                for entry in fs::read_dir(folder).or_os("open", shown())?.flatten() {
                    if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                        remove_tree(&entry.path())?;
                    }
                }
                std::thread::sleep(pause);
                pause *= 2;
            }
            Err(error) => return Err(error).or_os("rmdir", shown()).map_err(CgroupError::from),
        }
    }
}

fn write(file: &Path, value: &str) -> Result<(), CgroupError> {
    // Opened without O_CREAT: in a cgroup that would fail in another way than a file that is missing.
    let written = fs::File::options()
        .write(true)
        .open(file)
        .and_then(|mut open| io::Write::write_all(&mut open, value.as_bytes()));
    Ok(written.or_os("write", format!("{value} to {}", file.display()))?)
}

/// Writes if the kernel was built with that file.
fn write_if_there(file: &Path, value: &str) -> Result<(), CgroupError> {
    if file.exists() { write(file, value) } else { Ok(()) }
}

/// A number in a file, 0 if there is none; `max` is the largest.
fn number(file: &Path) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    match text.trim() {
        "max" => u64::MAX,
        number => number.parse().unwrap_or(0),
    }
}

/// Bytes that living processes have read from and written to block devices (proc_pid_io(5)).
fn blocks_of_processes(processes: &[i32]) -> (u64, u64) {
    let of = |pid: &i32| {
        let file = PathBuf::from(format!("/proc/{pid}/io"));
        (keyed(&file, "read_bytes:"), keyed(&file, "write_bytes:"))
    };
    processes.iter().map(of).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

/// The number after `key` in a file of lines `key number`.
fn keyed(file: &Path, key: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok());
    value.unwrap_or(0)
}

/// Processor time in a period, in microseconds: quota (-1: all) and period, where either is set.
fn cpu_quota(resources: &Resources) -> Option<(i64, u64)> {
    const PERIOD: u64 = 100_000;
    if let Some(nano) = resources.nano_cpus.filter(|nano| *nano > 0) {
        let quota = u128::from(nano) * u128::from(PERIOD) / 1_000_000_000;
        // The kernel takes no less than a millisecond.
        return Some((i64::try_from(quota).unwrap_or(i64::MAX).max(1000), PERIOD));
    }
    let (quota, period) =
        (resources.cpu_quota.filter(|quota| *quota != 0), resources.cpu_period.filter(|period| *period != 0));
    (quota.is_some() || period.is_some()).then(|| (quota.unwrap_or(-1), period.unwrap_or(PERIOD)))
}

/// Memory and swap together, in bytes: what was asked for, else twice the memory as with Docker; `None` for no limit.
fn memory_and_swap(resources: &Resources) -> Option<u64> {
    match (resources.memory.filter(|memory| *memory > 0)?, resources.memory_swap.filter(|swap| *swap != 0)) {
        (memory, None) => Some(memory.saturating_mul(2)),
        (_, Some(swap)) => u64::try_from(swap).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_has_the_controllers() {
        let hybrid = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let Tree::V1(mounts) = from_mounts(hybrid).unwrap() else { panic!("v1 expected") };
        assert_eq!(mounts["cpu"], Path::new("/sys/fs/cgroup/cpu"));
        assert_eq!(mounts["memory"], Path::new("/sys/fs/cgroup/memory"));
        let unified = "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(from_mounts(unified).unwrap(), Tree::V2("/sys/fs/cgroup".into()));
        assert!(from_mounts("").is_err());
    }

    #[test]
    fn a_parent_leads_downwards_only() {
        let tree = Tree::V2("/cg".into());
        assert_eq!(tree.cgroup(Some("../../etc"), "id").name, Path::new("etc/id"));
        assert_eq!(tree.cgroup(None, "id").name, Path::new("xcompose/id"));
    }

    #[test]
    fn limits_become_the_kernels_numbers() {
        let resources = Resources { nano_cpus: Some(1_500_000_000), memory: Some(64 << 20), ..Resources::default() };
        assert_eq!(cpu_quota(&resources), Some((150_000, 100_000)));
        assert_eq!(memory_and_swap(&resources), Some(128 << 20));
        let resources = Resources { memory_swap: Some(-1), cpu_period: Some(50_000), ..resources };
        assert_eq!(memory_and_swap(&resources), None);
        assert_eq!(cpu_quota(&Resources { nano_cpus: None, ..resources }), Some((-1, 50_000)));
    }
}
