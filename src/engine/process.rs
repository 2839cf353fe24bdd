//! Processes in a container.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::engine::EngineError;
use crate::values::signal::Signal;

/// What a process in a container gets as its standard streams.
#[derive(Debug)]
pub enum ProcessIo {
    /// These files, as they are; `None` is the null device.
    Files {
        /// Read by the process.
        stdin: Option<OwnedFd>,
        /// Written by the process.
        stdout: Option<OwnedFd>,
        /// Written by the process.
        stderr: Option<OwnedFd>,
    },
    /// A new terminal of this size (rows, columns), whose other end the caller gets.
    Terminal {
        /// Height.
        rows: u16,
        /// Width.
        columns: u16,
    },
}

/// A process to run in a running container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExecConfig {
    /// The argument list.
    pub command: Vec<String>,
    /// Over the container's environment.
    pub environment: BTreeMap<String, String>,
    /// Default: the container's.
    pub user: Option<String>,
    /// Default: the container's.
    pub working_dir: Option<String>,
    /// All capabilities.
    pub privileged: bool,
}

/// A running extra process, or an attached container.
#[derive(Debug)]
pub struct Process {
    /// The terminal's other end, where one was asked for.
    pub terminal: Option<OwnedFd>,
    /// Resolves to the exit code (or 128 and the signal) once it has ended.
    pub status: tokio::sync::oneshot::Receiver<Result<i32, EngineError>>,
    /// Signals sent here reach the process.
    pub signals: mpsc::Sender<Signal>,
}

/// Which process of a container a user attended to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attended {
    /// The container's first.
    First,
    /// One that `exec` started.
    Further,
}

/// One process of a container, as `ps -ef` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRow {
    /// User id on the host, or the name.
    pub uid: String,
    /// Process id on the host.
    pub pid: i32,
    /// Its parent.
    pub ppid: i32,
    /// Processor use in per cent, integer.
    pub c: u32,
    /// Start time, `10:31`.
    pub stime: String,
    /// Terminal or `?`.
    pub tty: String,
    /// Processor time, `00:00:01`.
    pub time: String,
    /// Command line.
    pub cmd: String,
}

/// What a running container uses: a moment's readings, of which two make a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// When it was read, nanoseconds since 1970.
    pub time: i64,
    /// Processor time so far, in nanoseconds.
    pub cpu: u64,
    /// Bytes in use, without what the kernel would give back at once.
    pub memory: u64,
    /// The most it may use, or the machine's memory.
    pub memory_limit: u64,
    /// Bytes that came in over its interfaces.
    pub received: u64,
    /// Bytes that went out.
    pub sent: u64,
    /// Bytes read from block devices.
    pub read: u64,
    /// Bytes written to block devices.
    pub written: u64,
    /// Processes and threads.
    pub pids: u64,
}
