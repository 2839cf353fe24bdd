//! The threads that start containers: a network namespace first, then the process in it.
//!
//! Two of them, since a third gains nothing: the kernel makes network namespaces one after another (runtime-facts §1).
//! Threads of our own, since each changes its network namespace, and a thread of a pool must not.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};

use crate::engine::{EngineError, NamespaceMode, NetworkMode, ProcessIo, Subject};
use crate::runtime::cgroup::{Cgroup, CgroupError, DeviceAccess};
use crate::runtime::container::find::{self, Process};
use crate::runtime::container::record::Container;
use crate::runtime::container::sandbox;
use crate::runtime::layout::Layout;
use crate::runtime::network::connect::{ConnectRequest, Connection, Connector};
use crate::runtime::network::published::Published;
use crate::runtime::network::{NetworkError, Networks};
use crate::runtime::start::process::Started;
use crate::runtime::start::program::Parentage;
use crate::runtime::start::request::{self, EtcFiles, ExecRequest, Namespace, Network, Request, Shm};
use crate::runtime::start::{self, rootfs};
use crate::runtime::supervisor::etc;
use crate::runtime::sys;
use crate::runtime::sys::mount::own_binary;

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
                done(started.map_err(|error| error.told(subject)));
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
    let cgroup = sandbox::cgroup(container).map_err(|error| cgroup_error(container, error))?;
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
            .and_then(|()| etc::write(layout, networks, container, connection.as_ref()))
            .and_then(|etc| compile(layout, container, &cgroup, network, etc, io))
            .and_then(|request| {
                start::compile(&request)
                    .and_then(|program| program.run(Parentage::Sibling))
                    .map_err(|error| error.told(subject(container)))
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
        rootfs: sandbox::rootfs(layout, container),
        process: sandbox::process(container),
        hostname: container.hostname.clone(),
        domainname: config.domainname.clone(),
        init: if config.init { Some(Arc::new(own_binary().map_err(|error| failed(container, error))?)) } else { None },
        mounts: sandbox::mounts(layout, container)?,
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

/// The first process of another container, which has to run.
fn running(layout: &Layout, container: &Container, other: &str) -> Result<Process, EngineError> {
    find::running(layout, other)?.ok_or_else(|| EngineError::Invalid {
        subject: subject(container),
        reason: format!("cannot join the namespace of container {other}, which is not running"),
    })
}

pub(super) fn subject(container: &Container) -> Subject {
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

pub(super) fn network_error(container: &Container, error: NetworkError) -> EngineError {
    match error {
        NetworkError::NotFound(name) => EngineError::NotFound(Subject::Network(name.to_string())),
        NetworkError::Invalid { .. } | NetworkError::NoSuchAddress { .. } | NetworkError::Sctp { .. } => {
            EngineError::Invalid { subject: subject(container), reason: error.to_string() }
        }
        error @ NetworkError::PortTaken { .. } => failed(container, error),
        error => failed(container, error),
    }
}

/// A duplicate of a descriptor, for whoever has to have one of its own.
pub fn duplicate(file: impl AsFd) -> io::Result<OwnedFd> {
    file.as_fd().try_clone_to_owned()
}
