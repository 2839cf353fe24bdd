//! What is asked of a start: plain data, everything looked up but what lies in the container's own file system.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::{Device, InjectedFile, ProcessIo, Security};
use crate::values::ulimit::Ulimit;

/// A container's first process and everything around it.
#[derive(Debug)]
pub struct Request {
    /// What `/` is.
    pub rootfs: Rootfs,
    /// What runs.
    pub process: Process,
    /// The host name; also the value of `HOSTNAME`. Set in the kernel only if the UTS namespace is new.
    pub hostname: String,
    /// The NIS domain name.
    pub domainname: Option<String>,
    /// Run the command under this init, an open [`crate::runtime::sys::mount::own_binary`].
    pub init: Option<Arc<OwnedFd>>,
    /// In any order; sorted by depth here. A target of Docker's default mounts (`/dev/shm`, …) replaces it.
    pub mounts: Vec<Mount>,
    /// Written into the root file system before the start.
    pub files: Vec<InjectedFile>,
    /// Bind-mounted read-write onto `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`.
    pub etc: EtcFiles,
    /// Interfaces.
    pub network: Network,
    /// Shared memory and message queues.
    pub ipc: Namespace,
    /// `ipc: none`: its own, but no `/dev/shm` and `/dev/mqueue`.
    pub shm: Shm,
    /// Process ids.
    pub pid: Namespace,
    /// Host name.
    pub uts: Namespace,
    /// View of the cgroup tree.
    pub cgroup: Namespace,
    /// Device nodes of the host.
    pub devices: Vec<Device>,
    /// `/proc/sys` settings, by dotted name; must lie in a namespace of its own.
    pub sysctls: BTreeMap<String, String>,
    /// Limits by name.
    pub ulimits: BTreeMap<String, Ulimit>,
    /// -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// The files of its cgroup: [`crate::runtime::cgroup::Cgroup::join_files`].
    pub join: Vec<PathBuf>,
    /// What `/sys/fs/cgroup` shows: [`crate::runtime::cgroup::Cgroup::view`].
    pub cgroup_view: CgroupView,
    /// Its standard streams; files are duplicated, so the same request can be compiled again.
    pub io: ProcessIo,
}

/// What runs, as whom, with which rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Entrypoint and command; never empty.
    pub argv: Vec<String>,
    /// `NAME=value`, image's and user's in order; a later one replaces an earlier one in its place.
    pub env: Vec<String>,
    /// Absolute; made if missing.
    pub working_dir: String,
    /// `name|uid[:group|gid]`, looked up in the container; `None` or empty: root.
    pub user: Option<String>,
    /// Further groups, names or numbers.
    pub groups: Vec<String>,
    /// Capabilities, filter, masks.
    pub security: Security,
}

/// An overlay: read-only layers and a writable one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rootfs {
    /// Topmost first.
    pub lower: Vec<PathBuf>,
    /// Where changes go; exists.
    pub upper: PathBuf,
    /// Empty, on the same file system as `upper`; exists.
    pub work: PathBuf,
    /// Whether the writable layer outlives a power cut.
    pub durability: Durability,
    /// Nothing outside the mounts can be written.
    pub read_only: bool,
}

/// Whether the writable layer outlives a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// As durable as any file system; its last unmount writes everything out.
    Durable,
    /// For what is thrown away: build steps, `run --rm`.
    Volatile,
}

/// Something mounted into the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Absolute path in the container; made if missing.
    pub target: String,
    /// Nothing can be written.
    pub read_only: bool,
    /// What is there.
    pub source: MountSource,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    /// A path of the host, also a volume's data; exists.
    Bind {
        /// Absolute path on the host.
        source: PathBuf,
        /// A path within, resolved without leaving `source`.
        subpath: Option<String>,
        /// How later mounts travel.
        propagation: Propagation,
        /// Take the mounts below along.
        recursive: bool,
    },
    /// Memory.
    Tmpfs {
        /// Bytes.
        size: Option<u64>,
        /// Permission bits of its root; default 1777.
        mode: Option<u32>,
        /// More options, as `mount -o` takes them; `nosuid,nodev,noexec` hold unless reversed here.
        options: Vec<String>,
    },
    /// Another image's layers, topmost first, read-only.
    Layers {
        /// Topmost first.
        lower: Vec<PathBuf>,
        /// A path within.
        subpath: Option<String>,
    },
    /// Layers, topmost first, under a folder where changes go; they are thrown away with it.
    Scratch {
        /// Topmost first.
        lower: Vec<PathBuf>,
        /// Where changes go; exists.
        upper: PathBuf,
        /// Empty, on the same file system as `upper`; exists.
        work: PathBuf,
        /// A path within.
        subpath: Option<String>,
    },
}

/// How mounts made later travel between host and container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Propagation {
    /// Not at all.
    #[default]
    Private,
    /// From the host.
    Slave,
    /// Both ways.
    Shared,
}

/// The three files of `/etc` that name hosts; `None` leaves the image's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EtcFiles {
    /// `/etc/hosts`.
    pub hosts: Option<PathBuf>,
    /// `/etc/hostname`.
    pub hostname: Option<PathBuf>,
    /// `/etc/resolv.conf`.
    pub resolv_conf: Option<PathBuf>,
}

/// Whose namespace it gets.
#[derive(Debug, Clone, Default)]
pub enum Namespace {
    /// Its own.
    #[default]
    New,
    /// The machine's.
    Host,
    /// That of the process behind this pidfd.
    Join(Arc<OwnedFd>),
}

/// Whose interfaces it gets.
#[derive(Debug, Clone)]
pub enum Network {
    /// The starting thread is in the container's own network namespace already.
    Prepared,
    /// A new one, with loopback alone and that down.
    New,
    /// The machine's; the starting thread is in it.
    Host,
    /// That of the process behind this pidfd.
    Join(Arc<OwnedFd>),
}

/// What `/dev/shm` is.
#[derive(Debug, Clone)]
pub enum Shm {
    /// Memory of this many bytes.
    Size(u64),
    /// There is none.
    None,
    /// The host's.
    Host,
    /// That of the container of the process behind this pidfd.
    Join(Arc<OwnedFd>),
}

/// Docker's default size of `/dev/shm`.
pub const SHM_SIZE: u64 = 64 << 20;

/// What the container sees at `/sys/fs/cgroup`, read-only unless privileged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CgroupView {
    /// An empty directory.
    #[default]
    Empty,
    /// cgroup v1: each controller's name and the container's own directory on the host.
    Controllers(Vec<(String, PathBuf)>),
    /// cgroup v2: the tree from the container's own cgroup namespace.
    Unified,
}

/// One more process in a running container.
#[derive(Debug)]
pub struct ExecRequest {
    /// The container's first process.
    pub container: Arc<OwnedFd>,
    /// Its id, for paths below `/proc`; the caller keeps it from being reaped meanwhile.
    pub pid: i32,
    /// What runs. Its environment holds the container's own; the working directory is made if missing.
    pub process: Process,
    /// The container's host name, the value of `HOSTNAME`.
    pub hostname: String,
    /// Limits by name, the container's.
    pub ulimits: BTreeMap<String, Ulimit>,
    /// The files of the container's cgroup.
    pub join: Vec<PathBuf>,
    /// Its standard streams.
    pub io: ProcessIo,
}
