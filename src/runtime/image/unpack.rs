//! From an archive to the directory of a layer, and into any directory below a root.
//!
//! An archive is hostile. A name is cleaned as text first and refused when it climbs out; what is left is resolved by the kernel with
//! the layer as the root directory; the last part of a name is never followed. What has been unpacked before is replaced by a later
//! entry of the same name, as Docker does. A device node is made only where it is harmless. Of the attributes only those are set that
//! mean something to programs in the container; `trusted.overlay.*` would mean something to the kernel outside.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{
    FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, futimens, makedev, mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat, linkat, symlinkat};

use crate::runtime::image::archive_reader::{ArchiveError, ArchiveReader, Entry, EntryKind};
use crate::runtime::image::tree::{kind, open_directory_in, remove_in, status};

/// Docker's mark of something removed, before the name (OCI image-spec, "Whiteouts").
pub(super) const WHITEOUT: &str = ".wh.";
/// Docker's mark, within a directory, that nothing of the directory below is seen.
pub(super) const OPAQUE: &str = ".wh..wh..opq";
/// The same mark for the kernel's overlay (overlayfs.rst).
pub(super) const OPAQUE_ATTRIBUTE: &str = "trusted.overlay.opaque";

/// Depth at which a path is taken for an attack.
const DEPTH_LIMIT: usize = 1024;

/// Why an archive can't be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It can't be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// An entry is not acceptable.
    #[error("the archive's entry {path:?} {reason}")]
    Refused {
        /// As written in the archive.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The kernel refused to make it.
    #[error("the archive's entry {path:?} cannot be made: {}", .errno.desc())]
    Failed {
        /// As written in the archive.
        path: String,
        /// Why.
        errno: Errno,
    },
}

/// What names that begin with `.wh.` mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whiteouts {
    /// Something below is hidden: the archive is a layer.
    Layer,
    /// Nothing: the archive is a user's (`ADD`).
    Plain,
}

/// Who owns what is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Whom the archive names.
    Archive,
    /// This user and group.
    Fixed(u32, u32),
}

/// Unpacks an uncompressed archive into the directory `base` below `root`, reading it to its end. Returns the bytes of its files.
pub fn unpack(
    input: impl Read,
    root: &OwnedFd,
    base: &Path,
    whiteouts: Whiteouts,
    owner: Owner,
) -> Result<u64, UnpackError> {
    let mut archive = ArchiveReader::new(input);
    let mut unpacker = Unpacker {
        root,
        base,
        whiteouts,
        owner,
        parent: None,
        directories: Vec::new(),
        hidden: HashSet::new(),
        size: 0,
        buffer: vec![0; 256 * 1024],
    };
    while let Some(entry) = archive.next_entry()? {
        unpacker.entry(&entry, &mut archive)?;
    }
    archive.finish()?;
    unpacker.set_directory_times();
    Ok(unpacker.size)
}

struct Unpacker<'a> {
    root: &'a OwnedFd,
    base: &'a Path,
    whiteouts: Whiteouts,
    owner: Owner,
    /// The directory of the last entry; forgotten when anything but a file is replaced.
    parent: Option<(PathBuf, OwnedFd)>,
    /// Their times are set when nothing more is made in them.
    directories: Vec<(PathBuf, (i64, i64))>,
    /// What this layer hides; a directory made there later shows nothing of the hidden one.
    hidden: HashSet<PathBuf>,
    size: u64,
    buffer: Vec<u8>,
}

/// Why one entry failed, before it is given its name.
enum Fault {
    Refused(&'static str),
    Errno(Errno),
    Archive(ArchiveError),
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Fault {
        Fault::Errno(errno)
    }
}

impl Unpacker<'_> {
    fn entry(&mut self, entry: &Entry, archive: &mut ArchiveReader<impl Read>) -> Result<(), UnpackError> {
        self.make(entry, archive).map_err(|fault| {
            let path = String::from_utf8_lossy(&entry.path).into_owned();
            match fault {
                Fault::Refused(reason) => UnpackError::Refused { path, reason },
                Fault::Errno(errno) => UnpackError::Failed { path, errno },
                Fault::Archive(error) => UnpackError::Archive(error),
            }
        })
    }

    fn make(&mut self, entry: &Entry, archive: &mut ArchiveReader<impl Read>) -> Result<(), Fault> {
        let path = clean(&entry.path)?;
        let Some(name) = path.file_name().map(OsStr::to_owned) else {
            return self.make_root(entry);
        };
        let folder = self.base.join(path.parent().unwrap_or(Path::new("")));
        let path = self.base.join(&path);
        let parent = self.parent(&folder)?;
        if self.whiteouts == Whiteouts::Layer
            && let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT.as_bytes())
        {
            let result = self.hide(&parent, &folder, OsStr::from_bytes(hidden), entry);
            self.parent = Some((folder, parent));
            return result;
        }
        let mut kept = true;
        let existing = status(&parent, &name)?;
        let keep = entry.kind == EntryKind::Directory && existing.is_some_and(|status| kind(&status) == SFlag::S_IFDIR);
        if let Some(existing) = existing.filter(|_| !keep) {
            kept = !matches!(kind(&existing), SFlag::S_IFDIR | SFlag::S_IFLNK);
            remove_in(&parent, &name)?;
        }
        let mode = Mode::from_bits_truncate(entry.mode);
        let private = Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_IXUSR;
        match &entry.kind {
            EntryKind::File { size, pieces } => {
                let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
                let file = std::fs::File::from(openat(&parent, name.as_os_str(), flags, private)?);
                self.fill(&file, *size, pieces, archive)?;
                self.finish_open(&file, entry)?;
            }
            EntryKind::Directory => {
                if !keep {
                    mkdirat(&parent, name.as_os_str(), private)?;
                }
                let directory = open_directory_in(&parent, Path::new(&name))?;
                if self.hidden.contains(&path) {
                    set_attribute(&directory, OPAQUE_ATTRIBUTE.as_bytes(), b"y")?;
                }
                self.finish_open(&directory, entry)?;
                self.directories.push((path, entry.mtime));
            }
            EntryKind::HardLink(target) => {
                let target = clean(target)?;
                let Some(target_name) = target.file_name() else {
                    return Err(Fault::Refused("is a hard link to a directory"));
                };
                let target_folder = self.base.join(target.parent().unwrap_or(Path::new("")));
                let target_parent = open_directory_in(self.root, &target_folder)?;
                linkat(&target_parent, target_name, &parent, name.as_os_str(), AtFlags::empty())?;
                self.own_again(&parent, &name, entry)?;
            }
            EntryKind::Symlink(target) => {
                symlinkat(OsStr::from_bytes(target), &parent, name.as_os_str())?;
                self.finish_named(&parent, &name, entry)?;
            }
            EntryKind::Fifo => {
                mknodat(&parent, name.as_os_str(), SFlag::S_IFIFO, private, 0)?;
                fchmodat(&parent, name.as_os_str(), mode, FchmodatFlags::FollowSymlink)?;
                self.finish_named(&parent, &name, entry)?;
            }
            EntryKind::Character(major, minor) | EntryKind::Block(major, minor) => {
                let character = matches!(entry.kind, EntryKind::Character(..));
                if character && harmless(*major, *minor) {
                    mknodat(
                        &parent,
                        name.as_os_str(),
                        SFlag::S_IFCHR,
                        private,
                        makedev((*major).into(), (*minor).into()),
                    )?;
                    fchmodat(&parent, name.as_os_str(), mode, FchmodatFlags::FollowSymlink)?;
                    self.finish_named(&parent, &name, entry)?;
                } else if !path.starts_with(self.base.join("dev")) {
                    return Err(Fault::Refused("is a device node outside of /dev"));
                }
                // In /dev it is left out: a container has a /dev of its own, and nobody would ever see it.
            }
        }
        if kept {
            self.parent = Some((folder, parent));
        }
        Ok(())
    }

    /// An entry for the top directory itself.
    fn make_root(&mut self, entry: &Entry) -> Result<(), Fault> {
        if entry.kind != EntryKind::Directory {
            return Err(Fault::Refused("replaces the top directory"));
        }
        // A user's archive does not decide what the directory is like into which it is unpacked.
        if self.whiteouts == Whiteouts::Layer {
            let directory = open_directory_in(self.root, self.base)?;
            self.finish_open(&directory, entry)?;
            self.directories.push((self.base.to_owned(), entry.mtime));
        }
        Ok(())
    }

    /// A mark that something below is not seen.
    fn hide(&mut self, parent: &OwnedFd, folder: &Path, hidden: &OsStr, entry: &Entry) -> Result<(), Fault> {
        if OPAQUE.strip_prefix(WHITEOUT).is_some_and(|mark| hidden == mark) {
            return Ok(set_attribute(parent, OPAQUE_ATTRIBUTE.as_bytes(), b"y")?);
        }
        if hidden.as_bytes().starts_with(WHITEOUT.as_bytes()) {
            // Other marks of this kind were aufs's own (`.wh..wh.plnk`); they hide nothing.
            return Ok(());
        }
        if hidden.is_empty() || hidden == "." || hidden == ".." {
            return Err(Fault::Refused("hides nothing that has a name"));
        }
        self.hidden.insert(folder.join(hidden));
        match status(parent, hidden)? {
            // What this layer has itself is seen; only what is below it is hidden.
            Some(existing) if kind(&existing) == SFlag::S_IFDIR => {
                let directory = open_directory_in(parent, Path::new(hidden))?;
                Ok(set_attribute(&directory, OPAQUE_ATTRIBUTE.as_bytes(), b"y")?)
            }
            Some(_) => Ok(()),
            None => {
                mknodat(parent, hidden, SFlag::S_IFCHR, Mode::empty(), 0)?;
                // With its time, too: packed again, the layer is the same.
                self.finish_named(parent, hidden, entry)
            }
        }
    }

    fn fill(
        &mut self,
        file: &std::fs::File,
        size: u64,
        pieces: &[(u64, u64)],
        archive: &mut ArchiveReader<impl Read>,
    ) -> Result<(), Fault> {
        use std::os::unix::fs::FileExt;
        let os = |error: io::Error| Fault::Errno(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw));
        for (offset, length) in pieces {
            let (mut at, end) = (*offset, offset + length);
            while at < end {
                let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(self.buffer.len());
                let count = archive.read(&mut self.buffer[..most]).map_err(|error| Fault::Archive(error.into()))?;
                file.write_all_at(&self.buffer[..count], at).map_err(os)?;
                at += count as u64;
            }
            self.size += length;
        }
        // A map often ends with an empty piece at the file's end, which nothing is written for.
        if !pieces.iter().any(|(offset, length)| *length > 0 && offset + length == size) {
            file.set_len(size).map_err(os)?;
        }
        Ok(())
    }

    /// Owner, mode, attributes, times, in the order in which one does not undo another (chown clears set-id bits and capabilities).
    fn finish_open(&self, file: impl AsFd, entry: &Entry) -> Result<(), Fault> {
        let (uid, gid) = self.owner(entry);
        fchown(file.as_fd(), Some(uid), Some(gid))?;
        fchmod(file.as_fd(), Mode::from_bits_truncate(entry.mode))?;
        for (name, value) in &entry.attributes {
            if allowed(name) {
                match set_attribute(file.as_fd(), name, value) {
                    // As Docker: the file system lacks them, or the file can't have this one.
                    Ok(()) | Err(Errno::ENOTSUP | Errno::EPERM) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        let time = TimeSpec::new(entry.mtime.0, entry.mtime.1);
        Ok(futimens(file.as_fd(), &time, &time)?)
    }

    /// The same for what can't be opened.
    fn finish_named(&self, parent: &OwnedFd, name: &OsStr, entry: &Entry) -> Result<(), Fault> {
        let (uid, gid) = self.owner(entry);
        fchownat(parent, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        let time = TimeSpec::new(entry.mtime.0, entry.mtime.1);
        Ok(utimensat(parent, name, &time, &time, UtimensatFlags::NoFollowSymlink)?)
    }

    /// The last entry that names a file says whose it is and what may be done with it, as Docker has it. Only where that is news: a
    /// change of owner takes set-id bits and capabilities away.
    fn own_again(&self, parent: &OwnedFd, name: &OsStr, entry: &Entry) -> Result<(), Fault> {
        let Some(found) = status(parent, name)? else { return Ok(()) };
        let (uid, gid) = self.owner(entry);
        let symlink = kind(&found) == SFlag::S_IFLNK;
        if (found.st_uid, found.st_gid) != (uid.as_raw(), gid.as_raw()) {
            fchownat(parent, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        } else if symlink || found.st_mode & 0o7777 == entry.mode {
            return Ok(());
        }
        if !symlink {
            fchmodat(parent, name, Mode::from_bits_truncate(entry.mode), FchmodatFlags::FollowSymlink)?;
        }
        Ok(())
    }

    fn owner(&self, entry: &Entry) -> (Uid, Gid) {
        match self.owner {
            Owner::Archive => (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid)),
            Owner::Fixed(uid, gid) => (Uid::from_raw(uid), Gid::from_raw(gid)),
        }
    }

    /// Opens the directory of an entry; what the archive did not mention is made as Docker makes it: root's, 0755.
    fn parent(&mut self, folder: &Path) -> Result<OwnedFd, Fault> {
        match self.parent.take() {
            Some((known, parent)) if known == folder => Ok(parent),
            _ => Ok(make_directories(self.root, folder, |_| Ok(()))?),
        }
    }

    fn set_directory_times(&mut self) {
        for (path, (seconds, nanos)) in self.directories.drain(..).rev() {
            // A later entry may have replaced it; then there is nothing to set.
            if let Ok(directory) = open_directory_in(self.root, &path) {
                let time = TimeSpec::new(seconds, nanos);
                let _ = futimens(&directory, &time, &time);
            }
        }
    }
}

/// Opens a directory below `root`, making what is missing of its path with mode 0755; each new one is shown to `made`.
pub(in crate::runtime) fn make_directories(
    root: &OwnedFd,
    path: &Path,
    made: impl Fn(&OwnedFd) -> Result<(), Errno>,
) -> Result<OwnedFd, Errno> {
    match open_directory_in(root, path) {
        Err(Errno::ENOENT) => {}
        other => return other,
    }
    let mut current = open_directory_in(root, Path::new("."))?;
    let mut reached = PathBuf::new();
    for part in path.components() {
        reached.push(part);
        current = match open_directory_in(root, &reached) {
            Err(Errno::ENOENT) => {
                let name = part.as_os_str();
                mkdirat(&current, name, Mode::S_IRWXU)?;
                let directory = open_directory_in(&current, Path::new(name))?;
                fchmod(&directory, Mode::from_bits_truncate(0o755))?;
                made(&directory)?;
                directory
            }
            other => other?,
        };
    }
    Ok(current)
}

/// The path as text: without a root, `.` and `..`; refused if it climbs out.
fn clean(path: &[u8]) -> Result<PathBuf, Fault> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop().ok_or(Fault::Refused("leads out of the archive"))?;
            }
            _ if part.contains(&0) => return Err(Fault::Refused("has a zero byte in its name")),
            _ => parts.push(part),
        }
    }
    if parts.len() > DEPTH_LIMIT {
        return Err(Fault::Refused("lies too deep"));
    }
    Ok(parts.into_iter().map(|part| OsString::from_vec(part.to_vec())).collect())
}

/// The devices that every container has anyway: null, zero, full, random, urandom, tty, console, ptmx.
fn harmless(major: u32, minor: u32) -> bool {
    matches!((major, minor), (1, 3 | 5 | 7 | 8 | 9) | (5, 0..=2))
}

/// Attributes that mean something to programs. The namespaces `trusted` and most of `security` mean something to the kernel outside.
pub(in crate::runtime) fn allowed(name: &[u8]) -> bool {
    name == b"security.capability"
        || name.starts_with(b"system.posix_acl_")
        || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}

pub(in crate::runtime) fn set_attribute(file: impl AsFd, name: &[u8], value: &[u8]) -> Result<(), Errno> {
    rustix::fs::fsetxattr(file, name, value, rustix::fs::XattrFlags::empty())
        .map_err(|error| Errno::from_raw(error.raw_os_error()))
}
