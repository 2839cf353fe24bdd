//! Stands between the user's terminal and a process in a container: `exec` and `run`.
//!
//! Without a terminal the process has our own standard streams and there is nothing to relay. With one, ours is raw while
//! the process runs; it is restored on every way out, since a value whose end restores it lives as long as it is raw.

pub mod detach;
pub mod keys;

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::cli::failure::{Failure, Kind};
use crate::cli::terminal::detach::Keys;
use crate::cli::ui;
use crate::engine::{LogChunk, Process, ProcessIo, Stream};
use crate::runtime::sys::terminal::resize;
use crate::values::signal::Signal;

/// Signals that reach the process instead of us.
const FORWARDED: [i32; 7] = [1, 2, 3, 10, 12, 15, 18];

/// How long the last output of a process that has ended may take to come, if something else keeps its terminal open.
const LAST_OUTPUT: Duration = Duration::from_secs(2);

/// Whether the process gets a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// A new terminal.
    Terminal,
    /// Our own standard streams.
    Ours,
    /// Our own standard output and error; nothing to read.
    OursWithoutInput,
}

impl Streams {
    /// For the engine.
    pub fn io(self) -> Result<ProcessIo, Failure> {
        let own = |file: std::io::Result<OwnedFd>| file.map(Some).map_err(Failure::system("use the standard streams"));
        let input = || own(std::io::stdin().as_fd().try_clone_to_owned());
        Ok(match self {
            Streams::Terminal => {
                let (rows, columns) = size();
                ProcessIo::Terminal { rows, columns }
            }
            Streams::Ours | Streams::OursWithoutInput => ProcessIo::Files {
                stdin: if self == Streams::Ours { input()? } else { None },
                stdout: own(std::io::stdout().as_fd().try_clone_to_owned())?,
                stderr: own(std::io::stderr().as_fd().try_clone_to_owned())?,
            },
        })
    }
}

/// Rows and columns of our terminal.
pub fn size() -> (u16, u16) {
    let size = ui::screen();
    let small = |length: usize| u16::try_from(length).unwrap_or(u16::MAX);
    (small(size.rows), small(size.columns))
}

/// Tells when our terminal has another size.
pub fn resizes() -> Result<tokio::signal::unix::Signal, Failure> {
    signal(SignalKind::window_change()).map_err(Failure::system("listen for signals"))
}

/// The user's terminal in raw mode.
pub struct Raw;

impl Raw {
    /// Until this is dropped; `None` without a terminal of ours.
    pub fn new() -> Option<Raw> {
        // Without a terminal of ours there is nothing to switch.
        let terminal = std::io::stdin().is_terminal();
        (terminal && crossterm::terminal::enable_raw_mode().is_ok()).then_some(Raw)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // There is no one to tell: the terminal is gone if this fails.
        let _ = crossterm::terminal::disable_raw_mode();
    }
}

/// A line that the user types and nobody sees.
pub fn hidden_line() -> Result<String, Failure> {
    let _raw = Raw::new();
    let mut line = Vec::new();
    for byte in std::io::stdin().lock().bytes() {
        match byte.map_err(Failure::system("read the answer"))? {
            b'\r' | b'\n' => break,
            // Raw: what these keys mean is for us to know. Ctrl-C, Ctrl-D, backspace, Ctrl-U.
            3 => return Err(Kind::Cancelled.into()),
            4 if line.is_empty() => return Err(Kind::Cancelled.into()),
            8 | 127 => drop(line.pop()),
            21 => line.clear(),
            other => line.push(other),
        }
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// Why attending ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The process has ended, with this exit code.
    Exited(i32),
    /// The user typed the keys to leave it.
    Left,
}

/// What Docker says where leaving is no success.
pub fn left() -> Failure {
    Failure::usage("read escape sequence")
}

/// Relays streams and signals until the process has ended, or its user has left its terminal.
pub async fn attend(process: &mut Process, keys: Keys) -> Result<End, Failure> {
    let Process { terminal, status, signals } = process;
    let mut forwarded = forward_signals()?;
    let mut resized = resizes()?;
    let _raw = terminal.as_ref().and_then(|_| Raw::new());
    let (mut output, mut left) = match &terminal {
        Some(terminal) => (Some(show_output(terminal)?), forward_input(terminal, Some(keys))?),
        None => (None, mpsc::channel(1).1),
    };
    let ended = loop {
        tokio::select! {
            ended = &mut *status => break ended,
            Some(()) = left.recv() => return Ok(End::Left),
            Some(signal) = forwarded.recv() => {
                // The process has just ended if nobody takes it.
                let _ = signals.send(signal).await;
            }
            _ = resized.recv() => {
                if let Some(terminal) = &terminal {
                    let (rows, columns) = size();
                    // A terminal that can't be resized is gone, which its process's end will tell.
                    let _ = resize(terminal.as_fd(), rows, columns);
                }
            }
        }
    };
    if let Some(output) = output.take() {
        // All is well whether the output ended, was cut off, or is kept open by somebody else.
        let _ = tokio::time::timeout(LAST_OUTPUT, output).await;
    }
    match ended {
        Ok(result) => Ok(End::Exited(result?)),
        Err(_) => Err(Kind::ProcessLost.into()),
    }
}

/// Copies a terminal's output to ours, in a thread: our own files can't be used without blocking, as that would hold for
/// whoever shares them. Resolves when there is no more output.
fn show_output(terminal: &OwnedFd) -> Result<oneshot::Receiver<()>, Failure> {
    let copy = |fd: std::io::Result<OwnedFd>| fd.map(File::from).map_err(Failure::system("use the standard streams"));
    let mut from = copy(terminal.try_clone())?;
    let mut output = copy(std::io::stdout().as_fd().try_clone_to_owned())?;
    let (done, ended) = oneshot::channel();
    std::thread::spawn(move || {
        pump(&mut from, &mut output);
        // Nobody waits if this fails.
        let _ = done.send(());
    });
    Ok(ended)
}

/// Copies until either side ends; a terminal whose process is gone ends with an error, which means no more than that.
fn pump(from: &mut File, to: &mut File) {
    let mut buffer = [0; 16 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => {
                if to.write_all(buffer.get(..read).unwrap_or_default()).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Shows what a container wrote, as it is.
pub fn show(chunk: &LogChunk) -> Result<(), Failure> {
    let write = |out: &mut dyn Write| out.write_all(&chunk.bytes).and_then(|()| out.flush());
    let shown = match chunk.stream {
        Stream::Stdout => write(&mut std::io::stdout().lock()),
        Stream::Stderr => write(&mut std::io::stderr().lock()),
    };
    Ok(shown?)
}

/// Copies our input to a container's, in a thread. Tells when the user typed the keys to leave; `None`: there are none.
pub fn forward_input(to: &OwnedFd, mut keys: Option<Keys>) -> Result<mpsc::Receiver<()>, Failure> {
    let copy = |fd: std::io::Result<OwnedFd>| fd.map(File::from).map_err(Failure::system("use the standard streams"));
    let (mut from, mut to) = (copy(std::io::stdin().as_fd().try_clone_to_owned())?, copy(to.try_clone())?);
    let (left, leaving) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut buffer = [0; 16 << 10];
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => buffer.get(..read).unwrap_or_default(),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            let (goes_on, complete) = match &mut keys {
                Some(keys) => keys.pass(read),
                None => (read.to_vec(), false),
            };
            if to.write_all(&goes_on).is_err() {
                return;
            }
            if complete {
                // Nobody waits if this fails.
                let _ = left.blocking_send(());
                return;
            }
        }
    });
    Ok(leaving)
}

/// The next signal to pass on; never, if none are.
pub async fn next(signals: &mut Option<mpsc::Receiver<Signal>>) -> Option<Signal> {
    match signals {
        Some(signals) => signals.recv().await,
        None => std::future::pending().await,
    }
}

/// From now on these signals come here and do nothing by themselves.
pub fn forward_signals() -> Result<mpsc::Receiver<Signal>, Failure> {
    let (sender, receiver) = mpsc::channel(16);
    for number in FORWARDED {
        let mut stream = signal(SignalKind::from_raw(number)).map_err(Failure::system("listen for signals"))?;
        let Some(known) = Signal::from_number(number) else { continue };
        let sender = sender.clone();
        tokio::spawn(async move { while stream.recv().await.is_some() && sender.send(known).await.is_ok() {} });
    }
    Ok(receiver)
}
