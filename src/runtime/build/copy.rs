//! Putting files into a stage's file system: what `COPY`, `ADD` and `WORKDIR` do.
//!
//! Destinations are resolved with the stage's root as the root, links followed; what is at the last name is replaced, but a folder is
//! gone into. Times and modes are the sources'.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, UtimensatFlags, fchmod, futimens, mkdirat, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat, symlinkat};

use crate::runtime::build::mode::Chmod;
use crate::runtime::build::source::{Item, Origin, Selected};
use crate::runtime::image::compression::{Limit, decompress, is_archive};
use crate::runtime::image::pack::{attribute, attribute_names};
use crate::runtime::image::tree::{kind, open_directory_in, open_in, remove_in, status};
use crate::runtime::image::unpack::{self, Whiteouts, allowed, make_directories, set_attribute, unpack};
use crate::runtime::sys::{OrOs, OsError};

/// Why files can't be put there.
#[derive(Debug, thiserror::Error)]
pub(in crate::runtime) enum CopyError {
    /// Tell the user.
    #[error("{0}")]
    Invalid(String),
    /// A call failed.
    #[error(transparent)]
    Os(#[from] OsError),
    /// An archive of `ADD` is bad.
    #[error(transparent)]
    Unpack(#[from] unpack::UnpackError),
}

/// How files arrive.
#[derive(Debug, Clone, Copy)]
pub(in crate::runtime) struct Manner<'a> {
    /// The new owner; `None` keeps the source's.
    pub(super) owner: Option<(u32, u32)>,
    /// The new owner of what is in an archive (`ADD --chown`); `None` keeps the archive's.
    pub(super) archive_owner: Option<(u32, u32)>,
    /// The new mode.
    pub(super) mode: Option<&'a Chmod>,
    /// Archives are unpacked (`ADD`).
    pub(super) unpack: Archives,
    /// The folders of a source's name are made, too (`COPY --parents`).
    pub(super) parents: Parents,
}

impl Manner<'_> {
    /// As it is, for this owner or for the source's own.
    pub(in crate::runtime) fn plain(owner: Option<(u32, u32)>) -> Self {
        Manner { owner, ..Manner::owned((0, 0)) }
    }

    /// As it is, for this owner.
    pub(super) fn owned(owner: (u32, u32)) -> Self {
        let (unpack, parents) = (Archives::Kept, Parents::Dropped);
        Manner { owner: Some(owner), archive_owner: None, mode: None, unpack, parents }
    }

    /// The permission bits of a file that has this mode in its source.
    fn bits(&self, source: u32) -> Mode {
        let folder = SFlag::from_bits_truncate(source) & SFlag::S_IFMT == SFlag::S_IFDIR;
        Mode::from_bits_truncate(self.mode.map_or(source & 0o7777, |mode| mode.apply(source, folder)))
    }
}

/// What becomes of archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Archives {
    Kept,
    Unpacked,
}

/// What becomes of the folders in a source's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parents {
    Dropped,
    Made,
}

/// Where files go.
pub(super) struct Destination<'a> {
    /// The stage's file system.
    pub(super) root: &'a OwnedFd,
    /// Below it, absolute or not.
    pub(super) path: &'a Path,
    /// It is a directory even if there is none yet: it was written with a slash at the end, or there are several sources.
    pub(super) folder: bool,
}

/// Copies what was selected.
pub(super) fn copy(
    origin: &Origin<'_>,
    selected: &[Selected],
    to: &Destination<'_>,
    manner: Manner<'_>,
) -> Result<(), CopyError> {
    let target = relative(to.path);
    let existing = open_in(to.root, &target, OFlag::O_PATH).ok();
    let existing = existing.map(|file| nix::sys::stat::fstat(file).or_os("stat", shown(&target))).transpose()?;
    let is_folder = existing.is_some_and(|status| kind(&status) == SFlag::S_IFDIR);
    if existing.is_some() && !is_folder && (to.folder || selected.iter().any(Selected::is_folder)) {
        return Err(CopyError::Invalid(format!("the destination {} is a file, not a directory", to.path.display())));
    }
    for one in selected {
        let base = match manner.parents {
            Parents::Dropped => target.clone(),
            Parents::Made => target.join(&one.parents),
        };
        let Some(first) = one.items.first() else { continue };
        if one.is_folder() {
            let base = if manner.parents == Parents::Made { base.join(&one.name) } else { base };
            copy_folder(origin, one, to.root, &base, manner)?;
        } else if manner.unpack == Archives::Unpacked && unpack_archive(origin, first, to.root, &base, manner)? {
        } else if is_folder || to.folder || manner.parents == Parents::Made {
            let folder = directory(to.root, &base, manner)?;
            copy_one(origin, first, &folder, &one.name, manner)?;
        } else {
            let folder = directory(to.root, base.parent().unwrap_or(Path::new("")), manner)?;
            copy_one(origin, first, &folder, base.file_name().unwrap_or(&one.name), manner)?;
        }
    }
    Ok(())
}

/// Copies a folder's content into another with everything that belongs to it: what an image has, into a new volume. The folder itself
/// gets owner, mode and time of its model. Nothing happens if there is no such folder.
pub(in crate::runtime) fn copy_content(root: OwnedFd, below: &Path, to: &OwnedFd) -> Result<(), CopyError> {
    let origin = Origin::all(root);
    let below = relative(below);
    let manner = Manner::plain(None);
    let Ok(model) = open_directory_in(&origin.root, &below) else { return Ok(()) };
    copy_folder(&origin, &origin.folder(&below)?, to, Path::new(""), manner)?;
    let status = nix::sys::stat::fstat(&model).or_os("stat", shown(&below))?;
    own_and_mode(to, &status, manner).or_os("chmod", shown(&below))?;
    Ok(set_time(to, &status).or_os("utimensat", shown(&below))?)
}

/// Writes a document as a file.
pub(super) fn write(content: &[u8], name: &str, to: &Destination<'_>, manner: Manner<'_>) -> Result<(), CopyError> {
    let target = relative(to.path);
    let is_folder = to.folder || open_directory_in(to.root, &target).is_ok();
    let (folder, name) = match (is_folder, target.file_name()) {
        (false, Some(last)) => (target.parent().unwrap_or(Path::new("")).to_owned(), last.to_owned()),
        _ => (target.clone(), name.into()),
    };
    let folder = directory(to.root, &folder, manner)?;
    replace(&folder, &name)?;
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let file = openat(&folder, name.as_os_str(), flags, Mode::S_IRUSR).or_os("open", name.to_string_lossy())?;
    let mut file = File::from(file);
    io::Write::write_all(&mut file, content).or_os("write", name.to_string_lossy())?;
    let (uid, gid) = manner.owner.unwrap_or((0, 0));
    fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).or_os("chown", name.to_string_lossy())?;
    fchmod(&file, manner.bits(0o644)).or_os("chmod", name.to_string_lossy())?;
    Ok(())
}

/// Makes a folder and those above it.
pub(super) fn make_folder(root: &OwnedFd, path: &Path, owner: (u32, u32)) -> Result<(), OsError> {
    let path = relative(path);
    let own = |folder: &OwnedFd| fchown(folder, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)));
    make_directories(root, &path, own).map(drop).or_os("mkdir", shown(&path))
}

/// Opens a folder below `root`, made with those above it where it is missing.
pub(in crate::runtime) fn directory(root: &OwnedFd, path: &Path, manner: Manner<'_>) -> Result<OwnedFd, OsError> {
    let (uid, gid) = manner.owner.unwrap_or((0, 0));
    let own = |folder: &OwnedFd| fchown(folder, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    make_directories(root, path, own).or_os("mkdir", shown(path))
}

/// Copies what a folder has to the path `base` below `root`.
pub(in crate::runtime) fn copy_folder(
    origin: &Origin<'_>,
    selected: &Selected,
    root: &OwnedFd,
    base: &Path,
    manner: Manner<'_>,
) -> Result<(), CopyError> {
    // A new folder is like the source's; one that is there stays as it is.
    let is_new = open_directory_in(root, base).is_err();
    let top = directory(root, base, manner)?;
    let mut times: Vec<(PathBuf, &FileStat)> = Vec::new();
    for (number, item) in selected.items.iter().enumerate() {
        if number == 0 {
            if is_new {
                own_and_mode(&top, &item.status, manner).or_os("chmod", shown(base))?;
                times.push((PathBuf::new(), &item.status));
            }
            continue;
        }
        let parent = item.below.parent().unwrap_or(Path::new(""));
        // With the top as the root a link in it could not lead out of it, as `/lib` may lead to `/usr/lib`.
        let folder = directory(root, &base.join(parent), manner)?;
        let name = item.below.file_name().unwrap_or_default();
        if kind(&item.status) == SFlag::S_IFDIR {
            match mkdirat(&folder, name, Mode::S_IRWXU) {
                Ok(()) => {}
                Err(Errno::EEXIST) => {
                    if open_directory_in(root, &base.join(&item.below)).is_err() {
                        let path = base.join(&item.below);
                        return Err(CopyError::Invalid(format!(
                            "a directory can't replace the file /{}",
                            path.display()
                        )));
                    }
                    continue;
                }
                Err(errno) => return Err(errno).or_os("mkdir", shown(&item.below)).map_err(Into::into),
            }
            let made = open_directory_in(&folder, Path::new(name)).or_os("open", shown(&item.below))?;
            own_and_mode(&made, &item.status, manner).or_os("chmod", shown(&item.below))?;
            times.push((item.below.clone(), &item.status));
        } else {
            copy_one(origin, item, &folder, name, manner)?;
        }
    }
    for (below, status) in times.iter().rev() {
        let made = open_directory_in(root, &base.join(below)).or_os("open", shown(below))?;
        set_time(&made, status).or_os("utimensat", shown(below))?;
    }
    Ok(())
}

/// Copies a file that is no folder to a name in a folder.
pub(in crate::runtime) fn copy_one(
    origin: &Origin<'_>,
    item: &Item,
    folder: &OwnedFd,
    name: &OsStr,
    manner: Manner<'_>,
) -> Result<(), CopyError> {
    let at = || shown(&item.path);
    if let Some(existing) = status(folder, name).or_os("stat", at())?
        && kind(&existing) == SFlag::S_IFDIR
    {
        return Err(CopyError::Invalid(format!("the file {} can't replace a directory", item.path.display())));
    }
    replace(folder, name)?;
    match kind(&item.status) {
        SFlag::S_IFREG => {
            let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
            // It may have become a pipe meanwhile, whose opening must not wait for anybody.
            let source = open_in(&origin.root, &item.path, OFlag::O_RDONLY | OFlag::O_NONBLOCK).or_os("open", at())?;
            if kind(&nix::sys::stat::fstat(&source).or_os("stat", at())?) != SFlag::S_IFREG {
                return Err(CopyError::Invalid(format!("{} was replaced while it was read", item.path.display())));
            }
            let target = openat(folder, name, flags, Mode::S_IRUSR).or_os("open", at())?;
            let mut target = File::from(target);
            let names = attribute_names(&source).or_os("listxattr", at())?;
            let attributes: Vec<_> = names
                .into_iter()
                .filter(|name| allowed(name))
                .map(|name| attribute(&source, &name).map(|value| (name, value)))
                .collect::<Result<_, _>>()
                .or_os("getxattr", at())?;
            // The kernel copies by itself, sharing blocks where the file system can.
            io::copy(&mut File::from(source), &mut target).or_os("copy", at())?;
            own_and_mode(&target, &item.status, manner).or_os("chmod", at())?;
            for (name, value) in attributes {
                match set_attribute(&target, &name, &value) {
                    Ok(()) | Err(Errno::ENOTSUP) => {}
                    Err(errno) => return Err(errno).or_os("setxattr", at()).map_err(Into::into),
                }
            }
            set_time(&target, &item.status).or_os("utimensat", at())?;
            return Ok(());
        }
        SFlag::S_IFLNK => {
            let target = item.target.as_deref().unwrap_or_default();
            symlinkat(target, folder, name).or_os("symlink", at())?;
        }
        SFlag::S_IFIFO => {
            mknodat(folder, name, SFlag::S_IFIFO, manner.bits(item.status.st_mode), 0).or_os("mknod", at())?;
        }
        // A socket is nothing without its process, and devices are the machine's.
        _ => return Ok(()),
    }
    let (uid, gid) = owner(&item.status, manner);
    fchownat(folder, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW).or_os("chown", at())?;
    let time = TimeSpec::new(item.status.st_mtime, item.status.st_mtime_nsec);
    utimensat(folder, name, &time, &time, UtimensatFlags::NoFollowSymlink).or_os("utimensat", at())?;
    Ok(())
}

fn replace(folder: &OwnedFd, name: &OsStr) -> Result<(), OsError> {
    remove_in(folder, name).or_os("unlink", name.to_string_lossy())
}

/// Unpacks a file if it is an archive; says whether it was one.
fn unpack_archive(
    origin: &Origin<'_>,
    item: &Item,
    root: &OwnedFd,
    base: &Path,
    manner: Manner<'_>,
) -> Result<bool, CopyError> {
    if kind(&item.status) != SFlag::S_IFREG {
        return Ok(false);
    }
    let open = || open_in(&origin.root, &item.path, OFlag::O_RDONLY).or_os("open", shown(&item.path)).map(File::from);
    if !is_archive(open()?) {
        return Ok(false);
    }
    directory(root, base, manner)?;
    let owner = manner.archive_owner.map_or(unpack::Owner::Archive, |(uid, gid)| unpack::Owner::Fixed(uid, gid));
    let (_, input) = decompress(open()?, Limit::default()).map_err(unpack::UnpackError::Archive)?;
    unpack(input, root, base, Whiteouts::Plain, owner)?;
    Ok(true)
}

/// Owner and mode; chown first, since it clears set-id bits.
fn own_and_mode(file: impl AsFd, source: &FileStat, manner: Manner<'_>) -> Result<(), Errno> {
    let (uid, gid) = owner(source, manner);
    fchown(file.as_fd(), Some(uid), Some(gid))?;
    fchmod(file.as_fd(), manner.bits(source.st_mode))
}

fn owner(source: &FileStat, manner: Manner<'_>) -> (Uid, Gid) {
    let (uid, gid) = manner.owner.unwrap_or((source.st_uid, source.st_gid));
    (Uid::from_raw(uid), Gid::from_raw(gid))
}

fn set_time(file: impl AsFd, source: &FileStat) -> Result<(), Errno> {
    let time = TimeSpec::new(source.st_mtime, source.st_mtime_nsec);
    futimens(file.as_fd(), &time, &time)
}

/// Without a root and without `.` and `..`, which end at the root.
pub(in crate::runtime) fn relative(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::Normal(part) => clean.push(part),
            std::path::Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    clean
}

fn shown(path: &Path) -> String {
    String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned()
}
