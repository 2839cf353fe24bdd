//! Folders in which things are made before they are visible.
//!
//! A folder is locked by its maker while in use, so that whoever comes later knows a dead one's leavings, and removes them.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::runtime::image::detail::remove_weighed;
use crate::runtime::image::tree::remove_tree;

/// A folder of one's own, gone when dropped.
#[derive(Debug)]
pub(in crate::runtime) struct Staging {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Staging {
    /// Makes a folder below `parent`, and removes what dead processes left there.
    pub(in crate::runtime) fn new(parent: &Path) -> io::Result<Staging> {
        // While it is held, nobody takes a new folder that is not locked yet for a leaving.
        let turn = lock(parent, FlockArg::LockExclusive)?;
        let dead = leavings(parent)?;
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

/// Removes what dead processes left below `parent`. Returns how many bytes that frees.
pub(super) fn sweep(parent: &Path) -> io::Result<u64> {
    let turn = lock(parent, FlockArg::LockExclusive)?;
    let dead = leavings(parent)?;
    drop(turn);
    dead.into_iter().map(|(path, _held)| remove_weighed(&path)).sum()
}

/// Takes what dead processes left.
fn leavings(parent: &Path) -> io::Result<Vec<(PathBuf, Flock<File>)>> {
    let paths = fs::read_dir(parent)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    let mut dead = Vec::new();
    for path in paths {
        let folder = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        if let Some(held) = leaving(folder, &path)? {
            dead.push((path, held));
        }
    }
    Ok(dead)
}

/// Takes what lies at `path`, opened before, if its maker is dead. A maker that was just done has removed it, lock and all:
/// then its name is free, perhaps for the next folder of our own.
fn leaving(folder: File, path: &Path) -> io::Result<Option<Flock<File>>> {
    match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
        Ok(held) => Ok(path.exists().then_some(held)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno.into()),
    }
}

fn lock(path: &Path, how: FlockArg) -> io::Result<Flock<File>> {
    Flock::lock(File::open(path)?, how).map_err(|(_, errno)| errno.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_makers_folder_is_a_leaving_and_one_that_is_gone_or_in_use_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("1-0");
        fs::create_dir(&path).unwrap();
        let open = || File::open(&path).unwrap();
        let held = leaving(open(), &path).unwrap();
        assert!(held.is_some());
        assert!(leaving(open(), &path).unwrap().is_none(), "somebody has it");
        drop(held);
        let late = open();
        fs::remove_dir(&path).unwrap();
        assert!(leaving(late, &path).unwrap().is_none(), "it went between opening and locking");
    }

    #[test]
    fn many_at_once_keep_their_own() {
        let parent = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let staging = Staging::new(parent.path()).unwrap();
                        fs::write(staging.path().join("mine"), "").unwrap();
                        assert!(staging.path().join("mine").exists());
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
