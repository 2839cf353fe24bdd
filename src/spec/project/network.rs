//! Networks, and how a service stands in them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::spec::diagnostic::Location;
use crate::spec::project::keys::NetworkKey;
use crate::values::cidr::Cidr;
use crate::values::mac_address::MacAddress;
use crate::values::names::{InterfaceName, NetworkName, ServiceName};
use crate::values::protocol::Protocol;

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
    pub mac_address: Option<MacAddress>,
    /// Options of the endpoint.
    pub driver_opts: BTreeMap<String, String>,
    /// The highest has the default route.
    pub gw_priority: i64,
    /// Name of the interface.
    pub interface_name: Option<InterfaceName>,
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
    /// All of them.
    pub subnet: Option<Cidr>,
    /// Where dynamic addresses come from.
    pub ip_range: Option<Cidr>,
    /// The bridge's own.
    pub gateway: Option<IpAddr>,
    /// Never handed out.
    pub aux_addresses: BTreeMap<String, IpAddr>,
}
