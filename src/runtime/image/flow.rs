//! A file that one side still writes while the other already reads it: a blob is unpacked while it comes in.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// How much there is.
#[derive(Debug, Default)]
struct Level {
    available: u64,
    ended: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Complete,
    Abandoned,
}

type Shared = Arc<(Mutex<Level>, Condvar)>;

/// Whoever writes tells how far they are. If they go away before the end, the reader's next read fails.
#[derive(Debug)]
pub(super) struct Source {
    shared: Shared,
}

/// Reads what there is and waits for more.
#[derive(Debug)]
pub(super) struct Follower {
    file: File,
    at: u64,
    shared: Shared,
}

/// A file with so many bytes in it, to be followed.
pub(super) fn flow(file: File, available: u64) -> (Source, Follower) {
    let shared = Shared::default();
    lock(&shared).available = available;
    (Source { shared: shared.clone() }, Follower { file, at: 0, shared })
}

fn lock(shared: &Shared) -> MutexGuard<'_, Level> {
    shared.0.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Source {
    /// So many bytes lie in the file. Never fewer than before: what is written again is the same.
    pub(super) fn reached(&self, available: u64) {
        let mut level = lock(&self.shared);
        level.available = level.available.max(available);
        self.shared.1.notify_all();
    }

    /// No more will come.
    pub(super) fn complete(self) {
        lock(&self.shared).ended = Some(End::Complete);
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        lock(&self.shared).ended.get_or_insert(End::Abandoned);
        self.shared.1.notify_all();
    }
}

impl Read for Follower {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut level = lock(&self.shared);
        while level.available <= self.at {
            match level.ended {
                Some(End::Complete) => return Ok(0),
                Some(End::Abandoned) => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it never came to its end"));
                }
                None => level = self.shared.1.wait(level).unwrap_or_else(PoisonError::into_inner),
            }
        }
        let most = usize::try_from(level.available - self.at).unwrap_or(usize::MAX).min(buffer.len());
        drop(level);
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_reader_waits_for_bytes_and_learns_how_it_ended() {
        for complete in [true, false] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(b"abc").unwrap();
            let (source, mut follower) = flow(file.try_clone().unwrap(), 3);
            let reader = std::thread::spawn(move || {
                let mut bytes = Vec::new();
                follower.read_to_end(&mut bytes).map(|_| bytes)
            });
            file.write_all(b"def").unwrap();
            source.reached(6);
            if complete {
                source.complete()
            } else {
                drop(source)
            }
            let read = reader.join().unwrap();
            if complete { assert_eq!(read.unwrap(), b"abcdef") } else { assert!(read.is_err()) }
        }
    }
}
