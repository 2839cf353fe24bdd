//! `RUN`: a command in a container that lives as long as its step.
//!
//! The container is our own child and dies with us. What it has on the machine outside of itself (an address, a cgroup) is noted under
//! a lock that the kernel lets go when we die; the next build takes away what a dead one left.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, PipeReader, Read};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use crate::dns::names::Names;
use crate::dns::{Asker, Resolver, Sockets, Upstreams};
use crate::engine::{
    Attachment, ContainerId, DnsConfig, Endpoint, EngineError, NetworkConfig, ProcessIo, Resources, Security, Subject,
};
use crate::runtime::build::instruction::Rights;
use crate::runtime::build::rootfs::Change;
use crate::runtime::cgroup::{CgroupError, DeviceAccess, Tree};
use crate::runtime::image::digest::hex;
use crate::runtime::image::store::failed;
use crate::runtime::layout::Layout;
use crate::runtime::network::connect::{ConnectRequest, Connection, Connector};
use crate::runtime::network::published::Published;
use crate::runtime::network::{NetworkError, Networks, files};
use crate::runtime::start::program::{Parentage, Step};
use crate::runtime::start::request::{
    CgroupView, EtcFiles, Mount, MountSource, Namespace, Network, Process, Propagation, Request, SHM_SIZE, Shm,
};
use crate::runtime::start::{StartError, compile, rootfs};
use crate::runtime::store;
use crate::runtime::sys::pidfd_signal;
use crate::values::names::{ContainerName, InvalidName, NetworkName, ProjectName};
use crate::values::ulimit::Ulimit;

/// The network that all builds share.
const NETWORK: &str = "xcompose-build";
/// The host name during a build, as BuildKit's.
const HOSTNAME: &str = "buildkitsandbox";
/// How often a silent command's caller is asked whether it is still there.
const CALLER_CHECK: u16 = 250;

/// How a step is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Connected {
    /// To the outside, behind a bridge.
    Bridge,
    /// As the machine is.
    Host,
    /// Not at all.
    None,
}

/// A command to run on top of layers.
pub(super) struct Command<'a> {
    /// The topmost last.
    pub(super) layers: &'a [PathBuf],
    pub(super) change: &'a Change,
    pub(super) argv: Vec<String>,
    pub(super) env: Vec<String>,
    pub(super) working_dir: String,
    pub(super) user: Option<String>,
    pub(super) mounts: Vec<Mount>,
    pub(super) connected: Connected,
    pub(super) rights: Rights,
    /// Its host name, where it is not the usual one.
    pub(super) hostname: Option<&'a str>,
    pub(super) extra_hosts: &'a [(String, String)],
    pub(super) shm_size: Option<u64>,
    /// Bytes.
    pub(super) memory: Option<u64>,
    pub(super) ulimits: &'a BTreeMap<String, Ulimit>,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// By itself: exit code, or 128 and the signal.
    Exited(i32),
    /// Nobody waits for the build any more.
    Cancelled,
}

/// Who hears what a command prints.
pub(super) trait Listener: Send {
    /// Takes what was printed.
    fn print(&mut self, bytes: &[u8]);
    /// Whether anybody is still interested.
    fn is_gone(&self) -> bool;
}

/// Why a command can't be run.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    /// It can't be started, or its container can't be made.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Its network can't be had.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Its cgroup can't be had.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// A name of ours is none; can't be.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// `extra_hosts` names no address.
    #[error("the address {1:?} of the extra host {0} is none")]
    Host(String, String),
    /// A file of ours or its output.
    #[error("its files or its output cannot be handled")]
    Io(#[from] io::Error),
}

/// Runs the commands of one build.
pub(super) struct Runner {
    layout: Layout,
    networks: Networks,
    folder: PathBuf,
    id: ContainerId,
    _alive: Flock<File>,
}

impl Runner {
    /// Takes away what dead builds left, and prepares for commands.
    pub(super) fn new(layout: &Layout) -> Result<Runner, EngineError> {
        let builds = layout.builds();
        let networks = Networks::new(layout.clone());
        let subject = || Subject::Path(builds.display().to_string());
        let prepare = || -> io::Result<(PathBuf, ContainerId, Flock<File>)> {
            fs::create_dir_all(&builds)?;
            let _turn = store::lock(&builds.join("lock"))?;
            for folder in folders(&builds)? {
                bury(&folder, &networks)?;
            }
            let mut bytes = [0; 32];
            File::open("/dev/urandom")?.read_exact(&mut bytes)?;
            let id = ContainerId(hex(&bytes));
            let folder = builds.join(&id.0);
            fs::create_dir(&folder)?;
            let alive =
                Flock::lock(File::open(&folder)?, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno)?;
            Ok((folder, id, alive))
        };
        let (folder, id, alive) = prepare().map_err(failed("prepare a build in", subject()))?;
        let init = layout.init_layer();
        rootfs::make_init_layer(&init).map_err(failed("prepare", Subject::Path(init.display().to_string())))?;
        Ok(Runner { layout: layout.clone(), networks, folder, id, _alive: alive })
    }

    /// Where what only this build may see can lie; does not exist.
    pub(super) fn private(&self) -> PathBuf {
        self.folder.join("private")
    }

    /// A mount that shows a script, and the script's path in it.
    pub(super) fn script(&self, text: &str) -> io::Result<(Mount, String)> {
        let source = self.folder.join("script");
        fs::write(&source, text)?;
        fs::set_permissions(&source, fs::Permissions::from_mode(0o755))?;
        let target = "/dev/pipes/EOF".to_owned();
        let source = MountSource::Bind { source, subpath: None, propagation: Propagation::Private, recursive: false };
        Ok((Mount { target: target.clone(), read_only: true, source }, target))
    }

    /// Runs a command to its end. On a thread of its own: the thread enters the container's network, and the container dies with it.
    pub(super) fn run(&self, command: &Command<'_>, listener: &mut dyn Listener) -> Result<Ended, RunError> {
        std::thread::scope(|scope| {
            let (sockets, container) = std::sync::mpsc::channel();
            // Begun here, in the machine's own network: a thread inherits its maker's, and the machine's resolver may be at its loopback.
            let names = (command.connected == Connected::Bridge).then(|| scope.spawn(move || serve_names(&container)));
            let worker = scope.spawn(move || match command.connected {
                Connected::Bridge | Connected::None => self.connected(command, &sockets, listener),
                Connected::Host => self.limited(command, &[], listener),
            });
            let result = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let served = names.map(|names| names.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            let result = result?;
            served.transpose()?;
            Ok(result)
        })
    }

    fn connected(
        &self,
        command: &Command<'_>,
        names: &Sender<Served>,
        listener: &mut dyn Listener,
    ) -> Result<Ended, RunError> {
        let mut connector = Connector::new(self.networks.clone(), Published::default())?;
        let connection = self.connect(&mut connector, command.connected)?;
        let Connection { netns, dns, endpoints, .. } = connection;
        let (done, until) = tokio::sync::oneshot::channel();
        if let Some(sockets) = dns {
            // Should the other side have failed, it says so itself.
            let _ = names.send(Served { sockets, until });
        }
        let result = self.limited(command, &endpoints, listener);
        drop(done);
        let left = connector.leave();
        drop(netns);
        let disconnected = self.networks.disconnect(&self.id, &endpoints);
        let result = result?;
        left.and(disconnected)?;
        Ok(result)
    }

    /// Connects to the builds' network, which another build may just be removing; or to nothing but itself.
    fn connect(&self, connector: &mut Connector, connected: Connected) -> Result<Connection, RunError> {
        let network = network_name()?;
        let attachments = if connected == Connected::Bridge { vec![attachment(&network)] } else { Vec::new() };
        let name = ContainerName::try_from(format!("build-{}", self.id.short()))?;
        let project = ProjectName::try_from("build")?;
        let request = ConnectRequest {
            container: &self.id,
            name: &name,
            project: &project,
            slot: "",
            hostname: HOSTNAME,
            attachments: &attachments,
            ports: &[],
            sysctls: &BTreeMap::new(),
        };
        let mut attempts = 0;
        loop {
            if !attachments.is_empty() {
                match self.networks.create(&network_config(&network)) {
                    Ok(_) | Err(NetworkError::Exists(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            match connector.connect(&request) {
                Err(NetworkError::NotFound(_)) if attempts < 100 => attempts += 1,
                other => return Ok(other?),
            }
        }
    }

    fn limited(
        &self,
        command: &Command<'_>,
        endpoints: &[Endpoint],
        listener: &mut dyn Listener,
    ) -> Result<Ended, RunError> {
        let cgroup = Tree::detect()?.cgroup(None, &format!("build-{}", self.id.0));
        let devices = match command.rights {
            Rights::Usual => DeviceAccess::Default(Vec::new()),
            Rights::All => DeviceAccess::All,
        };
        cgroup.create(&Resources { memory: command.memory, ..Resources::default() }, &devices)?;
        let request = self.request(command, endpoints, cgroup.join_files(), cgroup.view())?;
        let result = started(request, listener);
        let removed = cgroup.remove();
        let result = result?;
        removed?;
        Ok(result)
    }

    fn request(
        &self,
        command: &Command<'_>,
        endpoints: &[Endpoint],
        join: Vec<PathBuf>,
        cgroup_view: CgroupView,
    ) -> Result<Request, RunError> {
        let mut rootfs = command.change.over(command.layers);
        rootfs.lower.insert(0, self.layout.init_layer());
        Ok(Request {
            rootfs,
            process: Process {
                argv: command.argv.clone(),
                env: command.env.clone(),
                working_dir: command.working_dir.clone(),
                user: command.user.clone(),
                groups: Vec::new(),
                security: Security { privileged: command.rights == Rights::All, ..Security::default() },
            },
            hostname: command.hostname.unwrap_or(HOSTNAME).to_owned(),
            domainname: None,
            init: None,
            mounts: command.mounts.clone(),
            files: Vec::new(),
            etc: self.etc(command, endpoints)?,
            network: match command.connected {
                Connected::Bridge | Connected::None => Network::Prepared,
                Connected::Host => Network::Host,
            },
            ipc: Namespace::New,
            shm: Shm::Size(command.shm_size.unwrap_or(SHM_SIZE)),
            pid: Namespace::New,
            uts: Namespace::New,
            cgroup: Namespace::New,
            devices: Vec::new(),
            sysctls: BTreeMap::new(),
            ulimits: command.ulimits.clone(),
            oom_score_adj: None,
            join,
            cgroup_view,
            io: ProcessIo::Files { stdin: None, stdout: None, stderr: None },
        })
    }

    /// The files that name hosts, for this command.
    fn etc(&self, command: &Command<'_>, endpoints: &[Endpoint]) -> Result<EtcFiles, RunError> {
        let host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let dns = DnsConfig::default();
        let resolv_conf = match command.connected {
            Connected::Bridge => files::resolv_conf(&dns, &host),
            Connected::Host => files::resolv_conf_of_host(&dns, &host),
            Connected::None => String::new(),
        };
        let gateway = || -> Result<IpAddr, RunError> {
            let network = match endpoints.first() {
                Some(endpoint) => Some(self.networks.find(&endpoint.network)?),
                None => None,
            };
            let gateway = network.as_ref().and_then(|network| network.subnet(true)).map(|subnet| subnet.gateway);
            Ok(gateway.unwrap_or(IpAddr::from([127, 0, 0, 1])))
        };
        let mut extra = Vec::new();
        for (name, address) in command.extra_hosts {
            let address = match address.as_str() {
                "host-gateway" => gateway()?,
                text => {
                    text.trim_matches(['[', ']']).parse().map_err(|_| RunError::Host(name.clone(), text.to_owned()))?
                }
            };
            extra.push((name.clone(), address));
        }
        let hostname = command.hostname.unwrap_or(HOSTNAME);
        let hosts = files::hosts(hostname, None, &extra, endpoints);
        let write = |name: &str, text: &str| -> Result<Option<PathBuf>, RunError> {
            let path = self.folder.join(name);
            fs::write(&path, text)?;
            Ok(Some(path))
        };
        Ok(EtcFiles {
            hosts: write("hosts", &hosts)?,
            hostname: write("hostname", &format!("{hostname}\n"))?,
            resolv_conf: write("resolv.conf", &resolv_conf)?,
        })
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // What can't be removed now is what a dead build left, for the next one.
        let _ = fs::remove_dir_all(&self.folder);
        if let Ok(name) = network_name() {
            // Another build may use it, or there never was a command.
            let _ = self.networks.remove(&name);
        }
    }
}

/// Takes away what dead builds left, and the builds' network unless one lives. Where there are none this is one look at a
/// folder.
pub(in crate::runtime) fn sweep(layout: &Layout) -> io::Result<()> {
    let builds = layout.builds();
    let found = match folders(&builds) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if found.is_empty() {
        return Ok(());
    }
    let networks = Networks::new(layout.clone());
    let _turn = store::lock(&builds.join("lock"))?;
    for folder in folders(&builds)? {
        bury(&folder, &networks)?;
    }
    if !folders(&builds)?.is_empty() {
        return Ok(());
    }
    match network_name().map_err(io::Error::other).map(|name| networks.remove(&name))? {
        Ok(()) | Err(NetworkError::NotFound(_) | NetworkError::InUse { .. }) => Ok(()),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// One a build.
fn folders(builds: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(builds)?.map(|entry| Ok(entry?.path()));
    Ok(entries.collect::<io::Result<Vec<_>>>()?.into_iter().filter(|path| path.is_dir()).collect())
}

/// Takes away what a build left, if it is dead.
fn bury(folder: &Path, networks: &Networks) -> io::Result<()> {
    let _dead = match Flock::lock(File::open(folder)?, FlockArg::LockExclusiveNonblock) {
        Ok(dead) => dead,
        Err((_, Errno::EWOULDBLOCK)) => return Ok(()),
        Err((_, errno)) => return Err(errno.into()),
    };
    let id = ContainerId(folder.file_name().unwrap_or_default().to_string_lossy().into_owned());
    if let Ok(tree) = Tree::detect() {
        // It is empty, or about to be: its processes die with their builder. Else the next build tries again.
        tree.cgroup(None, &format!("build-{}", id.0)).remove().map_err(io::Error::other)?;
    }
    let network = network_name().and_then(|name| Ok(networks.find(&name)?));
    if let Ok(network) = network {
        let endpoint = Endpoint {
            network: network.config.name.clone(),
            network_id: network.id.clone(),
            ipv4: None,
            ipv6: None,
            mac: String::new(),
        };
        networks.disconnect(&id, &[endpoint]).map_err(io::Error::other)?;
    }
    fs::remove_dir_all(folder)
}

/// Starts the container and hears it out.
fn started(mut request: Request, listener: &mut dyn Listener) -> Result<Ended, RunError> {
    let (output, stdout) = io::pipe()?;
    let stderr = stdout.try_clone()?;
    request.io = ProcessIo::Files { stdin: None, stdout: Some(stdout.into()), stderr: Some(stderr.into()) };
    let mut program = compile(&request)?;
    // The request's copies would keep the pipe open.
    drop(request);
    let last = program.steps.len().saturating_sub(1);
    program.steps.insert(last, Step::DieWithParent);
    let started = program.run(Parentage::Child)?;
    let heard = hear(output, &started.pidfd, listener);
    let status = loop {
        match waitid(Id::PIDFd(started.pidfd.as_fd()), WaitPidFlag::WEXITED) {
            Err(Errno::EINTR) => {}
            other => break other.map_err(io::Error::from)?,
        }
    };
    Ok(match (heard?, status) {
        (Heard::Cancelled, _) => Ended::Cancelled,
        (Heard::All, WaitStatus::Exited(_, code)) => Ended::Exited(code),
        (Heard::All, WaitStatus::Signaled(_, signal, _)) => Ended::Exited(128 + signal as i32),
        (Heard::All, _) => Ended::Exited(128),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    All,
    Cancelled,
}

/// Passes on what the command prints, until nobody has the pipe any more: with its first process all of a container dies.
fn hear(mut output: PipeReader, process: impl AsFd, listener: &mut dyn Listener) -> Result<Heard, RunError> {
    let mut buffer = vec![0; 64 * 1024];
    let mut heard = Heard::All;
    loop {
        if heard == Heard::All && listener.is_gone() {
            heard = Heard::Cancelled;
            // It may have ended by itself meanwhile.
            let _ = pidfd_signal(&process, nix::libc::SIGKILL);
        }
        let mut ready = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::from(CALLER_CHECK)) {
            Ok(0) | Err(Errno::EINTR) => continue,
            other => other.map_err(io::Error::from)?,
        };
        match output.read(&mut buffer) {
            Ok(0) => return Ok(heard),
            Ok(count) => listener.print(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A container whose questions for names are answered.
struct Served {
    sockets: Sockets,
    /// Ends when the other side is dropped.
    until: tokio::sync::oneshot::Receiver<()>,
}

/// Answers the questions of the container that is told, as long as it wants; returns at once if none is told.
fn serve_names(container: &Receiver<Served>) -> Result<(), RunError> {
    let Ok(Served { sockets, until }) = container.recv() else { return Ok(()) };
    let host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let asker = Asker { upstreams: Upstreams::These(files::servers(&host)), ..Asker::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut resolver = Resolver::new(Arc::new(Names::default()));
        resolver.serve("build", asker, sockets)?;
        let _ = until.await;
        Ok(())
    })
}

fn network_name() -> Result<NetworkName, RunError> {
    Ok(NetworkName::try_from(NETWORK)?)
}

fn attachment(network: &NetworkName) -> Attachment {
    Attachment {
        network: network.clone(),
        aliases: Vec::new(),
        links: BTreeMap::new(),
        ipv4_address: None,
        ipv6_address: None,
        link_local_ips: Vec::new(),
        mac_address: None,
        interface_name: None,
        gw_priority: 0,
        driver_opts: BTreeMap::new(),
    }
}

fn network_config(name: &NetworkName) -> NetworkConfig {
    NetworkConfig {
        name: name.clone(),
        labels: BTreeMap::new(),
        driver: "bridge".to_owned(),
        driver_opts: BTreeMap::new(),
        internal: false,
        attachable: false,
        enable_ipv4: true,
        enable_ipv6: false,
        pools: Vec::new(),
    }
}
