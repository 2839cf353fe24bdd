//! Blobs that have not come in whole yet: a file each under its digest, kept from one attempt to the next, whoever makes it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::runtime::image::detail::remove_weighed;
use crate::runtime::image::digest::Digest;

/// One of them, nobody else's while this lives. It stays when dropped.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
    file: Flock<File>,
}

impl Partial {
    /// Takes the file for a blob, making it if there is none; waits while somebody else has it.
    pub(super) fn take(folder: &Path, digest: &Digest) -> io::Result<Partial> {
        fs::create_dir_all(folder)?;
        let path = folder.join(digest.hex());
        loop {
            let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
            let file = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
            // Whoever had it before may have removed it meanwhile; then this is a file that nobody finds any more.
            if is_at(&file, &path)? {
                return Ok(Partial { path, file });
            }
        }
    }

    /// What has come in so far.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// It is of no more use.
    pub(super) fn discard(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

/// Removes those that nobody is at work on. Returns how many bytes that frees.
pub(super) fn sweep(folder: &Path) -> io::Result<u64> {
    let mut freed = 0;
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(freed),
        other => other?,
    };
    for entry in entries {
        let path = entry?.path();
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) if is_at(&file, &path)? => freed += remove_weighed(&path)?,
            Ok(_) | Err((_, Errno::EWOULDBLOCK)) => {}
            Err((_, errno)) => return Err(errno.into()),
        }
    }
    Ok(freed)
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
