//! The resolver's sockets in a container's network namespace, reached at 127.0.0.11:53 without being bound there.
//!
//! A container may run a name server of its own on `0.0.0.0:53`, which the kernel refuses while anybody listens on port 53
//! of any address. So ours listen on ports of the kernel's choice, and four rules of the namespace swap the port on the
//! way there and back. Nothing is tracked for it: the question is changed before connection tracking, the answer after it,
//! so that a firewall in the container sees one consistent connection.
//!
//! ```text
//! table ip xcompose-resolver {
//!   chain there { type filter hook output priority raw
//!                 ip daddr 127.0.0.11 udp dport 53 udp dport set UDP
//!                 ip daddr 127.0.0.11 tcp dport 53 tcp dport set TCP }
//!   chain back  { type filter hook output priority mangle
//!                 ip saddr 127.0.0.11 udp sport UDP udp sport set 53
//!                 ip saddr 127.0.0.11 tcp sport TCP tcp sport set 53 }
//! }
//! ```

use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use nix::sched::{CloneFlags, setns};

use netlink_bindings::nftables::{MetaKeys, PayloadBase};

use crate::dns::Sockets;
use crate::runtime::network::files::RESOLVER;
use crate::runtime::network::nft::{Expression, Family, Hook, Register, Socket};
use crate::runtime::sys::{OrOs, OsError};

const TABLE: &str = "xcompose-resolver";
/// Where a resolver is looked for.
const PORT: u16 = 53;

/// Makes sockets and rules in the calling thread's network namespace, which is new.
pub fn sockets() -> Result<Sockets, OsError> {
    make(Rules::None)
}

/// Makes them anew in the network namespace of a process, for sockets that died with whoever held them.
pub fn sockets_again(process: &OwnedFd) -> Result<Sockets, OsError> {
    // A thread of its own, since it stays where it goes.
    std::thread::scope(|scope| {
        let there = scope.spawn(|| {
            setns(process, CloneFlags::CLONE_NEWNET).or_os("setns", "network namespace")?;
            make(Rules::Stale)
        });
        there.join().unwrap_or_else(|_| Err(nix::errno::Errno::ECHILD).or_os("join", "a thread"))
    })
}

/// What a network namespace may have of our rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rules {
    None,
    /// They lead to sockets that are gone.
    Stale,
}

fn make(rules: Rules) -> Result<Sockets, OsError> {
    let udp = UdpSocket::bind((RESOLVER, 0)).or_os("bind", "udp 127.0.0.11")?;
    let tcp = TcpListener::bind((RESOLVER, 0)).or_os("bind", "tcp 127.0.0.11")?;
    let udp_port = udp.local_addr().or_os("getsockname", "udp 127.0.0.11")?.port();
    let tcp_port = tcp.local_addr().or_os("getsockname", "tcp 127.0.0.11")?.port();
    let mut socket = Socket::default();
    if rules == Rules::Stale && socket.has_table(Family::Ip, TABLE)? {
        socket.commit(Family::Ip, TABLE, |transaction| transaction.delete_table())?;
    }
    socket.commit(Family::Ip, TABLE, |transaction| {
        let output = libc::NF_INET_LOCAL_OUT as u32;
        let hook = |priority| Some(Hook { kind: "filter", number: output, priority });
        transaction.new_table();
        transaction.new_chain("there", hook(libc::NF_IP_PRI_RAW));
        transaction.append("there", &swap(Way::There, libc::IPPROTO_UDP, PORT, udp_port));
        transaction.append("there", &swap(Way::There, libc::IPPROTO_TCP, PORT, tcp_port));
        transaction.new_chain("back", hook(libc::NF_IP_PRI_MANGLE));
        transaction.append("back", &swap(Way::Back, libc::IPPROTO_UDP, udp_port, PORT));
        transaction.append("back", &swap(Way::Back, libc::IPPROTO_TCP, tcp_port, PORT));
    })?;
    Ok(Sockets { udp: udp.into(), tcp: tcp.into() })
}

#[derive(Clone, Copy)]
enum Way {
    There,
    Back,
}

fn swap(way: Way, protocol: i32, from: u16, to: u16) -> [Expression; 8] {
    let a = Register(0);
    // Of the address in the IP header, of the port in the transport header.
    let (address, port) = match way {
        Way::There => (16, 2),
        Way::Back => (12, 0),
    };
    let checksum = if protocol == libc::IPPROTO_TCP { 16 } else { 6 };
    [
        Expression::Payload(PayloadBase::NetworkHeader, address, 4, a),
        Expression::Equal(a, RESOLVER.octets().to_vec()),
        Expression::Meta(MetaKeys::L4Proto, a),
        Expression::Equal(a, vec![protocol as u8]),
        Expression::Payload(PayloadBase::TransportHeader, port, 2, a),
        Expression::Equal(a, from.to_be_bytes().to_vec()),
        Expression::Load(a, to.to_be_bytes().to_vec()),
        Expression::SetTransport { offset: port, checksum, from: a },
    ]
}
