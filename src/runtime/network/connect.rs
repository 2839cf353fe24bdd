//! A container's network namespace: made on a start thread, complete before the container's first instruction.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sched::{self, CloneFlags};

use crate::dns::Sockets;
use crate::engine::{Attachment, ContainerId, Endpoint, PortMapping, PublishedPort};
use crate::runtime::network::lease::Leasing;
use crate::runtime::network::netlink::{self, Peers};
use crate::runtime::network::ports::{self, Preference, Target};
use crate::runtime::network::published::{Claim, Published};
use crate::runtime::network::record::{EndpointRecord, Lease, NetworkRecord};
use crate::runtime::network::resolver;
use crate::runtime::network::veth::{self, Interface};
use crate::runtime::network::{NetworkError, Networks, random_hex};
use crate::runtime::store::{self, Durability};
use crate::runtime::sys::{OrOs, OsError};
use crate::values::cidr::Cidr;
use crate::values::names::{ContainerName, InterfaceName, ProjectName};

/// What a container's connection is made from.
#[derive(Debug, Clone, Copy)]
pub struct ConnectRequest<'a> {
    /// Who.
    pub container: &'a ContainerId,
    /// Its name.
    pub name: &'a ContainerName,
    /// Whose.
    pub project: &'a ProjectName,
    /// Its place in the project; addresses and random ports stay with it. Empty: nothing is kept.
    pub slot: &'a str,
    /// What it calls itself.
    pub hostname: &'a str,
    /// To these networks; empty (`network_mode: none`): loopback alone, without resolver.
    pub attachments: &'a [Attachment],
    /// Opened on the host by way of the network with the default route.
    pub ports: &'a [PortMapping],
    /// All settings of the container; those below `net.` are made here.
    pub sysctls: &'a BTreeMap<String, String>,
}

/// A container's network namespace and what belongs to it on the host.
#[derive(Debug)]
pub struct Connection {
    /// The namespace. It ends when this, the sockets made in it and its last process are gone.
    pub netns: OwnedFd,
    /// The resolver's, at 127.0.0.11; `None` without networks.
    pub dns: Option<Sockets>,
    /// In the order of the interfaces.
    pub endpoints: Vec<Endpoint>,
    /// Open on the host now; to be served by [`Published::serve`].
    pub published: Vec<PublishedPort>,
}

/// Makes connections. Belongs to the one thread it was made on, which must be in the machine's own network namespace.
#[derive(Debug)]
pub struct Connector {
    networks: Networks,
    published: Published,
    host: netlink::Socket,
    home: OwnedFd,
}

/// One network's part of a connection, decided before anything is made.
struct Leg<'a> {
    network: NetworkRecord,
    attachment: &'a Attachment,
    key: String,
    lease: Lease,
    /// Tells others that somebody is about to have these addresses.
    _mark: Mark,
    interface: Interface,
}

/// A locked file: it counts while this process lives and has not undone it.
#[derive(Debug)]
struct Mark {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Drop for Mark {
    fn drop(&mut self) {
        // One that stays is not locked any more and counts for nothing.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Connector {
    /// Opens its sockets in the calling thread's network namespace, which it takes for the machine's. Ports are held by
    /// `published`, which outlives the connections.
    pub fn new(networks: Networks, published: Published) -> Result<Connector, NetworkError> {
        Ok(Connector { networks, published, host: netlink::Socket::open()?, home: own_namespace()? })
    }

    /// Makes a network namespace with all interfaces, addresses, routes, settings, names and published ports. On success
    /// the calling thread is **in** that namespace, so that a child made now inherits it; call [`Connector::leave`]
    /// afterwards, since a thread keeps a namespace alive. On failure nothing is left and the thread is in the machine's
    /// namespace.
    ///
    /// Undo a success with [`Published::close`] and [`Networks::disconnect`].
    pub fn connect(&mut self, request: &ConnectRequest<'_>) -> Result<Connection, NetworkError> {
        self.leave()?;
        let mut legs = Vec::new();
        let made = self.prepare(request, &mut legs).and_then(|published| self.make(request, &legs, published));
        made.inspect_err(|_| {
            // The first failure is the one to tell. Namespace and interfaces go with their last descriptor.
            let _ = self.leave();
            let _ = self.published.close(&self.networks, request.container);
            for leg in &legs {
                let _ = self.networks.disconnect_one(request.container, &leg.network.config.name, &leg.network.id);
                let _ = self.networks.give_back(leg, request);
            }
        })
    }

    /// What needs no namespace: networks that are there, addresses, ports.
    fn prepare<'a>(
        &mut self,
        request: &ConnectRequest<'a>,
        legs: &mut Vec<Leg<'a>>,
    ) -> Result<Vec<PublishedPort>, NetworkError> {
        let mut unnamed = 0;
        for attachment in request.attachments {
            let network = self.networks.find_or_make(&attachment.network)?;
            self.networks.ensure_with(&network, &mut self.host)?;
            let name = match &attachment.interface_name {
                Some(name) => name.clone(),
                None => {
                    let prefix = network.config.driver_opts.get("com.docker.network.container_iface_prefix");
                    let name = format!("{}{unnamed}", prefix.map_or("eth", String::as_str));
                    unnamed += 1;
                    InterfaceName::try_from(name).map_err(|error| invalid(&network, error.to_string()))?
                }
            };
            let (key, lease, mark) = self.networks.lease(&network, request, attachment)?;
            let interface = interface(&network, attachment, &lease, name)?;
            legs.push(Leg { network, attachment, key, lease, _mark: mark, interface });
        }
        add_gateways(legs);
        let Some(publishing) = legs.iter().find(|leg| !leg.interface.gateways.is_empty()) else {
            // Internal networks publish nothing (Docker does not either).
            return Ok(Vec::new());
        };
        let target = Target { ipv4: publishing.lease.ipv4, ipv6: publishing.lease.ipv6 };
        let opts = &publishing.network.config.driver_opts;
        let default = opts.get("com.docker.network.bridge.host_binding_ipv4").and_then(|address| address.parse().ok());
        let claim = Claim { container: request.container, group: group(request.slot), target };
        let mut published = Vec::new();
        let mut chosen = publishing.lease.ports.clone();
        for mapping in request.ports {
            let key = ports::key(mapping);
            let purpose = match request.slot {
                "" => String::new(),
                slot => format!("{} {slot} {key}", request.project),
            };
            let preference = Preference { former: chosen.get(&key).copied(), purpose: &purpose, address: default };
            let held =
                self.published.hold(&claim, mapping, preference).map_err(|error| self.networks.name_holder(error))?;
            if let (false, Some(first)) = (ports::is_fixed(mapping), held.first()) {
                chosen.insert(key, first.published);
            }
            published.extend(held);
        }
        if chosen != publishing.lease.ports {
            self.networks.remember_ports(publishing, chosen)?;
        }
        Ok(published)
    }

    /// What needs the namespace.
    fn make(
        &mut self,
        request: &ConnectRequest<'_>,
        legs: &[Leg<'_>],
        published: Vec<PublishedPort>,
    ) -> Result<Connection, NetworkError> {
        sched::unshare(CloneFlags::CLONE_NEWNET).or_os("unshare", "network namespace")?;
        let netns = own_namespace()?;
        for leg in legs {
            veth::attach(&mut self.host, netns.as_fd(), &leg.interface)?;
            if leg.lease.ipv6.is_none() {
                set_sysctl(&format!("net/ipv6/conf/{}/disable_ipv6", leg.interface.name), "1", Missing::Ignored)?;
            }
        }
        let interfaces: Vec<Interface> = legs.iter().map(|leg| leg.interface.clone()).collect();
        veth::configure(&mut netlink::Socket::open()?, &interfaces)?;
        for (name, value) in SYSCTLS {
            set_sysctl(name, value, Missing::Ignored)?;
        }
        let ours = |name: &str| name.starts_with("net.") || name.starts_with("net/");
        for (name, value) in request.sysctls.iter().filter(|(name, _)| ours(name)) {
            set_sysctl(&path_of(name)?, value, Missing::AnError)?;
        }
        for leg in legs {
            for (name, value) in endpoint_sysctls(leg) {
                set_sysctl(&path_of(&name)?, &value, Missing::AnError)?;
            }
        }
        let dns = if legs.is_empty() { None } else { Some(resolver::sockets()?) };
        let publishing = legs.iter().position(|leg| !leg.interface.gateways.is_empty());
        let mut endpoints = Vec::new();
        for (number, leg) in legs.iter().enumerate() {
            let own = if publishing == Some(number) { published.clone() } else { Vec::new() };
            let record = endpoint_record(request, leg, own);
            let path = self.networks.endpoint(&leg.network.id, request.container);
            store::write(&path, &record, Durability::Memory).or_os("write", path.display().to_string())?;
            endpoints.push(Endpoint {
                network: record.network,
                network_id: record.network_id,
                ipv4: record.ipv4,
                ipv6: record.ipv6,
                mac: record.mac,
            });
        }
        // The records first, then the redirections: whoever finds a record knows what to withdraw.
        self.published.open(&self.networks, request.container)?;
        Ok(Connection { netns, dns, endpoints, published })
    }

    /// Puts the calling thread into another container's network namespace (`network_mode: container:`).
    pub fn join(&mut self, netns: BorrowedFd<'_>) -> Result<(), NetworkError> {
        Ok(sched::setns(netns, CloneFlags::CLONE_NEWNET).or_os("setns", "network namespace")?)
    }

    /// Puts the calling thread back into the machine's network namespace.
    pub fn leave(&mut self) -> Result<(), NetworkError> {
        Ok(sched::setns(&self.home, CloneFlags::CLONE_NEWNET).or_os("setns", "the machine's network namespace")?)
    }
}

/// What the name of a [`Mark`] ends with.
const CONNECTING: &str = ".connecting";

/// Whether whoever made a mark lives and has not undone it.
fn is_locked(mark: &Path) -> bool {
    let Ok(file) = File::open(mark) else { return false };
    Flock::lock(file, FlockArg::LockExclusiveNonblock).is_err()
}

/// Docker's: any user may open low ports and ping.
const SYSCTLS: [(&str, &str); 2] =
    [("net/ipv4/ip_unprivileged_port_start", "0"), ("net/ipv4/ping_group_range", "0 2147483647")];

fn own_namespace() -> Result<OwnedFd, OsError> {
    Ok(File::open("/proc/thread-self/ns/net").or_os("open", "/proc/thread-self/ns/net")?.into())
}

fn invalid(network: &NetworkRecord, reason: String) -> NetworkError {
    NetworkError::Invalid { network: network.config.name.clone(), reason }
}

fn interface(
    network: &NetworkRecord,
    attachment: &Attachment,
    lease: &Lease,
    name: InterfaceName,
) -> Result<Interface, NetworkError> {
    let mac = match (attachment.mac_address, lease.ipv4, lease.ipv6) {
        (Some(address), _, _) => address,
        (None, Some(address), _) => veth::mac_of(address),
        (None, None, Some(address)) => {
            let [.., a, b, c, d] = address.octets();
            veth::mac_of(Ipv4Addr::new(a, b, c, d))
        }
        (None, None, None) => return Err(invalid(network, "neither IPv4 nor IPv6 is enabled".to_owned())),
    };
    let leased = lease.addresses().filter_map(|address| Some((address, network.subnet_of(address)?.cidr)));
    let own: Vec<Cidr> = leased.clone().map(|(_, cidr)| cidr).collect();
    let neighbours = network
        .subnets
        .iter()
        .map(|subnet| subnet.cidr)
        .filter(|cidr| !own.contains(cidr) && own.iter().any(|own| own.is_ipv4() == cidr.is_ipv4()));
    let mut addresses: Vec<(IpAddr, u8)> = leased.map(|(address, cidr)| (address, cidr.prefix())).collect();
    let link_local = |address: &IpAddr| (*address, if address.is_ipv4() { 16 } else { 64 });
    addresses.extend(attachment.link_local_ips.iter().map(link_local));
    Ok(Interface {
        // Not the container's own: the former interface of a restarted container may still be on its way out.
        host_name: format!("xe-{}", random_hex::<6>()?),
        name: name.into(),
        bridge: network.bridge.clone(),
        peers: if network.flag("bridge.enable_icc", true) { Peers::Reachable } else { Peers::Isolated },
        mac,
        addresses,
        neighbours: neighbours.collect(),
        gateways: Vec::new(),
        mtu: network.mtu(),
    })
}

/// The default route goes to the highest `gw_priority`, then to the first by name; never to an internal network.
fn add_gateways(legs: &mut [Leg<'_>]) {
    for ipv4 in [true, false] {
        let gateway = |leg: &Leg<'_>| {
            let leased = leg.lease.addresses().find(|address| address.is_ipv4() == ipv4)?;
            leg.network.subnet_of(leased).filter(|_| !leg.network.config.internal).map(|subnet| subnet.gateway)
        };
        let best = legs
            .iter_mut()
            .filter(|leg| gateway(leg).is_some())
            .min_by_key(|leg| (-leg.attachment.gw_priority, leg.attachment.network.clone()));
        if let Some(leg) = best {
            leg.interface.gateways.extend(gateway(leg));
        }
    }
}

/// Replicas of one service share its ports: those whose place is a number, as that of a container made for one command is
/// not.
pub fn group(slot: &str) -> Option<&str> {
    let (service, number) = slot.rsplit_once('/')?;
    number.parse::<u32>().is_ok().then_some(service)
}

/// The names a container answers to; compared without regard to case, so kept in lower case.
fn endpoint_record(request: &ConnectRequest<'_>, leg: &Leg<'_>, published: Vec<PublishedPort>) -> EndpointRecord {
    let own = [request.name.as_str(), request.container.short(), request.hostname];
    let mut names: Vec<String> = Vec::new();
    for name in own.into_iter().chain(leg.attachment.aliases.iter().map(String::as_str)) {
        let name = name.to_ascii_lowercase();
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    EndpointRecord {
        container: request.container.clone(),
        name: request.name.clone(),
        project: request.project.clone(),
        slot: request.slot.to_owned(),
        network: leg.network.config.name.clone(),
        network_id: leg.network.id.clone(),
        ipv4: leg.lease.ipv4,
        ipv6: leg.lease.ipv6,
        mac: leg.interface.mac.to_string(),
        interface: leg.interface.host_name.clone(),
        names,
        published,
    }
}

/// `com.docker.network.endpoint.sysctls`: `net.ipv4.conf.IFNAME.log_martians=1,…`.
fn endpoint_sysctls(leg: &Leg<'_>) -> Vec<(String, String)> {
    let text = leg.attachment.driver_opts.get("com.docker.network.endpoint.sysctls");
    let settings = text.map_or("", String::as_str).split(',').filter_map(|setting| setting.split_once('='));
    settings.map(|(name, value)| (name.replace("IFNAME", &leg.interface.name), value.to_owned())).collect()
}

/// `net.ipv4.ip_forward` as a path below `/proc/sys`; like sysctl(8), dots stay where the first separator is a slash.
fn path_of(name: &str) -> Result<String, OsError> {
    let path = match name.find(['.', '/']) {
        Some(first) if name.as_bytes().get(first) == Some(&b'/') => name.to_owned(),
        _ => name.replace('.', "/"),
    };
    // Nothing outside of what belongs to the namespace.
    if path.starts_with("net/") && !path.split('/').any(|part| part.is_empty() || part == "..") {
        Ok(path)
    } else {
        Err(OsError { call: "sysctl", subject: name.to_owned(), errno: Errno::EINVAL })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Ignored,
    AnError,
}

/// Below `/proc/sys/net`, which is that of the calling thread's namespace.
fn set_sysctl(path: &str, value: &str, missing: Missing) -> Result<(), OsError> {
    match std::fs::write(format!("/proc/sys/{path}"), value) {
        Err(error) if missing == Missing::Ignored && error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        written => written.or_os("sysctl", path.replace('/', ".")),
    }
}

impl Networks {
    /// The addresses of a container on a network: those its slot had, those it asks for, or the lowest free ones.
    fn lease(
        &self,
        network: &NetworkRecord,
        request: &ConnectRequest<'_>,
        attachment: &Attachment,
    ) -> Result<(String, Lease, Mark), NetworkError> {
        let name = &network.config.name;
        let _busy = self.lock_network(name, &network.id)?;
        let mut leases = self.leases(name)?;
        let connected = |container: &ContainerId| {
            self.endpoint(&network.id, container).exists() || is_locked(&self.connecting(&network.id, container))
        };
        let mut leasing = Leasing { network, leases: &mut leases, container: request.container, connected: &connected };
        let (key, lease) = leasing.grant(request.project.as_str(), request.slot, attachment)?;
        if leases.leases.get(&key) != Some(&lease) {
            leases.leases.insert(key.clone(), lease.clone());
            self.write_leases(name, &leases)?;
        }
        // The addresses are in use from now on, although the names do not resolve yet.
        let path = self.connecting(&network.id, request.container);
        let file = File::create(&path).or_os("create", path.display().to_string())?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok((key, lease, Mark { path, _lock: lock })),
            Err((_, Errno::EWOULDBLOCK)) => {
                Err(invalid(network, "a container can be connected to it only once".to_owned()))
            }
            Err((_, errno)) => Err(errno).or_os("flock", path.display().to_string())?,
        }
    }

    /// Whether somebody is about to be connected to a network. To be asked by who holds its lock.
    pub(super) fn is_being_joined(&self, network: &str) -> Result<bool, NetworkError> {
        let folder = self.layout().endpoints(network);
        let entries = std::fs::read_dir(&folder).or_os("list", folder.display().to_string())?;
        Ok(entries.flatten().any(|entry| {
            entry.file_name().as_encoded_bytes().ends_with(CONNECTING.as_bytes()) && is_locked(&entry.path())
        }))
    }

    /// There while a container is being connected.
    fn connecting(&self, network: &str, container: &ContainerId) -> PathBuf {
        self.layout().endpoints(network).join(format!("{}{CONNECTING}", container.0))
    }

    /// Undoes a lease, unless somebody comes back to it.
    fn give_back(&self, leg: &Leg<'_>, request: &ConnectRequest<'_>) -> Result<(), NetworkError> {
        if leg.key != request.container.0 {
            return Ok(());
        }
        self.end_leases(&leg.network.config.name, &leg.network.id, |key| key == leg.key)
    }

    fn remember_ports(&self, leg: &Leg<'_>, chosen: BTreeMap<String, u16>) -> Result<(), NetworkError> {
        let name = &leg.network.config.name;
        let _busy = self.lock_network(name, &leg.network.id)?;
        let mut leases = self.leases(name)?;
        if let Some(lease) = leases.leases.get_mut(&leg.key) {
            lease.ports = chosen;
        }
        self.write_leases(name, &leases)
    }

    /// A port may be taken by a container of ours: then its name and project say more than a process.
    fn name_holder(&self, error: NetworkError) -> NetworkError {
        let NetworkError::PortTaken { address, protocol, holder, free } = error else { return error };
        let networks = self.list().unwrap_or_default();
        let mut endpoints = networks.iter().flat_map(|network| self.endpoints(&network.id).unwrap_or_default());
        let clash = |port: &PublishedPort| {
            port.published == address.port()
                && port.protocol == protocol
                && port.host_ip.is_ipv4() == address.is_ipv4()
                && (port.host_ip == address.ip() || port.host_ip.is_unspecified() || address.ip().is_unspecified())
        };
        let holder = match endpoints.find(|endpoint| endpoint.published.iter().any(clash)) {
            Some(endpoint) => {
                format!("container {} (project {})", endpoint.name, endpoint.project)
            }
            None => holder,
        };
        NetworkError::PortTaken { address, protocol, holder, free }
    }
}
