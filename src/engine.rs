//! The port between what is wanted and what does it: one trait, plain data, no Compose and no kernel.
//!
//! A planner reads [`Observed`] and writes calls of [`Engine`]; an engine has never heard of Compose files. Labels carry
//! what the caller wants to find again. Containers belong to a project because a project is the unit that lives and dies
//! together: it has one keeper and one supervisor.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::values::health::{Health, HealthCheck};
use crate::values::image_ref::ImageRef;
use crate::values::names::{ContainerName, NetworkName, ProjectName, VolumeName};
use crate::values::protocol::Protocol;
use crate::values::restart::Restart;
use crate::values::signal::Signal;
use crate::values::ulimit::Ulimit;

/// Labels as Docker has them.
pub type Labels = BTreeMap<String, String>;

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

// ---------------------------------------------------------------------------------------------------------------------
// What is wanted
// ---------------------------------------------------------------------------------------------------------------------

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

/// How a container is connected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkMode {
    /// To these networks, the first being the primary one.
    Networks(Vec<Attachment>),
    /// Only loopback.
    None,
    /// The machine's own interfaces.
    Host,
    /// The interfaces of another container, by id or name.
    Container(String),
}

/// One connection to one network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    /// Which network.
    pub network: NetworkName,
    /// Names it answers to there, besides the container's own.
    pub aliases: Vec<String>,
    /// Names that resolve for this container alone: alias to container name.
    pub links: BTreeMap<String, Vec<ContainerName>>,
    /// Static address.
    pub ipv4_address: Option<std::net::Ipv4Addr>,
    /// Static address.
    pub ipv6_address: Option<std::net::Ipv6Addr>,
    /// Further addresses of the link.
    pub link_local_ips: Vec<IpAddr>,
    /// Static hardware address.
    pub mac_address: Option<String>,
    /// Name of the interface inside; default `eth0`, `eth1`, …
    pub interface_name: Option<String>,
    /// The highest has the default route.
    pub gw_priority: i64,
    /// Options of the endpoint.
    pub driver_opts: BTreeMap<String, String>,
}

/// One port opened on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// `None`: every address, IPv4 and IPv6.
    pub host_ip: Option<IpAddr>,
    /// First and last candidate on the host; `None`: any free port.
    pub published: Option<(u16, u16)>,
    /// In the container.
    pub target: u16,
    /// What it speaks.
    pub protocol: Protocol,
}

/// Resolver settings of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DnsConfig {
    /// Upstream servers; empty: the host's.
    pub servers: Vec<IpAddr>,
    /// The `search` line; `None`: the host's.
    pub search: Option<Vec<String>>,
    /// The `options` line.
    pub options: Vec<String>,
}

/// What a container may do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Security {
    /// All capabilities and devices, no masks, no filter.
    pub privileged: bool,
    /// Added to Docker's default set; `ALL` and the `CAP_` prefix are understood.
    pub cap_add: Vec<String>,
    /// Taken away.
    pub cap_drop: Vec<String>,
    /// Set-user-id programs gain nothing.
    pub no_new_privileges: bool,
    /// The system call filter.
    pub seccomp: Seccomp,
    /// No masked and read-only paths (`systempaths=unconfined`).
    pub unmasked: bool,
}

/// Which system calls pass.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seccomp {
    /// Docker's allow-list.
    #[default]
    Default,
    /// All.
    Unconfined,
    /// A profile in Docker's JSON format.
    Profile(String),
}

/// What a container may use; `None` is no limit.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Resources {
    /// Bytes.
    pub memory: Option<u64>,
    /// Memory and swap together, bytes; -1 is no limit.
    pub memory_swap: Option<i64>,
    /// Bytes kept under pressure.
    pub memory_reservation: Option<u64>,
    /// 0 to 100.
    pub memory_swappiness: Option<u64>,
    /// The kernel stalls instead of killing.
    pub oom_kill_disable: bool,
    /// -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Processors, in billionths (Docker's NanoCpus).
    pub nano_cpus: Option<u64>,
    /// Relative weight, default 1024.
    pub cpu_shares: Option<u64>,
    /// Microseconds in a period.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// Processors, `0-3,5`.
    pub cpuset: Option<String>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Size of `/dev/shm` in bytes (default 64 MiB).
    pub shm_size: Option<u64>,
    /// 10 to 1000.
    pub blkio_weight: Option<u16>,
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

/// Something mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path in the container.
    pub target: String,
    /// What is there.
    pub source: MountSource,
    /// Nothing can be written.
    pub read_only: bool,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountSource {
    /// A path of the host.
    Bind {
        /// Absolute path on the host.
        source: PathBuf,
        /// Make a missing directory.
        create: bool,
        /// `rprivate`, `private`, `rshared`, `shared`, `rslave` or `slave`.
        propagation: Option<String>,
        /// Take the mounts below along.
        recursive: bool,
    },
    /// A named volume, made before.
    Volume {
        /// Which.
        name: VolumeName,
        /// Do not copy the image's content into it when it is empty.
        no_copy: bool,
        /// A path within.
        subpath: Option<String>,
    },
    /// A new volume of its own, or the one that the `inherit`ed container has at this target.
    Anonymous,
    /// The volume that another container has at this target when this one is made.
    Of {
        /// Which, by id or name.
        container: String,
    },
    /// Memory.
    Tmpfs {
        /// Bytes.
        size: Option<u64>,
        /// Permission bits of its root.
        mode: Option<u32>,
        /// More options, as `mount -o` takes them.
        options: Vec<String>,
    },
    /// The file system of another image, read-only.
    Image {
        /// Which.
        image: ImageRef,
        /// A path within.
        subpath: Option<String>,
    },
}

/// A network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkConfig {
    /// Unique on the machine.
    pub name: NetworkName,
    /// Found again by these.
    pub labels: Labels,
    /// `bridge`.
    pub driver: String,
    /// Options of the driver, by Docker's names.
    pub driver_opts: BTreeMap<String, String>,
    /// No way out.
    pub internal: bool,
    /// Containers of other projects may join by hand.
    pub attachable: bool,
    /// Default true.
    pub enable_ipv4: bool,
    /// Default false.
    pub enable_ipv6: bool,
    /// Address pools; empty: the engine chooses.
    pub pools: Vec<AddressPool>,
}

/// Addresses of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressPool {
    /// In CIDR form.
    pub subnet: Option<String>,
    /// Where dynamic addresses come from, in CIDR form.
    pub ip_range: Option<String>,
    /// The bridge's own address.
    pub gateway: Option<IpAddr>,
    /// Addresses that are never handed out.
    pub aux_addresses: BTreeMap<String, IpAddr>,
}

/// A named volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeConfig {
    /// Unique on the machine.
    pub name: VolumeName,
    /// Found again by these.
    pub labels: Labels,
    /// `local`.
    pub driver: String,
    /// `type`, `o`, `device`.
    pub driver_opts: BTreeMap<String, String>,
}

// ---------------------------------------------------------------------------------------------------------------------
// What is there
// ---------------------------------------------------------------------------------------------------------------------

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
    },
    /// Half removed; removing it again finishes that.
    Dead,
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

// ---------------------------------------------------------------------------------------------------------------------
// What is told
// ---------------------------------------------------------------------------------------------------------------------

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
}

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

/// What an image is built from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildConfig {
    /// A directory of the host.
    pub context: PathBuf,
    /// The Dockerfile: a path, relative to the context, or its text.
    pub dockerfile: DockerfileSource,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// The stage to build; the last by default.
    pub target: Option<String>,
    /// Names of the result.
    pub tags: Vec<ImageRef>,
    /// Labels of the result.
    pub labels: Labels,
    /// Run every step anew.
    pub no_cache: bool,
    /// Network of `RUN`: `default`, `host` or `none`.
    pub network: Option<String>,
    /// `/etc/hosts` lines during `RUN`.
    pub extra_hosts: Vec<(String, String)>,
    /// Size of `/dev/shm` during `RUN`, bytes.
    pub shm_size: Option<u64>,
    /// Limits during `RUN`.
    pub ulimits: BTreeMap<String, Ulimit>,
}

/// Where a Dockerfile is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DockerfileSource {
    /// A path, relative to the context.
    Path(PathBuf),
    /// The text itself.
    Inline(String),
}

/// News of a long piece of work, for the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A step began: `[stage 2/5] RUN apt-get update`.
    Step {
        /// Which, unique within the work.
        id: String,
        /// In words.
        text: String,
    },
    /// Bytes of a step.
    Bytes {
        /// Which step.
        id: String,
        /// Done so far.
        done: u64,
        /// Of how many, where known.
        total: Option<u64>,
    },
    /// What a step printed.
    Output {
        /// Which step.
        id: String,
        /// As printed.
        bytes: Vec<u8>,
    },
    /// A step ended well.
    Done {
        /// Which step.
        id: String,
        /// Its result was known already.
        cached: bool,
    },
}

// ---------------------------------------------------------------------------------------------------------------------
// The port
// ---------------------------------------------------------------------------------------------------------------------

/// What an error is about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A container, by name or id.
    #[error("container {0}")]
    Container(String),
    /// A network.
    #[error("network {0}")]
    Network(String),
    /// A volume.
    #[error("volume {0}")]
    Volume(String),
    /// An image.
    #[error("image {0}")]
    Image(String),
    /// A project.
    #[error("project {0}")]
    Project(String),
    /// A port of the host.
    #[error("port {0}")]
    Port(String),
    /// A path of the host.
    #[error("{0}")]
    Path(String),
    /// The machine itself.
    #[error("this machine")]
    Machine,
}

/// Any error below, kept whole.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why an engine call failed: a variant for each thing a caller can *do* about it.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Treat as already removed, or tell the user.
    #[error("no such {0}")]
    NotFound(Subject),
    /// Look at the existing one and decide again.
    #[error("{0} already exists")]
    Exists(Subject),
    /// Leave it; something uses it.
    #[error("{subject} is in use by {holder}")]
    InUse {
        /// What.
        subject: Subject,
        /// By whom, in words.
        holder: String,
    },
    /// Tell the user; the request contradicts the state, as exec in a stopped container.
    #[error("{subject} is {state}")]
    State {
        /// What.
        subject: Subject,
        /// Its state in words: `not running`, `paused`.
        state: String,
    },
    /// Tell the user: the configuration can't work. Says what and why.
    #[error("{subject}: {reason}")]
    Invalid {
        /// What.
        subject: Subject,
        /// Why.
        reason: String,
    },
    /// The command can't be run in the container; `code` is 126 or 127, as Docker has them.
    #[error("cannot start {subject}: {reason}")]
    Command {
        /// Which container.
        subject: Subject,
        /// Exit code to report.
        code: i32,
        /// Why.
        reason: String,
    },
    /// A build step ended with this code.
    #[error("{step} did not complete successfully: exit code: {status}")]
    Build {
        /// The instruction with its place.
        step: String,
        /// Its exit code.
        status: i32,
    },
    /// Tell the user what this machine lacks; do not retry.
    #[error("{subject} needs {feature}, which this machine lacks")]
    Unsupported {
        /// What.
        subject: Subject,
        /// What is missing.
        feature: String,
    },
    /// Give up; the source says which call, on what.
    #[error("cannot {verb} {subject}")]
    Failed {
        /// What was tried.
        verb: &'static str,
        /// On what.
        subject: Subject,
        /// Why not.
        #[source]
        source: Cause,
    },
}

/// An engine: does things and says how things are; decides nothing.
///
/// Every method may be called from several processes at once. A method that changes something returns when the change
/// holds; if its future is dropped the change is finished or undone by the engine.
#[async_trait]
pub trait Engine: Send + Sync {
    /// How the project stands; `images` are the names to look up besides.
    async fn observe(&self, project: &ProjectName, images: &[ImageRef]) -> Result<Observed, EngineError>;

    /// Every project with containers.
    async fn projects(&self) -> Result<Vec<ObservedProject>, EngineError>;

    /// Waits until this process alone may change the project, and holds that until the guard is dropped.
    /// `waiting` is called once, with the holder in words, when somebody else holds it.
    async fn lock(
        &self,
        project: &ProjectName,
        waiting: &(dyn for<'a> Fn(&'a str) + Send + Sync),
    ) -> Result<Box<dyn Send + Sync>, EngineError>;

    /// Makes a network; `Exists` if the name is taken.
    async fn create_network(&self, config: &NetworkConfig) -> Result<String, EngineError>;
    /// Removes a network by name; `InUse` while containers are connected.
    async fn remove_network(&self, name: &NetworkName) -> Result<(), EngineError>;

    /// Makes a volume; the existing one stays as it is.
    async fn create_volume(&self, config: &VolumeConfig) -> Result<(), EngineError>;
    /// Removes a volume and its data; `InUse` while a container has it.
    async fn remove_volume(&self, name: &VolumeName) -> Result<(), EngineError>;

    /// Makes a container; anonymous volumes at the same targets are taken over from `inherit`.
    async fn create_container(
        &self,
        config: &ContainerConfig,
        inherit: Option<&ContainerId>,
    ) -> Result<ContainerId, EngineError>;
    /// Gives a container another name.
    async fn rename_container(&self, id: &ContainerId, name: &ContainerName) -> Result<(), EngineError>;
    /// Starts a container; returns when its command runs. Nothing happens if it runs already.
    async fn start_container(&self, id: &ContainerId) -> Result<(), EngineError>;
    /// Sends the stop signal, waits for the grace period (`None`: the container's own) and then kills. Nothing if stopped.
    async fn stop_container(&self, id: &ContainerId, grace: Option<Duration>) -> Result<(), EngineError>;
    /// Sends a signal to process 1.
    async fn kill_container(&self, id: &ContainerId, signal: Signal) -> Result<(), EngineError>;
    /// Stops, then starts.
    async fn restart_container(&self, id: &ContainerId, grace: Option<Duration>) -> Result<(), EngineError>;
    /// Freezes or thaws.
    async fn pause_container(&self, id: &ContainerId, paused: bool) -> Result<(), EngineError>;
    /// Removes a container (killing it with `force`), and its anonymous volumes if asked.
    async fn remove_container(&self, id: &ContainerId, force: bool, volumes: bool) -> Result<(), EngineError>;

    /// Resolves with the state when the container next satisfies `until`; `NotFound` if it is removed before.
    async fn wait_container(&self, id: &ContainerId, until: WaitFor) -> Result<ContainerState, EngineError>;
    /// A container's output, in order. The receiver ends when there is no more to come.
    async fn logs(&self, id: &ContainerId, query: &LogQuery) -> Result<mpsc::Receiver<LogChunk>, EngineError>;
    /// What happens in a project from now on. The subscription holds when this returns.
    async fn events(&self, project: &ProjectName) -> Result<mpsc::Receiver<Event>, EngineError>;
    /// Runs one more process in a running container.
    async fn exec(&self, id: &ContainerId, config: &ExecConfig, io: ProcessIo) -> Result<Process, EngineError>;
    /// Starts a created container with these streams in place of its log (`run`, `attach` from the start).
    async fn start_attached(&self, id: &ContainerId, io: ProcessIo) -> Result<Process, EngineError>;
    /// The container's processes.
    async fn top(&self, id: &ContainerId) -> Result<Vec<ProcessRow>, EngineError>;

    /// Every image of the store.
    async fn images(&self) -> Result<Vec<ObservedImage>, EngineError>;
    /// Builds an image.
    async fn build(&self, config: &BuildConfig, progress: mpsc::Sender<Progress>) -> Result<ImageId, EngineError>;
    /// Makes an image from an archive of a root file system.
    async fn import_image(&self, archive: OwnedFd, name: Option<&ImageRef>) -> Result<ImageId, EngineError>;
    /// Reads images from a `docker save` archive or an OCI layout archive.
    async fn load_images(&self, archive: OwnedFd) -> Result<Vec<ImageRef>, EngineError>;
    /// Writes images as an archive that Docker and OCI tools read.
    async fn save_images(&self, images: &[ImageRef], archive: OwnedFd) -> Result<(), EngineError>;
    /// Gives an image a further name.
    async fn tag_image(&self, image: &ImageRef, name: &ImageRef) -> Result<(), EngineError>;
    /// Takes a name away, and the image with its last name. Returns what was done, a line each (`Untagged: …`, `Deleted: …`).
    async fn remove_image(&self, image: &str, force: bool) -> Result<Vec<String>, EngineError>;
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitFor {
    /// It runs no more and will not be started again by its policy. Holds at once if that is so already.
    Exited,
    /// It is healthy or unhealthy, or has ended and will not be started again by its policy. Without a health check: at once.
    HealthKnown,
    /// It has been removed; resolves with its last state.
    Removed,
}
