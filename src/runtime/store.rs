//! Records on disk: small JSON files, replaced whole, guarded by a lock.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How the name of a text ends that is no more, and whose file the next one gets.
const SPARE: &str = "spare";

/// Replaces the file at `path` by the record, whole or not at all; the directory exists.
///
/// A record that is to outlast processes only is written over the old one where the disk is full.
///
/// The new text is on disk before it gets its name where `durable` says so; records below `/run` need not be.
pub fn write<T: Serialize>(path: &Path, record: &T, durable: Durability) -> io::Result<()> {
    // The name is this thread's own: two writers of one record must not share a half-written file.
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("record");
    let temporary = path.with_file_name(format!(".{name}.{}", nix::unistd::gettid()));
    let text = serde_json::to_vec(record)?;
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(&text)?;
        if durable == Durability::Disk {
            file.sync_data()?;
            return fs::rename(&temporary, path);
        }
        if exchange(&temporary, path)? { fs::remove_file(&temporary) } else { Ok(()) }
    });
    if written.is_err() {
        // The first failure is the one to report; what is left is only a stray temporary file.
        let _ = fs::remove_file(&temporary);
    }
    match written {
        Err(full) if durable == Durability::Memory && full.kind() == io::ErrorKind::StorageFull => {
            overwrite(path, text).map_err(|_| full)
        }
        written => written,
    }
}

/// Writes a record over the one that is there, into the space that this one has: on a full disk, too, it must become known
/// what has ended, and what is to go has to be marked. One call, which the death of this process cuts at most between two pages.
fn overwrite(path: &Path, text: Vec<u8>) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    let file = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
    let there = file.metadata()?;
    if text.len() as u64 > there.blocks() * 512 {
        return Err(io::ErrorKind::StorageFull.into());
    }
    fill(&file, text)
}

/// Writes a text over that of a file, in one call.
fn fill(file: &File, mut text: Vec<u8>) -> io::Result<()> {
    // Blanks end a record as well as nothing does.
    text.resize(text.len().max(usize::try_from(file.metadata()?.len()).unwrap_or(0)), b' ');
    let written = file.write_at(&text, 0)?;
    // There was room for a part of it.
    if written == text.len() { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
}

/// Replaces a record that is changed again and again, by one process at a time, which holds its lock: like [`write()`] for
/// [`Durability::Memory`], but what was there before stays beside it, as the file that the next text is written to.
///
/// A file for each text costs more than the text: a file system without a journal looks for an inode that was not
/// freed lately (`recently_deleted` in fs/ext4/ialloc.c), the longer the more were.
pub fn rewrite<T: Serialize>(path: &Path, record: &T) -> io::Result<()> {
    let text = serde_json::to_vec(record)?;
    let spare = spare(path);
    match put(&spare, &text).and_then(|()| exchange(&spare, path)) {
        Err(full) if full.kind() == io::ErrorKind::StorageFull => overwrite(path, text).map_err(|_| full),
        written => written.map(drop),
    }
}

/// Writes the next text, with its file held alone, into the spare: not into one that somebody has opened while it was the
/// record and still reads, which is left to him.
fn put(spare: &Path, text: &[u8]) -> io::Result<()> {
    loop {
        let file = File::options().create(true).truncate(false).write(true).open(spare)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => return fill(&file, text.to_vec()),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => fs::remove_file(spare)?,
            Err((_, errno)) => return Err(errno.into()),
        }
    }
}

/// Where [`rewrite`] keeps the text before. To be removed with the record.
pub fn spare(path: &Path) -> PathBuf {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("record");
    path.with_file_name(format!(".{name}.{SPARE}"))
}

/// Puts a record on disk that was written to outlast processes only, and the folder's entry for it.
pub fn persist(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_data()?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_data())
}

/// Gives a file another's name by swapping the two; whether there was another one, which has its name now.
///
/// A plain rename over a file makes ext4 begin to write out the new one at once (`auto_da_alloc` in ext4(5)): for a record
/// that need not outlast the machine that is a wait for the disk for nothing, and one more at its removal.
fn exchange(new: &Path, path: &Path) -> io::Result<bool> {
    match rustix::fs::renameat_with(rustix::fs::CWD, new, rustix::fs::CWD, path, rustix::fs::RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        // There is none yet, or this file system can't swap.
        Err(_) => fs::rename(new, path).map(|()| false),
    }
}

/// Removes what writers have left of the record at `path`. Nobody may be writing it now.
pub fn sweep(path: &Path) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Ok(());
    };
    let begun = format!(".{name}.");
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.strip_prefix(&begun)).map(str::to_owned);
        if number.is_some_and(|number| number == SPARE || number.bytes().all(|byte| byte.is_ascii_digit())) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Nanoseconds since 1970, as records have them.
pub fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.ok().and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}

/// How long a record has to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Past a power cut.
    Disk,
    /// Past the death of any process, not of the machine.
    Memory,
}

/// Reads a record; `None` if there is no file. An error of kind `UnexpectedEof` says that it was never wholly written
/// (the machine lost its power); one of kind `InvalidData`, that it says something else than expected.
pub fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match settled(|| text(path)) {
        Ok(Ok(record)) => Ok(Some(record)),
        Ok(Err(error)) => {
            let kind = if error.is_data() { io::ErrorKind::InvalidData } else { io::ErrorKind::UnexpectedEof };
            Err(io::Error::new(kind, format!("{} is damaged: {error}", path.display())))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The text of a record, which nobody writes meanwhile.
fn text(path: &Path) -> io::Result<Vec<u8>> {
    loop {
        match Flock::lock(File::open(path)?, FlockArg::LockSharedNonblock) {
            Ok(mut file) => {
                let mut text = Vec::new();
                file.read_to_end(&mut text)?;
                return Ok(text);
            }
            // Since it was opened it has become the spare of [`rewrite`]; the record is another file now.
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => std::thread::yield_now(),
            Err((_, errno)) => return Err(errno.into()),
        }
    }
}

/// The record in a text, which is looked at again while it is none and another one each time: the file that was opened may
/// have become the spare, in which a killed writer left half a text.
fn settled<T: DeserializeOwned>(mut look: impl FnMut() -> io::Result<Vec<u8>>) -> io::Result<serde_json::Result<T>> {
    let mut last = None;
    loop {
        let text = look()?;
        let record = serde_json::from_slice(&text);
        if record.is_ok() || last.as_ref() == Some(&text) {
            return Ok(record);
        }
        last = Some(text);
    }
}

/// Whether a record that could not be read is there, and not what it should be.
pub fn is_damaged(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

/// Like [`read`], for records that need not outlast the machine: one that was never wholly written does not exist.
pub fn read_whole<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match read(path) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        other => other,
    }
}

/// Holds the lock file at `path` until dropped; waits for whoever holds it now. The kernel lets go when a process dies.
pub fn lock(path: &Path) -> io::Result<Flock<File>> {
    Flock::lock(open_lock(path)?, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
}

/// Like [`lock`], but `None` at once when somebody holds it.
pub fn try_lock(path: &Path) -> io::Result<Option<Flock<File>>> {
    match Flock::lock(open_lock(path)?, FlockArg::LockExclusiveNonblock) {
        Ok(guard) => Ok(Some(guard)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno.into()),
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).write(true).read(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_replaced_whole_and_a_torn_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        assert_eq!(read::<u32>(&path).unwrap(), None);
        write(&path, &7_u32, Durability::Disk).unwrap();
        assert_eq!(read(&path).unwrap(), Some(7_u32));
        fs::write(&path, "\"of something else\"").unwrap();
        let error = read_whole::<u32>(&path).unwrap_err();
        assert!(error.kind() == io::ErrorKind::InvalidData && error.to_string().contains("record.json"));
        // What a power cut leaves: nothing, or zeros.
        for torn in ["", "\0\0\0"] {
            fs::write(&path, torn).unwrap();
            let error = read::<u32>(&path).unwrap_err();
            assert!(error.kind() == io::ErrorKind::UnexpectedEof && error.to_string().contains("record.json"));
            assert_eq!(read_whole::<u32>(&path).unwrap(), None);
        }
        write(&path, &8_u32, Durability::Memory).unwrap();
        assert_eq!((read(&path).unwrap(), fs::read_dir(folder.path()).unwrap().count()), (Some(8_u32), 1));
    }

    #[test]
    fn a_record_that_is_rewritten_needs_two_files_whatever_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        for text in ["short", &"long".repeat(3000), "", "a killed writer's spare is no hindrance"] {
            rewrite(&path, &text).unwrap();
            assert_eq!(read::<String>(&path).unwrap().as_deref(), Some(text));
            fs::write(spare(&path), "{\"torn").unwrap();
        }
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        assert_eq!(names, [spare(&path), path]);
    }

    #[test]
    fn who_reads_sees_one_text_however_fast_others_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        // Of one length and more than a page: half of one and half of another are a record.
        let texts = |number: usize| vec![10_000 + number; 3_000];
        rewrite(&path, &texts(0)).unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let look = || {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let found: Vec<usize> = read(&path).unwrap().unwrap();
                    assert!(found.iter().all(|number| *number == found[0]), "two texts in one");
                }
            };
            let readers = [scope.spawn(look), scope.spawn(look), scope.spawn(look)];
            let written = (0..2_000).try_for_each(|number| rewrite(&path, &texts(number)));
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            written.unwrap();
            readers.into_iter().for_each(|reader| reader.join().unwrap());
        });
    }

    #[test]
    fn a_text_that_is_being_written_is_looked_at_again_and_a_damaged_one_once_more() {
        let mut texts = ["{\"to", "{\"torn\": ", "\"whole\""].iter();
        let found = settled::<String>(|| Ok(texts.next().unwrap().as_bytes().to_vec()));
        assert_eq!(found.unwrap().unwrap(), "whole");
        let mut looks = 0;
        let damaged = settled::<String>(|| {
            looks += 1;
            Ok(b"\"half".to_vec())
        });
        assert!(damaged.unwrap().is_err());
        assert_eq!(looks, 2);
    }

    #[test]
    fn what_writers_left_goes_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.json", ".a.json.812", ".a.json.spare", ".b.json.812", ".a.json.lock"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        sweep(&folder.path().join("a.json")).unwrap();
        let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".a.json.lock", ".b.json.812", "a.json"]);
    }

    #[test]
    fn a_lock_is_held_by_one_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = lock(&path).unwrap();
        assert!(try_lock(&path).unwrap().is_none());
        drop(held);
        assert!(try_lock(&path).unwrap().is_some());
    }
}
