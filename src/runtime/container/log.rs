//! A container's log on disk, and reading it.
//!
//! ```text
//! log/N.stdout  log/N.stderr   the bytes as they were written, nothing else
//! log/N.index                  what came when: one record after each piece
//! ```
//!
//! A record says how long both files are after the piece, so bytes that no record covers are a piece whose record was not
//! written yet: whoever goes on writing adds it. Nothing is lost or doubled whenever the writer dies. Times rise strictly
//! within a container, so that "after this time" names one place. `N` grows by rotation; the lowest is deleted first.
//!
//! Reading needs nobody's help: a follower is told by inotify, and holds `readers` so that rotation does not overtake it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use tokio::sync::mpsc;

use crate::engine::{ContainerId, LogChunk, LogQuery, Stream};
use crate::runtime::store::now;
use crate::runtime::watch::{Seen, Watch};

/// One record of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Record {
    /// Nanoseconds since 1970; higher than any before.
    pub time: i64,
    /// Length of stdout and stderr after this piece; at most one of them grew.
    pub ends: [u64; 2],
    /// What else happened.
    pub mark: Mark,
}

/// What happened to the container at a place in its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mark {
    /// Nothing: output came.
    #[default]
    Output,
    /// A run began.
    Started,
    /// The run ended and its policy starts another.
    Ended,
    /// The run ended for good.
    Closed,
}

/// Bytes of a record.
pub const RECORD: usize = 32;

impl Record {
    /// As in the file.
    pub fn encode(&self) -> [u8; RECORD] {
        let mark = match self.mark {
            Mark::Output => 0_u64,
            Mark::Started => 1,
            Mark::Ended => 2,
            Mark::Closed => 3,
        };
        let mut bytes = [0; RECORD];
        let words = [self.time.cast_unsigned(), self.ends[0], self.ends[1], mark];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// From the file. A mark of a later version counts as output.
    pub fn decode(bytes: &[u8; RECORD]) -> Record {
        let mut words = [0; 4];
        for (word, place) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*place);
        }
        let mark = match words[3] {
            1 => Mark::Started,
            2 => Mark::Ended,
            3 => Mark::Closed,
            _ => Mark::Output,
        };
        Record { time: words[0].cast_signed(), ends: [words[1], words[2]], mark }
    }
}

/// The two streams, in the order of [`Record::ends`].
pub const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

/// Paths of one segment: its index, its stdout, its stderr.
pub fn paths(folder: &Path, number: u64) -> [PathBuf; 3] {
    ["index", "stdout", "stderr"].map(|name| folder.join(format!("{number}.{name}")))
}

/// Held, shared, by whoever reads a log, so that nothing is deleted that is about to be read.
pub fn readers(folder: &Path) -> PathBuf {
    folder.join("readers")
}

/// The segments there are, the oldest first.
pub fn segments(folder: &Path) -> io::Result<Vec<u64>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.strip_suffix(".index")?.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// One segment, open for reading; it stays readable when rotation deletes it.
#[derive(Debug)]
struct Segment {
    number: u64,
    index: File,
    files: [File; 2],
}

impl Segment {
    /// `None` if it is gone.
    fn open(folder: &Path, number: u64) -> io::Result<Option<Segment>> {
        let open = || -> io::Result<Segment> {
            let [index, stdout, stderr] = paths(folder, number);
            Ok(Segment { number, index: File::open(index)?, files: [File::open(stdout)?, File::open(stderr)?] })
        };
        match open() {
            Ok(segment) => Ok(Some(segment)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How many whole records there are now.
    fn records(&self) -> io::Result<u64> {
        Ok(self.index.metadata()?.len() / RECORD as u64)
    }

    /// One record; the zeroth is before the first.
    fn record(&self, number: u64) -> io::Result<Record> {
        if number == 0 {
            return Ok(Record::default());
        }
        let mut bytes = [0; RECORD];
        self.index.read_exact_at(&mut bytes, (number - 1) * RECORD as u64)?;
        Ok(Record::decode(&bytes))
    }

    fn bytes(&self, stream: usize, from: u64, to: u64, into: &mut Vec<u8>) -> io::Result<()> {
        let start = into.len();
        into.resize(start + usize::try_from(to.saturating_sub(from)).unwrap_or(0), 0);
        let (Some(file), Some(place)) = (self.files.get(stream), into.get_mut(start..)) else { return Ok(()) };
        file.read_exact_at(place, from)
    }

    /// Where the line begins that reaches up to `end`.
    fn line_start(&self, stream: usize, end: u64) -> io::Result<u64> {
        let mut to = end;
        while to > 0 {
            let from = to.saturating_sub(4096);
            let mut bytes = Vec::new();
            self.bytes(stream, from, to, &mut bytes)?;
            if let Some(place) = bytes.iter().rposition(|byte| *byte == b'\n') {
                return Ok(from + place as u64 + 1);
            }
            to = from;
        }
        Ok(0)
    }
}

/// Which stream a record adds to, and from where to where.
fn growth(before: Record, after: Record) -> Option<(usize, u64, u64)> {
    [0, 1].into_iter().map(|stream| (stream, before.ends[stream], after.ends[stream])).find(|(_, from, to)| to > from)
}

/// From when to when a run lasted, the last one being 0, the one before 1; `None` if there is none, or no more.
fn run(folder: &Path, back: u64) -> io::Result<Option<(i64, Option<i64>)>> {
    let (mut left, mut next) = (back, None);
    for number in segments(folder)?.into_iter().rev() {
        let Some(segment) = Segment::open(folder, number)? else { continue };
        let mut index = vec![0; usize::try_from(segment.records()?).unwrap_or(0) * RECORD];
        segment.index.read_exact_at(&mut index, 0)?;
        for record in index.as_chunks::<RECORD>().0.iter().rev().map(Record::decode) {
            if record.mark != Mark::Started {
                continue;
            }
            if left == 0 {
                return Ok(Some((record.time, next)));
            }
            left -= 1;
            next = Some(record.time);
        }
    }
    Ok(None)
}

/// Lines that a piece ends.
fn lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// A place in a log, going forward.
#[derive(Debug)]
struct Cursor {
    folder: PathBuf,
    segment: Option<Segment>,
    /// Records read of the segment.
    read: u64,
    last: Record,
    /// The begun line of each stream.
    begun: [Vec<u8>; 2],
    /// Lines still to be left out.
    skip: u64,
    /// The last mark that was read or lies before; `Output`: none is known.
    mark: Mark,
}

/// What a cursor found.
enum Found {
    Lines(Stream, i64, Vec<u8>),
    Mark(Mark, i64),
    Nothing,
}

impl Cursor {
    /// At the place that the query names.
    fn new(folder: &Path, query: &LogQuery) -> io::Result<Cursor> {
        let mut cursor = Cursor {
            folder: folder.to_owned(),
            segment: None,
            read: 0,
            last: Record::default(),
            begun: Default::default(),
            skip: 0,
            mark: Mark::Output,
        };
        let mut numbers = segments(folder)?;
        // From the newest backwards, until enough is found or the log begins.
        let mut wanted = query.tail;
        let mut newest = true;
        while let Some(number) = numbers.pop() {
            let Some(segment) = Segment::open(folder, number)? else { continue };
            let records = segment.records()?;
            let first = match query.since {
                // The first record not before `since`.
                Some(since) => {
                    let (mut low, mut high) = (0, records);
                    while low < high {
                        let middle = low + (high - low) / 2;
                        if segment.record(middle + 1)?.time < since { low = middle + 1 } else { high = middle }
                    }
                    low
                }
                None => 0,
            };
            let mut read = records;
            if let Some(wanted) = &mut wanted {
                if newest {
                    let last = segment.record(records)?;
                    for stream in [0, 1] {
                        let begun = segment.line_start(stream, last.ends[stream])? < last.ends[stream];
                        *wanted = wanted.saturating_sub(u64::from(begun));
                    }
                }
                while read > first && *wanted > 0 {
                    let (before, after) = (segment.record(read - 1)?, segment.record(read)?);
                    read -= 1;
                    if query.until.is_some_and(|until| after.time > until) {
                        continue;
                    }
                    if let Some((stream, from, to)) = growth(before, after) {
                        let mut bytes = Vec::new();
                        segment.bytes(stream, from, to, &mut bytes)?;
                        let found = lines(&bytes);
                        cursor.skip = found.saturating_sub(*wanted);
                        *wanted = wanted.saturating_sub(found);
                    }
                }
            } else {
                read = first;
            }
            cursor.last = segment.record(read)?;
            cursor.read = read;
            let ends = cursor.last.ends;
            let mut starts = [segment.line_start(0, ends[0])?, segment.line_start(1, ends[1])?];
            // A line that a run did not end ended with it: nothing from before the last mark is begun.
            let mut before = read;
            while before > 0 {
                let record = segment.record(before)?;
                if record.mark != Mark::Output {
                    starts = [starts[0].max(record.ends[0]), starts[1].max(record.ends[1])];
                    break;
                }
                if record.ends[0] <= starts[0] && record.ends[1] <= starts[1] {
                    break;
                }
                before -= 1;
            }
            for stream in [0, 1] {
                cursor.begun[stream].clear();
                segment.bytes(stream, starts[stream], ends[stream], &mut cursor.begun[stream])?;
            }
            cursor.segment = Some(segment);
            newest = false;
            if read > 0 || wanted == Some(0) {
                break;
            }
        }
        Ok(cursor)
    }

    /// The next thing in the log.
    fn next(&mut self) -> io::Result<Found> {
        loop {
            let Some(segment) = &self.segment else {
                let Some(number) = segments(&self.folder)?.first().copied() else { return Ok(Found::Nothing) };
                self.segment = Segment::open(&self.folder, number)?;
                continue;
            };
            if self.read >= segment.records()? {
                let next = segments(&self.folder)?.into_iter().find(|number| *number > segment.number);
                // The writer begins a new segment only after its last record here: look once more.
                let Some(number) = next.filter(|_| segment.records().is_ok_and(|records| self.read >= records)) else {
                    if next.is_some() {
                        continue;
                    }
                    return Ok(Found::Nothing);
                };
                if let Some(opened) = Segment::open(&self.folder, number)? {
                    self.segment = Some(opened);
                    self.read = 0;
                    self.last = Record::default();
                }
                continue;
            }
            let record = segment.record(self.read + 1)?;
            if record.mark != Mark::Output {
                // A line that a run did not end ends with it.
                for (begun, stream) in self.begun.iter_mut().zip(STREAMS) {
                    if !begun.is_empty() {
                        return Ok(Found::Lines(stream, record.time, std::mem::take(begun)));
                    }
                }
            }
            let before = std::mem::replace(&mut self.last, record);
            self.read += 1;
            if let Some((stream, from, to)) = growth(before, record) {
                let begun = &mut self.begun[stream];
                segment.bytes(stream, from, to, begun)?;
                let end = begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
                let rest = begun.split_off(end);
                let mut whole = std::mem::replace(begun, rest);
                while self.skip > 0 {
                    let Some(place) = whole.iter().position(|byte| *byte == b'\n') else { break };
                    whole.drain(..=place);
                    self.skip -= 1;
                }
                if !whole.is_empty() {
                    return Ok(Found::Lines(STREAMS[stream], record.time, whole));
                }
            }
            if record.mark != Mark::Output {
                self.mark = record.mark;
                return Ok(Found::Mark(record.mark, record.time));
            }
        }
    }

    /// Whether the last run has ended, by what the log says up to here.
    fn has_ended(&mut self) -> io::Result<bool> {
        let Some(segment) = &self.segment else { return Ok(false) };
        // Looked for once: from here on every mark is seen when it is read.
        let mut number = if self.mark == Mark::Output { self.read } else { 0 };
        while number > 0 && self.mark == Mark::Output {
            self.mark = segment.record(number)?.mark;
            number -= 1;
        }
        if self.mark == Mark::Output {
            self.mark = Mark::Started;
        }
        Ok(matches!(self.mark, Mark::Ended | Mark::Closed))
    }

    /// The begun lines, when nothing more is waited for.
    fn rest(&mut self) -> Vec<(Stream, i64, Vec<u8>)> {
        let time = self.last.time;
        let begun = self.begun.iter_mut().map(std::mem::take);
        begun.zip(STREAMS).filter(|(bytes, _)| !bytes.is_empty()).map(|(bytes, stream)| (stream, time, bytes)).collect()
    }
}

/// Reads the log in `folder` on the present tokio runtime, as the query says. A follower ends with the run that goes on
/// now (at once, after what there is, if none does), or when the log is gone.
pub fn read(container: &ContainerId, folder: &Path, query: &LogQuery) -> io::Result<mpsc::Receiver<LogChunk>> {
    let held = match File::options().create(true).append(true).open(readers(folder)) {
        Ok(file) => Some(Flock::lock(file, FlockArg::LockShared).map_err(|(_, errno)| errno)?),
        // It has never been started, or is gone.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let mut query = query.clone();
    if let Some(back) = query.run {
        let (begin, next) = run(folder, back)?.unwrap_or((i64::MAX, None));
        query.since = query.since.max(Some(begin));
        let end = next.map(|next| next - 1);
        query.until = query.until.into_iter().chain(end).min();
    }
    let changes = query.follow.then(Watch::new).transpose()?;
    if let Some(changes) = &changes {
        changes.add(folder)?;
    }
    let asked = now();
    let mut cursor = Cursor::new(folder, &query)?;
    let (sender, receiver) = mpsc::channel(8);
    let container = container.clone();
    tokio::spawn(async move {
        let _held = held;
        let chunk = |(stream, time, bytes)| LogChunk { container: container.clone(), stream, time, bytes };
        loop {
            match cursor.next() {
                Ok(Found::Lines(_, time, _)) if query.until.is_some_and(|until| time > until) => return,
                Ok(Found::Lines(stream, time, bytes)) => {
                    if sender.send(chunk((stream, time, bytes))).await.is_err() {
                        return;
                    }
                }
                Ok(Found::Mark(Mark::Ended | Mark::Closed, time)) if query.follow && time > asked => return,
                Ok(Found::Mark(..)) => {}
                Ok(Found::Nothing) => match &changes {
                    Some(_) if cursor.has_ended().unwrap_or(true) => break,
                    Some(changes) => {
                        let seen = tokio::select! {
                            seen = changes.seen() => seen,
                            () = sender.closed() => return,
                        };
                        if !matches!(seen, Ok(Seen::Change)) {
                            break;
                        }
                    }
                    None => break,
                },
                // Deleted under our hands, or unreadable: there is no more to come.
                Err(_) => break,
            }
        }
        for rest in cursor.rest() {
            if sender.send(chunk(rest)).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}
