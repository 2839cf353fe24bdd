//! Links, addresses and routes: synchronous requests to the kernel's rtnetlink. The only user of its packet crates.
//!
//! A [`Socket`] speaks to the network namespace of the thread that opened it, wherever that thread goes later. Several
//! requests go in one message to the kernel: it carries them out in order and answers each.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags, SockFlag, SockProtocol, SockType};
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::link::{
    AfSpecInet, AfSpecUnspec, InetDevConf, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth,
    LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::runtime::sys::{OrOs, OsError};
use crate::values::cidr::Cidr;

/// Larger than any answer we ask for in one piece (the kernel fills at most 32 KiB when it dumps).
const ANSWER: usize = 64 * 1024;

/// A conversation with the rtnetlink of one network namespace.
#[derive(Debug)]
pub struct Socket {
    socket: OwnedFd,
    sequence: u32,
}

/// One thing for the kernel to do, and its name should that fail.
#[derive(Debug)]
pub struct Request {
    message: RouteNetlinkMessage,
    flags: u16,
    call: &'static str,
    subject: String,
}

/// A pair of interfaces: one end a port of a bridge here, the other in a container's namespace.
#[derive(Debug)]
pub struct Veth<'a> {
    /// Our end.
    pub name: &'a str,
    /// Index of the bridge.
    pub bridge: u32,
    /// Its end.
    pub peer: &'a str,
    /// Where it goes.
    pub netns: BorrowedFd<'a>,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Of both ends.
    pub mtu: Option<u32>,
}

/// An interface that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its number in this namespace.
    pub index: u32,
    /// Started.
    pub up: bool,
}

/// A route that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// To where.
    pub to: Cidr,
    /// By which interface; `None`: by several, or none.
    pub interface: Option<u32>,
}

/// Whether the ports of a bridge may reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peers {
    /// As usual.
    Reachable,
    /// Only the bridge itself is reached (`com.docker.network.bridge.enable_icc: "false"`).
    Isolated,
}

impl Request {
    fn new(message: RouteNetlinkMessage, flags: u16, call: &'static str, subject: impl Into<String>) -> Request {
        Request { message, flags: flags | NLM_F_REQUEST | NLM_F_ACK, call, subject: subject.into() }
    }

    fn link(name: &str) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        message
    }

    fn up(message: &mut LinkMessage) {
        message.header.flags |= LinkFlags::Up;
        message.header.change_mask |= LinkFlags::Up;
    }

    /// A new bridge, not started. Its hardware address is given, or it would change with every port.
    pub fn bridge(name: &str, mac: [u8; 6], mtu: Option<u32>) -> Request {
        let mut message = Request::link(name);
        message.attributes.push(LinkAttribute::Address(mac.to_vec()));
        message.attributes.extend(mtu.map(LinkAttribute::Mtu));
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
        let create = NLM_F_CREATE | NLM_F_EXCL;
        Request::new(RouteNetlinkMessage::NewLink(message), create, "create bridge", name)
    }

    /// Lets packets from and to 127.0.0.0/8 pass this interface: published ports on 127.0.0.1 are redirected through it.
    pub fn route_localnet(name: &str) -> Request {
        let mut message = Request::link(name);
        let mut settings = InetDevConf::default();
        settings.route_localnet = 1;
        message
            .attributes
            .push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![AfSpecInet::DevConfRequest(settings)])]));
        Request::new(RouteNetlinkMessage::SetLink(message), 0, "set route_localnet of", name)
    }

    /// A new pair, our end up and on the bridge. In one message: moving an interface to another namespace afterwards
    /// takes 17 ms, since it waits for the kernel's readers.
    pub fn veth(veth: &Veth<'_>) -> Request {
        let mut peer = Request::link(veth.peer);
        // Up is refused for the peer (ENOTCONN); it is set from inside.
        peer.attributes.push(LinkAttribute::NetNsFd(veth.netns.as_raw_fd()));
        peer.attributes.push(LinkAttribute::Address(veth.mac.to_vec()));
        peer.attributes.extend(veth.mtu.map(LinkAttribute::Mtu));
        let mut message = Request::link(veth.name);
        Request::up(&mut message);
        message.attributes.push(LinkAttribute::Controller(veth.bridge));
        message.attributes.extend(veth.mtu.map(LinkAttribute::Mtu));
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]));
        let create = NLM_F_CREATE | NLM_F_EXCL;
        Request::new(RouteNetlinkMessage::NewLink(message), create, "create interface", veth.peer)
    }

    /// How the bridge treats one of its ports. Hairpin always: where bridged packets pass the firewall
    /// (`bridge-nf-call-iptables`), a container that calls its own published port is answered through the port it came
    /// from.
    pub fn bridge_port(name: &str, peers: Peers) -> Request {
        let mut message = Request::link(name);
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![
                InfoBridgePort::HairpinMode(true),
                InfoBridgePort::Isolated(peers == Peers::Isolated),
            ])),
        ]));
        Request::new(RouteNetlinkMessage::NewLink(message), 0, "set bridge port", name)
    }

    /// Starts an interface.
    pub fn start(index: u32) -> Request {
        let mut message = LinkMessage::default();
        message.header.index = index;
        Request::up(&mut message);
        Request::new(RouteNetlinkMessage::SetLink(message), 0, "start interface", index.to_string())
    }

    /// Gives an interface an address; an IPv6 one may be used at once, without looking whether somebody has it.
    pub fn address(index: u32, address: IpAddr, prefix: u8) -> Request {
        let mut message = AddressMessage::default();
        message.header.family = family(address);
        message.header.prefix_len = prefix;
        message.header.index = index;
        match address {
            IpAddr::V4(_) => message.attributes.push(AddressAttribute::Local(address)),
            IpAddr::V6(_) => message.header.flags = AddressHeaderFlags::Nodad,
        }
        message.attributes.push(AddressAttribute::Address(address));
        if let IpAddr::V4(_) = address
            && let IpAddr::V4(last) = Cidr::new(address, prefix).last()
            && prefix < 31
        {
            message.attributes.push(AddressAttribute::Broadcast(last));
        }
        let create = NLM_F_CREATE | NLM_F_EXCL;
        Request::new(RouteNetlinkMessage::NewAddress(message), create, "add address", format!("{address}/{prefix}"))
    }

    /// Sends what has no better way to this gateway.
    pub fn default_route(index: u32, gateway: IpAddr) -> Request {
        let mut message = Request::route(gateway, RouteScope::Universe, index);
        message.attributes.push(RouteAttribute::Gateway(RouteAddress::from(gateway)));
        let create = NLM_F_CREATE | NLM_F_EXCL;
        Request::new(RouteNetlinkMessage::NewRoute(message), create, "add default route", gateway.to_string())
    }

    /// Finds these addresses on the link itself.
    pub fn link_route(index: u32, subnet: Cidr) -> Request {
        let mut message = Request::route(subnet.first(), RouteScope::Link, index);
        message.header.destination_prefix_length = subnet.prefix();
        message.attributes.push(RouteAttribute::Destination(RouteAddress::from(subnet.first())));
        let create = NLM_F_CREATE | NLM_F_EXCL;
        Request::new(RouteNetlinkMessage::NewRoute(message), create, "add route", subnet.to_string())
    }

    fn route(like: IpAddr, scope: RouteScope, index: u32) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = family(like);
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Boot;
        message.header.scope = scope;
        message.header.kind = RouteType::Unicast;
        message.attributes.push(RouteAttribute::Oif(index));
        message
    }

    /// Deletes an interface. For a bridge the kernel waits some 30 ms, whatever hangs on it.
    pub fn delete(name: &str) -> Request {
        Request::new(RouteNetlinkMessage::DelLink(Request::link(name)), 0, "delete interface", name)
    }
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

impl Socket {
    /// To the calling thread's network namespace.
    pub fn open() -> Result<Socket, OsError> {
        let family = socket::AddressFamily::Netlink;
        let socket = socket::socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)
            .or_os("socket", "rtnetlink")?;
        Ok(Socket { socket, sequence: 0 })
    }

    /// Has the kernel do all of it, in order. A failure does not keep the later ones from being tried; the first is
    /// returned.
    pub fn run(&mut self, requests: Vec<Request>) -> Result<(), OsError> {
        let first = self.sequence.wrapping_add(1);
        let mut buffer = Vec::new();
        let mut names = Vec::with_capacity(requests.len());
        for request in requests {
            self.encode(&mut buffer, request.message, request.flags);
            names.push((request.call, request.subject));
        }
        if names.is_empty() {
            return Ok(());
        }
        self.send(&buffer)?;
        let mut failed: Option<(usize, Errno)> = None;
        let mut open = names.len();
        while open > 0 {
            for answer in self.receive()? {
                let NetlinkPayload::Error(error) = answer.payload else { continue };
                let at = answer.header.sequence_number.wrapping_sub(first) as usize;
                if at >= names.len() {
                    continue;
                }
                open -= 1;
                if let Some(code) = error.code
                    && failed.is_none_or(|(before, _)| at < before)
                {
                    failed = Some((at, Errno::from_raw(-code.get())));
                }
            }
        }
        match failed.and_then(|(at, errno)| Some((names.into_iter().nth(at)?, errno))) {
            Some(((call, subject), errno)) => Err(OsError { call, subject, errno }),
            None => Ok(()),
        }
    }

    /// An interface's index; `None` if there is none of this name.
    pub fn index(&mut self, name: &str) -> Result<Option<u32>, OsError> {
        Ok(self.link(name)?.map(|link| link.index))
    }

    /// An interface; `None` if there is none of this name.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, OsError> {
        let mut buffer = Vec::new();
        self.encode(&mut buffer, RouteNetlinkMessage::GetLink(Request::link(name)), NLM_F_REQUEST);
        self.send(&buffer)?;
        let wanted = self.sequence;
        loop {
            for answer in self.receive()?.into_iter().filter(|answer| answer.header.sequence_number == wanted) {
                match answer.payload {
                    NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                        let up = link.header.flags.contains(LinkFlags::Up);
                        return Ok(Some(Link { index: link.header.index, up }));
                    }
                    NetlinkPayload::Error(error) => {
                        let errno = error.code.map_or(Errno::UnknownErrno, |code| Errno::from_raw(-code.get()));
                        return match errno {
                            Errno::ENODEV => Ok(None),
                            errno => Err(OsError { call: "find interface", subject: name.to_owned(), errno }),
                        };
                    }
                    _ => {}
                }
            }
        }
    }

    /// The machine's IPv4 and IPv6 routes, the default routes left out.
    pub fn routes(&mut self) -> Result<Vec<Route>, OsError> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            self.dump(RouteNetlinkMessage::GetRoute(message), |answer| {
                if let RouteNetlinkMessage::NewRoute(route) = answer
                    && route.header.kind == RouteType::Unicast
                    && let Some(to) = destination(&route)
                {
                    let interface = route.attributes.iter().find_map(|attribute| match attribute {
                        RouteAttribute::Oif(index) => Some(*index),
                        _ => None,
                    });
                    found.push(Route { to, interface });
                }
            })?;
        }
        Ok(found)
    }

    fn dump(&mut self, message: RouteNetlinkMessage, mut each: impl FnMut(RouteNetlinkMessage)) -> Result<(), OsError> {
        let mut buffer = Vec::new();
        self.encode(&mut buffer, message, NLM_F_REQUEST | NLM_F_DUMP);
        self.send(&buffer)?;
        let wanted = self.sequence;
        loop {
            for answer in self.receive()?.into_iter().filter(|answer| answer.header.sequence_number == wanted) {
                match answer.payload {
                    NetlinkPayload::InnerMessage(message) => each(message),
                    NetlinkPayload::Done(_) => return Ok(()),
                    NetlinkPayload::Error(error) => {
                        let errno = error.code.map_or(Errno::UnknownErrno, |code| Errno::from_raw(-code.get()));
                        return Err(OsError { call: "list", subject: "routes".to_owned(), errno });
                    }
                    _ => {}
                }
            }
        }
    }

    fn encode(&mut self, buffer: &mut Vec<u8>, message: RouteNetlinkMessage, flags: u16) {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let start = buffer.len();
        buffer.resize(start + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut buffer[start..]);
    }

    fn send(&self, buffer: &[u8]) -> Result<(), OsError> {
        loop {
            match socket::send(self.socket.as_raw_fd(), buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                sent => return sent.or_os("send", "rtnetlink").map(drop),
            }
        }
    }

    /// Everything in the next datagram that can be understood.
    fn receive(&self) -> Result<Vec<NetlinkMessage<RouteNetlinkMessage>>, OsError> {
        let mut buffer = vec![0; ANSWER];
        let length = loop {
            match socket::recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                received => break received.or_os("recv", "rtnetlink")?,
            }
        };
        let mut rest = buffer.get(..length).unwrap_or_default();
        let mut messages = Vec::new();
        while let Ok(header) = NetlinkBuffer::new_checked(rest) {
            let this = header.length() as usize;
            // A newer kernel may say things this crate can't read; they are not what was asked for.
            messages.extend(NetlinkMessage::deserialize(rest.get(..this).unwrap_or(rest)));
            rest = rest.get(this.next_multiple_of(4)..).unwrap_or_default();
            if this == 0 {
                break;
            }
        }
        Ok(messages)
    }
}

fn destination(route: &RouteMessage) -> Option<Cidr> {
    let address = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    })?;
    Some(Cidr::new(address, route.header.destination_prefix_length))
}
