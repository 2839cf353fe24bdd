//! The file system of a stage while a step works on it: an overlay that is mounted but placed nowhere.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::runtime::image::tree::{empty_folder, open_directory};
use crate::runtime::start::request::{Durability, Rootfs};
use crate::runtime::start::{StartError, rootfs};
use crate::runtime::sys::OrOs;

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

    /// The overlay of these layers (the topmost last) that changes go to. What is thrown away if we die need not be written out.
    pub(super) fn over(&self, layers: &[PathBuf]) -> Rootfs {
        Rootfs {
            lower: layers.iter().rev().cloned().collect(),
            upper: self.upper.clone(),
            work: self.work.clone(),
            durability: Durability::Volatile,
            read_only: false,
        }
    }
}

/// Opens the file system that these layers (the topmost last) make, with what is changed in it going to `change`.
pub(super) fn writable(layers: &[PathBuf], change: &Change) -> Result<OwnedFd, StartError> {
    if layers.is_empty() {
        return Ok(open_directory(&change.upper).or_os("open", change.upper.display().to_string())?);
    }
    rootfs::overlay(&change.over(layers))
}

/// Opens the file system that these layers make, for reading; without layers it is the folder `empty`.
pub(in crate::runtime) fn readable(layers: &[PathBuf], empty: &Path) -> Result<OwnedFd, StartError> {
    match layers {
        [] => Ok(open_directory(empty).or_os("open", empty.display().to_string())?),
        layers => rootfs::layers(&layers.iter().rev().cloned().collect::<Vec<_>>()),
    }
}
