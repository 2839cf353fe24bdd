//! Questions that are not about our names: passed to the upstream servers, one after the other.
//!
//! Each question goes out on a socket of its own, so on a random port, with a random id; only an answer from the asked
//! server with that id and that question is believed (RFC 5452). A question that came by UDP is passed on by UDP, and a
//! truncated answer handed back as it is: the asker comes again by TCP, and then so do we. A server that is late is waited
//! for while the next one is asked, since many an answer takes its time; and it is asked last for a while, so that one dead
//! server of several costs one question its time, not every one.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::dns::cache::Cache;
use crate::dns::wire;

/// How a question came, and so how it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// In datagrams.
    Udp,
    /// On a connection.
    Tcp,
}

/// After this long the next server is asked, too, and a datagram that may be lost is sent again.
const PATIENCE: Duration = Duration::from_millis(1500);
/// All servers together, so that SERVFAIL comes before the asker gives up by itself: resolv.conf(5) waits 5 s.
const PATIENCE_IN_ALL: Duration = Duration::from_millis(4500);
/// For so long a server that was late is asked last.
const AVOIDED: Duration = Duration::from_secs(30);
/// Questions under way at one time, of all containers together; each has a file.
const UNDER_WAY: usize = 256;
/// The largest datagram there is.
const LARGEST_DATAGRAM: usize = 65_535;
/// Where DNS servers listen.
const PORT: u16 = 53;

/// Asks other servers, and remembers what they said.
#[derive(Debug)]
pub(super) struct Upstream {
    cache: Mutex<Cache>,
    /// Until when they are asked last.
    avoided: Mutex<HashMap<IpAddr, Instant>>,
    permits: Semaphore,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// An answer, byte by byte, and who gave it.
    Answer(Vec<u8>, IpAddr),
    /// One that was kept.
    Kept(Vec<u8>),
    /// Nobody answered in time, or too many questions are under way.
    None,
}

impl Upstream {
    pub(super) fn new() -> Upstream {
        Upstream { cache: Mutex::default(), avoided: Mutex::default(), permits: Semaphore::new(UNDER_WAY) }
    }

    /// Asks the servers in turn until one answers with anything but SERVFAIL or REFUSED.
    pub(super) async fn ask(&self, servers: &[IpAddr], question: &[u8], transport: Transport) -> Outcome {
        if let Some(answer) = lock(&self.cache).find(servers, question, std::time::Instant::now()) {
            return Outcome::Kept(answer);
        }
        let Ok(_permit) = self.permits.try_acquire() else { return Outcome::None };
        let end = Instant::now() + PATIENCE_IN_ALL;
        let mut turns = self.in_order(servers).into_iter().peekable();
        let (mut under_way, mut silent) = (JoinSet::new(), Vec::new());
        let mut refusal = Outcome::None;
        while let Some(server) = turns.next() {
            // One that was late lately is not waited for that long again, however few there are.
            let only_hope = turns.peek().is_none() && !lock(&self.avoided).contains_key(&server);
            let turn = end.min(Instant::now() + PATIENCE);
            let message = question.to_vec();
            under_way.spawn(async move { (server, ask_one((server, PORT).into(), &message, transport).await) });
            silent.push(server);
            // Until the next one's turn comes, or, behind the last one, until there is no hope.
            while silent.contains(&server) || turns.peek().is_none() {
                let until = if only_hope && refusal == Outcome::None { end } else { turn };
                match timeout_at(until, under_way.join_next()).await {
                    Ok(Some(Ok((by, answer)))) => {
                        silent.retain(|server| *server != by);
                        match answer {
                            Ok(answer) if is_lost_cause(&answer) => refusal = Outcome::Answer(answer, by),
                            Ok(answer) => {
                                lock(&self.avoided).remove(&by);
                                lock(&self.cache).keep(servers, question, &answer, std::time::Instant::now());
                                return Outcome::Answer(answer, by);
                            }
                            Err(error) => tracing::debug!(server = %by, %error, "upstream failed"),
                        }
                    }
                    Ok(Some(Err(error))) => tracing::debug!(%error, "upstream failed"),
                    Ok(None) => break,
                    Err(_) => {
                        tracing::debug!(?silent, "upstream is late");
                        let avoid = |server: &IpAddr| (*server, Instant::now() + AVOIDED);
                        lock(&self.avoided).extend(silent.iter().map(avoid));
                        break;
                    }
                }
            }
        }
        refusal
    }

    /// As they are given, but those that were late a while ago at the end.
    fn in_order(&self, servers: &[IpAddr]) -> Vec<IpAddr> {
        let mut avoided = lock(&self.avoided);
        let now = Instant::now();
        avoided.retain(|_, until| now < *until);
        let (late, good): (Vec<IpAddr>, Vec<IpAddr>) = servers.iter().partition(|server| avoided.contains_key(server));
        good.into_iter().chain(late).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What it guards is whole at any moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What another server may know better: SERVFAIL, NOTIMP, REFUSED.
fn is_lost_cause(answer: &[u8]) -> bool {
    matches!(wire::code(answer), 2 | 4 | 5)
}

async fn ask_one(server: SocketAddr, question: &[u8], transport: Transport) -> io::Result<Vec<u8>> {
    match transport {
        Transport::Udp => by_udp(server, question).await,
        Transport::Tcp => by_tcp(server, question).await,
    }
}

async fn by_udp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    let sent = with_new_id(question);
    let mut buffer = vec![0; LARGEST_DATAGRAM];
    loop {
        socket.send(&sent).await?;
        let again = Instant::now() + PATIENCE;
        while let Ok(received) = timeout_at(again, socket.recv(&mut buffer)).await {
            if let Some(answer) = buffer.get(..received?).and_then(|bytes| believed(bytes, &sent, question)) {
                return Ok(answer);
            }
            // Not ours: somebody guesses. Wait on for the true one.
        }
    }
}

async fn by_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let sent = with_new_id(question);
    let length = u16::try_from(sent.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes(), sent.as_slice()].concat()).await?;
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await?;
    believed(&bytes, &sent, question)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an answer to the question"))
}

/// The question under an id that nobody can guess.
fn with_new_id(question: &[u8]) -> Vec<u8> {
    let mut sent = question.to_vec();
    // A hasher's keys come from the kernel's random source.
    wire::set_id(&mut sent, (RandomState::new().build_hasher().finish() & 0xffff) as u16);
    sent
}

/// The message under the asker's id, if it answers exactly what was sent.
fn believed(bytes: &[u8], sent: &[u8], question: &[u8]) -> Option<Vec<u8>> {
    let ours = wire::is_answer(bytes) && wire::id(bytes) == wire::id(sent) && wire::same_question(bytes, sent);
    let mut answer = ours.then(|| bytes.to_vec())?;
    wire::set_id(&mut answer, wire::id(question)?);
    Some(answer)
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, MessageType, OpCode, Query};
    use hickory_proto::rr::{Name, RecordType};

    use super::*;

    fn question(name: &str, id: u16) -> Message {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        message
    }

    #[test]
    fn an_answer_with_another_id_or_question_is_not_believed() {
        let asked = question("a.example.", 1).to_vec().unwrap();
        let sent = question("a.example.", 7).to_vec().unwrap();
        let answer = |name, id| question(name, id).into_response().to_vec().unwrap();
        let believed = |bytes: &[u8]| believed(bytes, &sent, &asked);
        assert_eq!(believed(&answer("A.example.", 7)).and_then(|answer| wire::id(&answer)), Some(1));
        assert!(believed(&answer("a.example.", 8)).is_none());
        assert!(believed(&answer("b.example.", 7)).is_none());
        assert!(believed(&sent).is_none(), "a question is no answer");
        assert!(believed(b"").is_none());
    }

    #[test]
    fn a_server_that_was_late_is_asked_last() {
        let upstream = Upstream::new();
        let [one, two] = [1, 2].map(|host| IpAddr::from([192, 0, 2, host]));
        lock(&upstream.avoided).insert(one, Instant::now() + AVOIDED);
        assert_eq!(upstream.in_order(&[one, two]), [two, one]);
        lock(&upstream.avoided).insert(one, Instant::now());
        assert_eq!(upstream.in_order(&[one, two]), [one, two]);
    }
}
