//! Mounts as files (fsopen(2), open_tree(2) and their kin), which libc does not know yet.
//!
//! A mount made here belongs to nobody until it is placed; when its last descriptor is closed before that, it is gone.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, fstatvfs};

use crate::runtime::sys::{OrOs, OsError};

const OPEN_TREE_CLONE: libc::c_uint = 1;
const OPEN_TREE_CLOEXEC: libc::c_uint = libc::O_CLOEXEC as libc::c_uint;
const AT_RECURSIVE: libc::c_uint = 0x8000;
const AT_EMPTY_PATH: libc::c_uint = libc::AT_EMPTY_PATH as libc::c_uint;
const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;
const FSCONFIG_SET_FLAG: libc::c_uint = 0;
const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
/// `MOVE_MOUNT_F_EMPTY_PATH`: the mount is the descriptor itself.
const MOVE_FROM_DESCRIPTOR: libc::c_uint = 4;
/// `MOVE_MOUNT_T_EMPTY_PATH`: the place is the descriptor itself.
const MOVE_TO_DESCRIPTOR: libc::c_uint = 0x40;

/// Nothing can be written (`MOUNT_ATTR_RDONLY`).
pub const READ_ONLY: u64 = 1;
/// Set-user-id bits mean nothing (`MOUNT_ATTR_NOSUID`).
pub const NO_SUID: u64 = 2;
/// Device nodes can't be opened (`MOUNT_ATTR_NODEV`).
pub const NO_DEV: u64 = 4;
/// Nothing can be executed (`MOUNT_ATTR_NOEXEC`).
pub const NO_EXEC: u64 = 8;

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// How far down a tree of mounts something reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The mount itself.
    Top,
    /// All mounts below as well.
    All,
}

impl Reach {
    fn flag(self) -> libc::c_uint {
        match self {
            Reach::Top => 0,
            Reach::All => AT_RECURSIVE,
        }
    }
}

/// An option of a new file system: a word, or a name with a value.
pub type FsOption<'a> = (&'a CStr, Option<&'a CStr>);

/// Makes a file system of the kind `name` and a mount of it with `attributes`. The error has the file system's own words
/// where it gives any.
pub fn new_file_system(name: &CStr, options: &[FsOption<'_>], attributes: u64) -> Result<OwnedFd, OsError> {
    let shown = || name.to_string_lossy().into_owned();
    // SAFETY: `name` is a live string; a new descriptor or -1 comes out.
    let context = unsafe { descriptor(libc::syscall(libc::SYS_fsopen, name.as_ptr(), FSOPEN_CLOEXEC)) };
    let context = context.or_os("fsopen", shown())?;
    for (key, value) in options {
        let command = if value.is_some() { FSCONFIG_SET_STRING } else { FSCONFIG_SET_FLAG };
        configure(context.as_fd(), command, Some(key), *value).map_err(|errno| OsError {
            call: "fsconfig",
            subject: explain(context.as_fd(), || {
                let value = value.map_or_else(String::new, |value| format!("={}", value.to_string_lossy()));
                format!("{} {}{value}", shown(), key.to_string_lossy())
            }),
            errno,
        })?;
    }
    configure(context.as_fd(), FSCONFIG_CMD_CREATE, None, None).map_err(|errno| OsError {
        call: "mount",
        subject: explain(context.as_fd(), shown),
        errno,
    })?;
    // SAFETY: plain numbers in, a new descriptor or -1 out.
    let mount = unsafe {
        descriptor(libc::syscall(libc::SYS_fsmount, context.as_fd().as_raw_fd(), FSMOUNT_CLOEXEC, attributes))
    };
    mount.or_os("fsmount", shown())
}

fn configure(
    context: BorrowedFd<'_>,
    command: libc::c_uint,
    key: Option<&CStr>,
    value: Option<&CStr>,
) -> Result<(), Errno> {
    let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: key and value are live strings, or null where the command takes none.
    let done =
        unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, pointer(key), pointer(value), 0) };
    Errno::result(done).map(drop)
}

/// What the file system wrote into its context about a failure, else `shown`.
fn explain(context: BorrowedFd<'_>, shown: impl Fn() -> String) -> String {
    let mut line = [0; 256];
    match nix::unistd::read(context, &mut line) {
        Ok(length @ 1..) => {
            let line = String::from_utf8_lossy(line.get(..length).unwrap_or(&[]));
            // `e overlay: …`: the first word is the severity.
            line.trim_end().split_once(' ').map_or_else(|| line.to_string(), |(_, text)| text.to_owned())
        }
        _ => shown(),
    }
}

/// A copy of the mount that shows `path` (below `folder`, if relative; `folder` itself, if empty).
pub fn copy_tree(folder: BorrowedFd<'_>, path: &CStr, reach: Reach) -> Result<OwnedFd, Errno> {
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | reach.flag();
    // SAFETY: `path` is a live string; a new descriptor or -1 comes out.
    unsafe { descriptor(libc::syscall(libc::SYS_open_tree, folder.as_raw_fd(), path.as_ptr(), flags)) }
}

/// Sets attributes of a mount, and how mounts made later travel (`MS_PRIVATE`, …; 0 leaves that).
pub fn set_attributes(mount: BorrowedFd<'_>, reach: Reach, set: u64, propagation: u64) -> Result<(), Errno> {
    let attributes = MountAttr { set, propagation, ..MountAttr::default() };
    // SAFETY: the path is an empty live string, and `attributes` has the size that is told.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            AT_EMPTY_PATH | reach.flag(),
            &raw const attributes,
            size_of::<MountAttr>(),
        )
    };
    Errno::result(done).map(drop)
}

/// Puts a mount where `place` is: a descriptor itself, or a path.
pub fn place(mount: BorrowedFd<'_>, place: Place<'_>) -> Result<(), Errno> {
    let (folder, path, flags) = match place {
        Place::Descriptor(folder) => (folder.as_raw_fd(), c"", MOVE_FROM_DESCRIPTOR | MOVE_TO_DESCRIPTOR),
        Place::Path(path) => (libc::AT_FDCWD, path, MOVE_FROM_DESCRIPTOR),
    };
    // SAFETY: both paths are live strings, the first one empty.
    let done =
        unsafe { libc::syscall(libc::SYS_move_mount, mount.as_raw_fd(), c"".as_ptr(), folder, path.as_ptr(), flags) };
    Errno::result(done).map(drop)
}

/// Where a mount goes.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// Over this file or folder.
    Descriptor(BorrowedFd<'a>),
    /// Over what has this path.
    Path(&'a CStr),
}

/// This program's own file on a read-only mount of its own: whoever gets hold of it through `/proc/PID/exe` in a
/// container can't write to it. What is executed from here is executed from there ever after (`/proc/self/exe`).
pub fn own_binary() -> Result<OwnedFd, OsError> {
    binary(Path::new("/proc/self/exe"))
}

/// The same of another copy of this program.
pub fn binary(path: &Path) -> Result<OwnedFd, OsError> {
    let subject = || path.display().to_string();
    let file = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).or_os("open", subject())?;
    if fstatvfs(&file).or_os("fstatvfs", subject())?.flags().contains(FsFlags::ST_RDONLY) {
        return Ok(file);
    }
    let tree = copy_tree(file.as_fd(), c"", Reach::Top).or_os("open_tree", subject())?;
    set_attributes(tree.as_fd(), Reach::Top, READ_ONLY, 0).or_os("mount_setattr", subject())?;
    Ok(tree)
}

/// # Safety
/// `number` comes from a call that has just made the descriptor, or failed with -1.
unsafe fn descriptor(number: libc::c_long) -> Result<OwnedFd, Errno> {
    // SAFETY: the caller says that nobody else owns it.
    Errno::result(number).map(|number| unsafe { OwnedFd::from_raw_fd(number as RawFd) })
}
