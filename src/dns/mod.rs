//! The resolver that every container has at 127.0.0.11.
//!
//! One [`Resolver`] a supervisor. It serves each container on sockets made in the container's network namespace, so who
//! asks is known by the socket. What resolves is asked of a [`Source`] for every question, so that an answer is true at the
//! moment it is given. What is not one of our names goes to the container's upstream servers, or does not exist where it
//! has none. Every question is noted in a [`log`].
//!
//! The server loops are our own, in [`serve`]: a container must not be able to take our files or our time from others,
//! which hickory's server leaves to its user.
//!
//! Absent on purpose: wildcards, search lists (the container's own resolver does those), and `tasks.` names.

mod answer;
mod cache;
mod forward;
pub mod log;
pub mod names;
mod serve;
pub mod wire;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::task::JoinSet;

pub use forward::Transport;

use answer::Arrived;
use forward::Upstream;
use log::Log;
use names::Names;
use serve::Handler;

/// A container's resolver sockets, made in its network namespace: one for UDP, one listening for TCP.
#[derive(Debug)]
pub struct Sockets {
    /// Datagrams.
    pub udp: OwnedFd,
    /// Listening.
    pub tcp: OwnedFd,
}

impl Sockets {
    /// Further descriptors of the same sockets, to be kept by somebody else.
    pub fn try_clone(&self) -> io::Result<Sockets> {
        Ok(Sockets { udp: self.udp.try_clone()?, tcp: self.tcp.try_clone()? })
    }
}

/// Who asks on a container's sockets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asker {
    /// Its name, for the log.
    pub container: String,
    /// Identities of the networks it is on.
    pub networks: Vec<String>,
    /// Names for this container alone: alias to container names.
    pub links: BTreeMap<String, Vec<String>>,
    /// The machine as it is reached from there, by the names [`names::MACHINE`].
    pub machine: Vec<IpAddr>,
    /// Who is asked for names that are not ours.
    pub upstreams: Upstreams,
}

/// Who is asked for names that are not ours.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Upstreams {
    /// Nobody, as on internal networks.
    #[default]
    Nobody,
    /// These, in turn.
    These(Vec<IpAddr>),
    /// Those that the machine itself asks at that moment.
    OfMachine,
}

/// What resolves at this moment.
pub trait Source: Send + Sync {
    /// Asked for every question: cheap, and never behind.
    fn names(&self) -> Arc<Names>;

    /// Whether a name, in lower case, is that of somebody on an asker's networks who does not run now: others would lead it
    /// to strangers.
    fn is_at_rest(&self, asker: &Asker, name: &str) -> bool;

    /// Whom the machine itself asks; for [`Upstreams::OfMachine`].
    fn machine_servers(&self) -> Vec<IpAddr>;
}

/// Names that never change, on a machine that asks nobody.
impl Source for Arc<Names> {
    fn names(&self) -> Arc<Names> {
        Arc::clone(self)
    }

    fn is_at_rest(&self, _: &Asker, _: &str) -> bool {
        false
    }

    fn machine_servers(&self) -> Vec<IpAddr> {
        Vec::new()
    }
}

/// The answer to a datagram or message, where there is one and nobody else has to be asked.
pub fn answer(asker: &Asker, names: &Names, bytes: &[u8], transport: Transport) -> Option<Vec<u8>> {
    match answer::read(bytes, transport) {
        Arrived::Question(question) => question.ours(asker, names, 0).map(|(answer, _)| answer),
        Arrived::Fault(answer) => Some(answer),
        Arrived::Noise => None,
    }
}

/// What all containers of a resolver have in common.
struct Shared {
    source: Box<dyn Source>,
    upstream: Upstream,
    log: Log,
}

impl Shared {
    /// Who is asked for an asker's other names now.
    fn servers(&self, asker: &Asker) -> Vec<IpAddr> {
        match &asker.upstreams {
            Upstreams::Nobody => Vec::new(),
            Upstreams::These(servers) => servers.clone(),
            Upstreams::OfMachine => self.source.machine_servers(),
        }
    }
}

/// Serves the resolvers of a project's containers. Its methods need a tokio runtime.
pub struct Resolver {
    shared: Arc<Shared>,
    containers: BTreeMap<String, Served>,
}

/// One container's tasks, which end with this, and their sockets with them.
struct Served {
    asker: Arc<Handler>,
    _tasks: JoinSet<()>,
}

impl Resolver {
    /// Serves nobody yet.
    pub fn new(source: impl Source + 'static) -> Resolver {
        let shared = Shared { source: Box::new(source), upstream: Upstream::new(), log: Log::default() };
        Resolver { shared: Arc::new(shared), containers: BTreeMap::new() }
    }

    /// Starts to serve a container; replaces its former sockets.
    pub fn serve(&mut self, container: &str, asker: Asker, sockets: Sockets) -> io::Result<()> {
        let udp = UdpSocket::from(sockets.udp);
        udp.set_nonblocking(true)?;
        let tcp = TcpListener::from(sockets.tcp);
        tcp.set_nonblocking(true)?;
        let handler = Arc::new(Handler { asker, shared: Arc::clone(&self.shared), turn: AtomicUsize::new(0) });
        let mut tasks = JoinSet::new();
        tasks.spawn(serve::datagrams(tokio::net::UdpSocket::from_std(udp)?, Arc::clone(&handler)));
        tasks.spawn(serve::connections(tokio::net::TcpListener::from_std(tcp)?, Arc::clone(&handler)));
        self.containers.insert(container.to_owned(), Served { asker: handler, _tasks: tasks });
        Ok(())
    }

    /// Ends serving a container and closes its sockets.
    pub fn stop(&mut self, container: &str) {
        self.containers.remove(container);
    }

    /// Who is served.
    pub fn askers(&self) -> impl Iterator<Item = &Asker> {
        self.containers.values().map(|served| &served.asker.asker)
    }

    /// What resolves now.
    pub fn names(&self) -> Arc<Names> {
        self.shared.source.names()
    }

    /// Who is asked for an asker's other names now.
    pub fn servers(&self, asker: &Asker) -> Vec<IpAddr> {
        self.shared.servers(asker)
    }

    /// What was asked.
    pub fn log(&self) -> &Log {
        &self.shared.log
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_set().entries(self.containers.keys()).finish()
    }
}
