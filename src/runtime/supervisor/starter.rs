//! The threads that start containers: a network namespace first, then the process in it.
//!
//! Two of them, since a third gains nothing: the kernel makes network namespaces one after another (runtime-facts §1).
//! Threads of our own, since each changes its network namespace, and a thread of a pool must not.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};

use crate::engine::{EngineError, Mount, MountSource, NamespaceMode, NetworkMode, ProcessIo, Subject};
use crate::runtime::cgroup::{Cgroup, CgroupError, DeviceAccess, Tree};
use crate::runtime::container::find::{self, Process};
use crate::runtime::container::record::Container;
use crate::runtime::image::store::Store;
use crate::runtime::layout::Layout;
use crate::runtime::network::connect::{ConnectRequest, Connection, Connector};
use crate::runtime::network::published::Published;
use crate::runtime::network::{NetworkError, Networks, files};
use crate::runtime::start::process::Started;
use crate::runtime::start::program::Parentage;
use crate::runtime::start::request::{
    self, Durability, EtcFiles, ExecRequest, Namespace, Network, Propagation, Request, Rootfs, Shm,
};
use crate::runtime::start::{self, StartError, rootfs};
use crate::runtime::sys;
use crate::runtime::sys::mount::own_binary;
use crate::runtime::volume::Volumes;

/// How many threads.
const THREADS: usize = 2;

/// What a thread is to do; it tells the result by calling `done`.
pub enum Job {
    /// Start a container.
    Start {
        /// Which.
        container: Arc<Container>,
        /// Its standard streams.
        io: ProcessIo,
        /// Told from the thread.
        done: Box<dyn FnOnce(Result<Launched, EngineError>) + Send>,
    },
    /// Start a further process in a running container.
    Exec {
        /// What.
        request: Box<ExecRequest>,
        /// Of which container, in words.
        subject: Subject,
        /// Told from the thread.
        done: Box<dyn FnOnce(Result<Started, EngineError>) + Send>,
    },
}

/// A container that runs.
#[derive(Debug)]
pub struct Launched {
    /// Its process.
    pub started: Started,
    /// Its interfaces, unless they are another's.
    pub connection: Option<Connection>,
    /// Its cgroup.
    pub cgroup: Cgroup,
}

/// The threads' queue.
#[derive(Debug, Clone)]
pub struct Starter {
    jobs: mpsc::Sender<Job>,
}

impl Starter {
    /// Starts the threads. They end with the last copy of this.
    pub fn new(layout: &Layout, published: &Published) -> io::Result<Starter> {
        rootfs::make_init_layer(&layout.init_layer())?;
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..THREADS {
            let (layout, published, queue) = (layout.clone(), published.clone(), Arc::clone(&queue));
            std::thread::Builder::new()
                .name(format!("starter-{number}"))
                .stack_size(256 << 10)
                .spawn(move || work(&layout, &published, &queue))?;
        }
        Ok(Starter { jobs })
    }

    /// Puts a job into the queue.
    pub fn put(&self, job: Job) {
        // The threads end only after this sender.
        let _ = self.jobs.send(job);
    }
}

fn work(layout: &Layout, published: &Published, queue: &Mutex<mpsc::Receiver<Job>>) {
    let networks = Networks::new(layout.clone());
    let mut connector = None;
    loop {
        let job = match queue.lock() {
            Ok(queue) => queue.recv(),
            // The other thread panicked while waiting; nothing is half done by that.
            Err(poisoned) => poisoned.into_inner().recv(),
        };
        match job {
            Ok(Job::Start { container, io, done }) => {
                let launched = connect(&mut connector, &networks, published)
                    .map_err(|error| failed(&container, error))
                    .and_then(|connector| launch(layout, &networks, connector, &container, io))
                    .inspect_err(|_| {
                        // The reason of the failed start is what matters; what stays open is swept by the next one.
                        let _ = published.close(&networks, &container.id);
                    });
                done(launched);
            }
            Ok(Job::Exec { request, subject, done }) => {
                let started = start::compile_exec(&request).and_then(|program| program.run(Parentage::Sibling));
                done(started.map_err(|error| start_error(subject, error)));
            }
            Err(mpsc::RecvError) => return,
        }
    }
}

/// The thread's connector, made when it is first needed.
fn connect<'a>(
    connector: &'a mut Option<Connector>,
    networks: &Networks,
    published: &Published,
) -> Result<&'a mut Connector, NetworkError> {
    match connector {
        Some(connector) => Ok(connector),
        none => Ok(none.insert(Connector::new(networks.clone(), published.clone())?)),
    }
}

/// Everything between a record and a running command. On failure nothing is left.
fn launch(
    layout: &Layout,
    networks: &Networks,
    connector: &mut Connector,
    container: &Container,
    io: ProcessIo,
) -> Result<Launched, EngineError> {
    let cgroup = cgroup(container).map_err(|error| cgroup_error(container, error))?;
    let made = (|| {
        let config = &container.config;
        let (network, connection) = match &config.network {
            NetworkMode::Host => (Network::Host, None),
            NetworkMode::Container(other) => {
                let owner = running(layout, container, other)?;
                let (project, id) = find::resolve(layout, other)?;
                if let Some((_, standing)) = find::load(layout, &project, &id)? {
                    networks.share(&id, &standing.endpoints).map_err(|error| network_error(container, error))?;
                }
                (Network::Join(Arc::new(owner.pidfd)), None)
            }
            NetworkMode::None | NetworkMode::Networks(_) => {
                let attachments: &[_] = match &config.network {
                    NetworkMode::Networks(attachments) => attachments,
                    _ => &[],
                };
                let request = ConnectRequest {
                    container: &container.id,
                    name: &config.name,
                    project: &config.project,
                    slot: &config.slot,
                    hostname: &container.hostname,
                    attachments,
                    ports: &config.ports,
                    sysctls: &config.sysctls,
                };
                let connection = connector.connect(&request).map_err(|error| network_error(container, error))?;
                (Network::Prepared, Some(connection))
            }
        };
        let started = limits(&cgroup, container)
            .and_then(|()| etc(layout, networks, container, connection.as_ref()))
            .and_then(|etc| compile(layout, container, &cgroup, network, etc, io))
            .and_then(|request| {
                start::compile(&request)
                    .and_then(|program| program.run(Parentage::Sibling))
                    .map_err(|error| start_error(subject(container), error))
            });
        let Some(connection) = connection else { return Ok((started?, None)) };
        match (started, connector.leave()) {
            (Ok(started), Ok(())) => Ok((started, Some(connection))),
            (started, left) => {
                if let Ok(started) = &started {
                    // It runs, but this thread is in its network for ever: the next start must not be in there, too.
                    let _ = sys::pidfd_signal(&started.pidfd, 9);
                }
                // The first failure is the one to tell; addresses that stay taken are freed by the next start.
                let _ = networks.disconnect(&container.id, &connection.endpoints);
                left.map_err(|error| network_error(container, error))
                    .and(started)
                    .map(|started| (started, Some(connection)))
            }
        }
    })();
    match made {
        Ok((started, connection)) => Ok(Launched { started, connection, cgroup }),
        Err(error) => {
            // The reason of the failed start is what matters; a cgroup that stays is found by the next start.
            let _ = cgroup.remove();
            Err(error)
        }
    }
}

/// A container's cgroup, whether it exists or not.
pub fn cgroup(container: &Container) -> Result<Cgroup, CgroupError> {
    Ok(Tree::detect()?.cgroup(container.config.cgroup_parent.as_deref(), &container.id.0))
}

fn limits(cgroup: &Cgroup, container: &Container) -> Result<(), EngineError> {
    let config = &container.config;
    let devices = if config.security.privileged {
        DeviceAccess::All
    } else {
        let named = config.devices.iter().map(|device| (&device.source, &device.permissions));
        let mut rules = config.device_cgroup_rules.clone();
        for (path, permissions) in named {
            rules.extend(device_rule(path, permissions));
        }
        DeviceAccess::Default(rules)
    };
    cgroup.create(&config.resources, &devices).map_err(|error| cgroup_error(container, error))
}

/// The device cgroup's rule for a device node; nothing for what is no device, which the start then names.
fn device_rule(path: &Path, permissions: &str) -> Option<String> {
    use nix::sys::stat::{SFlag, major, minor, stat};
    let status = stat(path).ok()?;
    let kind = match SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFBLK => 'b',
        SFlag::S_IFCHR => 'c',
        _ => return None,
    };
    Some(format!("{kind} {}:{} {permissions}", major(status.st_rdev), minor(status.st_rdev)))
}

/// Writes the container's `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`; they are made anew by each start.
fn etc(
    layout: &Layout,
    networks: &Networks,
    container: &Container,
    connection: Option<&Connection>,
) -> Result<EtcFiles, EngineError> {
    let config = &container.config;
    if let NetworkMode::Container(other) = &config.network {
        let (project, id) = find::resolve(layout, other)?;
        let folder = layout.container(&project, &id).join("etc");
        return Ok(EtcFiles {
            hosts: Some(folder.join("hosts")),
            hostname: Some(folder.join("hostname")),
            resolv_conf: Some(folder.join("resolv.conf")),
        });
    }
    let folder = layout.container(&config.project, &container.id).join("etc");
    let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let endpoints = connection.map(|connection| connection.endpoints.as_slice()).unwrap_or_default();
    let resolv_conf = match &config.network {
        NetworkMode::Networks(_) => files::resolv_conf(&config.dns, &host),
        _ => files::resolv_conf_of_host(&config.dns, &host),
    };
    let mut extra = Vec::new();
    for (name, address) in &config.extra_hosts {
        let address = if address == "host-gateway" {
            host_gateway(networks, container)?
        } else {
            address.trim_matches(['[', ']']).parse().map_err(|_| EngineError::Invalid {
                subject: subject(container),
                reason: format!("invalid address of the extra host {name}: {address:?}"),
            })?
        };
        extra.push((name.clone(), address));
    }
    let hosts = files::hosts(&container.hostname, config.domainname.as_deref(), &extra, endpoints);
    let write = || -> io::Result<EtcFiles> {
        std::fs::create_dir_all(&folder)?;
        let put = |name, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).map(|()| Some(path))
        };
        Ok(EtcFiles {
            hosts: put("hosts", &hosts)?,
            hostname: put("hostname", &format!("{}\n", container.hostname))?,
            resolv_conf: put("resolv.conf", &resolv_conf)?,
        })
    };
    write().map_err(|error| failed(container, error))
}

/// The host as the container sees it: the gateway of its first network, or itself if it shares the host's interfaces.
fn host_gateway(networks: &Networks, container: &Container) -> Result<IpAddr, EngineError> {
    let NetworkMode::Networks(attachments) = &container.config.network else {
        return Ok(IpAddr::from([127, 0, 0, 1]));
    };
    let Some(first) = attachments.first() else { return Ok(IpAddr::from([127, 0, 0, 1])) };
    let network = networks.find(&first.network).map_err(|error| network_error(container, error))?;
    network.subnets.first().map(|subnet| subnet.gateway).ok_or_else(|| EngineError::Invalid {
        subject: subject(container),
        reason: format!("network {} has no gateway for host-gateway", first.network),
    })
}

fn compile(
    layout: &Layout,
    container: &Container,
    cgroup: &Cgroup,
    network: Network,
    etc: EtcFiles,
    io: ProcessIo,
) -> Result<Request, EngineError> {
    let config = &container.config;
    let join = |mode: &NamespaceMode| -> Result<Namespace, EngineError> {
        Ok(match mode {
            NamespaceMode::Private | NamespaceMode::Shareable | NamespaceMode::None => Namespace::New,
            NamespaceMode::Host => Namespace::Host,
            NamespaceMode::Container(other) => Namespace::Join(Arc::new(running(layout, container, other)?.pidfd)),
        })
    };
    let shm = match &config.ipc {
        NamespaceMode::None => Shm::None,
        NamespaceMode::Host => Shm::Host,
        NamespaceMode::Container(other) => Shm::Join(Arc::new(running(layout, container, other)?.pidfd)),
        NamespaceMode::Private | NamespaceMode::Shareable => {
            Shm::Size(config.resources.shm_size.unwrap_or(request::SHM_SIZE))
        }
    };
    Ok(Request {
        rootfs: rootfs(layout, container),
        process: process(container),
        hostname: container.hostname.clone(),
        domainname: config.domainname.clone(),
        init: if config.init { Some(Arc::new(own_binary().map_err(|error| failed(container, error))?)) } else { None },
        mounts: mounts(layout, container)?,
        files: config.files.clone(),
        etc,
        network,
        ipc: join(&config.ipc)?,
        shm,
        pid: join(&config.pid)?,
        uts: join(&config.uts)?,
        cgroup: join(&config.cgroup)?,
        devices: config.devices.clone(),
        sysctls: match &config.network {
            // Those of the network are written by whoever made its namespace.
            NetworkMode::Networks(_) | NetworkMode::None => {
                let others = config.sysctls.iter().filter(|(name, _)| !name.starts_with("net."));
                others.map(|(name, value)| (name.clone(), value.clone())).collect()
            }
            NetworkMode::Host | NetworkMode::Container(_) => config.sysctls.clone(),
        },
        ulimits: config.ulimits.clone(),
        oom_score_adj: config.resources.oom_score_adj,
        join: cgroup.join_files(),
        cgroup_view: cgroup.view(),
        io,
    })
}

/// The image's layers, topmost first, below the one with the places that are mounted over. Where the image has a link in
/// such a place, a folder over it would hide what the link shows: there the start makes what is missing by itself.
fn lower(layout: &Layout, container: &Container) -> Vec<PathBuf> {
    let linked = |layer: &PathBuf| {
        rootfs::INIT_FOLDERS.iter().any(|folder| layer.join(folder).symlink_metadata().is_ok_and(|at| at.is_symlink()))
    };
    let init = Some(layout.init_layer()).filter(|_| !container.layers.iter().any(linked));
    init.into_iter().chain(container.layers.iter().rev().cloned()).collect()
}

/// A container's layers, with the one that it writes to.
pub(in crate::runtime) fn rootfs(layout: &Layout, container: &Container) -> Rootfs {
    let config = &container.config;
    let folder = layout.container(&config.project, &container.id);
    Rootfs {
        lower: lower(layout, container),
        upper: folder.join("upper"),
        work: folder.join("work"),
        durability: if config.auto_remove { Durability::Volatile } else { Durability::Durable },
        read_only: config.read_only,
    }
}

/// What a container's processes have in common; its own command line.
pub fn process(container: &Container) -> request::Process {
    request::Process {
        argv: container.argv.clone(),
        env: container.environment.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        working_dir: container.working_dir.clone(),
        user: Some(container.user.clone()).filter(|user| !user.is_empty()),
        groups: container.config.group_add.clone(),
        security: container.config.security.clone(),
    }
}

/// The configured mounts, and those volumes that only the image names.
pub(in crate::runtime) fn mounts(layout: &Layout, container: &Container) -> Result<Vec<request::Mount>, EngineError> {
    let volumes = Volumes::open(layout);
    let mut mounts: BTreeMap<&str, request::Mount> = BTreeMap::new();
    let volume = |target: &str, subpath: Option<String>, read_only| -> Result<request::Mount, EngineError> {
        let name = container.volumes.get(target).ok_or_else(|| EngineError::Invalid {
            subject: subject(container),
            reason: format!("its record names no volume for {target}"),
        })?;
        let source = volumes.source(name)?;
        let source = request::MountSource::Bind { source, subpath, propagation: Propagation::Private, recursive: true };
        Ok(request::Mount { target: target.to_owned(), read_only, source })
    };
    for target in container.volumes.keys() {
        mounts.insert(target, volume(target, None, false)?);
    }
    for Mount { target, source, read_only } in &container.config.mounts {
        let mount = match source {
            MountSource::Volume { subpath, .. } => volume(target, subpath.clone(), *read_only)?,
            MountSource::Anonymous | MountSource::Of { .. } => volume(target, None, *read_only)?,
            MountSource::Bind { source, propagation, recursive, .. } => request::Mount {
                target: target.clone(),
                read_only: *read_only,
                source: request::MountSource::Bind {
                    source: source.clone(),
                    subpath: None,
                    propagation: match propagation.as_deref() {
                        Some("shared" | "rshared") => Propagation::Shared,
                        Some("slave" | "rslave") => Propagation::Slave,
                        _ => Propagation::Private,
                    },
                    recursive: *recursive,
                },
            },
            MountSource::Tmpfs { size, mode, options } => request::Mount {
                target: target.clone(),
                read_only: *read_only,
                source: request::MountSource::Tmpfs { size: *size, mode: *mode, options: options.clone() },
            },
            MountSource::Image { image, subpath } => {
                let found = Store::open(layout)?.resolve(image)?;
                let found = found.ok_or_else(|| EngineError::NotFound(Subject::Image(image.to_string())))?;
                request::Mount {
                    target: target.clone(),
                    read_only: true,
                    source: request::MountSource::Layers {
                        lower: found.layers.into_iter().rev().collect(),
                        subpath: subpath.clone(),
                    },
                }
            }
        };
        mounts.insert(target, mount);
    }
    Ok(mounts.into_values().collect())
}

/// The first process of another container, which has to run.
fn running(layout: &Layout, container: &Container, other: &str) -> Result<Process, EngineError> {
    find::running(layout, other)?.ok_or_else(|| EngineError::Invalid {
        subject: subject(container),
        reason: format!("cannot join the namespace of container {other}, which is not running"),
    })
}

fn subject(container: &Container) -> Subject {
    Subject::Container(container.config.name.to_string())
}

/// Any failure of a start without a variant of its own.
pub fn failed(container: &Container, error: impl std::error::Error + Send + Sync + 'static) -> EngineError {
    EngineError::Failed { verb: "start", subject: subject(container), source: Box::new(error) }
}

fn cgroup_error(container: &Container, error: CgroupError) -> EngineError {
    match error {
        CgroupError::Invalid(reason) => EngineError::Invalid { subject: subject(container), reason },
        CgroupError::Missing(controller) => EngineError::Unsupported {
            subject: subject(container),
            feature: format!("the cgroup controller {controller}"),
        },
        error @ (CgroupError::Stuck(_) | CgroupError::Os(_)) => failed(container, error),
    }
}

fn network_error(container: &Container, error: NetworkError) -> EngineError {
    match error {
        NetworkError::NotFound(name) => EngineError::NotFound(Subject::Network(name.to_string())),
        NetworkError::Invalid { .. } | NetworkError::NoSuchAddress { .. } | NetworkError::Sctp { .. } => {
            EngineError::Invalid { subject: subject(container), reason: error.to_string() }
        }
        error @ NetworkError::PortTaken { .. } => failed(container, error),
        error => failed(container, error),
    }
}

/// A failed start in the words of the port.
pub(in crate::runtime) fn start_error(subject: Subject, error: StartError) -> EngineError {
    match error {
        StartError::Command { code, reason } => EngineError::Command { subject, code, reason },
        StartError::Invalid(reason) => EngineError::Invalid { subject, reason },
        StartError::Unsupported(feature) => EngineError::Unsupported { subject, feature: feature.to_owned() },
        error => EngineError::Failed { verb: "start", subject, source: Box::new(error) },
    }
}

/// A duplicate of a descriptor, for whoever has to have one of its own.
pub fn duplicate(file: impl AsFd) -> io::Result<OwnedFd> {
    file.as_fd().try_clone_to_owned()
}
