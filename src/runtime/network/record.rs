//! What lies on disk of a network: its record, its leases, and who is connected to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::engine::{ContainerId, NetworkConfig, PublishedPort};
use crate::values::names::{ContainerName, NetworkName, ProjectName};

/// A network as it stands. Lasts until the network is removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// 64 hexadecimal digits; a network made anew has another.
    pub id: String,
    /// What it was made from.
    pub config: NetworkConfig,
    /// The bridge's name.
    pub bridge: String,
    /// The subnets as they are, IPv4 first.
    pub subnets: Vec<Subnet>,
}

/// One subnet of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// `172.18.0.0/16`.
    pub cidr: String,
    /// Where dynamic addresses come from, if that is only a part.
    pub range: Option<String>,
    /// The bridge's address.
    pub gateway: IpAddr,
    /// Never handed out.
    pub reserved: Vec<IpAddr>,
    /// The user wrote it: only then may containers ask for an address of their own.
    pub configured: bool,
}

/// A container on a network. It is written before the container's first instruction and removed when it stops: it is
/// the truth of which addresses are in use and which names resolve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointRecord {
    /// Who.
    pub container: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// Whose.
    pub project: ProjectName,
    /// Its place in the project.
    pub slot: String,
    /// Where.
    pub network: NetworkName,
    /// The network's identity.
    pub network_id: String,
    /// Its address.
    pub ipv4: Option<Ipv4Addr>,
    /// Its address.
    pub ipv6: Option<Ipv6Addr>,
    /// Hardware address.
    pub mac: String,
    /// Every name it answers to here, in lower case: its own, short id, host name, aliases.
    pub names: Vec<String>,
    /// Ports opened on the host for it by way of this network.
    pub published: Vec<PublishedPort>,
}
