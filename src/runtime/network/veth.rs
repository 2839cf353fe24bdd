//! A container's interfaces: the pair that joins its namespace to a bridge, and what is set inside.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::BorrowedFd;

use crate::runtime::network::netlink::{Peers, Request, Socket, Veth};
use crate::runtime::sys::OsError;
use crate::values::cidr::Cidr;
use crate::values::mac_address::MacAddress;

/// One interface as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Of our end, on the host.
    pub host_name: String,
    /// Inside.
    pub name: String,
    /// The bridge it joins.
    pub bridge: String,
    /// Whether the bridge's other ports are reached.
    pub peers: Peers,
    /// Hardware address inside.
    pub mac: MacAddress,
    /// Addresses with their prefix.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Subnets of other containers on the same bridge.
    pub neighbours: Vec<Cidr>,
    /// Default routes that lead through it.
    pub gateways: Vec<IpAddr>,
    /// Of both ends; `None`: the kernel's.
    pub mtu: Option<u32>,
}

/// Makes the pair, our end on its bridge; `host` speaks to the machine's own namespace.
pub fn attach(host: &mut Socket, netns: BorrowedFd<'_>, interface: &Interface) -> Result<(), OsError> {
    let bridge = host.index(&interface.bridge)?.ok_or_else(|| OsError {
        call: "find bridge",
        subject: interface.bridge.clone(),
        errno: nix::errno::Errno::ENODEV,
    })?;
    let veth = Veth {
        name: &interface.host_name,
        bridge,
        peer: &interface.name,
        netns,
        mac: interface.mac.octets(),
        mtu: interface.mtu,
    };
    host.run(vec![Request::veth(&veth), Request::bridge_port(&interface.host_name, interface.peers)])
}

/// Starts loopback and every interface of the namespace that `inside` speaks to.
pub fn configure(inside: &mut Socket, interfaces: &[Interface]) -> Result<(), OsError> {
    // The index of loopback is 1 in every namespace.
    let mut requests = vec![Request::start(1)];
    let mut routes = Vec::new();
    for interface in interfaces {
        let index = inside.index(&interface.name)?.ok_or_else(|| OsError {
            call: "find interface",
            subject: interface.name.clone(),
            errno: nix::errno::Errno::ENODEV,
        })?;
        requests.extend(interface.addresses.iter().map(|(address, prefix)| Request::address(index, *address, *prefix)));
        requests.push(Request::start(index));
        routes.extend(interface.neighbours.iter().map(|subnet| Request::link_route(index, *subnet)));
        routes.extend(interface.gateways.iter().map(|gateway| Request::default_route(index, *gateway)));
    }
    requests.extend(routes);
    inside.run(requests)
}

/// A hardware address that follows from an IPv4 address, as Docker had it for long: a container that comes back with its
/// address is not mistaken for somebody else by neighbours who remember the old one.
pub fn mac_of(address: Ipv4Addr) -> MacAddress {
    let [a, b, c, d] = address.octets();
    MacAddress::local([0x42, a, b, c, d])
}
