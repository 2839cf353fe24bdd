//! Connection tracking of datagrams: forgetting flows that lead to where nobody is any more.
//!
//! The kernel looks at redirections only for the first datagram of a flow. A caller that goes on calling would be led to
//! the container that was there once, or to nobody if it began before there was one, for as long as it calls.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use netlink_bindings::conntrack::{self, IterableTupleAttrs, Nfgenmsg};
use netlink_bindings::traits::{NetlinkRequest, Protocol};
use netlink_socket2::{NetlinkSocket, ReplyError};
use nix::errno::Errno;

use crate::runtime::sys::OsError;

/// Forgets flows to this port of the machine that no redirection applied to.
pub fn forget_unanswered(front: SocketAddr) -> Result<(), OsError> {
    forget(front.is_ipv4(), |flow| {
        flow.asked == flow.answering
            && flow.asked.port() == front.port()
            && (flow.asked.ip() == front.ip() || (front.ip().is_unspecified() && is_ours(flow.asked.ip())))
    })
}

/// Forgets flows that are redirected to this container's port.
pub fn forget_led_to(target: SocketAddr) -> Result<(), OsError> {
    forget(target.is_ipv4(), |flow| flow.answering == target && flow.asked != target)
}

/// Whether it is an address of the machine.
fn is_ours(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

struct Flow {
    /// Where it went.
    asked: SocketAddr,
    /// Where its answers come from.
    answering: SocketAddr,
}

fn forget(ipv4: bool, which: impl Fn(&Flow) -> bool) -> Result<(), OsError> {
    let family = if ipv4 { libc::AF_INET } else { libc::AF_INET6 } as u8;
    let header = Nfgenmsg { nfgen_family: family, ..Default::default() };
    let mut socket = NetlinkSocket::new();
    let mut doomed = Vec::new();
    {
        let request = conntrack::Request::new().op_get_dump(&header);
        let mut answers = socket.request(&request).map_err(|error| failed(error.into()))?;
        while let Some((_, entry)) = answers.recv().transpose().map_err(failed)? {
            let (Ok(original), Ok(reply)) = (entry.get_tuple_orig(), entry.get_tuple_reply()) else { continue };
            if let (Some(asked), Some(answering)) = (end(&original, End::To), end(&reply, End::From))
                && which(&Flow { asked, answering })
            {
                doomed.push(Delete::new(&header, original.get_buf()));
            }
        }
    }
    for delete in doomed {
        let deleted = socket.request(&delete).map_err(Into::into).and_then(|mut answer| answer.recv_ack());
        match deleted.map_err(failed) {
            // It ended by itself.
            Err(error) if error.errno == Errno::ENOENT => {}
            other => other?,
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum End {
    From,
    To,
}

/// One end of a flow of datagrams; `None` for any other.
fn end(tuple: &IterableTupleAttrs<'_>, end: End) -> Option<SocketAddr> {
    let protocol = tuple.get_tuple_proto().ok()?;
    if i32::from(protocol.get_proto_num().ok()?) != libc::IPPROTO_UDP {
        return None;
    }
    let address = tuple.get_tuple_ip().ok()?;
    let (ip, port) = match end {
        End::From => (
            address.get_ip_v4_src().map(IpAddr::from).or_else(|_| address.get_ip_v6_src().map(IpAddr::from)),
            protocol.get_proto_src_port(),
        ),
        End::To => (
            address.get_ip_v4_dst().map(IpAddr::from).or_else(|_| address.get_ip_v6_dst().map(IpAddr::from)),
            protocol.get_proto_dst_port(),
        ),
    };
    Some(SocketAddr::new(ip.ok()?, port.ok()?))
}

/// `IPCTNL_MSG_CT_DELETE` of one flow; the crate knows only reading.
struct Delete(Vec<u8>);

impl Delete {
    fn new(header: &Nfgenmsg, original: &[u8]) -> Delete {
        let mut bytes = header.as_slice().to_vec();
        // CTA_TUPLE_ORIG, nested
        bytes.extend(u16::try_from(original.len() + 4).unwrap_or(u16::MAX).to_ne_bytes());
        bytes.extend(0x8001_u16.to_ne_bytes());
        bytes.extend(original);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        Delete(bytes)
    }
}

impl NetlinkRequest for Delete {
    fn protocol(&self) -> Protocol {
        // NETLINK_NETFILTER; NFNL_SUBSYS_CTNETLINK and the message's number.
        Protocol::Raw { protonum: 12, request_type: 0x102 }
    }

    fn flags(&self) -> u16 {
        0
    }

    fn payload(&self) -> &[u8] {
        &self.0
    }

    type ReplyType<'buf> = &'buf [u8];

    fn decode_reply(buf: &[u8]) -> &[u8] {
        buf
    }
}

fn failed(error: ReplyError) -> OsError {
    let errno = io::Error::from(error).raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
    OsError { call: "change connection tracking", subject: "datagrams".to_owned(), errno }
}
