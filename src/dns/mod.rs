//! The resolver that every container has at 127.0.0.11.
//!
//! One [`Resolver`] a supervisor. It serves each container on sockets made in the container's network namespace, so who
//! asks is known by the socket. Names come as snapshots swapped whole ([`Resolver::swap`]). What is not one of our names
//! goes to the container's upstream servers, or does not exist where it has none.
//!
//! Absent on purpose: wildcards, search lists (the container's own resolver does those), and `tasks.` names.

pub mod forward;
pub mod names;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hickory_proto::op::{Edns, Header, HeaderCounts, Message, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;

use forward::Transport;
use names::{Family, Names};

/// How long an answer may be kept, in seconds. Docker says 600; a name here is false the moment its container stops.
const TTL: u32 = 0;
/// What we say we can take, and send at most, in one datagram (DNS flag day 2020 says 1232; nothing here crosses a real link).
const LARGEST_DATAGRAM: u16 = 4096;
/// A silent TCP connection is closed after this long.
const TCP_PATIENCE: Duration = Duration::from_secs(10);
/// Answers waiting to be written on one TCP connection.
const TCP_QUEUE: usize = 16;

/// A container's resolver sockets, made in its network namespace: one for UDP, one listening for TCP.
#[derive(Debug)]
pub struct Sockets {
    /// Datagrams.
    pub udp: OwnedFd,
    /// Listening.
    pub tcp: OwnedFd,
}

impl Sockets {
    /// Further descriptors of the same sockets, to be kept by somebody else.
    pub fn try_clone(&self) -> io::Result<Sockets> {
        Ok(Sockets { udp: self.udp.try_clone()?, tcp: self.tcp.try_clone()? })
    }
}

/// Who asks on a container's sockets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asker {
    /// Identities of the networks it is on.
    pub networks: Vec<String>,
    /// Names for this container alone: alias to container names.
    pub links: BTreeMap<String, Vec<String>>,
    /// Who is asked for names that are not ours; empty: nobody, as on internal networks.
    pub upstreams: Vec<IpAddr>,
}

/// Serves the resolvers of a project's containers. Its methods need a tokio runtime.
#[derive(Default)]
pub struct Resolver {
    names: Shared,
    containers: BTreeMap<String, Server<Handler>>,
}

/// The present snapshot; replaced whole, read by a clone of the pointer.
type Shared = Arc<RwLock<Arc<Names>>>;

impl Resolver {
    /// Serves nobody and knows no names.
    pub fn new() -> Resolver {
        Resolver::default()
    }

    /// Starts to serve a container; replaces its former sockets.
    pub fn serve(&mut self, container: &str, asker: Asker, sockets: Sockets) -> io::Result<()> {
        let udp = UdpSocket::from(sockets.udp);
        udp.set_nonblocking(true)?;
        let tcp = TcpListener::from(sockets.tcp);
        tcp.set_nonblocking(true)?;
        let handler = Handler { asker, names: Arc::clone(&self.names), turn: AtomicUsize::new(0) };
        let mut server = Server::new(handler);
        server.register_socket(tokio::net::UdpSocket::from_std(udp)?);
        server.register_listener(tokio::net::TcpListener::from_std(tcp)?, TCP_PATIENCE, TCP_QUEUE);
        self.containers.insert(container.to_owned(), server);
        Ok(())
    }

    /// Ends serving a container and closes its sockets.
    pub fn stop(&mut self, container: &str) {
        // Dropping a server ends its tasks, and with them its sockets.
        self.containers.remove(container);
    }

    /// What resolves from now on.
    pub fn swap(&self, names: Names) {
        *self.names.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(names);
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_set().entries(self.containers.keys()).finish()
    }
}

/// Answers one container.
struct Handler {
    asker: Asker,
    names: Shared,
    /// Counts answers, so that several addresses come in another order each time.
    turn: AtomicUsize,
}

/// What to say, apart from the form of a response.
enum Answer {
    /// One of ours: these records, or none of this type.
    Ours(Vec<Record>),
    /// Somebody else's.
    Theirs(Box<Message>),
    /// Nothing but a code.
    Code(ResponseCode),
}

impl Handler {
    async fn answer(&self, request: &Request) -> Answer {
        if request.metadata.op_code != OpCode::Query {
            return Answer::Code(ResponseCode::NotImp);
        }
        let Ok(asked) = request.request_info() else { return Answer::Code(ResponseCode::FormErr) };
        let query = asked.query.original();
        if query.query_class() == DNSClass::IN
            && let Some(records) = self.ours(query.name(), query.query_type())
        {
            return Answer::Ours(records);
        }
        if self.asker.upstreams.is_empty() {
            return Answer::Code(ResponseCode::NXDomain);
        }
        let transport = if request.protocol() == Protocol::Udp { Transport::Udp } else { Transport::Tcp };
        match forward::ask(&self.asker.upstreams, request.as_slice(), transport).await {
            Some(answer) => Answer::Theirs(Box::new(answer)),
            None => Answer::Code(ResponseCode::ServFail),
        }
    }

    /// The records of a name that exists among ours; an empty list if it has none of this type.
    fn ours(&self, name: &Name, kind: RecordType) -> Option<Vec<Record>> {
        let text = name.to_ascii().to_ascii_lowercase();
        let text = text.strip_suffix('.').unwrap_or(&text);
        let names = Arc::clone(&self.names.read().unwrap_or_else(PoisonError::into_inner));
        if kind == RecordType::PTR
            && let Some(address) = names::reversed_address(text)
        {
            let target = Name::from_ascii(names.reverse(&self.asker, address)? + ".").ok()?;
            return Some(vec![Record::from_rdata(name.clone(), TTL, RData::PTR(PTR(target)))]);
        }
        let family = if kind == RecordType::AAAA { Family::V6 } else { Family::V4 };
        let mut addresses = names.lookup(&self.asker, text, family)?;
        if !matches!(kind, RecordType::A | RecordType::AAAA) {
            // Mail, services and the like: the name exists, and has none of them.
            return Some(Vec::new());
        }
        if !addresses.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % addresses.len();
            addresses.rotate_left(turn);
        }
        let record = |address| match address {
            IpAddr::V4(address) => Record::from_rdata(name.clone(), TTL, RData::A(A(address))),
            IpAddr::V6(address) => Record::from_rdata(name.clone(), TTL, RData::AAAA(AAAA(address))),
        };
        Some(addresses.into_iter().map(record).collect())
    }
}

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut out: R) -> ResponseInfo {
        let answer = self.answer(request).await;
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.recursion_available = true;
        let edns = request.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            edns.set_max_payload(asked.max_payload().clamp(512, LARGEST_DATAGRAM));
            edns.set_dnssec_ok(asked.flags().dnssec_ok);
            edns
        });
        let mut response = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = &edns {
            response.edns(edns);
        }
        let sent = match &answer {
            Answer::Ours(records) => {
                metadata.authoritative = true;
                out.send_response(response.build(metadata, records, [], [], [])).await
            }
            Answer::Theirs(theirs) => {
                metadata.response_code = theirs.metadata.response_code;
                metadata.truncation = theirs.metadata.truncation;
                metadata.authentic_data = theirs.metadata.authentic_data;
                let response = response.build(metadata, &theirs.answers, &theirs.authorities, [], &theirs.additionals);
                out.send_response(response).await
            }
            Answer::Code(code) => {
                metadata.response_code = *code;
                out.send_response(response.build_no_records(metadata)).await
            }
        };
        sent.unwrap_or_else(|error| {
            // The asker has gone; there is nobody else to tell.
            tracing::debug!(%error, "answer not sent");
            metadata.response_code = ResponseCode::ServFail;
            ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() })
        })
    }
}
