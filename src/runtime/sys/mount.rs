//! Mounts as files (fsopen(2), open_tree(2) and their kin), which libc does not know yet.

use std::os::fd::OwnedFd;

use nix::errno::Errno;

use crate::runtime::sys::OsError;

/// This program's own file on a read-only mount of its own, to be executed inside containers as `init`: what runs there
/// can't be turned against the file (`/proc/self/exe` opened for writing).
pub fn own_binary() -> Result<OwnedFd, OsError> {
    Err(OsError { call: "open_tree", subject: "/proc/self/exe".to_owned(), errno: Errno::ENOSYS })
}
