//! What is kept of a container: what it is made from, once, and how it stands, at every change.
//!
//! `container.json` is written when the container is made and lasts past a power cut. `state.json` is replaced at each
//! transition by whoever owns the container then: its project's supervisor while it is active, else the command that
//! changes it. Absent on purpose: anything that can be read from the other one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::{
    ContainerConfig, ContainerId, ContainerState, Endpoint, ImageId, ObservedContainer, Probe, PublishedPort,
};
use crate::values::names::VolumeName;
use crate::values::protocol::Protocol;
use crate::values::signal::Signal;

/// `container.json`: the configuration, with everything the image says resolved at the time of making.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// Its identity.
    pub id: ContainerId,
    /// What was asked for.
    pub config: ContainerConfig,
    /// The image it was made from.
    pub image: ImageId,
    /// Directories of the image's layers, the lowest first.
    pub layers: Vec<PathBuf>,
    /// Nanoseconds since 1970.
    pub created: i64,
    /// Entrypoint and command; never empty.
    pub argv: Vec<String>,
    /// Image's and own, in the order Docker has; without `HOSTNAME`, `TERM` and `HOME`, which the start adds.
    pub environment: Vec<(String, String)>,
    /// Absolute.
    pub working_dir: String,
    /// As written in configuration or image; empty is root.
    pub user: String,
    /// Short id unless configured.
    pub hostname: String,
    /// The configuration's, else the image's; `None`: `SIGTERM`, and any signal that a user sends is taken for a stop.
    pub stop_signal: Option<Signal>,
    /// How health is probed; `None`: not at all.
    pub health: Option<HealthProbe>,
    /// Ports of configuration and image, sorted, for display.
    pub exposed: Vec<(u16, Protocol)>,
    /// Target to volume: named, anonymous ones and those of the image.
    pub volumes: BTreeMap<String, VolumeName>,
    /// Those of `volumes` that go with the container.
    pub anonymous_volumes: Vec<VolumeName>,
}

/// A health check with every default filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthProbe {
    /// The command, the shell's words included.
    pub argv: Vec<String>,
    /// Pause between probes.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// While it lasts, failures do not count.
    pub start_period: Duration,
    /// Pause between probes within the start period.
    pub start_interval: Duration,
    /// Failures in a row that make a container unhealthy.
    pub retries: u32,
}

/// `state.json`: how a container stands. What an older version did not write is as for a new container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// As the engine tells it.
    pub state: ContainerState,
    /// The process of `Running`, so that another one with the same number is never taken for it.
    pub process: Option<ProcessMark>,
    /// How often its policy started it again since a user did.
    pub restart_count: u32,
    /// How long its policy waited before it did so the last time.
    pub delay: Duration,
    /// How many times it has been started in all; names the run in its log.
    pub runs: u64,
    /// The last stop was asked for: no policy starts it but `always`.
    pub stopped_by_user: bool,
    /// The boot of the machine in which this was written (`/proc/sys/kernel/random/boot_id`).
    pub boot: Option<String>,
    /// Connections while it runs.
    pub endpoints: Vec<Endpoint>,
    /// Open ports while it runs.
    pub published: Vec<PublishedPort>,
    /// The last probes, newest last, at most five.
    pub probes: Vec<Probe>,
}

/// Names one process of this boot for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessMark {
    /// Process id on the host.
    pub pid: i32,
    /// Clock ticks after boot at which it began (proc_pid_stat(5), field 22).
    pub started: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
}

/// What is told of an exit that nobody knows: Docker's word for it.
pub const UNKNOWN: i32 = 255;

impl Standing {
    /// Of a container that was made and never started.
    pub fn new() -> Standing {
        Standing {
            state: ContainerState::Created { failure: None },
            process: None,
            restart_count: 0,
            delay: Duration::ZERO,
            runs: 0,
            stopped_by_user: false,
            boot: None,
            endpoints: Vec::new(),
            published: Vec::new(),
            probes: Vec::new(),
        }
    }

    /// Of a container that had been started when the machine lost its power, and what became of it with it.
    pub fn lost() -> Standing {
        Standing {
            state: ContainerState::Exited { status: UNKNOWN, finished: 0, oom_killed: false, unseen: true },
            ..Standing::new()
        }
    }
}

impl Default for Standing {
    fn default() -> Standing {
        Standing::new()
    }
}

impl Container {
    /// Whether it uses a volume, named or anonymous.
    pub fn has_volume(&self, name: &VolumeName) -> bool {
        self.volumes.values().any(|used| used == name)
    }

    /// As the engine tells it.
    pub fn observed(self, standing: Standing) -> ObservedContainer {
        ObservedContainer {
            id: self.id,
            config: self.config,
            image: self.image,
            command_line: self.argv,
            created: self.created,
            state: standing.state,
            restart_count: standing.restart_count,
            endpoints: standing.endpoints,
            published: standing.published,
            exposed: self.exposed,
            volumes: self.volumes,
            anonymous_volumes: self.anonymous_volumes,
        }
    }
}
