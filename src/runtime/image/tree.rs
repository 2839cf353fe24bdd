//! Walking below a directory without leaving it, however hostile what lies there.
//!
//! Paths are resolved by the kernel with the directory as the root (`RESOLVE_IN_ROOT`, openat2(2)): an absolute symbolic link or a
//! `..` ends inside. Every change is made on a name in an opened parent directory, and follows no last link.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

const DIRECTORY: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_CLOEXEC).union(OFlag::O_RDONLY);

/// Opens a directory by a path of the host.
pub(in crate::runtime) fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    nix::fcntl::open(path, DIRECTORY, Mode::empty())
}

/// Makes and opens a directory that everybody may enter, whatever the umask: the root of a layer.
pub(in crate::runtime) fn empty_folder(path: &Path) -> io::Result<OwnedFd> {
    std::fs::create_dir(path)?;
    let folder = open_directory(path)?;
    fchmod(&folder, Mode::from_bits_truncate(0o755))?;
    Ok(folder)
}

/// Opens what `path` leads to, with `root` as the root directory. Links are followed as a process in there would.
pub(in crate::runtime) fn open_in(root: impl AsFd, path: &Path, flags: OFlag) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    // The root itself has no name.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    loop {
        match openat2(root.as_fd(), path, how) {
            // Somebody renamed something elsewhere while `..` was resolved (openat2(2)).
            Err(Errno::EAGAIN) => {}
            other => return other,
        }
    }
}

/// Opens the directory that `path` leads to, with `root` as the root directory.
pub(in crate::runtime) fn open_directory_in(root: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    open_in(root, path, DIRECTORY)
}

/// What a name is, not following it; `None` if there is nothing.
pub(in crate::runtime) fn status(directory: impl AsFd, name: &OsStr) -> Result<Option<FileStat>, Errno> {
    match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(status) => Ok(Some(status)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The kind of file.
pub(in crate::runtime) fn kind(status: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT
}

/// The names in a directory, sorted, with whether each is a directory itself.
pub(in crate::runtime) fn names(directory: impl AsFd) -> Result<Vec<(OsString, bool)>, Errno> {
    let mut names = Vec::new();
    let mut opened = Dir::openat(directory.as_fd(), ".", DIRECTORY, Mode::empty())?;
    for entry in opened.iter() {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let folder = match entry.file_type() {
            Some(kind) => kind == Type::Directory,
            None => status(directory.as_fd(), name)?.is_some_and(|status| kind(&status) == SFlag::S_IFDIR),
        };
        names.push((name.to_owned(), folder));
    }
    names.sort();
    Ok(names)
}

/// Removes what is at `path` with everything below it; nothing there is fine.
pub(in crate::runtime) fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    match open_directory(parent) {
        Ok(parent) => Ok(remove_in(parent, name)?),
        Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes a name of a directory with everything below it; nothing there is fine.
///
/// Holds one directory open however deep the tree is: a tree may be deeper than we may have files open. Nobody else moves directories
/// there meanwhile, so `..` leads where we came from.
pub(in crate::runtime) fn remove_in(directory: impl AsFd, name: &OsStr) -> Result<(), Errno> {
    if remove_name(directory.as_fd(), name)? {
        return Ok(());
    }
    let mut current = openat(directory.as_fd(), name, DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty())?;
    // For each level the folders still to be removed, the last being the one we are in.
    let mut levels = vec![folders_left(&current)?];
    while let Some(level) = levels.last_mut() {
        if let Some(folder) = level.last() {
            if remove_name(&current, folder)? {
                level.pop();
            } else {
                current = openat(&current, folder.as_os_str(), DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty())?;
                levels.push(folders_left(&current)?);
            }
        } else {
            levels.pop();
            if !levels.is_empty() {
                current = openat(&current, "..", DIRECTORY, Mode::empty())?;
            }
        }
    }
    unlinkat(directory, name, UnlinkatFlags::RemoveDir)
}

/// Removes a file or an empty directory; `false` if it is a directory with something in it.
fn remove_name(directory: impl AsFd, name: &OsStr) -> Result<bool, Errno> {
    match unlinkat(directory.as_fd(), name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(true),
        Err(Errno::EISDIR | Errno::EPERM) => {}
        Err(errno) => return Err(errno),
    }
    match unlinkat(directory, name, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(true),
        Err(Errno::ENOTEMPTY | Errno::EEXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Removes the files of a directory; returns its folders.
fn folders_left(directory: &OwnedFd) -> Result<Vec<OsString>, Errno> {
    let mut folders = Vec::new();
    for (name, folder) in names(directory)? {
        if folder {
            folders.push(name);
        } else {
            unlinkat(directory, name.as_os_str(), UnlinkatFlags::NoRemoveDir)?;
        }
    }
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::mkdirat;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_tree_deeper_than_the_files_we_may_open_is_removed_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        fs::write(&outside, "kept").unwrap();
        let top = folder.path().join("top");
        fs::create_dir(&top).unwrap();
        symlink(&outside, top.join("link")).unwrap();
        symlink(folder.path(), top.join("up")).unwrap();
        let mut current = open_directory(&top).unwrap();
        for _ in 0..5000 {
            mkdirat(&current, "d", Mode::S_IRWXU).unwrap();
            current = openat(&current, "d", DIRECTORY, Mode::empty()).unwrap();
        }
        remove_tree(&top).unwrap();
        assert!(!top.exists());
        assert_eq!(fs::read_to_string(outside).unwrap(), "kept");
        remove_tree(&top).unwrap();
    }

    #[test]
    fn a_path_is_resolved_inside_its_root() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        fs::write(folder.path().join("secret"), "out").unwrap();
        fs::write(folder.path().join("root/secret"), "in").unwrap();
        symlink("/secret", folder.path().join("root/absolute")).unwrap();
        symlink("../../../secret", folder.path().join("root/climbing")).unwrap();
        let root = open_directory(&folder.path().join("root")).unwrap();
        for path in ["absolute", "climbing", "../secret", "/secret"] {
            let file = open_in(&root, Path::new(path), OFlag::O_RDONLY).unwrap();
            assert_eq!(io::read_to_string(fs::File::from(file)).unwrap(), "in", "{path}");
        }
    }
}
