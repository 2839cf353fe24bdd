//! The ports of the host that are open for a project's containers, and who is behind each.
//!
//! A port that a service publishes with a fixed number is shared by its replicas: one socket holds it, and new connections
//! go to those that are ready, each its share. A replica that is about to stop gets nothing new, and keeps what it has
//! until it ends. Where none is ready those that start take it all: whoever calls is better refused by the container than
//! by us, as it is with Docker.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::engine::{ContainerId, PortMapping, PublishedPort};
use crate::runtime::network::conntrack;
use crate::runtime::network::firewall::Redirect;
use crate::runtime::network::ports::{self, Held, Preference, Target};
use crate::runtime::network::proxy::{Backends, Proxy};
use crate::runtime::network::{NetworkError, Networks};
use crate::runtime::sys::OsError;
use crate::values::protocol::Protocol;

/// The open ports of one project. Copies are the same.
#[derive(Debug, Clone, Default)]
pub struct Published(Arc<Mutex<BTreeMap<Front, Open>>>);

/// A port of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Front {
    /// Where.
    pub address: SocketAddr,
    /// What it speaks.
    pub protocol: Protocol,
}

impl Front {
    /// Of one published port.
    pub fn of(port: &PublishedPort) -> Front {
        Front { address: (port.host_ip, port.published).into(), protocol: port.protocol }
    }

    /// Under this key the keeper holds its socket.
    pub fn key(&self) -> String {
        format!("port/{}/{}", self.address, self.protocol)
    }
}

/// How a container stands towards new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Not yet, or not now.
    Starting,
    /// It wants them.
    Ready,
    /// It is about to stop.
    Leaving,
}

/// Who wants a port.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Which container.
    pub container: &'a ContainerId,
    /// Those of one group share a port; `None`: it shares with nobody.
    pub group: Option<&'a str>,
    /// Where it is reached.
    pub target: Target,
}

#[derive(Debug)]
struct Open {
    /// `None`: another program took it while nobody of ours lived; redirected traffic flows nevertheless.
    socket: Option<OwnedFd>,
    group: Option<String>,
    backends: Vec<Backend>,
    changes: watch::Sender<Backends>,
    /// Where the firewall leads it.
    redirected: Vec<SocketAddr>,
    /// Once somebody has a runtime for it.
    proxy: Option<Proxy>,
    /// The keeper has the socket.
    kept: bool,
}

#[derive(Debug)]
struct Backend {
    container: ContainerId,
    target: SocketAddr,
    readiness: Readiness,
}

impl Open {
    fn new(socket: Option<OwnedFd>, group: Option<String>) -> Open {
        let (changes, _) = watch::channel(Backends::default());
        Open { socket, group, backends: Vec::new(), changes, redirected: Vec::new(), proxy: None, kept: false }
    }

    fn add(&mut self, container: &ContainerId, target: SocketAddr, readiness: Readiness) {
        self.backends.push(Backend { container: container.clone(), target, readiness });
    }

    fn has(&self, container: &ContainerId) -> bool {
        self.backends.iter().any(|backend| backend.container == *container)
    }

    /// Who takes new connections.
    fn takers(&self) -> Vec<SocketAddr> {
        let of = |readiness| {
            let some = self.backends.iter().filter(move |backend| backend.readiness == readiness);
            some.map(|backend| backend.target).collect::<Vec<_>>()
        };
        let preferred = [Readiness::Ready, Readiness::Starting, Readiness::Leaving];
        preferred.into_iter().map(of).find(|takers| !takers.is_empty()).unwrap_or_default()
    }
}

/// Where the firewall is to lead a port: to those of the same family. The others are served by the proxy.
fn redirectable(front: Front, takers: &[SocketAddr]) -> Vec<SocketAddr> {
    // The kernel has no way from ::1 to elsewhere.
    if front.address.is_ipv6() && front.address.ip().is_loopback() {
        return Vec::new();
    }
    takers.iter().filter(|taker| taker.is_ipv4() == front.address.is_ipv4()).copied().collect()
}

fn redirect(front: Front, to: &[SocketAddr]) -> Option<Redirect> {
    (!to.is_empty()).then(|| Redirect { from: front.address, protocol: front.protocol, to: to.to_vec() })
}

impl Published {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Front, Open>> {
        // Every change is whole before anything that could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a port for a container that is about to start. Nothing leads to it yet: see [`Published::open`].
    pub fn hold(
        &self,
        claim: &Claim<'_>,
        mapping: &PortMapping,
        preference: Preference<'_>,
    ) -> Result<Vec<PublishedPort>, NetworkError> {
        let held = {
            let mut all = self.all();
            let shared = |address| {
                let open = all.get(&Front { address, protocol: mapping.protocol });
                let ours = |open: &Open| open.group.as_deref() == claim.group && !open.has(claim.container);
                claim.group.is_some() && ports::is_fixed(mapping) && open.is_some_and(ours)
            };
            ports::hold(mapping, claim.target, preference, &shared).map(|held| {
                let put = |Held { port, target, socket }: Held| {
                    let group = claim.group.map(str::to_owned);
                    let open = all.entry(Front::of(&port)).or_insert_with(|| Open::new(socket, group));
                    open.add(claim.container, target, Readiness::Starting);
                    port
                };
                held.into_iter().map(put).collect()
            })
        };
        held.map_err(|error| ports::explain(error, mapping))
    }

    /// Takes over a port that was open before us, with its socket if somebody kept it.
    pub fn adopt(&self, claim: &Claim<'_>, port: &PublishedPort, readiness: Readiness, socket: Option<OwnedFd>) {
        let Some(target) = claim.target.behind(port.host_ip) else { return };
        let front = Front::of(port);
        let mut all = self.all();
        let open = all.entry(front).or_insert_with(|| {
            let kept = socket.is_some();
            let socket = socket.or_else(|| ports::bind_again(front.address, front.protocol));
            let mut open = Open::new(socket, claim.group.map(str::to_owned));
            open.kept = kept;
            open
        });
        open.add(claim.container, (target, port.target).into(), readiness);
    }

    /// Lets a container's ports lead to it, unless others of its group are ready already.
    pub fn open(&self, networks: &Networks, container: &ContainerId) -> Result<(), OsError> {
        lead(&mut self.all(), networks, |open| open.has(container))
    }

    /// Lets all ports lead to where they should, whatever the firewall has.
    pub fn open_all(&self, networks: &Networks) -> Result<(), OsError> {
        lead(&mut self.all(), networks, |_| true)
    }

    /// Makes the firewall's part of all ports again, if somebody has flushed it.
    pub fn restore(&self, networks: &Networks) -> Result<(), OsError> {
        let all = self.all();
        let there: Vec<Redirect> = all.iter().filter_map(|(front, open)| redirect(*front, &open.redirected)).collect();
        networks.firewall().replace(&[], &there)
    }

    /// How a container stands from now on.
    pub fn set(&self, networks: &Networks, container: &ContainerId, readiness: Readiness) -> Result<(), OsError> {
        let mut all = self.all();
        for open in all.values_mut() {
            for backend in open.backends.iter_mut().filter(|backend| backend.container == *container) {
                backend.readiness = readiness;
            }
        }
        lead(&mut all, networks, |open| open.has(container))
    }

    /// Takes a container away from behind its ports; those with nobody else behind them are closed, and returned.
    pub fn close(&self, networks: &Networks, container: &ContainerId) -> (Vec<Front>, Result<(), OsError>) {
        let mut all = self.all();
        let mut datagrams = Vec::new();
        let mut touched = Vec::new();
        for (front, open) in all.iter_mut().filter(|(_, open)| open.has(container)) {
            touched.push(*front);
            open.backends.retain(|backend| {
                let goes = backend.container == *container;
                if goes && front.protocol == Protocol::Udp {
                    datagrams.push(backend.target);
                }
                !goes
            });
        }
        let result = lead_fronts(&mut all, networks, &touched);
        touched.retain(|front| all.get(front).is_some_and(|open| open.backends.is_empty()));
        all.retain(|front, _| !touched.contains(front));
        drop(all);
        // Callers that go on calling would be led to nobody for ever.
        let forgotten = datagrams.into_iter().try_for_each(conntrack::forget_led_to);
        (touched, result.and(forgotten))
    }

    /// The TCP ports of a container that others serve, too: it can take its time until it listens.
    pub fn shared(&self, container: &ContainerId) -> Vec<u16> {
        let all = self.all();
        let shared = all.iter().filter(|(front, open)| front.protocol == Protocol::Tcp && open.backends.len() > 1);
        let own = shared.flat_map(|(_, open)| open.backends.iter().filter(|backend| backend.container == *container));
        own.map(|backend| backend.target.port()).collect()
    }

    /// Serves a container's ports on the present runtime, those that are not served yet. For a thread in the machine's own
    /// network namespace.
    pub fn serve(&self, container: &ContainerId) -> io::Result<()> {
        for (front, open) in self.all().iter_mut().filter(|(_, open)| open.has(container) && open.proxy.is_none()) {
            if let Some(socket) = &open.socket {
                open.proxy = Some(Proxy::start(socket.try_clone()?, front.protocol, open.changes.subscribe())?);
            }
            if front.protocol == Protocol::Udp {
                // Who has been calling in vain is led to it, too; a kernel that can't forget lets such flows end by themselves.
                let _ = conntrack::forget_unanswered(front.address);
            }
        }
        Ok(())
    }

    /// The sockets of a container's ports that the keeper does not have yet, under their keys.
    pub fn to_keep(&self, container: &ContainerId) -> io::Result<Vec<(String, OwnedFd)>> {
        let mut sockets = Vec::new();
        for (front, open) in self.all().iter_mut().filter(|(_, open)| open.has(container) && !open.kept) {
            if let Some(socket) = &open.socket {
                sockets.push((front.key(), socket.try_clone()?));
            }
            open.kept = true;
        }
        Ok(sockets)
    }

    /// Ends redirections that somebody who was killed left behind, but for those of ports that are open.
    pub fn sweep(&self, networks: &Networks, ports: &[PublishedPort]) -> Result<(), OsError> {
        let all = self.all();
        let dead = ports.iter().map(Front::of).filter(|front| !all.contains_key(front));
        // Only the keys matter for what is taken away.
        let dead: Vec<Redirect> = dead.filter_map(|front| redirect(front, &[front.address])).collect();
        networks.firewall().replace(&dead, &[])
    }
}

fn lead(all: &mut BTreeMap<Front, Open>, networks: &Networks, which: impl Fn(&Open) -> bool) -> Result<(), OsError> {
    let fronts: Vec<Front> = all.iter().filter(|(_, open)| which(open)).map(|(front, _)| *front).collect();
    lead_fronts(all, networks, &fronts)
}

/// Tells firewall and proxies who takes these ports.
fn lead_fronts(all: &mut BTreeMap<Front, Open>, networks: &Networks, fronts: &[Front]) -> Result<(), OsError> {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for front in fronts {
        let Some(open) = all.get_mut(front) else { continue };
        let takers = open.takers();
        let to = redirectable(*front, &takers);
        if to != open.redirected {
            before.extend(redirect(*front, &open.redirected));
            after.extend(redirect(*front, &to));
            open.redirected = to;
        }
        let alive = open.backends.iter().map(|backend| backend.target).collect();
        open.changes.send_replace(Backends { open: takers, alive });
    }
    networks.firewall().replace(&before, &after)
}
