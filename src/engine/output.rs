//! What containers wrote.

use serde::{Deserialize, Serialize};

use crate::engine::ContainerId;

/// Which output of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of a container's output: whole lines with their end, but for the last of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChunk {
    /// Whose.
    pub container: ContainerId,
    /// Which output.
    pub stream: Stream,
    /// When it was read, nanoseconds since 1970.
    pub time: i64,
    /// The bytes as they were written.
    pub bytes: Vec<u8>,
}

/// Which part of a log is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogQuery {
    /// Go on with what is written later, until the run that lasts now has ended and all it wrote has been told, whether
    /// or not the container will be started again; a watcher of events asks again then. Ends after what there is if no
    /// run lasts. Times rise strictly within a container: after the last one seen is where to go on.
    pub follow: bool,
    /// Only the last lines; `None`: all.
    pub tail: Option<u64>,
    /// Not before, nanoseconds since 1970.
    pub since: Option<i64>,
    /// Not after, nanoseconds since 1970.
    pub until: Option<i64>,
    /// Only what one run wrote: 0 is the present or last one, 1 the one before.
    pub run: Option<u64>,
}
