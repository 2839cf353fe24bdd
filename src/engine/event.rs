//! What happens to containers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::{ContainerId, Labels};
use crate::values::health::Health;
use crate::values::image_ref::ImageRef;
use crate::values::names::ContainerName;
use crate::values::signal::Signal;

/// Something that happened to a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Nanoseconds since 1970.
    pub time: i64,
    /// To whom.
    pub container: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// Its labels.
    pub labels: Labels,
    /// What it was made from, as the file names it; older journals do not tell.
    #[serde(default)]
    pub image: Option<ImageRef>,
    /// What.
    pub action: EventAction,
    /// Why, and what else is known of it, by names of the engine's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, String>,
}

impl Event {
    /// The same, with this said of it, too.
    pub fn noting(mut self, name: &str, value: impl Into<String>) -> Event {
        self.notes.insert(name.to_owned(), value.into());
        self
    }
}

/// Which events are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EventQuery {
    /// Not before, nanoseconds since 1970, as far as that is remembered; `None`: from now on.
    pub since: Option<i64>,
    /// Not after, nanoseconds since 1970; `None`: without end.
    pub until: Option<i64>,
}

/// What happened to a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventAction {
    /// Made.
    Create,
    /// Runs.
    Start,
    /// A signal was sent by a user.
    Kill {
        /// Which.
        signal: Signal,
    },
    /// The kernel's memory killer struck.
    Oom,
    /// Ended, and all its output is in its log.
    Die {
        /// Exit code, or 128 and the signal.
        status: i32,
        /// It will be started again.
        restarting: bool,
    },
    /// A stop that was asked for is done.
    Stop,
    /// A restart that was asked for is done.
    Restart,
    /// Frozen.
    Pause,
    /// Thawed.
    Unpause,
    /// The probes say something new.
    Health {
        /// What.
        health: Health,
    },
    /// A user's further process is about to run in it.
    ExecCreate {
        /// The command line.
        command: String,
    },
    /// It runs.
    ExecStart {
        /// The command line.
        command: String,
    },
    /// It has ended.
    ExecDie {
        /// Exit code, or 128 and the signal.
        status: i32,
    },
    /// Removed.
    Destroy,
}
