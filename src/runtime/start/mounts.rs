//! What is mounted in a container, in what order: Docker's own mounts, then those asked for by depth, then what is hidden.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::mount::MsFlags;
use nix::sys::stat::{Mode, SFlag};

use crate::runtime::start::StartError;
use crate::runtime::start::inside::Inside;
use crate::runtime::start::program::{File, Kind, Links, Step, Target, text};
use crate::runtime::start::request::{
    CgroupView, Durability, Mount, MountSource, Namespace, Propagation, Request, Rootfs, Shm,
};
use crate::runtime::start::{devices, rootfs};
use crate::runtime::sys::mount::{
    NO_DEV, NO_EXEC, NO_SUID, READ_ONLY, Reach, copy_tree, new_file_system, set_attributes,
};
use crate::runtime::sys::{OrOs, OsError};

/// Hidden from a container that is not privileged.
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Read-only in a container that is not privileged.
const READ_ONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The places below `/proc` that a mount may cover, as runc has them.
const COVERABLE: [&str; 11] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/net/dev",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

const USUAL: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

/// Parts of `/dev` that the start has made.
#[derive(Debug)]
pub struct Dev {
    /// All of it.
    pub tree: OwnedFd,
    /// `/dev/pts`.
    pub pts: OwnedFd,
    /// The terminal's number in it.
    pub terminal: Option<u32>,
}

/// Steps that mount everything below the root.
pub fn steps(request: &Request, inside: Inside<'_>, dev: Dev) -> Result<Vec<Step>, StartError> {
    let privileged = request.process.security.privileged;
    let mut asked: Vec<&Mount> = request.mounts.iter().collect();
    asked.sort_by_key(|mount| depth(&mount.target));
    let targets: BTreeSet<String> = asked.iter().map(|mount| clean(&mount.target)).collect();
    if let Some(twice) = asked.iter().map(|mount| clean(&mount.target)).enumerate().find_map(|(number, target)| {
        asked.iter().skip(number + 1).any(|other| clean(&other.target) == target).then_some(target)
    }) {
        return Err(StartError::Invalid(format!("Duplicate mount point: {twice}")));
    }
    // A mount that was asked for replaces Docker's own, and a whole /dev everything below.
    let own = |path: &str| !(targets.contains(path) || path.starts_with("/dev/") && targets.contains("/dev"));

    let null = nix::fcntl::openat(&dev.tree, "null", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
    let null = File::new("null", null.or_os("open", "null")?);
    let mut steps = Vec::new();
    if own("/proc") {
        steps.push(Step::Mount { kind: c"proc".to_owned(), at: fixed("/proc")?, flags: USUAL });
    }
    if own("/dev") {
        steps.push(Step::Place { tree: File::new("dev", dev.tree), at: fixed("/dev")? });
    }
    if own("/dev/pts") {
        steps.push(Step::Place { tree: File::new("devpts", dev.pts), at: fixed("/dev/pts")? });
        if let Some(number) = dev.terminal {
            let (from, at) =
                (fixed(&format!("/dev/pts/{number}"))?, Target::new("/dev/console", Kind::File, Links::Refuse)?);
            steps.push(Step::Bind { from, at });
        }
    }
    let read_only = if privileged { MsFlags::empty() } else { MsFlags::MS_RDONLY };
    if own("/sys") {
        steps.push(Step::Mount { kind: c"sysfs".to_owned(), at: fixed("/sys")?, flags: USUAL | read_only });
    }
    if own("/sys/fs/cgroup") {
        cgroups(request, read_only, &mut steps)?;
    }
    if own("/dev/mqueue") && !matches!(request.shm, Shm::None) {
        steps.push(Step::Mount { kind: c"mqueue".to_owned(), at: fixed("/dev/mqueue")?, flags: USUAL });
    }
    if own("/dev/shm") {
        shared_memory(&request.shm, &mut steps)?;
    }

    for mount in asked {
        steps.push(step(mount, inside)?);
    }
    let etc = [
        ("/etc/hosts", &request.etc.hosts),
        ("/etc/hostname", &request.etc.hostname),
        ("/etc/resolv.conf", &request.etc.resolv_conf),
    ];
    for (path, source) in etc {
        if let (Some(source), true) = (source, own(path)) {
            let mount = MountSource::Bind {
                source: source.clone(),
                subpath: None,
                propagation: Propagation::Private,
                recursive: false,
            };
            steps.push(step(&Mount { target: path.to_owned(), read_only: false, source: mount }, inside)?);
        }
    }

    if !privileged && !request.process.security.unmasked {
        for path in READ_ONLY_PATHS {
            steps.push(Step::ReadOnly(fixed(path)?));
        }
        for path in MASKED.iter().copied().chain(thermal_throttle().iter().map(String::as_str)) {
            steps.push(Step::Mask { at: fixed(path)?, null: null.clone() });
        }
    }
    Ok(steps)
}

/// A place that has to be an ordinary folder, whatever the image has there.
fn fixed(path: &str) -> Result<Target, StartError> {
    Target::new(path, Kind::Folder, Links::Refuse)
}

/// How many folders lie above a path: mounts are placed in this order.
pub(in crate::runtime) fn depth(path: &str) -> usize {
    path.split('/').filter(|name| !name.is_empty() && *name != ".").count()
}

fn clean(path: &str) -> String {
    path.split('/').filter(|name| !name.is_empty() && *name != ".").fold(String::new(), |mut path, name| {
        path.push('/');
        path.push_str(name);
        path
    })
}

fn cgroups(request: &Request, read_only: MsFlags, steps: &mut Vec<Step>) -> Result<(), StartError> {
    match &request.cgroup_view {
        CgroupView::Empty => Ok(()),
        CgroupView::Unified => {
            steps.push(Step::Mount {
                kind: c"cgroup2".to_owned(),
                at: fixed("/sys/fs/cgroup")?,
                flags: USUAL | read_only,
            });
            Ok(())
        }
        CgroupView::Controllers(controllers) => {
            let attributes = NO_SUID | NO_DEV | NO_EXEC;
            let tree = new_file_system(c"tmpfs", &[(c"mode", Some(c"755"))], attributes)?;
            for (name, _) in controllers {
                nix::sys::stat::mkdirat(&tree, name.as_str(), Mode::from_bits_truncate(0o755)).or_os("mkdir", name)?;
            }
            let attributes = if read_only.is_empty() { attributes } else { attributes | READ_ONLY };
            set_attributes(tree.as_fd(), Reach::Top, attributes, 0).or_os("mount_setattr", "/sys/fs/cgroup")?;
            steps.push(Step::Place { tree: File::new("cgroup", tree), at: fixed("/sys/fs/cgroup")? });
            for (name, folder) in controllers {
                let tree = copy(folder, Reach::Top)?;
                let private = MsFlags::MS_PRIVATE.bits();
                set_attributes(tree.as_fd(), Reach::Top, attributes, private).or_os("mount_setattr", name)?;
                steps.push(Step::Place {
                    tree: File::new(format!("cgroup {name}"), tree),
                    at: fixed(&format!("/sys/fs/cgroup/{name}"))?,
                });
            }
            Ok(())
        }
    }
}

fn shared_memory(shm: &Shm, steps: &mut Vec<Step>) -> Result<(), StartError> {
    let at = fixed("/dev/shm")?;
    match shm {
        Shm::None => (),
        Shm::Size(size) => steps.push(Step::Place { tree: File::new("shm", devices::shm(*size)?), at }),
        Shm::Host => {
            let tree = copy(Path::new("/dev/shm"), Reach::Top)?;
            set_attributes(tree.as_fd(), Reach::Top, 0, MsFlags::MS_PRIVATE.bits())
                .or_os("mount_setattr", "/dev/shm")?;
            steps.push(Step::Place { tree: File::new("/dev/shm of the host", tree), at });
        }
        Shm::Join(process) => {
            // Before anything else of ours is mounted: the way leads through another mount namespace.
            steps.insert(0, Step::BorrowShm(File::new("another container", process.clone())));
            steps.push(Step::PlaceShm(at));
        }
    }
    Ok(())
}

/// The step that shows one mount that was asked for.
fn step(mount: &Mount, inside: Inside<'_>) -> Result<Step, StartError> {
    let target = clean(&mount.target);
    let links = if COVERABLE.contains(&target.as_str()) {
        Links::Refuse
    } else if target == "/proc" || target.starts_with("/proc/") {
        return Err(StartError::Invalid(format!("\"{target}\" cannot be mounted because it is inside /proc")));
    } else {
        Links::Follow
    };
    let (name, tree) = tree(mount, inside)?;
    let kind = match SFlag::from_bits_truncate(nix::sys::stat::fstat(&tree).or_os("stat", name.as_str())?.st_mode)
        & SFlag::S_IFMT
    {
        SFlag::S_IFDIR => Kind::Folder,
        _ => Kind::File,
    };
    Ok(Step::Place { tree: File::new(name, tree), at: Target::new(&target, kind, links)? })
}

/// A mount that is placed nowhere yet, and what it is in words.
pub(in crate::runtime) fn tree(mount: &Mount, inside: Inside<'_>) -> Result<(String, OwnedFd), StartError> {
    let target = clean(&mount.target);
    let attributes = if mount.read_only { READ_ONLY } else { 0 };
    Ok(match &mount.source {
        MountSource::Bind { source, subpath, propagation, recursive } => {
            let reach = if *recursive { Reach::All } else { Reach::Top };
            let tree = bind(source, subpath.as_deref(), reach)?;
            let travel = match propagation {
                Propagation::Private => MsFlags::MS_PRIVATE,
                Propagation::Slave => MsFlags::MS_SLAVE,
                Propagation::Shared => MsFlags::MS_SHARED,
            };
            set_attributes(tree.as_fd(), reach, attributes, travel.bits()).or_os("mount_setattr", target.as_str())?;
            (source.display().to_string(), tree)
        }
        MountSource::Tmpfs { size, mode, options } => {
            let tree = memory(&target, *size, *mode, options, inside)?;
            if mount.read_only {
                set_attributes(tree.as_fd(), Reach::Top, READ_ONLY, 0).or_os("mount_setattr", target.as_str())?;
            }
            ("tmpfs".to_owned(), tree)
        }
        MountSource::Layers { lower, subpath } => {
            ("image".to_owned(), part(rootfs::layers(lower)?, subpath.as_deref(), READ_ONLY)?)
        }
        MountSource::Scratch { lower, upper, work, subpath } => {
            let rootfs = Rootfs {
                lower: lower.clone(),
                upper: upper.clone(),
                work: work.clone(),
                durability: Durability::Volatile,
                read_only: false,
            };
            ("image".to_owned(), part(rootfs::overlay(&rootfs)?, subpath.as_deref(), attributes)?)
        }
    })
}

/// A path within layers that are mounted; all of them without one.
fn part(layers: OwnedFd, subpath: Option<&str>, attributes: u64) -> Result<OwnedFd, StartError> {
    let Some(subpath) = subpath else { return Ok(layers) };
    let found = within(&layers, subpath)?;
    let tree = copy_tree(found.as_fd(), c"", Reach::Top).or_os("open_tree", subpath)?;
    set_attributes(tree.as_fd(), Reach::Top, attributes, 0).or_os("mount_setattr", subpath)?;
    Ok(tree)
}

fn copy(path: &Path, reach: Reach) -> Result<OwnedFd, StartError> {
    match copy_tree(AT_FDCWD, &text(path)?, reach) {
        Err(Errno::ENOENT) => Err(StartError::Invalid(format!(
            "invalid mount config for type \"bind\": bind source path does not exist: {}",
            path.display()
        ))),
        other => Ok(other.or_os("open_tree", path.display().to_string())?),
    }
}

fn bind(source: &Path, subpath: Option<&str>, reach: Reach) -> Result<OwnedFd, StartError> {
    let Some(subpath) = subpath else { return copy(source, reach) };
    let shown = source.display().to_string();
    let volume = nix::fcntl::open(source, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).or_os("open", shown)?;
    let found = within(&volume, subpath)?;
    Ok(copy_tree(found.as_fd(), c"", reach).or_os("open_tree", subpath)?)
}

/// A path within a volume or image, which its content can't lead out of.
fn within(folder: &OwnedFd, subpath: &str) -> Result<OwnedFd, StartError> {
    match Inside::new(folder.as_fd()).open(subpath, OFlag::O_PATH) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => {
            Err(StartError::Invalid(format!("cannot access path {subpath}: no such file or directory")))
        }
        other => Ok(other.or_os("open", subpath)?),
    }
}

/// A file system in memory, by the options of `mount -o`.
fn memory(
    target: &str,
    size: Option<u64>,
    mode: Option<u32>,
    options: &[String],
    inside: Inside<'_>,
) -> Result<OwnedFd, StartError> {
    let mut attributes = NO_SUID | NO_DEV | NO_EXEC;
    let mut values: Vec<(String, Option<String>)> = Vec::new();
    // The place keeps the mode the image gave it; a new one is for everybody.
    let default = inside.stat(target).map_or(0o1777, |stat| stat.st_mode & 0o7777);
    values.push(("mode".to_owned(), Some(format!("{:o}", mode.unwrap_or(default)))));
    values.extend(size.map(|size| ("size".to_owned(), Some(size.to_string()))));
    for option in options.iter().flat_map(|options| options.split(',')).filter(|option| !option.is_empty()) {
        match option {
            "ro" => attributes |= READ_ONLY,
            "rw" => attributes &= !READ_ONLY,
            "noexec" => attributes |= NO_EXEC,
            "exec" => attributes &= !NO_EXEC,
            "nosuid" => attributes |= NO_SUID,
            "suid" => attributes &= !NO_SUID,
            "nodev" => attributes |= NO_DEV,
            "dev" => attributes &= !NO_DEV,
            // Wishes about access times and propagation that change nothing for a file system in memory.
            "defaults" | "async" | "atime" | "noatime" | "diratime" | "nodiratime" | "relatime" | "norelatime"
            | "strictatime" | "nostrictatime" | "private" | "rprivate" => (),
            _ => match option.split_once('=') {
                Some((
                    name @ ("size" | "mode" | "uid" | "gid" | "nr_inodes" | "nr_blocks" | "mpol" | "huge"),
                    value,
                )) => {
                    values.retain(|(known, _)| known != name);
                    values.push((name.to_owned(), Some(value.to_owned())));
                }
                _ => return Err(StartError::Invalid(format!("invalid tmpfs option [{option:?}]"))),
            },
        }
    }
    let values: Vec<(CString, Option<CString>)> = values
        .into_iter()
        .map(|(name, value)| Ok((text(name)?, value.map(text).transpose()?)))
        .collect::<Result<_, StartError>>()?;
    let options: Vec<_> = values.iter().map(|(name, value)| (&**name, value.as_deref())).collect();
    new_file_system(c"tmpfs", &options, attributes).map_err(|OsError { call, subject, errno }| {
        StartError::Os(OsError { call, subject: format!("{target}: {subject}"), errno })
    })
}

/// Where Intel processors count how hot they were.
fn thermal_throttle() -> &'static [String] {
    static PATHS: OnceLock<Vec<String>> = OnceLock::new();
    PATHS.get_or_init(|| {
        let path = |number: usize| format!("/sys/devices/system/cpu/cpu{number}/thermal_throttle");
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        (0..processors.max(1)).map(path).filter(|path| Path::new(path).exists()).collect()
    })
}

/// Whether a namespace is the container's own.
pub fn is_new(namespace: &Namespace) -> bool {
    matches!(namespace, Namespace::New)
}
