//! Hiding from a command what `.dockerignore` leaves out: a layer of whiteouts over a context that stays where it is.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, mkdirat, mknodat};
use nix::unistd::{Gid, Uid, fchown};

use crate::runtime::build::context::Context;
use crate::runtime::image::tree::{empty_folder, names, open_directory, open_directory_in, status};
use crate::runtime::sys::{OrOs, OsError};

/// The layer, made at `place`; `None` if nothing of the context below `below` is hidden.
pub(super) fn mask(context: &Context, below: &Path, place: &Path) -> Result<Option<PathBuf>, OsError> {
    if context.ignore.is_empty() {
        return Ok(None);
    }
    let shown = || context.folder.display().to_string();
    let root = open_directory(&context.folder).or_os("open", shown())?;
    let mask = empty_folder(place).or_os("mkdir", place.display().to_string())?;
    like(&mask, &fstat(&root).or_os("stat", shown())?).or_os("chmod", shown())?;
    let mut hidden = false;
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let at = || folder.display().to_string();
        let opened = open_directory_in(&root, &folder).or_os("open", at())?;
        for (name, directory) in names(&opened).or_os("read", at())? {
            let path = folder.join(&name);
            // Only what is on the way to the mount's source, or below it, can be seen.
            if !path.starts_with(below) && !below.starts_with(&path) {
                continue;
            }
            let excluded = context.ignore.excludes(&path);
            let excepted = directory && context.ignore.has_exceptions() && holds_something(context, &root, &path)?;
            if excluded && !excepted {
                let over = folder_like(&root, &mask, &folder)?;
                mknodat(&over, name.as_os_str(), SFlag::S_IFCHR, Mode::empty(), 0).or_os("mknod", at())?;
                hidden = true;
            } else if directory {
                folders.push(path);
            }
        }
    }
    Ok(hidden.then(|| place.to_owned()))
}

/// Whether anything below an excluded folder is seen.
fn holds_something(context: &Context, root: &OwnedFd, folder: &Path) -> Result<bool, OsError> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let at = || folder.display().to_string();
        let opened = open_directory_in(root, &folder).or_os("open", at())?;
        for (name, directory) in names(&opened).or_os("read", at())? {
            let path = folder.join(name);
            if !context.ignore.excludes(&path) {
                return Ok(true);
            }
            if directory {
                folders.push(path);
            }
        }
    }
    Ok(false)
}

/// The folder of the mask over a folder of the context, and those above it; the uppermost layer's owner and mode count.
fn folder_like(root: &OwnedFd, mask: &OwnedFd, folder: &Path) -> Result<OwnedFd, OsError> {
    let at = || folder.display().to_string();
    let mut current = open_directory_in(mask, Path::new("")).or_os("open", at())?;
    let mut path = PathBuf::new();
    for name in folder.iter() {
        path.push(name);
        if status(&current, name).or_os("stat", at())?.is_none() {
            mkdirat(&current, name, Mode::S_IRWXU).or_os("mkdir", at())?;
            let model = open_directory_in(root, &path).or_os("open", at())?;
            let made = open_directory_in(&current, Path::new(name)).or_os("open", at())?;
            like(&made, &fstat(&model).or_os("stat", at())?).or_os("chmod", at())?;
        }
        current = open_directory_in(&current, Path::new(name)).or_os("open", at())?;
    }
    Ok(current)
}

fn like(made: &OwnedFd, model: &FileStat) -> io::Result<()> {
    fchown(made, Some(Uid::from_raw(model.st_uid)), Some(Gid::from_raw(model.st_gid)))?;
    Ok(fchmod(made, Mode::from_bits_truncate(model.st_mode & 0o7777))?)
}
