//! A container's interfaces: the pair that joins its namespace to a bridge, and what is set inside.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::BorrowedFd;

use crate::runtime::network::netlink::{Peers, Request, Socket, Veth};
use crate::runtime::sys::OsError;

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
    pub mac: [u8; 6],
    /// Addresses with their prefix.
    pub addresses: Vec<(IpAddr, u8)>,
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
        mac: interface.mac,
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
        routes.extend(interface.gateways.iter().map(|gateway| Request::default_route(index, *gateway)));
    }
    requests.extend(routes);
    inside.run(requests)
}

/// A hardware address that follows from an IPv4 address, as Docker had it for long: a container that comes back with its
/// address is not mistaken for somebody else by neighbours who remember the old one.
pub fn mac_of(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

/// `02:42:ac:12:00:02`.
pub fn print_mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Six pairs of hexadecimal digits between `:` or `-`, not a group address.
pub fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0_u8; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut mac {
        let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|c| c.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    (parts.next().is_none() && mac[0] & 1 == 0).then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hardware_address_is_read_as_it_is_printed() {
        let mac = mac_of(Ipv4Addr::new(172, 18, 0, 2));
        assert_eq!(print_mac(mac), "02:42:ac:12:00:02");
        assert_eq!(parse_mac("02:42:ac:12:00:02"), Some(mac));
        assert_eq!(parse_mac("02-42-AC-12-00-02"), Some(mac));
        for wrong in ["", "02:42", "01:42:ac:12:00:02", "02:42:ac:12:00:02:03", "2:42:ac:12:0:02", "+2:42:ac:12:00:02"]
        {
            assert_eq!(parse_mac(wrong), None, "{wrong}");
        }
    }
}
