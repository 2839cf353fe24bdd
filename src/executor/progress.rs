//! What an executor tells: a resource and a word of Docker Compose's progress lines (` Container p-web-1 Started`).

use std::fmt;

use crate::planner::plan::StepId;
use crate::values::names::{ContainerName, NetworkName, ServiceName, VolumeName};

/// A line of progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Which step.
    pub step: StepId,
    /// What it is about.
    pub resource: Resource,
    /// What became of it.
    pub status: Status,
    /// More, in words.
    pub detail: Option<String>,
}

/// What a line of progress is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// A network.
    Network(NetworkName),
    /// A volume.
    Volume(VolumeName),
    /// A container.
    Container(ContainerName),
    /// An image.
    Image(String),
    /// A service as a whole.
    Service(ServiceName),
}

/// What became of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the words as they are printed")]
pub enum Status {
    Building,
    Built,
    Pulling,
    Pulled,
    Pushing,
    Pushed,
    Creating,
    Created,
    Recreate,
    Recreated,
    Running,
    Starting,
    Started,
    Waiting,
    Healthy,
    Ready,
    Exited,
    Stopping,
    Stopped,
    Restarting,
    Killing,
    Killed,
    Paused,
    Unpaused,
    Removing,
    Removed,
    /// It is in use and stays.
    InUse,
    /// An optional dependency failed; the detail says how.
    Warning,
    Error,
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Under way.
    Working,
    /// Well ended.
    Done,
    /// Ended so that the user should know.
    Warning,
    /// Failed.
    Error,
}

impl Status {
    /// How a line with this word looks.
    pub fn kind(self) -> Kind {
        use Status::*;
        match self {
            Building | Pulling | Pushing | Creating | Recreate | Starting | Waiting | Stopping | Restarting
            | Killing | Removing => Kind::Working,
            Built | Pulled | Pushed | Created | Recreated | Running | Started | Healthy | Ready | Exited | Stopped
            | Killed | Paused | Unpaused | Removed => Kind::Done,
            InUse | Warning => Kind::Warning,
            Error => Kind::Error,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::InUse => out.write_str("Resource is still in use"),
            word => write!(out, "{word:?}"),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resource::Network(name) => write!(out, "Network {name}"),
            Resource::Volume(name) => write!(out, "Volume {name}"),
            Resource::Container(name) => write!(out, "Container {name}"),
            Resource::Image(name) => write!(out, "Image {name}"),
            Resource::Service(name) => write!(out, "Service {name}"),
        }
    }
}
