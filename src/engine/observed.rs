//! How things stand: projects, containers, networks, volumes, images.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::engine::{ContainerConfig, Labels, NetworkConfig, VolumeConfig};
use crate::values::health::Health;
use crate::values::image_ref::ImageRef;
use crate::values::names::{NetworkName, ProjectName, VolumeName};
use crate::values::protocol::Protocol;

/// A container's identity: 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContainerId(pub String);

impl ContainerId {
    /// The 12 digits that people see.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

/// An image's identity: the digest of its configuration, `sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ImageId(pub String);

/// What an engine knows of one project, and of what the project may touch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// The project's containers, one-off ones too, by name.
    pub containers: Vec<ObservedContainer>,
    /// Every network of the machine.
    pub networks: Vec<ObservedNetwork>,
    /// Every volume of the machine.
    pub volumes: Vec<ObservedVolume>,
    /// The images asked for that are present.
    pub images: BTreeMap<ImageRef, ObservedImage>,
}

/// One container as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObservedContainer {
    /// Its identity.
    pub id: ContainerId,
    /// What it was made from.
    pub config: ContainerConfig,
    /// The image it was made from, whatever its name names now.
    pub image: ImageId,
    /// The command line as it runs: entrypoint and command.
    pub command_line: Vec<String>,
    /// When it was made, nanoseconds since 1970.
    pub created: i64,
    /// What it does.
    pub state: ContainerState,
    /// How often its policy started it again.
    pub restart_count: u32,
    /// Where it is connected while it runs.
    pub endpoints: Vec<Endpoint>,
    /// Ports open on the host now.
    pub published: Vec<PublishedPort>,
    /// Ports the image and the configuration declare.
    pub exposed: Vec<(u16, Protocol)>,
    /// Volumes in use: target and volume.
    pub volumes: BTreeMap<String, VolumeName>,
    /// Anonymous ones among them, by name.
    pub anonymous_volumes: Vec<VolumeName>,
}

/// What a container does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerState {
    /// Made, never started; or its start failed.
    Created {
        /// Why the last start failed, with the exit code Docker gives it (126, 127 or 128).
        failure: Option<(i32, String)>,
    },
    /// There is a process.
    Running {
        /// Process id on the host.
        pid: i32,
        /// Nanoseconds since 1970.
        since: i64,
        /// `None` without a health check.
        health: Option<Health>,
        /// Frozen.
        paused: bool,
        /// It is being stopped and ends soon, whatever it does.
        #[serde(default)]
        stopping: bool,
    },
    /// Ended, and will be started when the delay is over.
    Restarting {
        /// The last exit status.
        status: i32,
        /// When it ended, nanoseconds since 1970.
        finished: i64,
    },
    /// Ended.
    Exited {
        /// Exit code, or 128 and the signal.
        status: i32,
        /// When it ended, nanoseconds since 1970.
        finished: i64,
        /// The kernel's memory killer ended it.
        oom_killed: bool,
        /// Everything that could have told how it ended was killed: `status` stands for "not known".
        #[serde(default)]
        unseen: bool,
    },
    /// Half removed; removing it again finishes that.
    Dead,
}

impl ContainerState {
    /// Whether it runs, or is about to run again by itself.
    pub fn is_active(&self) -> bool {
        matches!(self, ContainerState::Running { .. } | ContainerState::Restarting { .. })
    }
}

/// One connection of a running container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The network's name.
    pub network: NetworkName,
    /// The network's identity; a network made anew has another.
    pub network_id: String,
    /// Its address.
    pub ipv4: Option<std::net::Ipv4Addr>,
    /// Its address.
    pub ipv6: Option<std::net::Ipv6Addr>,
    /// Hardware address.
    pub mac: String,
}

/// One open port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublishedPort {
    /// Where on the host.
    pub host_ip: IpAddr,
    /// Where on the host.
    pub published: u16,
    /// Where in the container.
    pub target: u16,
    /// What it speaks.
    pub protocol: Protocol,
}

/// One network as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObservedNetwork {
    /// Its identity.
    pub id: String,
    /// What it was made from.
    pub config: NetworkConfig,
    /// Its subnets as they are, in CIDR form.
    pub subnets: Vec<String>,
    /// Why its containers may be out of reach.
    pub trouble: Option<NetworkTrouble>,
}

/// Why the containers of a network may be out of reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkTrouble {
    /// A route of the machine to here takes a part of its addresses away, as that of a VPN that came later.
    Overshadowed(String),
    /// Containers are connected, but somebody has taken its bridge away or down.
    Severed,
}

/// One volume as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedVolume {
    /// What it was made from.
    pub config: VolumeConfig,
    /// Where its data lies on the host.
    pub mountpoint: PathBuf,
    /// Made for one container, without a name of its own.
    pub anonymous: bool,
}

/// One image as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedImage {
    /// Its identity.
    pub id: ImageId,
    /// Every name it has.
    pub names: Vec<ImageRef>,
    /// Bytes of its layers, unpacked.
    pub size: u64,
    /// When it was made, nanoseconds since 1970; 0 unknown.
    pub created: i64,
    /// When it last got a name here, nanoseconds since 1970.
    pub tagged: i64,
    /// What it is for, `linux/amd64`.
    pub platform: String,
    /// Its labels.
    pub labels: Labels,
    /// The paths of its `VOLUME`s.
    pub volumes: Vec<String>,
}

/// Which projects there are: name and its containers' states and labels, for `ls`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObservedProject {
    /// Its name.
    pub name: ProjectName,
    /// Its containers.
    pub containers: Vec<ObservedContainer>,
}
