//! One container's sockets: takes questions, gives answers, within bounds that keep a container from taking our files and
//! our time.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::dns::answer::{self, Arrived, Question};
use crate::dns::forward::Outcome;
use crate::dns::log::{Asked, Said};
use crate::dns::{Asker, Shared, Transport, wire};

/// A silent TCP connection is closed after this long.
const TCP_PATIENCE: Duration = Duration::from_secs(10);
/// TCP connections of one container at one time; more wait in the kernel's queue.
const CONNECTIONS: usize = 64;
/// Datagrams of one container that wait for other servers; more are answered by SERVFAIL.
const FORWARDED: usize = 64;
/// The largest question.
const LARGEST_QUESTION: usize = 4096;
/// Until a socket that failed (no more files, most likely) is tried again.
const BREATH: Duration = Duration::from_millis(50);

/// Answers one container.
pub(super) struct Handler {
    pub(super) asker: Asker,
    pub(super) shared: Arc<Shared>,
    /// Counts answers, so that several addresses come in another order each time.
    pub(super) turn: AtomicUsize,
}

/// What to do about what arrived.
enum Reply {
    Bytes(Vec<u8>),
    /// These others have to be asked.
    Later(Box<Question>, Vec<IpAddr>),
    Silence,
}

impl Handler {
    /// Answers what can be answered here.
    fn now(&self, bytes: &[u8], transport: Transport) -> Reply {
        let question = match answer::read(bytes, transport) {
            Arrived::Question(question) => question,
            Arrived::Fault(answer) => return Reply::Bytes(answer),
            Arrived::Noise => return Reply::Silence,
        };
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        if let Some((answer, said)) = question.ours(&self.asker, &self.shared.source.names(), turn) {
            self.note(&question, said, Duration::ZERO);
            return Reply::Bytes(answer);
        }
        let servers = self.shared.servers(&self.asker);
        if servers.is_empty() || self.shared.source.is_at_rest(&self.asker, &question.name) {
            self.note(&question, Said::NoSuchName, Duration::ZERO);
            return Reply::Bytes(question.code(ResponseCode::NXDomain));
        }
        Reply::Later(question, servers)
    }

    /// Has others answer.
    async fn later(&self, bytes: &[u8], question: &Question, servers: &[IpAddr], transport: Transport) -> Vec<u8> {
        let begun = Instant::now();
        let outcome = self.shared.upstream.ask(servers, bytes, transport).await;
        let (answer, said) = match outcome {
            Outcome::Answer(answer, by) if wire::is_truncated(&answer) => (answer, Said::TooLong { by }),
            Outcome::Answer(answer, by) => {
                let said = Said::Theirs { code: wire::code(&answer), answers: wire::answers(&answer), by: Some(by) };
                (answer, said)
            }
            Outcome::Kept(answer) => {
                let said = Said::Theirs { code: wire::code(&answer), answers: wire::answers(&answer), by: None };
                (answer, said)
            }
            Outcome::None => (question.code(ResponseCode::ServFail), Said::NoAnswer),
        };
        self.note(question, said, begun.elapsed());
        wire::fit(answer, question.limit.into())
    }

    fn note(&self, question: &Question, said: Said, took: Duration) {
        let (asker, name, kind) = (&self.asker.container, &question.name, question.kind);
        self.shared.log.note(|time| Asked {
            time,
            asker: asker.clone(),
            name: name.clone(),
            kind: kind.to_string(),
            said,
            took,
        });
    }
}

/// Answers datagrams for ever.
pub(super) async fn datagrams(socket: UdpSocket, handler: Arc<Handler>) {
    let socket = Arc::new(socket);
    let mut forwarded = JoinSet::new();
    let mut buffer = vec![0; LARGEST_QUESTION];
    loop {
        let (length, asker) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "cannot receive");
                sleep(BREATH).await;
                continue;
            }
        };
        let bytes = buffer.get(..length).unwrap_or_default();
        let answer = match handler.now(bytes, Transport::Udp) {
            Reply::Bytes(answer) => answer,
            Reply::Silence => continue,
            Reply::Later(question, servers) => {
                while forwarded.try_join_next().is_some() {}
                if forwarded.len() < FORWARDED {
                    let (socket, handler, bytes) = (Arc::clone(&socket), Arc::clone(&handler), bytes.to_vec());
                    forwarded.spawn(async move {
                        let answer = handler.later(&bytes, &question, &servers, Transport::Udp).await;
                        // An asker that does not read loses its answer, as on any network.
                        let _ = socket.send_to(&answer, asker).await;
                    });
                    continue;
                }
                handler.note(&question, Said::NoAnswer, Duration::ZERO);
                question.code(ResponseCode::ServFail)
            }
        };
        let _ = socket.try_send_to(&answer, asker);
    }
}

/// Answers connections for ever.
pub(super) async fn connections(listener: TcpListener, handler: Arc<Handler>) {
    let mut open = JoinSet::new();
    loop {
        if open.len() >= CONNECTIONS {
            open.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                let handler = Arc::clone(&handler);
                open.spawn(async move {
                    if let Err(error) = connection(stream, &handler).await {
                        tracing::debug!(%error, "connection ended");
                    }
                });
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept");
                sleep(BREATH).await;
            }
        }
        while open.try_join_next().is_some() {}
    }
}

/// One question after the other, until its other end closes it or is silent for too long.
async fn connection(mut stream: TcpStream, handler: &Handler) -> io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        let received = timeout(TCP_PATIENCE, async {
            let length = stream.read_u16().await?;
            bytes.resize(usize::from(length), 0);
            stream.read_exact(&mut bytes).await
        });
        received.await??;
        let answer = match handler.now(&bytes, Transport::Tcp) {
            Reply::Bytes(answer) => answer,
            Reply::Silence => continue,
            Reply::Later(question, servers) => handler.later(&bytes, &question, &servers, Transport::Tcp).await,
        };
        let length = u16::try_from(answer.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        let framed = [&length.to_be_bytes(), answer.as_slice()].concat();
        timeout(TCP_PATIENCE, stream.write_all(&framed)).await??;
    }
}
