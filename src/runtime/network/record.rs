//! What lies on disk of a network: its record, its leases, and who is connected to it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::dns::names::Member;
use crate::engine::{ContainerId, NetworkConfig, NetworkTrouble, ObservedNetwork, PublishedPort};
use crate::values::cidr::Cidr;
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
    /// The bridge was there before us and stays when the network goes (`com.docker.network.bridge.name`).
    pub adopted: bool,
    /// The subnets as they are, IPv4 first.
    pub subnets: Vec<Subnet>,
}

/// One subnet of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// `172.18.0.0/16`.
    pub cidr: Cidr,
    /// Where dynamic addresses come from, if that is only a part.
    pub range: Option<Cidr>,
    /// The bridge's address.
    pub gateway: IpAddr,
    /// Never handed out.
    pub reserved: Vec<IpAddr>,
    /// The user wrote it: only then may containers ask for an address of their own.
    pub configured: bool,
}

impl NetworkRecord {
    /// As callers see it.
    pub fn observed(self, trouble: Option<NetworkTrouble>) -> ObservedNetwork {
        let subnets = self.subnets.into_iter().map(|subnet| subnet.cidr.to_string()).collect();
        ObservedNetwork { id: self.id, config: self.config, subnets, trouble }
    }

    /// A driver option that is true or false, by its name after `com.docker.network.`.
    pub fn flag(&self, option: &str, default: bool) -> bool {
        let value = self.config.driver_opts.get(&format!("com.docker.network.{option}"));
        value.map_or(default, |value| matches!(value.to_ascii_lowercase().as_str(), "1" | "t" | "true"))
    }

    /// What its interfaces carry at most; `None`: the kernel's default.
    pub fn mtu(&self) -> Option<u32> {
        self.config.driver_opts.get("com.docker.network.driver.mtu").and_then(|mtu| mtu.parse().ok())
    }

    /// The first subnet of a family.
    pub fn subnet(&self, ipv4: bool) -> Option<&Subnet> {
        self.of_family(ipv4).next()
    }

    /// The subnets of a family.
    pub fn of_family(&self, ipv4: bool) -> impl Iterator<Item = &Subnet> {
        self.subnets.iter().filter(move |subnet| subnet.cidr.is_ipv4() == ipv4)
    }

    /// The subnet that an address lies in.
    pub fn subnet_of(&self, address: IpAddr) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.cidr.contains(address))
    }
}

/// The addresses and random ports that a network's slots keep, by `project/slot`, while the network lives.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Leases {
    /// By `project/slot`; a container without a slot has its id.
    pub leases: BTreeMap<String, Lease>,
}

/// What one slot keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Who had it last.
    pub container: ContainerId,
    /// Its address.
    pub ipv4: Option<Ipv4Addr>,
    /// Its address.
    pub ipv6: Option<Ipv6Addr>,
    /// Ports of the host that were chosen for it, by `address:target/protocol`.
    #[serde(default)]
    pub ports: BTreeMap<String, u16>,
}

impl Lease {
    /// Its addresses, IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + Clone {
        self.ipv4.map(IpAddr::from).into_iter().chain(self.ipv6.map(IpAddr::from))
    }
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
    /// Our end of its interface, on the host; empty in records of older programs.
    #[serde(default)]
    pub interface: String,
    /// Every name it answers to here, in lower case: its own, short id, host name, aliases.
    pub names: Vec<String>,
    /// Ports opened on the host for it by way of this network.
    pub published: Vec<PublishedPort>,
}

impl EndpointRecord {
    /// As the resolver sees it.
    pub fn member(self) -> Member {
        let addresses = self.ipv4.map(IpAddr::from).into_iter().chain(self.ipv6.map(IpAddr::from)).collect();
        Member {
            network: self.network_id,
            network_name: self.network.into(),
            container: self.name.into(),
            names: self.names,
            addresses,
        }
    }
}
