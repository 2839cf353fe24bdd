//! What commands ask of a supervisor, and the socket they do it over.
//!
//! One connection is one request: the client sends it, with files if it has some, and reads answers until the last one.
//! Closing the connection takes back what only the client wants (waiting, following). A message is its length (four
//! bytes, little-endian) and JSON; files come with its first byte.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::engine::{
    Attended, ContainerId, ContainerState, EngineError, Event, ExecConfig, ProcessIo, Question, Resolution, Rest,
    Stopped, Subject, WaitFor,
};
use crate::runtime::sys;
use crate::values::signal::Signal;

/// Longest message; a list of containers is far below.
const LONGEST: usize = 16 << 20;

/// What a client wants.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Start a container; answered once its command runs.
    Start {
        /// Which.
        id: ContainerId,
    },
    /// Start a container with these streams in place of its log; answered by `Process`, then `Status`.
    StartAttached {
        /// Which.
        id: ContainerId,
        /// Which files come along.
        io: Streams,
    },
    /// Stop a container; answered when it has ended.
    Stop {
        /// Which.
        id: ContainerId,
        /// `None`: its own.
        grace: Option<Duration>,
        /// For how long.
        #[serde(default)]
        rest: Rest,
    },
    /// Send a signal.
    Kill {
        /// To which.
        id: ContainerId,
        /// What.
        signal: Signal,
    },
    /// Stop, then start; answered once its command runs again.
    Restart {
        /// Which.
        id: ContainerId,
        /// `None`: its own.
        grace: Option<Duration>,
    },
    /// Freeze or thaw.
    Pause {
        /// Which.
        id: ContainerId,
        /// Freeze.
        paused: bool,
    },
    /// Answered by `State` when the condition holds.
    Wait {
        /// For which.
        id: ContainerId,
        /// What.
        until: WaitFor,
    },
    /// Answered by `Done`, and again when it ends in order. Whoever asks this holds nobody up.
    Events,
    /// Run another process; answered by `Process`, then `Status`.
    Exec {
        /// Where.
        id: ContainerId,
        /// What.
        config: ExecConfig,
        /// Which files come along.
        io: Streams,
    },
    /// Answered by `Input`, with the end of its standard input that is written to, if it has one.
    Input {
        /// Whose.
        id: ContainerId,
    },
    /// Take the terminal that comes along: whoever attended to this process has left. Answered by `Done`.
    Left {
        /// Where it runs.
        id: ContainerId,
        /// Which it is.
        process: Attended,
    },
    /// Answered by `Names`.
    Names,
    /// Answered by `Done`, then by the last `Question`s, then, if it follows, by those to come without end.
    Questions {
        /// Whether it does.
        follow: bool,
    },
    /// Tell subscribers of something that a command did itself (made, removed).
    Tell(Event),
    /// Answered when every record tells the truth of this moment.
    Settle,
    /// End now if nothing runs and nobody else is connected.
    Leave,
    /// Give way to a supervisor of the newer program that comes along, unless something is under way: then `Done`.
    /// Else the connection ends with this supervisor. Every version has to understand this request as it is.
    GiveWay,
    /// To the process that this connection started.
    Signal(Signal),
}

/// What a supervisor says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is done.
    Done,
    /// The condition holds; this is the state.
    State(ContainerState),
    /// It has been stopped.
    Stopped(Stopped),
    /// What the containers are told when they ask.
    Names(Vec<Resolution>),
    /// One of them asked.
    Question(Question),
    /// The process runs; the terminal's other end comes along if one was asked for.
    Process,
    /// The end of a standard input comes along.
    Input,
    /// The process ended with this code, or 128 and the signal.
    Status(i32),
    /// It ends now, and so does its keeper: their pids.
    Leaving {
        /// Of the keeper.
        keeper: i32,
        /// Of the supervisor.
        supervisor: i32,
    },
    /// It failed.
    Failed(Failure),
}

/// Which standard streams come as files with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Streams {
    /// Those that are true, in this order; the others are the null device.
    Files {
        /// Read by the process.
        stdin: bool,
        /// Written by the process.
        stdout: bool,
        /// Written by the process.
        stderr: bool,
    },
    /// None: a terminal is made, and sent back.
    Terminal {
        /// Height.
        rows: u16,
        /// Width.
        columns: u16,
    },
}

impl Streams {
    /// What to say of streams, and the files to send along.
    pub fn of(io: ProcessIo) -> (Streams, Vec<OwnedFd>) {
        match io {
            ProcessIo::Terminal { rows, columns } => (Streams::Terminal { rows, columns }, Vec::new()),
            ProcessIo::Files { stdin, stdout, stderr } => (
                Streams::Files { stdin: stdin.is_some(), stdout: stdout.is_some(), stderr: stderr.is_some() },
                [stdin, stdout, stderr].into_iter().flatten().collect(),
            ),
        }
    }

    /// The streams again, on the other side; `None` if files are missing.
    pub fn with(self, files: &mut VecDeque<OwnedFd>) -> Option<ProcessIo> {
        let mut take = |wanted: bool| if wanted { files.pop_front().map(Some) } else { Some(None) };
        Some(match self {
            Streams::Terminal { rows, columns } => ProcessIo::Terminal { rows, columns },
            Streams::Files { stdin, stdout, stderr } => {
                ProcessIo::Files { stdin: take(stdin)?, stdout: take(stdout)?, stderr: take(stderr)? }
            }
        })
    }
}

/// An [`EngineError`] on its way to another process. Causes travel as words.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// As in `EngineError`.
    NotFound(Subject),
    /// As in `EngineError`.
    Exists(Subject),
    /// As in `EngineError`.
    InUse(Subject, String),
    /// As in `EngineError`.
    State(Subject, String),
    /// As in `EngineError`.
    Invalid(Subject, String),
    /// As in `EngineError`.
    Command(Subject, i32, String),
    /// As in `EngineError`.
    Build(String, i32),
    /// As in `EngineError`.
    Unsupported(Subject, String),
    /// Verb, subject and the words of each cause, the outermost first.
    Failed(String, Subject, Vec<String>),
}

/// A cause that happened in another process.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Told {
    text: String,
    source: Option<Box<Told>>,
}

impl From<&EngineError> for Failure {
    fn from(error: &EngineError) -> Failure {
        match error {
            EngineError::NotFound(subject) => Failure::NotFound(subject.clone()),
            EngineError::Exists(subject) => Failure::Exists(subject.clone()),
            EngineError::InUse { subject, holder } => Failure::InUse(subject.clone(), holder.clone()),
            EngineError::State { subject, state } => Failure::State(subject.clone(), state.clone()),
            EngineError::Invalid { subject, reason } => Failure::Invalid(subject.clone(), reason.clone()),
            EngineError::Command { subject, code, reason } => Failure::Command(subject.clone(), *code, reason.clone()),
            EngineError::Build { step, status } => Failure::Build(step.clone(), *status),
            EngineError::Unsupported { subject, feature } => Failure::Unsupported(subject.clone(), feature.clone()),
            // No supervisor talks to registries.
            EngineError::Unreachable { registry, .. } | EngineError::Denied { registry, .. } => {
                Failure::Invalid(Subject::Registry(registry.clone()), error.to_string())
            }
            EngineError::Failed { verb, subject, source } => {
                let causes = std::iter::successors(Some(&**source as &dyn std::error::Error), |cause| cause.source());
                Failure::Failed((*verb).to_owned(), subject.clone(), causes.map(ToString::to_string).collect())
            }
        }
    }
}

impl From<Failure> for EngineError {
    fn from(failure: Failure) -> EngineError {
        match failure {
            Failure::NotFound(subject) => EngineError::NotFound(subject),
            Failure::Exists(subject) => EngineError::Exists(subject),
            Failure::InUse(subject, holder) => EngineError::InUse { subject, holder },
            Failure::State(subject, state) => EngineError::State { subject, state },
            Failure::Invalid(subject, reason) => EngineError::Invalid { subject, reason },
            Failure::Command(subject, code, reason) => EngineError::Command { subject, code, reason },
            Failure::Build(step, status) => EngineError::Build { step, status },
            Failure::Unsupported(subject, feature) => EngineError::Unsupported { subject, feature },
            Failure::Failed(verb, subject, causes) => {
                let told = causes.into_iter().rev().fold(None, |source, text| Some(Box::new(Told { text, source })));
                let told = told.unwrap_or_else(|| Box::new(Told { text: "no reason given".into(), source: None }));
                EngineError::Failed { verb: known_verb(&verb), subject, source: told }
            }
        }
    }
}

/// The verbs a supervisor uses, as the static words that an error holds.
fn known_verb(verb: &str) -> &'static str {
    const VERBS: [&str; 14] = [
        "start", "stop", "kill", "restart", "pause", "unpause", "exec in", "wait for", "read", "write", "connect",
        "remove", "create", "log",
    ];
    VERBS.into_iter().find(|known| *known == verb).unwrap_or("use")
}

/// One end of a connection.
#[derive(Debug)]
pub struct Channel {
    stream: UnixStream,
    buffer: Vec<u8>,
    files: VecDeque<OwnedFd>,
}

impl Channel {
    /// Over this stream.
    pub fn new(stream: UnixStream) -> Channel {
        Channel { stream, buffer: Vec::new(), files: VecDeque::new() }
    }

    /// Files that came and were not taken yet.
    pub fn files(&mut self) -> &mut VecDeque<OwnedFd> {
        &mut self.files
    }

    /// Sends a message and its files.
    pub async fn send<T: Serialize>(&self, message: &T, files: &[OwnedFd]) -> io::Result<()> {
        let mut bytes = vec![0; 4];
        serde_json::to_writer(&mut bytes, message)?;
        let length = u32::try_from(bytes.len() - 4).map_err(|_| io::ErrorKind::InvalidInput)?;
        bytes.splice(..4, length.to_le_bytes());
        let mut files: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            self.stream.writable().await?;
            let sent = self.stream.try_io(Interest::WRITABLE, || Ok(sys::send(&self.stream, rest, &files)?));
            match sent {
                Ok(sent) => {
                    rest = rest.get(sent..).unwrap_or_default();
                    // They went with the first byte.
                    files.clear();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next message; `None` once the other end has closed. Dropping the future loses nothing.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        loop {
            if let Some((length, rest)) = self.buffer.split_first_chunk::<4>() {
                let length = u32::from_le_bytes(*length) as usize;
                if length > LONGEST {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "a message of impossible length"));
                }
                if let Some(message) = rest.get(..length) {
                    let message = serde_json::from_slice(message)?;
                    self.buffer.drain(..4 + length);
                    return Ok(Some(message));
                }
            }
            self.stream.readable().await?;
            let mut bytes = [0; 4096];
            let received = self.stream.try_io(Interest::READABLE, || Ok(sys::receive(&self.stream, &mut bytes)?));
            match received {
                Ok((0, _)) if self.buffer.is_empty() => return Ok(None),
                Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok((length, files)) => {
                    self.buffer.extend_from_slice(bytes.get(..length).unwrap_or_default());
                    self.files.extend(files);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn a_message_arrives_whole_with_its_files_and_the_end_is_an_end() {
        block_on(async {
            let (one, other) = UnixStream::pair().unwrap();
            let (one, mut other) = (Channel::new(one), Channel::new(other));
            let long = "x".repeat(1 << 20);
            let file = OwnedFd::from(tempfile::tempfile().unwrap());
            let send = async {
                one.send(&long, &[file]).await.unwrap();
                one.send(&"short", &[]).await.unwrap();
            };
            let receive = async {
                assert_eq!(other.receive::<String>().await.unwrap(), Some(long.clone()));
                assert_eq!(other.receive::<String>().await.unwrap().as_deref(), Some("short"));
                assert_eq!(other.files().len(), 1);
            };
            tokio::join!(send, receive);
            drop(one);
            assert_eq!(other.receive::<String>().await.unwrap(), None);
        });
    }

    #[test]
    fn an_error_says_the_same_words_in_another_process() {
        let cause = Told { text: "outer".into(), source: Some(Box::new(Told { text: "inner".into(), source: None })) };
        let error =
            EngineError::Failed { verb: "start", subject: Subject::Container("a-1".into()), source: Box::new(cause) };
        let text = serde_json::to_string(&Failure::from(&error)).unwrap();
        let back = EngineError::from(serde_json::from_str::<Failure>(&text).unwrap());
        let words = |error: &EngineError| {
            std::iter::successors(Some(error as &dyn std::error::Error), |cause| cause.source())
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(words(&back), words(&error));
        assert_eq!(words(&back), ["cannot start container a-1", "outer", "inner"]);
    }
}
