//! How a container is connected: networks, ports, names.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::values::mac_address::MacAddress;
use crate::values::names::{ContainerName, InterfaceName, NetworkName};
use crate::values::protocol::Protocol;

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
    pub mac_address: Option<MacAddress>,
    /// Name of the interface inside; default `eth0`, `eth1`, …
    pub interface_name: Option<InterfaceName>,
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
