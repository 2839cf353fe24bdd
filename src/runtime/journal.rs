//! What happened in a project: a line of JSON for each event, appended by whoever made it happen.
//!
//! ```text
//! events/now      the file that grows; locked while a line is added
//! events/before   the one before it, whole
//! ```
//!
//! So what happened can be read without anybody's help, before, while and after something runs, and a reader who is told
//! by inotify misses nothing when a supervisor dies. The files lie below `/run`: what is remembered ends with the machine.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::engine::Event;

/// A file that is longer than this is not added to any more.
const FULL: u64 = 512 << 10;

fn now(folder: &Path) -> PathBuf {
    folder.join("now")
}

fn before(folder: &Path) -> PathBuf {
    folder.join("before")
}

/// Adds an event to the journal in `folder`, which is made if it is not there.
pub fn append(folder: &Path, event: &Event) -> io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    let path = now(folder);
    loop {
        let file = match File::options().create(true).append(true).read(true).mode(0o600).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
                continue;
            }
            other => other?,
        };
        let mut file = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
        let length = file.metadata()?.len();
        if !is_at(&file, &path)? {
            // Somebody has begun another one while we waited.
            continue;
        }
        if length > FULL {
            fs::rename(&path, before(folder))?;
            continue;
        }
        let mut last = [b'\n'];
        if length > 0 {
            file.read_exact_at(&mut last, length - 1)?;
        }
        if last != *b"\n" {
            // Half a line of somebody whom a full disk stopped.
            line.insert(0, b'\n');
        }
        return file.write_all(&line);
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(there) => Ok(there.ino() == file.metadata()?.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A place in a journal, going forward.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    file: Option<File>,
    since: i64,
    /// Bytes of a line whose end has not been read.
    begun: Vec<u8>,
    events: VecDeque<Event>,
}

impl Reader {
    /// At the end, or before the first event that is not older than `since`.
    pub fn open(folder: &Path, since: Option<i64>) -> io::Result<Reader> {
        let open = |path: PathBuf| match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        };
        let file = match since {
            Some(_) => match open(before(folder))? {
                Some(file) => Some(file),
                None => open(now(folder))?,
            },
            None => {
                let mut file = open(now(folder))?;
                if let Some(file) = &mut file {
                    file.seek(SeekFrom::End(0))?;
                }
                file
            }
        };
        let (since, begun, events) = (since.unwrap_or(i64::MIN), Vec::new(), VecDeque::new());
        Ok(Reader { folder: folder.to_owned(), file, since, begun, events })
    }

    /// The next event; `None`: no more for now.
    pub fn next(&mut self) -> io::Result<Option<Event>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if self.read()? {
                continue;
            }
            if !self.advance()? {
                return Ok(None);
            }
        }
    }

    /// Reads on in the file; whether there was something.
    fn read(&mut self) -> io::Result<bool> {
        let Some(file) = &mut self.file else { return Ok(false) };
        let mut bytes = vec![0; 64 << 10];
        let length = file.read(&mut bytes)?;
        self.begun.extend_from_slice(bytes.get(..length).unwrap_or_default());
        let whole = self.begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        for line in self.begun.drain(..whole).as_slice().split(|byte| *byte == b'\n') {
            // Half a line, or one of another version.
            let Ok(event) = serde_json::from_slice::<Event>(line) else { continue };
            if event.time >= self.since {
                self.events.push_back(event);
            }
        }
        Ok(length > 0)
    }

    /// Goes on with the next file, once all of this one has been read; whether there is one.
    fn advance(&mut self) -> io::Result<bool> {
        let path = now(&self.folder);
        let is_last = |file: &File| is_at(file, &path);
        if let Some(file) = &self.file
            && (is_last(file)? || self.read()?)
        {
            return Ok(!self.events.is_empty());
        }
        self.begun.clear();
        let next = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        self.file = Some(next);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{ContainerId, EventAction};

    fn event(time: i64) -> Event {
        let (container, name) = (ContainerId("a".repeat(64)), "p-a-1".parse().unwrap());
        let labels = [("padding".to_owned(), "x".repeat(1000))].into();
        Event { time, container, name, labels, image: None, action: EventAction::Start, notes: Default::default() }
    }

    fn times(reader: &mut Reader) -> Vec<i64> {
        std::iter::from_fn(|| reader.next().unwrap()).map(|event| event.time).collect()
    }

    #[test]
    fn a_reader_gets_every_event_once_also_past_the_end_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("events");
        let mut from_start = Reader::open(&folder, None).unwrap();
        assert!(times(&mut from_start).is_empty());
        for time in 0..700 {
            append(&folder, &event(time)).unwrap();
            if time % 100 == 0 {
                assert_eq!(times(&mut from_start).last(), Some(&time));
            }
        }
        let mut rest = times(&mut from_start);
        assert_eq!((rest.first(), rest.last(), rest.len()), (Some(&601), Some(&699), 99));
        assert!(before(&folder).exists());
        rest = times(&mut Reader::open(&folder, Some(i64::MIN)).unwrap());
        assert_eq!((rest.first(), rest.len()), (Some(&0), 700));
        assert_eq!(times(&mut Reader::open(&folder, Some(650)).unwrap()), (650..700).collect::<Vec<_>>());
        assert!(times(&mut Reader::open(&folder, None).unwrap()).is_empty());
    }

    #[test]
    fn half_a_line_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        append(folder.path(), &event(1)).unwrap();
        File::options().append(true).open(now(folder.path())).unwrap().write_all(b"{\"time\": 2, ").unwrap();
        append(folder.path(), &event(3)).unwrap();
        assert_eq!(times(&mut Reader::open(folder.path(), Some(0)).unwrap()), [1, 3]);
    }
}
