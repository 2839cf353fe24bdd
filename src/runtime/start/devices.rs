//! `/dev`: a file system in memory with Docker's nodes and links, and the host's devices that were asked for.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, makedev};

use crate::engine::Device;
use crate::runtime::start::StartError;
use crate::runtime::start::inside::Inside;
use crate::runtime::sys::mount::{NO_DEV, NO_EXEC, NO_SUID, new_file_system};
use crate::runtime::sys::{OrOs, OsError};

/// Character devices that every container has: name, major, minor.
pub const NODES: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

/// Makes `/dev`; `console` is a place for the terminal.
pub fn tree(console: bool) -> Result<OwnedFd, StartError> {
    let options = [(c"mode", Some(c"755")), (c"size", Some(c"65536k"))];
    let dev = new_file_system(c"tmpfs", &options, NO_SUID)?;
    let inside = Inside::new(dev.as_fd());
    for (name, major, minor) in NODES {
        inside.node(&format!("/{name}"), SFlag::S_IFCHR, 0o666, makedev(major, minor))?;
    }
    for (to, name) in LINKS {
        nix::unistd::symlinkat(to, &dev, name).or_os("symlink", name)?;
    }
    if Path::new("/proc/kcore").exists() {
        nix::unistd::symlinkat("/proc/kcore", &dev, "core").or_os("symlink", "core")?;
    }
    for folder in ["pts", "shm", "mqueue"] {
        nix::sys::stat::mkdirat(&dev, folder, Mode::from_bits_truncate(0o755)).or_os("mkdir", folder)?;
    }
    if console {
        inside.node("/console", SFlag::S_IFREG, 0o600, 0)?;
    }
    Ok(dev)
}

/// Memory shared through `/dev/shm`.
pub fn shm(size: u64) -> Result<OwnedFd, StartError> {
    let size = CString::new(size.to_string()).unwrap_or_default();
    let options = [(c"mode", Some(c"1777")), (c"size", Some(&*size))];
    Ok(new_file_system(c"tmpfs", &options, NO_SUID | NO_DEV | NO_EXEC)?)
}

/// A node of the host as the container gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// In the container.
    pub target: String,
    kind: SFlag,
    mode: u32,
    number: u64,
    uid: u32,
    gid: u32,
    permissions: String,
}

impl Node {
    /// Makes it in the container.
    pub fn make(&self, inside: Inside<'_>, path: &str) -> Result<(), OsError> {
        inside.node(path, self.kind, self.mode, self.number)?;
        if (self.uid, self.gid) != (0, 0) {
            let made = inside.open(path, nix::fcntl::OFlag::O_PATH).or_os("open", path)?;
            let flags = nix::fcntl::AtFlags::AT_EMPTY_PATH;
            let (uid, gid) = (self.uid.into(), self.gid.into());
            nix::unistd::fchownat(&made, "", Some(uid), Some(gid), flags).or_os("chown", path)?;
        }
        Ok(())
    }

    /// The rule of the device cgroup that allows it.
    pub fn rule(&self) -> String {
        let kind = if self.kind == SFlag::S_IFBLK { 'b' } else { 'c' };
        let (major, minor) = (nix::sys::stat::major(self.number), nix::sys::stat::minor(self.number));
        format!("{kind} {major}:{minor} {}", self.permissions)
    }
}

/// Looks up devices of the host; a folder stands for all devices in it.
pub fn look_up(devices: &[Device]) -> Result<Vec<Node>, StartError> {
    let mut nodes = Vec::new();
    for device in devices {
        // Docker resolves a link to the device it leads to.
        let source = device.source.canonicalize().map_err(|_| {
            StartError::Invalid(format!(
                "error gathering device information while adding custom device {:?}: no such file or directory",
                device.source
            ))
        })?;
        let target = device.target.to_string_lossy().into_owned();
        let found = node(&source, &target, &device.permissions);
        match found {
            Some(node) => nodes.push(node),
            None if source.is_dir() => folder(&source, &target, &device.permissions, &mut nodes)?,
            None => {
                return Err(StartError::Invalid(format!(
                    "error gathering device information while adding custom device {:?}: not a device node",
                    device.source
                )));
            }
        }
    }
    Ok(nodes)
}

/// Every device of the host, as a privileged container has them.
pub fn all() -> Result<Vec<Node>, StartError> {
    let mut nodes = Vec::new();
    folder(Path::new("/dev"), "/dev", "rwm", &mut nodes)?;
    Ok(nodes)
}

fn folder(source: &Path, target: &str, permissions: &str, nodes: &mut Vec<Node>) -> Result<(), StartError> {
    let shown = || source.display().to_string();
    let mut entries: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(source).or_os("open", shown())? {
        entries.push(entry.or_os("readdir", shown())?.path());
    }
    entries.sort();
    for entry in entries {
        let Some(name) = entry.file_name().map(|name| name.to_string_lossy().into_owned()) else { continue };
        let target = format!("{target}/{name}");
        // The container has its own of these.
        if entry.is_symlink()
            || ["pts", "shm", "mqueue", "fd", "console", ".udev", ".lxd-mounts"].contains(&name.as_str())
        {
            continue;
        }
        if entry.is_dir() {
            folder(&entry, &target, permissions, nodes)?;
        } else {
            nodes.extend(node(&entry, &target, permissions));
        }
    }
    Ok(())
}

fn node(source: &Path, target: &str, permissions: &str) -> Option<Node> {
    let metadata = source.metadata().ok()?;
    let kind = metadata.file_type();
    let kind = if kind.is_char_device() {
        SFlag::S_IFCHR
    } else if kind.is_block_device() {
        SFlag::S_IFBLK
    } else {
        return None;
    };
    Some(Node {
        target: target.to_owned(),
        kind,
        mode: metadata.mode() & 0o7777,
        number: metadata.rdev(),
        uid: metadata.uid(),
        gid: metadata.gid(),
        permissions: permissions.to_owned(),
    })
}
