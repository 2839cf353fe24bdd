//! One service: every attribute, typed, the defaults filled in.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::spec::diagnostic::Location;
use crate::spec::project::build::Build;
use crate::spec::project::files::FileMount;
use crate::spec::project::hooks::{Hook, PreStart, WatchRule};
use crate::spec::project::keys::{ConfigKey, ModelKey, SecretKey};
use crate::spec::project::models::ModelUse;
use crate::spec::project::mounts::{Mount, VolumesFrom};
use crate::spec::project::network::{Expose, ExternalLink, Link, NetworkMode, Port};
use crate::spec::project::resources::{Device, DeviceRequest, Resources};
use crate::values::health::HealthCheck;
use crate::values::image_ref::ImageRef;
use crate::values::mac_address::MacAddress;
use crate::values::names::{ContainerName, ServiceName};
use crate::values::platform::Platform;
use crate::values::restart::Restart;
use crate::values::signal::Signal;
use crate::values::ulimit::Ulimit;

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
    /// When its image is fetched, if the file says so; where it does not, that is when it is missing.
    pub pull_policy: Option<PullPolicy>,
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
    /// What shows that it is ready (`x-ready`).
    pub ready: Option<Ready>,
    /// What becomes of its output.
    pub logging: Logging,
    /// Run before the first container starts.
    pub pre_start: Vec<PreStart>,
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
    pub mac_address: Option<MacAddress>,

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
    /// Credentials of a Windows account.
    pub credential_spec: Option<CredentialSpec>,
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

/// Where the credentials of a Windows account come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSpec {
    /// A file of the engine's host.
    File(String),
    /// A value of the host's registry.
    Registry(String),
    /// A config of the project.
    Config(ConfigKey),
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

/// What shows that a service without a health check is ready (`x-ready`): all of it; nothing, where it is switched off.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ready {
    /// Somebody listens on the ports that it declares.
    pub declared: bool,
    /// Somebody listens on these TCP ports.
    pub tcp: Vec<u16>,
    /// A line of its output has this text.
    pub log: Option<String>,
    /// This port answers a GET of this path with a status of 200 to 399.
    pub http: Option<(u16, String)>,
    /// How long that is waited for.
    pub timeout: Option<Duration>,
}
