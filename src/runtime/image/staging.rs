//! Folders in which things are made before they are visible.
//!
//! A folder is locked by its maker while in use, so that whoever comes later knows a dead one's leavings, and removes them.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::runtime::image::tree::remove_tree;

/// A folder of one's own, gone when dropped.
#[derive(Debug)]
pub(in crate::runtime) struct Staging {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Staging {
    /// Makes a folder below `parent`, and removes what dead processes left there.
    pub(super) fn new(parent: &Path) -> io::Result<Staging> {
        // While it is held, nobody takes a new folder that is not locked yet for a leaving.
        let turn = lock(parent, FlockArg::LockExclusive)?;
        let leavings: Vec<PathBuf> = fs::read_dir(parent)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        let mut dead = Vec::new();
        for path in leavings {
            match lock(&path, FlockArg::LockExclusiveNonblock) {
                Ok(held) => dead.push((path, held)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock || error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let id = std::process::id();
        let path = (0..).map(|number: u64| parent.join(format!("{id}-{number}"))).find(|path| !path.exists());
        let path = path.ok_or(io::ErrorKind::AlreadyExists)?;
        DirBuilder::new().mode(0o700).create(&path)?;
        let staging = Staging { _lock: lock(&path, FlockArg::LockExclusive)?, path };
        drop(turn);
        for (path, _held) in dead {
            remove_tree(&path)?;
        }
        Ok(staging)
    }

    /// Where it is.
    pub(in crate::runtime) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What is left lies until the next folder is made here.
        let _ = remove_tree(&self.path);
    }
}

fn lock(path: &Path, how: FlockArg) -> io::Result<Flock<File>> {
    Flock::lock(File::open(path)?, how).map_err(|(_, errno)| errno.into())
}
