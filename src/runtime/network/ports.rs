//! Published ports: finding one that is free, and holding it so that it looks taken.
//!
//! A bound socket of the host stands behind every published port. It finds out whether the port is free, keeps others
//! from taking it, and serves what the firewall does not redirect.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, setsockopt, sockopt};

use crate::engine::{PortMapping, PublishedPort};
use crate::runtime::network::NetworkError;
use crate::values::protocol::Protocol;

/// A bound socket of the host that makes a published port look taken, and serves what no firewall rule redirects.
#[derive(Debug)]
pub struct Holder {
    /// What it holds.
    pub port: PublishedPort,
    /// Where its traffic goes.
    pub target: SocketAddr,
    /// Bound; listening if it is TCP. A duplicate kept elsewhere keeps the port.
    pub socket: OwnedFd,
}

/// Where a container is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Its address on the network that publishes.
    pub ipv4: Option<Ipv4Addr>,
    /// Its address on the network that publishes.
    pub ipv6: Option<Ipv6Addr>,
}

impl Target {
    /// The address that serves a port of the host: of the same family if there is one.
    fn behind(self, host: IpAddr) -> Option<IpAddr> {
        let (ipv4, ipv6) = (self.ipv4.map(IpAddr::from), self.ipv6.map(IpAddr::from));
        if host.is_ipv4() { ipv4.or(ipv6) } else { ipv6.or(ipv4) }
    }
}

/// How a random port is remembered for a slot: `address:target/protocol`.
pub fn key(mapping: &PortMapping) -> String {
    let address = mapping.host_ip.map_or_else(|| "*".to_owned(), |address| address.to_string());
    format!("{address}:{}/{}", mapping.target, mapping.protocol)
}

/// Binds a port as asked for. `favourite` is what a random one was last time; `default` is the network's own address for
/// ports without one.
pub fn hold(
    mapping: &PortMapping,
    target: Target,
    favourite: Option<u16>,
    default: Option<IpAddr>,
) -> Result<Vec<Holder>, NetworkError> {
    let addresses: Vec<IpAddr> = match mapping.host_ip.or(default) {
        Some(address) => vec![address],
        None => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
    };
    // A machine without IPv6 publishes on IPv4 alone, unless IPv6 was asked for.
    let optional = |address: &IpAddr| addresses.len() > 1 && address.is_ipv6();
    match mapping.published.filter(|(first, _)| *first != 0) {
        Some((first, last)) => {
            let mut taken = None;
            for port in first..=last.max(first) {
                match hold_all(mapping, &addresses, optional, port, target) {
                    Err(error @ NetworkError::PortTaken { .. }) => taken = taken.or(Some(error)),
                    other => return other,
                }
            }
            Err(explain(taken, mapping, first, last))
        }
        None => {
            if let Some(port) = favourite
                && let Ok(holders) = hold_all(mapping, &addresses, optional, port, target)
            {
                return Ok(holders);
            }
            random(mapping, &addresses, optional, target)
        }
    }
}

/// Holds a port again whose holder has died with those who had it; the firewall's rules for it are still there.
pub fn hold_again(port: &PublishedPort, target: Target) -> Option<Holder> {
    let behind = target.behind(port.host_ip)?;
    // Another program may have it now: redirected traffic flows nevertheless.
    let socket = bind((port.host_ip, port.published).into(), port.protocol).ok()?;
    Some(Holder { port: port.clone(), target: (behind, port.target).into(), socket })
}

/// A port of the kernel's choice that is free on every address.
fn random(
    mapping: &PortMapping,
    addresses: &[IpAddr],
    optional: impl Fn(&IpAddr) -> bool + Copy,
    target: Target,
) -> Result<Vec<Holder>, NetworkError> {
    let mut last = None;
    for _ in 0..64 {
        let chosen = hold_all(mapping, addresses.get(..1).unwrap_or_default(), optional, 0, target)?;
        let port = chosen.first().map_or(0, |holder| holder.port.published);
        match hold_all(mapping, addresses.get(1..).unwrap_or_default(), optional, port, target) {
            Ok(others) => return Ok(chosen.into_iter().chain(others).collect()),
            Err(error @ NetworkError::PortTaken { .. }) => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(explain(last, mapping, 0, 0))
}

fn hold_all(
    mapping: &PortMapping,
    addresses: &[IpAddr],
    optional: impl Fn(&IpAddr) -> bool,
    port: u16,
    target: Target,
) -> Result<Vec<Holder>, NetworkError> {
    let mut holders = Vec::new();
    for address in addresses {
        let Some(behind) = target.behind(*address) else { continue };
        let socket = match bind((*address, port).into(), mapping.protocol) {
            Ok(socket) => socket,
            Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL) if optional(address) => continue,
            Err(Errno::EADDRNOTAVAIL | Errno::EAFNOSUPPORT) => {
                return Err(NetworkError::NoSuchAddress { address: *address });
            }
            Err(Errno::EADDRINUSE) => {
                let address = (*address, port).into();
                let holder = UNKNOWN.to_owned();
                return Err(NetworkError::PortTaken { address, protocol: mapping.protocol, holder, free: None });
            }
            Err(errno) => {
                return Err(NetworkError::Os(crate::runtime::sys::OsError {
                    call: "bind",
                    subject: format!("{} port {}", mapping.protocol, SocketAddr::from((*address, port))),
                    errno,
                }));
            }
        };
        let published = match port {
            0 => bound_port(&socket).map_err(NetworkError::Os)?,
            port => port,
        };
        let port = PublishedPort { host_ip: *address, published, target: mapping.target, protocol: mapping.protocol };
        holders.push(Holder { port, target: (behind, mapping.target).into(), socket });
    }
    Ok(holders)
}

/// The error of a port that was asked for, now that it is known to be final: who has it, and which is free.
fn explain(taken: Option<NetworkError>, mapping: &PortMapping, first: u16, last: u16) -> NetworkError {
    match taken {
        Some(NetworkError::PortTaken { address, protocol, holder, .. }) => {
            let holder = process_on(address, protocol).unwrap_or(holder);
            let holder = if last > first { format!("{holder}, and so are all others up to {last}") } else { holder };
            let above = (last.max(first).saturating_add(1)..=u16::MAX).take(1000);
            let free = above.into_iter().find(|port| bind((address.ip(), *port).into(), protocol).is_ok());
            NetworkError::PortTaken { address, protocol, holder, free }
        }
        Some(other) => other,
        None => NetworkError::PortTaken {
            address: (mapping.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), first).into(),
            protocol: mapping.protocol,
            holder: UNKNOWN.to_owned(),
            free: None,
        },
    }
}

fn bind(address: SocketAddr, protocol: Protocol) -> Result<OwnedFd, Errno> {
    let kind = match protocol {
        Protocol::Tcp => SockType::Stream,
        Protocol::Udp => SockType::Datagram,
        Protocol::Sctp => return Err(Errno::EPROTONOSUPPORT),
    };
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket::socket(family, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    if address.is_ipv6() {
        // IPv4 has a socket of its own.
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    if protocol == Protocol::Tcp {
        // Connections that were closed a moment ago do not count.
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    }
    socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    if protocol == Protocol::Tcp {
        socket::listen(&socket, Backlog::MAXCONN)?;
    }
    Ok(socket)
}

fn bound_port(socket: &OwnedFd) -> Result<u16, crate::runtime::sys::OsError> {
    use crate::runtime::sys::OrOs;
    let address: SockaddrStorage = socket::getsockname(socket.as_raw_fd()).or_os("getsockname", "")?;
    let port = address.as_sockaddr_in().map(|address| address.port());
    Ok(port.or_else(|| address.as_sockaddr_in6().map(|address| address.port())).unwrap_or(0))
}

/// Who has a port when it can't be found out.
const UNKNOWN: &str = "another program";

/// Which process of the machine has a port: `nginx (pid 812)`. `None` if that can't be found out, as of a
/// process in another container.
fn process_on(address: SocketAddr, protocol: Protocol) -> Option<String> {
    let inode = inode_on(address, protocol)?;
    let wanted = format!("socket:[{inode}]");
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
        if files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|link| link == Path::new(&wanted))) {
            let command = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            // If it is one of ours, no container is written down as the holder yet: that one starts at this moment.
            let program = |process: &Path| fs::read_link(process.join("exe")).ok();
            let ours = program(&process.path()).is_some_and(|exe| Some(exe) == program(Path::new("/proc/self")));
            let command = if ours { "another container that is starting" } else { command.trim_end() };
            return Some(format!("{command} (pid {pid})"));
        }
    }
    None
}

/// The inode of the socket that stands in the way of a bind to this address.
fn inode_on(address: SocketAddr, protocol: Protocol) -> Option<u64> {
    // Listening TCP sockets; bound, unconnected UDP ones.
    let (tables, state) = match protocol {
        Protocol::Tcp => (["tcp", "tcp6"], "0A"),
        Protocol::Udp => (["udp", "udp6"], "07"),
        Protocol::Sctp => return None,
    };
    tables.iter().find_map(|table| {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{table}")).ok()?;
        text.lines().skip(1).find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (host, port) = fields.get(1)?.rsplit_once(':')?;
            let same_port = u16::from_str_radix(port, 16).ok()? == address.port();
            (same_port && *fields.get(3)? == state && clashes(host, address.ip()))
                .then(|| fields.get(9)?.parse().ok())?
        })
    })
}

/// Whether a socket bound to an address, as `/proc/net` prints it, is in the way of another.
fn clashes(host: &str, wanted: IpAddr) -> bool {
    let any = host.bytes().all(|digit| digit == b'0');
    match (host.len(), wanted) {
        // A word in the byte order of the machine.
        (8, IpAddr::V4(wanted)) => {
            let bound = u32::from_str_radix(host, 16).map(|word| Ipv4Addr::from(word.to_ne_bytes()));
            any || wanted.is_unspecified() || bound == Ok(wanted)
        }
        // `::` takes IPv4 too, unless it was told not to; who can say.
        (32, IpAddr::V4(_)) => any,
        (32, IpAddr::V6(wanted)) => {
            let words = (0..4).filter_map(|at| u32::from_str_radix(host.get(at * 8..at * 8 + 8)?, 16).ok());
            let bytes: Vec<u8> = words.flat_map(u32::to_ne_bytes).collect();
            any || wanted.is_unspecified() || bytes == wanted.octets()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(address: &str, published: Option<(u16, u16)>, protocol: Protocol) -> PortMapping {
        PortMapping { host_ip: Some(address.parse().unwrap()), published, target: 80, protocol }
    }

    const TARGET: Target = Target { ipv4: Some(Ipv4Addr::new(172, 18, 0, 2)), ipv6: None };

    #[test]
    fn a_held_port_looks_taken_and_its_holder_is_named_with_a_free_one() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let held = hold(&mapping("127.0.0.1", None, protocol), TARGET, None, None).unwrap();
            let port = held[0].port.published;
            let error = hold(&mapping("127.0.0.1", Some((port, port)), protocol), TARGET, None, None).unwrap_err();
            let NetworkError::PortTaken { address, holder, free, .. } = &error else { panic!("{error}") };
            assert_eq!(*address, SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
            assert!(holder.contains(&format!("(pid {})", std::process::id())), "{holder}");
            assert!(free.is_some_and(|free| free > port), "{error}");
        }
    }

    #[test]
    fn of_a_range_the_first_free_port_is_taken_and_a_random_one_is_kept() {
        let busy = hold(&mapping("127.0.0.1", None, Protocol::Tcp), TARGET, None, None).unwrap();
        let first = busy[0].port.published;
        let range = mapping("127.0.0.1", Some((first, first.saturating_add(50))), Protocol::Tcp);
        let held = hold(&range, TARGET, None, None).unwrap();
        assert!(held[0].port.published > first);
        let random = mapping("127.0.0.1", None, Protocol::Tcp);
        drop(busy);
        assert_eq!(hold(&random, TARGET, Some(first), None).unwrap()[0].port.published, first);
    }

    #[test]
    fn an_address_that_the_machine_lacks_is_named() {
        let error = hold(&mapping("192.0.2.77", None, Protocol::Tcp), TARGET, None, None).unwrap_err();
        assert_eq!(error.to_string(), "cannot publish on 192.0.2.77: no interface of this machine has that address");
    }

    #[test]
    fn addresses_of_proc_net_are_read_in_the_machines_byte_order() {
        let word = u32::from_ne_bytes([127, 0, 0, 1]);
        assert!(clashes(&format!("{word:08X}"), "127.0.0.1".parse().unwrap()));
        assert!(!clashes(&format!("{word:08X}"), "127.0.0.2".parse().unwrap()));
        assert!(clashes("00000000", "127.0.0.2".parse().unwrap()));
        assert!(!clashes("zz", "127.0.0.2".parse().unwrap()));
    }
}
