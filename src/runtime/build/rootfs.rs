//! The file system of a stage while a step works on it: an overlay that is mounted but placed nowhere.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};

use crate::runtime::image::tree::{empty_folder, open_directory};
use crate::runtime::sys::{OrOs, OsError};

/// Where what a step changes goes; a folder within a staging folder.
#[derive(Debug)]
pub(super) struct Change {
    /// Becomes the layer.
    pub(super) upper: PathBuf,
    /// The kernel's.
    pub(super) work: PathBuf,
}

impl Change {
    /// Makes the folders.
    pub(super) fn new(folder: &Path) -> std::io::Result<Change> {
        let change = Change { upper: folder.join("upper"), work: folder.join("work") };
        std::fs::create_dir(folder)?;
        empty_folder(&change.upper)?;
        std::fs::create_dir(&change.work)?;
        Ok(change)
    }
}

/// Opens the file system that these layers (the topmost last) make, with what is changed in it going to `change`.
pub(super) fn writable(layers: &[PathBuf], change: &Change) -> Result<OwnedFd, OsError> {
    if layers.is_empty() {
        return open_directory(&change.upper).or_os("open", change.upper.display().to_string());
    }
    overlay(layers, Some(change))
}

/// Opens the file system that these layers make, for reading.
pub(super) fn readable(layers: &[PathBuf], empty: &Path) -> Result<OwnedFd, OsError> {
    match layers {
        [] => open_directory(empty).or_os("open", empty.display().to_string()),
        [single] => open_directory(single).or_os("open", single.display().to_string()),
        layers => overlay(layers, None),
    }
}

fn overlay(layers: &[PathBuf], change: Option<&Change>) -> Result<OwnedFd, OsError> {
    let mount = || -> rustix::io::Result<OwnedFd> {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for layer in layers.iter().rev() {
            fsconfig_set_string(&context, "lowerdir+", layer.as_path())?;
        }
        if let Some(change) = change {
            fsconfig_set_string(&context, "upperdir", change.upper.as_path())?;
            fsconfig_set_string(&context, "workdir", change.work.as_path())?;
            // What is thrown away if we die need not be written out.
            fsconfig_set_flag(&context, "volatile")?;
        }
        for (name, value) in [("index", "off"), ("redirect_dir", "nofollow"), ("metacopy", "off")] {
            fsconfig_set_string(&context, name, value)?;
        }
        fsconfig_create(&context)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
    };
    mount()
        .map_err(|error| Errno::from_raw(error.raw_os_error()))
        .or_os("mount", format!("overlay of {} layers", layers.len()))
}
