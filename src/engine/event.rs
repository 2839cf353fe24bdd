//! What happens to containers.

use serde::{Deserialize, Serialize};

use crate::engine::{ContainerId, Labels};
use crate::values::health::Health;
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
    /// What.
    pub action: EventAction,
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
    /// Removed.
    Destroy,
}
