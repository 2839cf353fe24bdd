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
use nix::fcntl::{FcntlArg, Flock, FlockArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::engine::{ContainerId, Logging};
use crate::runtime::container::log::{Mark, RECORD, Record, paths, readers, segments};
use crate::runtime::layout::Layout;
use crate::runtime::store::now;
use crate::runtime::sys;
use crate::values::byte_size;
use crate::values::names::ProjectName;

/// Pieces taken from one pipe before others have their turn.
const TURN: usize = 16;
/// Most bytes of a piece; a pipe holds no more unless somebody enlarged it.
const PIECE: usize = 1 << 20;
/// How far a reader may stay behind the end of rotation.
const SPARE: u64 = 64 << 20;
/// How long to wait for room on a full disk.
const FULL_DISK_PAUSE: Duration = Duration::from_secs(1);

/// When a log's segment is full, and how many are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes of a segment; `None` is no limit.
    size: Option<u64>,
    /// Segments kept.
    count: u64,
    /// Whether nobody will ask for what was written before: without room it is dropped, and holds nobody up.
    passing: bool,
}

/// What is kept of output that is only for who is attached: enough to be shown to the end.
const PASSING: u64 = 64 << 10;

impl Rotation {
    /// As the options of `json-file` and `local` say: `max-size` and `max-file` (default 1; for `local` 20 MB and 5).
    /// `none` keeps what an attached command has yet to read.
    pub fn of(logging: &Logging) -> Rotation {
        if logging.is_none() {
            return Rotation { size: Some(PASSING), count: 2, passing: true };
        }
        let local = logging.driver.as_deref() == Some("local");
        let size = logging.options.get("max-size").and_then(|size| byte_size::parse(size).ok());
        let size = size.and_then(|size| u64::try_from(size).ok());
        let count = logging.options.get("max-file").and_then(|count| count.parse().ok());
        Rotation {
            size: size.filter(|size| *size > 0).or(local.then_some(20_000_000)),
            count: count.unwrap_or(if local { 5 } else { 1 }).max(1),
            passing: false,
        }
    }
}

/// Writes one container's log. There is at most one for each at any time.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    /// Held, shared, by who follows the project's events: they open a log at the news of its container's start.
    followers: PathBuf,
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

/// Where output comes from.
#[derive(Debug)]
pub struct Source {
    /// The pipe or the terminal.
    ready: AsyncFd<OwnedFd>,
    /// The pipe between a terminal and the log: splice(2) wants one on either side.
    relay: Option<OwnedFd>,
    into: Option<OwnedFd>,
}

impl Source {
    /// A pipe's reading end, which does not block.
    pub fn pipe(pipe: OwnedFd) -> io::Result<Source> {
        Ok(Source { ready: sys::readable(pipe)?, relay: None, into: None })
    }

    /// A terminal, and a pipe that carries what comes from it. All are made not to block.
    pub fn terminal(terminal: OwnedFd, out: OwnedFd, into: OwnedFd) -> io::Result<Source> {
        fcntl(&terminal, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK))?;
        Ok(Source { ready: sys::readable(terminal)?, relay: Some(out), into: Some(into) })
    }

    fn out(&self) -> &OwnedFd {
        self.relay.as_ref().unwrap_or(self.ready.get_ref())
    }

    fn is_hung_up(&self) -> bool {
        let events = polled(self.ready.get_ref());
        events.contains(PollFlags::POLLHUP) && !events.contains(PollFlags::POLLIN)
    }
}

/// What a pipe or a terminal has to tell now.
fn polled(file: &OwnedFd) -> PollFlags {
    let mut polled = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
    let asked = poll(&mut polled, PollTimeout::ZERO).is_ok();
    polled[0].revents().filter(|_| asked).unwrap_or(PollFlags::empty())
}

impl Writer {
    /// Goes on where the log of this container ends, after giving every byte in it a record.
    pub fn open(layout: &Layout, project: &ProjectName, id: &ContainerId, logging: &Logging) -> io::Result<Writer> {
        let (folder, rotation) = (layout.log(project, id), Rotation::of(logging));
        std::fs::create_dir_all(&folder)?;
        let number = segments(&folder)?.last().copied().unwrap_or(0);
        let mut writer = Writer::segment(folder, layout.followers(project), rotation, number, 0)?;
        writer.cover()?;
        writer.sweep()?;
        Ok(writer)
    }

    fn segment(folder: PathBuf, followers: PathBuf, rotation: Rotation, number: u64, time: i64) -> io::Result<Writer> {
        let open = |path: &PathBuf| OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path);
        let [index, stdout, stderr] = paths(&folder, number);
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
        Ok(Writer { folder, followers, rotation, number, index, files: [stdout, stderr], last })
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

    /// Takes one piece from a source.
    fn pump(&mut self, stream: usize, source: &Source) -> io::Result<Pumped> {
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
        if let Some(into) = &source.into {
            // Its result shows in what the relay has: nothing, if the terminal has nothing or was hung up.
            let _ = splice(source.ready.get_ref(), None, into, None, PIECE, flags);
        }
        self.rotate(source)?;
        let moved = match splice(source.out(), None, &self.files[stream], None, PIECE, flags) {
            Ok(moved) => Ok(moved),
            // A terminal tells of its end only when it is asked.
            Err(Errno::EAGAIN) if source.into.is_some() && source.is_hung_up() => Ok(0),
            Err(errno) => Err(errno),
        };
        let moved = match moved {
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

    /// Takes one piece from a source into nowhere, if it may be lost.
    fn drop_piece(&self, source: &Source) -> io::Result<bool> {
        if !self.rotation.passing {
            return Ok(false);
        }
        let nowhere = OpenOptions::new().write(true).open("/dev/null")?;
        Ok(splice(source.out(), None, nowhere, None, PIECE, SpliceFFlags::SPLICE_F_NONBLOCK).is_ok())
    }

    /// Begins another segment if this one is full and something is about to be written.
    fn rotate(&mut self, source: &Source) -> io::Result<()> {
        let full = self.rotation.size.is_some_and(|size| self.last.ends.iter().sum::<u64>() >= size);
        if !full || !polled(source.out()).contains(PollFlags::POLLIN) {
            return Ok(());
        }
        let (folder, followers) = (self.folder.clone(), self.followers.clone());
        let next = Writer::segment(folder, followers, self.rotation, self.number + 1, self.last.time)?;
        *self = next;
        self.sweep()
    }

    /// Deletes what is too old; while somebody reads the log, only what is more than [`SPARE`].
    fn sweep(&self) -> io::Result<()> {
        let (mut surplus, mut bytes) = (Vec::new(), 0);
        for number in segments(&self.folder)?.into_iter().rev() {
            if number + self.rotation.count <= self.number {
                bytes += length(&self.folder, number);
                surplus.push((number, bytes));
            }
        }
        if surplus.is_empty() {
            return Ok(());
        }
        // Nobody begins to read while these are held.
        let (mut held, mut read) = (Vec::new(), false);
        for path in [readers(&self.folder), self.followers.clone()] {
            match File::options().create(true).append(true).open(path) {
                Ok(file) => match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                    Ok(lock) => held.push(lock),
                    Err(_) => read = true,
                },
                // Nobody has followed this project since the machine was started.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        for (number, bytes) in surplus {
            if !read || bytes > SPARE {
                for path in paths(&self.folder, number) {
                    std::fs::remove_file(path)?;
                }
            }
        }
        Ok(())
    }
}

/// How many bytes of output a segment holds; one that can't be looked at holds none.
fn length(folder: &Path, number: u64) -> u64 {
    paths(folder, number).iter().skip(1).filter_map(|path| path.metadata().ok()).map(|file| file.len()).sum()
}

/// A container's output pipes on their way into its log.
#[derive(Debug)]
pub struct Pump {
    finish: oneshot::Sender<Mark>,
    finished: oneshot::Receiver<i64>,
}

impl Pump {
    /// Starts emptying these sources (stdout, stderr).
    pub fn start(writer: Writer, sources: [Option<Source>; 2]) -> io::Result<Pump> {
        let (finish, asked) = oneshot::channel();
        let (done, finished) = oneshot::channel();
        tokio::spawn(run(writer, sources, asked, done));
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
    mut sources: [Option<Source>; 2],
    mut asked: oneshot::Receiver<Mark>,
    done: oneshot::Sender<i64>,
) {
    let mark = loop {
        let stream = tokio::select! {
            biased;
            mark = &mut asked => break mark.ok(),
            stream = ready(&sources) => stream,
        };
        for _ in 0..TURN {
            let Some(source) = &sources[stream] else { break };
            match writer.pump(stream, source) {
                Ok(Pumped::Some) => {}
                Ok(Pumped::Empty) => {
                    // Cleared by a failing try_io alone; the emptiness was found by the splice.
                    if let Some(Ok(mut guard)) = futures_util::FutureExt::now_or_never(source.ready.readable()) {
                        guard.clear_ready();
                    }
                    // What came between the splice and the clearing has to be seen.
                    if matches!(writer.pump(stream, source), Ok(Pumped::Some)) {
                        continue;
                    }
                    break;
                }
                Ok(Pumped::End) => sources[stream] = None,
                Err(_) if writer.drop_piece(source).unwrap_or(false) => {}
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
        if let Some(source) = &sources[stream] {
            while matches!(writer.pump(stream, source), Ok(Pumped::Some)) {}
        }
    }
    let time = mark.and_then(|mark| writer.mark(mark).ok()).unwrap_or_else(now);
    let _ = done.send(time);
}

/// Which of the sources has something.
async fn ready(sources: &[Option<Source>; 2]) -> usize {
    let one = async |source: &Option<Source>| match source {
        Some(source) => drop(source.ready.readable().await),
        None => std::future::pending().await,
    };
    tokio::select! {
        () = one(&sources[0]) => 0,
        () = one(&sources[1]) => 1,
    }
}
