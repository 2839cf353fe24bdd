//! What a container is made from.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::{DnsConfig, Labels, Mount, NetworkMode, PortMapping, Resources, Security};
use crate::values::health::HealthCheck;
use crate::values::image_ref::ImageRef;
use crate::values::names::{ContainerName, ProjectName};
use crate::values::protocol::Protocol;
use crate::values::restart::Restart;
use crate::values::signal::Signal;
use crate::values::ulimit::Ulimit;

/// Everything a container is made from. `None` and "inherit" take the image's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerConfig {
    /// Unique on the machine.
    pub name: ContainerName,
    /// Whose keeper runs it.
    pub project: ProjectName,
    /// The stable place in the project, `service/number`; addresses are kept for it across recreation.
    pub slot: String,
    /// Found again by these.
    pub labels: Labels,
    /// What it runs on.
    pub image: ImageRef,
    /// Replaces the image's `CMD`.
    pub command: Option<Vec<String>>,
    /// Replaces the image's `ENTRYPOINT` and drops its `CMD`.
    pub entrypoint: Option<Vec<String>>,
    /// Over the image's environment; `None` removes a variable.
    pub environment: BTreeMap<String, Option<String>>,
    /// Absolute; made if missing.
    pub working_dir: Option<String>,
    /// `name|uid[:group|gid]`, looked up in the container.
    pub user: Option<String>,
    /// Further groups, names or numbers.
    pub group_add: Vec<String>,
    /// Default: the short id.
    pub hostname: Option<String>,
    /// Appended to the host name in `/etc/hosts`.
    pub domainname: Option<String>,
    /// Run the command under a small init that reaps and forwards signals.
    pub init: bool,
    /// Allocate a terminal.
    pub tty: bool,
    /// Keep standard input open.
    pub stdin_open: bool,
    /// Default: the image's, else `SIGTERM`.
    pub stop_signal: Option<Signal>,
    /// Between the stop signal and `SIGKILL` (default 10 s).
    pub stop_grace_period: Option<Duration>,
    /// What happens after an exit.
    pub restart: Restart,
    /// Remove the container (and its anonymous volumes) when it has ended; its writable layer need not be durable.
    pub auto_remove: bool,
    /// `None`: the image's.
    pub healthcheck: Option<HealthCheck>,
    /// In order of declaration; the engine sorts them by depth.
    pub mounts: Vec<Mount>,
    /// Mount the root file system read-only.
    pub read_only: bool,
    /// How it is reached.
    pub network: NetworkMode,
    /// Ports opened on the host.
    pub ports: Vec<PortMapping>,
    /// Declared, not published; for display.
    pub expose: Vec<(u16, Protocol)>,
    /// `/etc/hosts` lines: name, then an address or `host-gateway`.
    pub extra_hosts: Vec<(String, String)>,
    /// Resolver settings.
    pub dns: DnsConfig,
    /// Who it may be.
    pub security: Security,
    /// What it may use.
    pub resources: Resources,
    /// `/proc/sys` settings, by dotted name.
    pub sysctls: BTreeMap<String, String>,
    /// Limits by name (`nofile`, …).
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Devices of the host.
    pub devices: Vec<Device>,
    /// Rules of the device cgroup as `c 1:3 rwm`.
    pub device_cgroup_rules: Vec<String>,
    /// Whose IPC namespace.
    pub ipc: NamespaceMode,
    /// Whose process ids.
    pub pid: NamespaceMode,
    /// Whose host name.
    pub uts: NamespaceMode,
    /// Whose view of the cgroup tree.
    pub cgroup: NamespaceMode,
    /// Parent in the cgroup tree.
    pub cgroup_parent: Option<String>,
    /// What becomes of its output.
    pub logging: Logging,
    /// Files written into it before each start (configs and secrets that are not bind mounts).
    pub files: Vec<InjectedFile>,
}

/// A file that is written into a container before each start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InjectedFile {
    /// Absolute path in the container.
    pub target: String,
    /// What it holds.
    pub content: Vec<u8>,
    /// Owner.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// Whose namespace a container lives in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamespaceMode {
    /// Its own.
    #[default]
    Private,
    /// Its own, and others may join.
    Shareable,
    /// The machine's.
    Host,
    /// Nobody's (IPC only: no `/dev/shm`).
    None,
    /// Another container's, by id or name.
    Container(String),
}

/// A device of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// On the host.
    pub source: PathBuf,
    /// In the container.
    pub target: PathBuf,
    /// Letters out of `rwm`.
    pub permissions: String,
}

/// What becomes of a container's output.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Logging {
    /// `json-file`, `local`, `none`; default `json-file`.
    pub driver: Option<String>,
    /// `max-size`, `max-file`, …
    pub options: BTreeMap<String, String>,
}

impl Logging {
    /// Whether the output is only for who is attached while it comes.
    pub fn is_none(&self) -> bool {
        self.driver.as_deref() == Some("none")
    }
}
