//! Published ports: finding one that is free, and holding it so that it looks taken.
//!
//! A bound socket of the host stands behind every published port. It finds out whether the port is free, keeps others
//! from taking it, and serves what the firewall does not redirect.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, setsockopt, sockopt};
use sha2::{Digest, Sha256};

use crate::engine::{PortMapping, PublishedPort};
use crate::runtime::network::NetworkError;
use crate::runtime::network::occupant::{UNKNOWN, process_on};
use crate::runtime::sys::{OrOs, OsError};
use crate::values::protocol::Protocol;

/// A port of the host, taken for a container.
#[derive(Debug)]
pub struct Held {
    /// Which, and for which port of the container.
    pub port: PublishedPort,
    /// Where its traffic goes.
    pub target: SocketAddr,
    /// Bound; listening if it is TCP. `None`: another replica has brought it.
    pub socket: Option<OwnedFd>,
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
    pub fn behind(self, host: IpAddr) -> Option<IpAddr> {
        let (ipv4, ipv6) = (self.ipv4.map(IpAddr::from), self.ipv6.map(IpAddr::from));
        if host.is_ipv4() { ipv4.or(ipv6) } else { ipv6.or(ipv4) }
    }
}

/// Which port to take where the user leaves a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preference<'a> {
    /// What was taken the last time.
    pub former: Option<u16>,
    /// What the port is for, in words that mean nothing else: leads to the same free port again and again, also where
    /// nothing is remembered. Empty: any port.
    pub purpose: &'a str,
    /// The network's own address for ports without one.
    pub address: Option<IpAddr>,
}

/// How a chosen port is remembered for a slot: `address:target/protocol`, behind the range if there is one.
pub fn key(mapping: &PortMapping) -> String {
    let address = mapping.host_ip.map_or_else(|| "*".to_owned(), |address| address.to_string());
    let range = mapping.published.filter(|(first, last)| first != last);
    let range = range.map_or_else(String::new, |(first, last)| format!("{first}-{last}:"));
    format!("{address}:{range}{}/{}", mapping.target, mapping.protocol)
}

/// Whether the user wrote which port it has to be.
pub fn is_fixed(mapping: &PortMapping) -> bool {
    mapping.published.is_some_and(|(first, last)| first != 0 && first == last)
}

/// Takes a port as asked for; `shared` says of an address that another replica has it and lets us in. A failure says that
/// it is taken, but not yet by whom: see [`explain`].
pub fn hold(
    mapping: &PortMapping,
    target: Target,
    preference: Preference<'_>,
    shared: &dyn Fn(SocketAddr) -> bool,
) -> Result<Vec<Held>, NetworkError> {
    let addresses: Vec<IpAddr> = match mapping.host_ip.or(preference.address) {
        Some(address) => vec![address],
        None => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
    };
    let attempt = Attempt { mapping, target, shared, both: addresses.len() > 1 };
    let Some((first, last)) = mapping.published.filter(|(first, _)| *first != 0) else {
        let wished = preference.former.into_iter().chain(wishes(preference.purpose));
        for port in wished {
            if let Ok(held) = attempt.all(&addresses, port) {
                return Ok(held);
            }
        }
        return attempt.random(&addresses);
    };
    let former = preference.former.filter(|former| (first..=last).contains(former));
    let mut taken = None;
    for port in former.into_iter().chain(first..=last) {
        match attempt.all(&addresses, port) {
            Err(error @ NetworkError::PortTaken { .. }) => taken = taken.or(Some(error)),
            other => return other,
        }
    }
    // Ranges are not empty.
    Err(taken.unwrap_or(NetworkError::NoSuchAddress { address: Ipv4Addr::UNSPECIFIED.into() }))
}

/// Binds a port again whose socket has died with those who had it.
pub fn bind_again(address: SocketAddr, protocol: Protocol) -> Option<OwnedFd> {
    // Another program may have it now: redirected traffic flows nevertheless.
    bind(address, protocol).ok()
}

/// Of a port that could not be taken: who has it, and which is free.
pub fn explain(error: NetworkError, mapping: &PortMapping) -> NetworkError {
    let NetworkError::PortTaken { address, protocol, holder, .. } = error else { return error };
    let holder = process_on(address, protocol).unwrap_or(holder);
    let last = mapping.published.map_or(0, |(_, last)| last);
    let holder = if last > address.port() { format!("{holder}, and so are all others up to {last}") } else { holder };
    let above = (last.max(address.port()).saturating_add(1)..=u16::MAX).take(1000);
    let free = above.into_iter().find(|port| bind((address.ip(), *port).into(), protocol).is_ok());
    NetworkError::PortTaken { address, protocol, holder, free }
}

/// The ports to try first for a purpose: the same ones every time, of those that the machine gives out by itself.
fn wishes(purpose: &str) -> impl Iterator<Item = u16> + use<> {
    let digest = Sha256::digest(purpose.as_bytes());
    let numbers = if purpose.is_empty() { 0 } else { digest.len() / 2 };
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = range.split_whitespace().filter_map(|end| end.parse::<u16>().ok());
    let (first, last) = (ends.next().unwrap_or(32_768), ends.next().unwrap_or(60_999));
    let span = last.saturating_sub(first).saturating_add(1).max(1);
    (0..numbers).filter_map(move |at| {
        let pair = digest.get(at * 2..at * 2 + 2)?;
        Some(first.saturating_add(u16::from_be_bytes(pair.try_into().ok()?) % span))
    })
}

/// One mapping, on its way to a port.
struct Attempt<'a> {
    mapping: &'a PortMapping,
    target: Target,
    shared: &'a dyn Fn(SocketAddr) -> bool,
    /// IPv4 and IPv6: a machine without IPv6 publishes on IPv4 alone, unless IPv6 was asked for.
    both: bool,
}

impl Attempt<'_> {
    /// A port of the kernel's choice that is free on every address.
    fn random(&self, addresses: &[IpAddr]) -> Result<Vec<Held>, NetworkError> {
        let (first, others) = addresses.split_at(1.min(addresses.len()));
        let mut attempts = 0;
        loop {
            attempts += 1;
            let chosen = self.all(first, 0)?;
            let port = chosen.first().map_or(0, |held| held.port.published);
            match self.all(others, port) {
                Ok(others) => return Ok(chosen.into_iter().chain(others).collect()),
                Err(NetworkError::PortTaken { .. }) if attempts < 64 => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// This port on all of these addresses.
    fn all(&self, addresses: &[IpAddr], port: u16) -> Result<Vec<Held>, NetworkError> {
        addresses.iter().filter_map(|address| self.one((*address, port).into()).transpose()).collect()
    }

    /// `None`: nothing to hold there, by the container's addresses or the machine's.
    fn one(&self, address: SocketAddr) -> Result<Option<Held>, NetworkError> {
        let protocol = self.mapping.protocol;
        if protocol == Protocol::Sctp {
            return Err(NetworkError::Sctp { target: self.mapping.target });
        }
        let Some(behind) = self.target.behind(address.ip()) else { return Ok(None) };
        let socket = if address.port() != 0 && (self.shared)(address) {
            None
        } else {
            match bind(address, protocol) {
                Ok(socket) => Some(socket),
                Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL) if self.both && address.is_ipv6() => return Ok(None),
                Err(Errno::EADDRNOTAVAIL | Errno::EAFNOSUPPORT) => {
                    return Err(NetworkError::NoSuchAddress { address: address.ip() });
                }
                Err(Errno::EADDRINUSE) => {
                    let holder = UNKNOWN.to_owned();
                    return Err(NetworkError::PortTaken { address, protocol, holder, free: None });
                }
                Err(errno) => {
                    let subject = format!("{protocol} port {address}");
                    return Err(NetworkError::Os(OsError { call: "bind", subject, errno }));
                }
            }
        };
        let published = match (&socket, address.port()) {
            (Some(socket), 0) => bound_port(socket)?,
            (_, port) => port,
        };
        let port = PublishedPort { host_ip: address.ip(), published, target: self.mapping.target, protocol };
        Ok(Some(Held { port, target: (behind, self.mapping.target).into(), socket }))
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

fn bound_port(socket: &OwnedFd) -> Result<u16, OsError> {
    let address: SockaddrStorage = socket::getsockname(socket.as_raw_fd()).or_os("getsockname", "")?;
    let port = address.as_sockaddr_in().map(|address| address.port());
    Ok(port.or_else(|| address.as_sockaddr_in6().map(|address| address.port())).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(address: &str, published: Option<(u16, u16)>, protocol: Protocol) -> PortMapping {
        PortMapping { host_ip: Some(address.parse().unwrap()), published, target: 80, protocol }
    }

    fn take(mapping: &PortMapping, former: Option<u16>, purpose: &str) -> Result<Vec<Held>, NetworkError> {
        let target = Target { ipv4: Some(Ipv4Addr::new(172, 18, 0, 2)), ipv6: None };
        hold(mapping, target, Preference { former, purpose, address: None }, &|_| false)
            .map_err(|error| explain(error, mapping))
    }

    #[test]
    fn a_held_port_looks_taken_and_its_holder_is_named_with_a_free_one() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let held = take(&mapping("127.0.0.1", None, protocol), None, "").unwrap();
            let port = held[0].port.published;
            let error = take(&mapping("127.0.0.1", Some((port, port)), protocol), None, "").unwrap_err();
            let NetworkError::PortTaken { address, holder, free, .. } = &error else { panic!("{error}") };
            assert_eq!(*address, SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
            assert!(holder.contains(&format!("(pid {})", std::process::id())), "{holder}");
            assert!(free.is_some_and(|free| free > port), "{error}");
        }
    }

    #[test]
    fn of_a_range_the_first_free_port_is_taken_and_a_chosen_one_is_kept() {
        let busy = take(&mapping("127.0.0.1", None, Protocol::Tcp), None, "").unwrap();
        let first = busy[0].port.published;
        let range = mapping("127.0.0.1", Some((first, first.saturating_add(50))), Protocol::Tcp);
        let held = take(&range, None, "").unwrap();
        let second = held[0].port.published;
        assert!(second > first);
        drop((busy, held));
        assert_eq!(take(&range, Some(second), "").unwrap()[0].port.published, second);
        let random = mapping("127.0.0.1", None, Protocol::Tcp);
        assert_eq!(take(&random, Some(first), "").unwrap()[0].port.published, first);
    }

    #[test]
    fn a_random_port_is_the_same_for_the_same_purpose_while_it_is_free() {
        let random = mapping("127.0.0.1", None, Protocol::Tcp);
        let mine = format!("test {}", std::process::id());
        let port = |held: &[Held]| held[0].port.published;
        let first = take(&random, None, &mine).unwrap();
        let wished = port(&first);
        let second = take(&random, None, &mine).unwrap();
        assert_ne!(port(&second), wished, "it is taken now");
        drop(first);
        assert_eq!(port(&take(&random, None, &mine).unwrap()), wished);
    }

    #[test]
    fn an_address_that_the_machine_lacks_is_named() {
        let error = take(&mapping("192.0.2.77", None, Protocol::Tcp), None, "").unwrap_err();
        assert_eq!(error.to_string(), "cannot publish on 192.0.2.77: no interface of this machine has that address");
    }
}
