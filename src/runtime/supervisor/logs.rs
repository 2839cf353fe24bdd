//! Empties containers' output pipes into their logs.
//!
//! Bytes go from pipe to file by splice(2), so there is no moment at which they are in neither and could die with us;
//! the record follows. What a killed predecessor spliced without a record gets one when the log is opened again.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{SpliceFFlags, splice};
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::engine::Logging;
use crate::runtime::container::log::{Mark, RECORD, Record, paths, segments};
use crate::runtime::store::now;
use crate::runtime::sys;
use crate::values::byte_size;

/// Pieces taken from one pipe before others have their turn.
const TURN: usize = 16;
/// Most bytes of a piece; a pipe holds no more unless somebody enlarged it.
const PIECE: usize = 1 << 20;
/// How long to wait for room on a full disk.
const FULL_DISK_PAUSE: Duration = Duration::from_secs(1);

/// When a log's segment is full, and how many are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes of a segment; `None` is no limit.
    size: Option<u64>,
    /// Segments kept.
    count: u64,
}

impl Rotation {
    /// As the options of `json-file` and `local` say: `max-size` and `max-file` (default 1; for `local` 20 MB and 5).
    pub fn of(logging: &Logging) -> Rotation {
        let local = logging.driver.as_deref() == Some("local");
        let size = logging.options.get("max-size").and_then(|size| byte_size::parse(size).ok());
        let size = size.and_then(|size| u64::try_from(size).ok());
        let count = logging.options.get("max-file").and_then(|count| count.parse().ok());
        Rotation {
            size: size.filter(|size| *size > 0).or(local.then_some(20_000_000)),
            count: count.unwrap_or(if local { 5 } else { 1 }).max(1),
        }
    }
}

/// Writes one container's log. There is at most one for each at any time.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    rotation: Rotation,
    number: u64,
    index: File,
    files: [File; 2],
    last: Record,
}

/// What was in a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pumped {
    /// There may be more.
    Some,
    /// Nothing now.
    Empty,
    /// Nothing any more: nobody has it open for writing.
    End,
}

impl Writer {
    /// Goes on where the log ends, after giving every byte in it a record.
    pub fn open(folder: &Path, rotation: Rotation) -> io::Result<Writer> {
        std::fs::create_dir_all(folder)?;
        let number = segments(folder)?.last().copied().unwrap_or(0);
        let mut writer = Writer::segment(folder, rotation, number, 0)?;
        writer.cover()?;
        Ok(writer)
    }

    fn segment(folder: &Path, rotation: Rotation, number: u64, time: i64) -> io::Result<Writer> {
        let open = |path: &PathBuf| OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path);
        let [index, stdout, stderr] = paths(folder, number);
        // The index last: readers take a segment for one by its index.
        let (mut stdout, mut stderr, mut index) = (open(&stdout)?, open(&stderr)?, open(&index)?);
        let mut last = Record { time, ..Record::default() };
        let whole = index.metadata()?.len() / RECORD as u64;
        if whole > 0 {
            let mut bytes = [0; RECORD];
            std::os::unix::fs::FileExt::read_exact_at(&index, &mut bytes, (whole - 1) * RECORD as u64)?;
            last = Record::decode(&bytes);
        }
        index.seek(SeekFrom::Start(whole * RECORD as u64))?;
        stdout.seek(SeekFrom::End(0))?;
        stderr.seek(SeekFrom::End(0))?;
        Ok(Writer { folder: folder.to_owned(), rotation, number, index, files: [stdout, stderr], last })
    }

    /// Writes records for bytes that have none.
    fn cover(&mut self) -> io::Result<()> {
        for stream in [0, 1] {
            let length = self.files[stream].stream_position()?;
            if length > self.last.ends[stream] {
                let mut ends = self.last.ends;
                ends[stream] = length;
                self.record(ends, Mark::Output)?;
            }
        }
        Ok(())
    }

    fn record(&mut self, ends: [u64; 2], mark: Mark) -> io::Result<()> {
        let record = Record { time: now().max(self.last.time + 1), ends, mark };
        self.index.write_all(&record.encode())?;
        self.last = record;
        Ok(())
    }

    /// Notes that a run began or ended. Returns the time it has in the log.
    pub fn mark(&mut self, mark: Mark) -> io::Result<i64> {
        self.record(self.last.ends, mark)?;
        Ok(self.last.time)
    }

    /// Takes one piece from a pipe.
    fn pump(&mut self, stream: usize, pipe: impl AsFd) -> io::Result<Pumped> {
        self.rotate()?;
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
        let moved = match splice(pipe, None, &self.files[stream], None, PIECE, flags) {
            Ok(0) => return Ok(Pumped::End),
            Ok(moved) => moved,
            Err(Errno::EAGAIN) => return Ok(Pumped::Empty),
            Err(Errno::EINTR) => return Ok(Pumped::Some),
            Err(errno) => return Err(errno.into()),
        };
        let mut ends = self.last.ends;
        ends[stream] += moved as u64;
        self.record(ends, Mark::Output)?;
        Ok(Pumped::Some)
    }

    fn rotate(&mut self) -> io::Result<()> {
        if self.rotation.size.is_none_or(|size| self.last.ends.iter().sum::<u64>() < size) {
            return Ok(());
        }
        let next = Writer::segment(&self.folder, self.rotation, self.number + 1, self.last.time)?;
        *self = next;
        for number in segments(&self.folder)? {
            if number + self.rotation.count <= self.number {
                for path in paths(&self.folder, number) {
                    std::fs::remove_file(path)?;
                }
            }
        }
        Ok(())
    }
}

/// A container's output pipes on their way into its log.
#[derive(Debug)]
pub struct Pump {
    finish: oneshot::Sender<Mark>,
    finished: oneshot::Receiver<i64>,
}

impl Pump {
    /// Starts emptying these pipes (stdout, stderr), whose reading ends do not block.
    pub fn start(writer: Writer, pipes: [Option<OwnedFd>; 2]) -> io::Result<Pump> {
        let [stdout, stderr] = pipes;
        let open = |pipe: Option<OwnedFd>| pipe.map(sys::readable).transpose();
        let pipes = [open(stdout)?, open(stderr)?];
        let (finish, asked) = oneshot::channel();
        let (done, finished) = oneshot::channel();
        tokio::spawn(run(writer, pipes, asked, done));
        Ok(Pump { finish, finished })
    }

    /// Takes what is still in the pipes, once the processes have ended, and notes how the run ended. Returns the time
    /// that this has in the log.
    pub async fn finish(self, mark: Mark) -> i64 {
        // If the task is gone, its log is unwritable; the time is then all that is left to tell.
        let _ = self.finish.send(mark);
        self.finished.await.unwrap_or_else(|_| now())
    }
}

async fn run(
    mut writer: Writer,
    mut pipes: [Option<AsyncFd<OwnedFd>>; 2],
    mut asked: oneshot::Receiver<Mark>,
    done: oneshot::Sender<i64>,
) {
    let mark = loop {
        let stream = tokio::select! {
            biased;
            mark = &mut asked => break mark.ok(),
            stream = ready(&pipes) => stream,
        };
        for _ in 0..TURN {
            let Some(pipe) = &pipes[stream] else { break };
            match writer.pump(stream, pipe.get_ref()) {
                Ok(Pumped::Some) => {}
                Ok(Pumped::Empty) => {
                    // Cleared by a failing try_io alone; the emptiness was found by the splice.
                    if let Some(Ok(mut guard)) = futures_util::FutureExt::now_or_never(pipe.readable()) {
                        guard.clear_ready();
                    }
                    // What came between the splice and the clearing has to be seen.
                    if matches!(writer.pump(stream, pipe.get_ref()), Ok(Pumped::Some)) {
                        continue;
                    }
                    break;
                }
                Ok(Pumped::End) => pipes[stream] = None,
                // No room, most likely. The pipe holds what it can; what is in it is not lost.
                Err(_) => {
                    tokio::time::sleep(FULL_DISK_PAUSE).await;
                    // Bytes that a failing record left uncovered.
                    let _ = writer.cover();
                    break;
                }
            }
        }
        tokio::task::yield_now().await;
    };
    for stream in [0, 1] {
        if let Some(pipe) = &pipes[stream] {
            while matches!(writer.pump(stream, pipe.get_ref()), Ok(Pumped::Some)) {}
        }
    }
    let time = mark.and_then(|mark| writer.mark(mark).ok()).unwrap_or_else(now);
    let _ = done.send(time);
}

/// Which of the pipes has something.
async fn ready(pipes: &[Option<AsyncFd<OwnedFd>>; 2]) -> usize {
    let one = async |pipe: &Option<AsyncFd<OwnedFd>>| match pipe {
        Some(pipe) => drop(pipe.readable().await),
        None => std::future::pending().await,
    };
    tokio::select! {
        () = one(&pipes[0]) => 0,
        () = one(&pipes[1]) => 1,
    }
}
