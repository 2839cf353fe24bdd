//! Working in a container's root file system from outside, without ever leaving it: links in it are followed as the
//! container would follow them, and nothing there can lead to a file of the host (openat2(2), `RESOLVE_IN_ROOT`).

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag};

use crate::engine::InjectedFile;
use crate::runtime::sys::{OrOs, OsError};

/// A root file system.
#[derive(Debug, Clone, Copy)]
pub struct Inside<'a>(BorrowedFd<'a>);

/// A file of an image is read up to here; what a hostile one has beyond does not count.
const READ_AT_MOST: u64 = 8 << 20;

impl<'a> Inside<'a> {
    /// Below this folder.
    pub fn new(root: BorrowedFd<'a>) -> Inside<'a> {
        Inside(root)
    }

    /// Opens what the container calls `path`.
    pub fn open(self, path: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        let path = if path.trim_matches('/').is_empty() { "." } else { path };
        // EAGAIN: something was renamed on the way, as another container may in a shared volume.
        let mut tries = 0;
        loop {
            match openat2(self.0, path, how) {
                Err(Errno::EAGAIN) if tries < 64 => tries += 1,
                other => return other,
            }
        }
    }

    /// The text of an ordinary file; `None` if there is none.
    pub fn read(self, path: &str) -> Result<Option<String>, OsError> {
        // Whatever the image has there: opening it must not wait for anything or become our terminal.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = match self.open(path, flags) {
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(None),
            other => other.or_os("open", path)?,
        };
        let kind = SFlag::from_bits_truncate(nix::sys::stat::fstat(&file).or_os("stat", path)?.st_mode) & SFlag::S_IFMT;
        if kind != SFlag::S_IFREG {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        std::fs::File::from(file).take(READ_AT_MOST).read_to_end(&mut bytes).or_os("read", path)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The folder, made with what is missing on the way (root's, mode 755).
    pub fn folder(self, path: &str) -> Result<OwnedFd, OsError> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        match self.open(path, flags) {
            Err(Errno::ENOENT) => (),
            other => return other.or_os("open", path),
        }
        let mut found = self.open("/", flags).or_os("open", "/")?;
        let mut prefix = String::new();
        for name in path.split('/').filter(|name| !name.is_empty() && *name != ".") {
            prefix.push('/');
            prefix.push_str(name);
            found = match self.open(&prefix, flags) {
                Err(Errno::ENOENT) => {
                    let mode = Mode::from_bits_truncate(0o755);
                    nix::sys::stat::mkdirat(&found, name, mode).or_os("mkdir", prefix.as_str())?;
                    self.open(&prefix, flags).or_os("open", prefix.as_str())?
                }
                other => other.or_os("open", prefix.as_str())?,
            };
        }
        Ok(found)
    }

    /// Writes a file anew, with exactly this owner and mode.
    pub fn write(self, file: &InjectedFile) -> Result<(), OsError> {
        let subject = file.target.as_str();
        let (folder, name) = split(subject);
        let folder = self.folder(folder)?;
        match nix::unistd::unlinkat(&folder, name, nix::unistd::UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => (),
            Err(errno) => return Err(errno).or_os("unlink", subject),
        }
        // Made anew and exclusively: a link that stands there now is an error, not a way out.
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let made = nix::fcntl::openat(&folder, name, flags, Mode::from_bits_truncate(0o600)).or_os("open", subject)?;
        nix::unistd::fchown(&made, Some(file.uid.into()), Some(file.gid.into())).or_os("chown", subject)?;
        nix::sys::stat::fchmod(&made, Mode::from_bits_truncate(file.mode)).or_os("chmod", subject)?;
        std::io::Write::write_all(&mut std::fs::File::from(made), &file.content).or_os("write", subject)
    }

    /// Makes a device node (or a FIFO) with this mode, in place of what is there.
    pub fn node(self, path: &str, kind: SFlag, mode: u32, number: u64) -> Result<(), OsError> {
        let (folder, name) = split(path);
        let folder = self.folder(folder)?;
        let _ = nix::unistd::unlinkat(&folder, name, nix::unistd::UnlinkatFlags::NoRemoveDir);
        let mode = Mode::from_bits_truncate(mode);
        nix::sys::stat::mknodat(&folder, name, kind, mode, number).or_os("mknod", path)?;
        // Again, since the umask took bits away.
        nix::sys::stat::fchmodat(&folder, name, mode, FchmodatFlags::FollowSymlink).or_os("chmod", path)
    }

    /// What is at `path`, if anything.
    pub fn stat(self, path: &str) -> Option<nix::libc::stat> {
        let found = self.open(path, OFlag::O_PATH).ok()?;
        nix::sys::stat::fstatat(found.as_fd(), "", AtFlags::AT_EMPTY_PATH).ok()
    }
}

/// Folder and name of an absolute path.
fn split(path: &str) -> (&str, &str) {
    path.trim_end_matches('/').rsplit_once('/').unwrap_or(("/", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_out_of_the_root_lead_into_it() {
        let outside = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("passwd"), "host").unwrap();
        symlink(outside.path(), root.path().join("etc")).unwrap();
        symlink("../../../../../../etc/hostname", root.path().join("up")).unwrap();
        let folder = std::fs::File::open(root.path()).unwrap();
        let inside = Inside::new(folder.as_fd());
        assert_eq!(inside.read("/etc/passwd").unwrap(), None);
        assert_eq!(inside.read("/up").unwrap(), None);

        // A dangling absolute link is followed inside the root, where there is nothing to make a folder of.
        assert!(inside.folder("/etc/new").is_err());
        let file = |target: &str| InjectedFile {
            target: target.to_owned(),
            content: b"x".to_vec(),
            uid: nix::unistd::getuid().as_raw(),
            gid: nix::unistd::getgid().as_raw(),
            mode: 0o440,
        };
        assert!(inside.write(&file("/etc/passwd")).is_err());
        assert_eq!(std::fs::read_to_string(outside.path().join("passwd")).unwrap(), "host");

        // A link at the place itself is replaced, not written through.
        symlink(outside.path().join("passwd"), root.path().join("link")).unwrap();
        inside.write(&file("/link")).unwrap();
        assert_eq!(std::fs::read_to_string(root.path().join("link")).unwrap(), "x");
        assert_eq!(std::fs::read_to_string(outside.path().join("passwd")).unwrap(), "host");
        inside.write(&file("/deep/er/file")).unwrap();
        assert_eq!(inside.read("deep/er/file").unwrap().as_deref(), Some("x"));
    }

    #[test]
    fn a_pipe_in_place_of_a_file_is_no_file_and_nothing_waits_for_it() {
        let root = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&root.path().join("passwd"), Mode::from_bits_truncate(0o644)).unwrap();
        let folder = std::fs::File::open(root.path()).unwrap();
        assert_eq!(Inside::new(folder.as_fd()).read("/passwd").unwrap(), None);
    }
}
