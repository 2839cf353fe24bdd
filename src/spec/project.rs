//! What a project is once loaded: every value typed, every default filled in, every path absolute.
//!
//! A [`Project`] is made from a checked [`crate::spec::model::Model`], which has already been merged, interpolated,
//! normalised and reduced to the active services. Where Compose lets one thing be said in two places (`mem_limit` and
//! `deploy.resources.limits.memory`, `scale` and `deploy.replicas`, `restart` and `deploy.restart_policy`) there is one field
//! here. `None` means "as the image or the engine has it". What plain Compose ignores (`deploy.placement`, `isolation`, …)
//! and extensions (`x-*`) are absent; `config` prints them from the model.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use crate::spec::diagnostic::Location;
use crate::values::health::HealthCheck;
use crate::values::image_ref::ImageRef;
use crate::values::names::{ContainerName, NetworkName, ProjectName, ServiceName, VolumeName};
use crate::values::platform::Platform;
use crate::values::protocol::Protocol;
use crate::values::restart::Restart;
use crate::values::signal::Signal;
use crate::values::ulimit::Ulimit;

/// A loaded project.
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    /// Its name.
    pub name: ProjectName,
    /// What relative paths were resolved against.
    pub working_dir: PathBuf,
    /// The files it was read from, in order, absolute.
    pub files: Vec<PathBuf>,
    /// What interpolation looked names up in.
    pub environment: BTreeMap<String, String>,
    /// The active services.
    pub services: BTreeMap<ServiceName, Service>,
    /// Services whose profiles are not active.
    pub disabled: BTreeMap<ServiceName, Service>,
    /// Networks that an active service uses.
    pub networks: BTreeMap<NetworkKey, Network>,
    /// Volumes that an active service uses.
    pub volumes: BTreeMap<VolumeKey, Volume>,
    /// Configs that an active service uses.
    pub configs: BTreeMap<ConfigKey, FileObject>,
    /// Secrets that an active service uses.
    pub secrets: BTreeMap<SecretKey, FileObject>,
    /// Models that an active service uses.
    pub models: BTreeMap<ModelKey, Model>,
}

macro_rules! key {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(pub(in crate::spec) String);

        impl $type {
            /// The key as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $type {
            fn from(key: &str) -> $type {
                $type(key.to_owned())
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

key!(
    /// A key under `networks:`; what the engine calls the network is [`Network::name`].
    NetworkKey
);
key!(
    /// A key under `volumes:`; what the engine calls the volume is [`Volume::name`].
    VolumeKey
);
key!(
    /// A key under `configs:`.
    ConfigKey
);
key!(
    /// A key under `secrets:`.
    SecretKey
);
key!(
    /// A key under `models:`.
    ModelKey
);

/// One service.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Its key.
    pub name: ServiceName,
    /// Where it stands.
    pub location: Location,
    /// What it runs on; where the file names none, `<project>-<service>`.
    pub image: ImageRef,
    /// Whether the file has `image`.
    pub image_named: bool,
    /// How its image is made.
    pub build: Option<Build>,
    /// When its image is fetched.
    pub pull_policy: PullPolicy,
    /// Which of several platforms.
    pub platform: Option<Platform>,
    /// An outside program that runs it instead of the engine.
    pub provider: Option<Provider>,
    /// Instead of `<project>-<service>-<number>`.
    pub container_name: Option<ContainerName>,
    /// How many containers.
    pub scale: u32,
    /// What it is started after.
    pub depends_on: BTreeMap<ServiceName, Dependency>,
    /// The profiles it belongs to.
    pub profiles: Vec<String>,

    /// Replaces the image's; an empty list clears it.
    pub command: Option<Vec<String>>,
    /// Replaces the image's and drops its command; an empty list clears it.
    pub entrypoint: Option<Vec<String>>,
    /// From `env_file` and `environment`; `None` removes the image's variable.
    pub environment: BTreeMap<String, Option<String>>,
    /// Where the command starts.
    pub working_dir: Option<String>,
    /// `name|uid[:group|gid]`.
    pub user: Option<String>,
    /// Further groups.
    pub group_add: Vec<String>,
    /// In the container.
    pub hostname: Option<String>,
    /// In the container.
    pub domainname: Option<String>,
    /// Run under a small init; `None` is the engine's default.
    pub init: Option<bool>,
    /// With a terminal.
    pub tty: bool,
    /// With an open standard input.
    pub stdin_open: bool,
    /// Asks it to stop.
    pub stop_signal: Option<Signal>,
    /// Until it is killed.
    pub stop_grace_period: Option<Duration>,
    /// When it ends by itself.
    pub restart: Restart,
    /// From `label_file` and `labels`.
    pub labels: BTreeMap<String, String>,
    /// For the runtime.
    pub annotations: BTreeMap<String, String>,
    /// Whether `up` shows its output.
    pub attach: bool,
    /// `None`: the image's.
    pub healthcheck: Option<HealthCheck>,
    /// What becomes of its output.
    pub logging: Logging,
    /// Run inside after each start.
    pub post_start: Vec<Hook>,
    /// Run inside before each stop.
    pub pre_stop: Vec<Hook>,
    /// What `watch` does.
    pub watch: Vec<WatchRule>,

    /// How it is connected.
    pub network: NetworkMode,
    /// Published ports.
    pub ports: Vec<Port>,
    /// Declared ports.
    pub expose: Vec<Expose>,
    /// Names of other services in this one alone.
    pub links: Vec<Link>,
    /// Names of foreign containers in this service alone.
    pub external_links: Vec<ExternalLink>,
    /// `/etc/hosts`: name, then address or `host-gateway`.
    pub extra_hosts: Vec<(String, String)>,
    /// Upstream name servers.
    pub dns: Vec<IpAddr>,
    /// Search domains; `None` is the host's.
    pub dns_search: Option<Vec<String>>,
    /// Resolver options.
    pub dns_opt: Vec<String>,
    /// Hardware address on the first network.
    pub mac_address: Option<String>,

    /// Mounts, `tmpfs` among them, in order.
    pub mounts: Vec<Mount>,
    /// All mounts of these.
    pub volumes_from: Vec<VolumesFrom>,
    /// Files given by `configs`.
    pub configs: Vec<FileMount<ConfigKey>>,
    /// Files given by `secrets`.
    pub secrets: Vec<FileMount<SecretKey>>,
    /// Root file system read-only.
    pub read_only: bool,
    /// Bytes of `/dev/shm`.
    pub shm_size: Option<u64>,
    /// Options of the root file system (`size`).
    pub storage_opt: BTreeMap<String, String>,

    /// All rights.
    pub privileged: bool,
    /// As written.
    pub cap_add: Vec<String>,
    /// As written.
    pub cap_drop: Vec<String>,
    /// As written.
    pub security_opt: Vec<String>,
    /// By dotted name.
    pub sysctls: BTreeMap<String, String>,
    /// By name.
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Devices of the host.
    pub devices: Vec<Device>,
    /// As written.
    pub device_cgroup_rules: Vec<String>,
    /// From `gpus` and `deploy.resources.reservations.devices`.
    pub device_requests: Vec<DeviceRequest>,
    /// Whose shared memory.
    pub ipc: Namespace,
    /// Whose processes.
    pub pid: Namespace,
    /// Whose host name.
    pub uts: Namespace,
    /// Whose users: the machine's.
    pub userns: Namespace,
    /// Whose cgroup tree; `None` is the engine's default.
    pub cgroup: Option<Namespace>,
    /// Parent in the cgroup tree.
    pub cgroup_parent: Option<String>,
    /// Name of an OCI runtime.
    pub runtime: Option<String>,
    /// Give it the engine's socket.
    pub use_api_socket: bool,
    /// What it may use.
    pub resources: Resources,
    /// Models it talks to.
    pub models: BTreeMap<ModelKey, ModelUse>,
}

/// What another service must be before this one starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// How far it must be.
    pub condition: Condition,
    /// Restart this one when the other is restarted or recreated by a command.
    pub restart: bool,
    /// Otherwise only a warning when it is missing or fails.
    pub required: bool,
    /// Where it stands.
    pub location: Location,
}

/// How far a dependency must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// `service_started`
    Started,
    /// `service_healthy`
    Healthy,
    /// `service_completed_successfully`
    Completed,
}

/// When an image is fetched from its registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    /// When it is not in the store; the default.
    Missing,
    /// Each time.
    Always,
    /// Never: it must be there.
    Never,
    /// Built each time.
    Build,
    /// When the last fetch is older (`daily`, `weekly`, `every_…`).
    Every(Duration),
}

/// How an image is made.
#[derive(Debug, Clone, PartialEq)]
pub struct Build {
    /// Where it stands.
    pub location: Location,
    /// What the steps see.
    pub context: BuildContext,
    /// What to do.
    pub dockerfile: Dockerfile,
    /// Build arguments; those without value have been looked up or dropped.
    pub args: BTreeMap<String, String>,
    /// Further named contexts.
    pub additional_contexts: BTreeMap<String, BuildContext>,
    /// Stage to build.
    pub target: Option<String>,
    /// Further names of the result.
    pub tags: Vec<String>,
    /// Labels of the result.
    pub labels: BTreeMap<String, String>,
    /// Run each step anew.
    pub no_cache: bool,
    /// Fetch base images anew.
    pub pull: bool,
    /// Of `RUN`.
    pub network: Option<String>,
    /// `/etc/hosts` during `RUN`.
    pub extra_hosts: Vec<(String, String)>,
    /// Bytes of `/dev/shm` during `RUN`.
    pub shm_size: Option<u64>,
    /// During `RUN`.
    pub ulimits: BTreeMap<String, Ulimit>,
    /// `RUN --security=insecure`.
    pub privileged: bool,
    /// Files for `RUN --mount=type=secret`.
    pub secrets: Vec<FileMount<SecretKey>>,
    /// Agents and keys for `RUN --mount=type=ssh`: id, and path if any.
    pub ssh: BTreeMap<String, Option<String>>,
    /// To build for.
    pub platforms: Vec<String>,
}

/// Files given to a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildContext {
    /// A directory of the host.
    Directory(PathBuf),
    /// The image of another service.
    Service(ServiceName),
    /// An address: a repository, an archive, an image (`docker-image://…`).
    Remote(String),
}

/// The instructions of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dockerfile {
    /// A path, relative to the context.
    Path(PathBuf),
    /// The text itself.
    Inline(String),
}

/// An outside program that runs a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// The program, as `docker-<type>` or in `PATH`.
    pub kind: String,
    /// Its options, each with one or more values.
    pub options: BTreeMap<String, Vec<String>>,
}

/// What becomes of a service's output.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Logging {
    /// `json-file`, `local`, `none`, …
    pub driver: Option<String>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
}

/// A command run at some point of a container's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The argument list.
    pub command: Vec<String>,
    /// As whom; default: the container's user.
    pub user: Option<String>,
    /// With all rights.
    pub privileged: bool,
    /// Where; default: the container's.
    pub working_dir: Option<String>,
    /// Over the container's.
    pub environment: BTreeMap<String, Option<String>>,
    /// Where it stands.
    pub location: Location,
}

/// What a change below a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchRule {
    /// A path of the host.
    pub path: PathBuf,
    /// What to do.
    pub action: WatchAction,
    /// Where files go in the container.
    pub target: Option<String>,
    /// Patterns of what does not count.
    pub ignore: Vec<String>,
    /// Patterns of what alone counts.
    pub include: Vec<String>,
    /// Run after `sync+exec`.
    pub exec: Option<Hook>,
    /// Copy everything when `watch` begins.
    pub initial_sync: bool,
    /// Where it stands.
    pub location: Location,
}

/// What `watch` does on a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchAction {
    /// Build and recreate.
    Rebuild,
    /// Restart.
    Restart,
    /// Copy.
    Sync,
    /// Copy, then restart.
    SyncRestart,
    /// Copy, then run a command.
    SyncExec,
}

/// How a service is connected.
#[derive(Debug, Clone, PartialEq)]
pub enum NetworkMode {
    /// To these networks of the project; the primary one first.
    Networks(Vec<(NetworkKey, Attachment)>),
    /// Not at all.
    None,
    /// As the machine is.
    Host,
    /// To the engine's own bridge.
    Bridge,
    /// As a container of that service is.
    Service(ServiceName),
    /// As that container is.
    Container(String),
    /// To a network that is not of the project, by its engine name.
    Named(NetworkName),
}

/// How a service stands in a network.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attachment {
    /// Further names.
    pub aliases: Vec<String>,
    /// Static address.
    pub ipv4_address: Option<Ipv4Addr>,
    /// Static address.
    pub ipv6_address: Option<Ipv6Addr>,
    /// Further addresses.
    pub link_local_ips: Vec<IpAddr>,
    /// Hardware address.
    pub mac_address: Option<String>,
    /// Options of the endpoint.
    pub driver_opts: BTreeMap<String, String>,
    /// The highest has the default route.
    pub gw_priority: i64,
    /// Name of the interface.
    pub interface_name: Option<String>,
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// In the container.
    pub target: u16,
    /// First and last candidate on the host; `None` is any free one.
    pub published: Option<(u16, u16)>,
    /// On this address only.
    pub host_ip: Option<IpAddr>,
    /// What it speaks.
    pub protocol: Protocol,
    /// Where it stands.
    pub location: Location,
}

/// Declared ports, first to last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expose {
    /// First.
    pub first: u16,
    /// Last.
    pub last: u16,
    /// What they speak.
    pub protocol: Protocol,
}

/// Another service under a further name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Which.
    pub service: ServiceName,
    /// The name; default: the service's.
    pub alias: String,
}

/// A foreign container under a further name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalLink {
    /// Which.
    pub container: String,
    /// The name; default: the container's.
    pub alias: String,
}

/// Something mounted into the containers of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Path in the container.
    pub target: String,
    /// What is there.
    pub source: MountSource,
    /// Nothing can be written.
    pub read_only: bool,
    /// Where it stands.
    pub location: Location,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    /// A path of the host.
    Bind {
        /// Absolute path.
        source: PathBuf,
        /// Make a missing directory.
        create: bool,
        /// How mounts spread.
        propagation: Option<String>,
        /// Whether mounts below come along, and writable or not.
        recursive: Option<Recursive>,
    },
    /// A volume of the project.
    Volume {
        /// Which.
        key: VolumeKey,
        /// Leave it empty.
        no_copy: bool,
        /// A path within.
        subpath: Option<String>,
    },
    /// A volume without name, one for each container.
    Anonymous {
        /// Leave it empty.
        no_copy: bool,
    },
    /// Memory.
    Tmpfs {
        /// Bytes.
        size: Option<u64>,
        /// Permission bits.
        mode: Option<u32>,
        /// As `mount -o` takes them.
        options: Vec<String>,
    },
    /// The file system of another image.
    Image {
        /// Which.
        image: ImageRef,
        /// A path within.
        subpath: Option<String>,
    },
}

/// What happens to mounts below the source of a bind mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recursive {
    /// They come along, read-only if the kernel can.
    Enabled,
    /// They stay outside.
    Disabled,
    /// They come along and stay writable.
    Writable,
    /// They come along read-only, or it is an error.
    ReadOnly,
}

/// Whose mounts to take over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumesFrom {
    /// Whose.
    pub source: MountsOf,
    /// Nothing can be written.
    pub read_only: bool,
    /// Where it stands.
    pub location: Location,
}

/// Who has the mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountsOf {
    /// The first container of a service.
    Service(ServiceName),
    /// A foreign container.
    Container(String),
}

/// A config or secret as a service sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMount<Key> {
    /// Which.
    pub source: Key,
    /// Absolute path in the container (in a build: the secret's id).
    pub target: String,
    /// Owner.
    pub uid: Option<String>,
    /// Owning group.
    pub gid: Option<String>,
    /// Permission bits.
    pub mode: Option<u32>,
    /// Where it stands.
    pub location: Location,
}

/// A device in the containers of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// On the host, or a CDI name.
    pub source: String,
    /// In the container.
    pub target: String,
    /// Out of `rwm`.
    pub permissions: String,
    /// Where it stands.
    pub location: Location,
}

/// Devices that a driver provides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRequest {
    /// What they must be able to.
    pub capabilities: Vec<String>,
    /// Who provides them.
    pub driver: Option<String>,
    /// How many; `None` is all.
    pub count: Option<u64>,
    /// Exactly these.
    pub device_ids: Vec<String>,
    /// For the driver.
    pub options: BTreeMap<String, String>,
    /// Where it stands.
    pub location: Location,
}

/// Whose namespace a container lives in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Namespace {
    /// Its own.
    #[default]
    Private,
    /// Its own; others may join.
    Shareable,
    /// The machine's.
    Host,
    /// None at all.
    None,
    /// A container of that service.
    Service(ServiceName),
    /// That container.
    Container(String),
}

/// What a container may use; `None` is no limit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resources {
    /// Billionths of a processor.
    pub nano_cpus: Option<u64>,
    /// Weight.
    pub cpu_shares: Option<u64>,
    /// Microseconds in a period.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// Microseconds of real time in a period.
    pub cpu_rt_runtime: Option<u64>,
    /// Microseconds.
    pub cpu_rt_period: Option<u64>,
    /// Which processors.
    pub cpuset: Option<String>,
    /// Bytes.
    pub memory: Option<u64>,
    /// Memory and swap, bytes; -1 is no limit.
    pub memory_swap: Option<i64>,
    /// Bytes.
    pub memory_reservation: Option<u64>,
    /// 0 to 100.
    pub memory_swappiness: Option<u64>,
    /// Processes and threads; -1 is no limit.
    pub pids: Option<i64>,
    /// Stall instead of kill.
    pub oom_kill_disable: bool,
    /// -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Block devices.
    pub blkio: Blkio,
}

/// Limits on block devices.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blkio {
    /// 10 to 1000.
    pub weight: Option<u16>,
    /// Path, weight.
    pub weight_device: Vec<(String, u16)>,
    /// Path, bytes a second.
    pub device_read_bps: Vec<(String, u64)>,
    /// Path, bytes a second.
    pub device_write_bps: Vec<(String, u64)>,
    /// Path, operations a second.
    pub device_read_iops: Vec<(String, u64)>,
    /// Path, operations a second.
    pub device_write_iops: Vec<(String, u64)>,
}

/// How a service is told of a model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelUse {
    /// Variable for the address; default `<KEY>_URL`.
    pub endpoint_variable: Option<String>,
    /// Variable for the name; default `<KEY>_MODEL`.
    pub model_variable: Option<String>,
}

/// A network of the project.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// What the engine calls it.
    pub name: NetworkName,
    /// Must exist; nothing else counts then.
    pub external: bool,
    /// Default `bridge`.
    pub driver: Option<String>,
    /// For the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// Address pools.
    pub pools: Vec<Pool>,
    /// No way out.
    pub internal: bool,
    /// Others may join by hand.
    pub attachable: bool,
    /// `None` is the engine's default (yes).
    pub enable_ipv4: Option<bool>,
    /// `None` is the engine's default (no).
    pub enable_ipv6: Option<bool>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Where it stands.
    pub location: Location,
}

/// Addresses of a network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pool {
    /// In CIDR form.
    pub subnet: Option<String>,
    /// Where dynamic addresses come from, in CIDR form.
    pub ip_range: Option<String>,
    /// The bridge's own.
    pub gateway: Option<IpAddr>,
    /// Never handed out.
    pub aux_addresses: BTreeMap<String, IpAddr>,
}

/// A volume of the project.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    /// What the engine calls it.
    pub name: VolumeName,
    /// Must exist; nothing else counts then.
    pub external: bool,
    /// Default `local`.
    pub driver: Option<String>,
    /// For the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Where it stands.
    pub location: Location,
}

/// A config or a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileObject {
    /// What the engine would call it.
    pub name: String,
    /// Where its bytes come from.
    pub origin: FileOrigin,
    /// Where it stands.
    pub location: Location,
}

/// Where a config's or secret's bytes come from.
#[derive(Clone, PartialEq, Eq)]
pub enum FileOrigin {
    /// A file of the host, absolute.
    File(PathBuf),
    /// The project file itself.
    Content(String),
    /// A variable of the project's environment; `None`: it is not set.
    Environment {
        /// Its name.
        variable: String,
        /// Its value.
        value: Option<String>,
    },
    /// The engine, which plain Compose does not support.
    External,
}

/// Secrets must not reach a trace, so only the kind is shown.
impl std::fmt::Debug for FileOrigin {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FileOrigin::File(path) => out.debug_tuple("File").field(path).finish(),
            FileOrigin::Content(_) => out.write_str("Content(…)"),
            FileOrigin::Environment { variable, .. } => out.debug_tuple("Environment").field(variable).finish(),
            FileOrigin::External => out.write_str("External"),
        }
    }
}

/// A model of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// What the model runner calls it.
    pub name: String,
    /// Which.
    pub model: String,
    /// Tokens.
    pub context_size: Option<u64>,
    /// For the runner.
    pub runtime_flags: Vec<String>,
    /// Where it stands.
    pub location: Location,
}
