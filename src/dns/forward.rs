//! Questions that are not about our names: passed to the upstream servers, one after the other.
//!
//! Each question goes out on a socket of its own, so on a random port, with a random id; only an answer from the asked
//! server with that id and that question is believed (RFC 5452). A question that came by UDP is passed on by UDP, and a
//! truncated answer handed back as it is: the asker comes again by TCP, and then so do we.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

/// How a question came, and so how it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// In datagrams.
    Udp,
    /// On a connection.
    Tcp,
}

/// One server may take this long; then the next is asked. resolv.conf(5) waits 5 s in all before a stub asks again.
const PATIENCE: Duration = Duration::from_millis(1500);
/// All servers together, so that SERVFAIL comes before the asker gives up by itself.
const PATIENCE_IN_ALL: Duration = Duration::from_millis(4500);
/// The largest datagram that an answer can come in.
const LARGEST_DATAGRAM: usize = 4096;
/// Where DNS servers listen.
const PORT: u16 = 53;

/// Asks the servers in turn until one answers with anything but SERVFAIL or REFUSED; `None` if none does in time.
pub(crate) async fn ask(servers: &[IpAddr], question: &[u8], transport: Transport) -> Option<Message> {
    let end = Instant::now() + PATIENCE_IN_ALL;
    let mut refusal = None;
    for server in servers {
        let server = SocketAddr::new(*server, PORT);
        let deadline = end.min(Instant::now() + PATIENCE);
        let answer = match transport {
            Transport::Udp => timeout_at(deadline, by_udp(server, question)).await,
            Transport::Tcp => timeout_at(deadline, by_tcp(server, question)).await,
        };
        match answer {
            Ok(Ok(answer)) if lost_cause(answer.metadata.response_code) => refusal = Some(answer),
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => tracing::debug!(%server, %error, "upstream failed"),
            Err(_) => tracing::debug!(%server, "upstream is late"),
        }
    }
    refusal
}

/// What another server may know better.
fn lost_cause(code: ResponseCode) -> bool {
    matches!(code, ResponseCode::ServFail | ResponseCode::Refused | ResponseCode::NotImp)
}

async fn by_udp(server: SocketAddr, question: &[u8]) -> io::Result<Message> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    let (sent, id) = with_new_id(question)?;
    socket.send(&sent).await?;
    let mut buffer = vec![0; LARGEST_DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(answer) = buffer.get(..length).and_then(|bytes| believed(bytes, id, &sent)) {
            return Ok(answer);
        }
        // Not ours: somebody guesses. Wait on for the true one.
    }
}

async fn by_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let (sent, id) = with_new_id(question)?;
    let length = u16::try_from(sent.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(&sent);
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await?;
    believed(&bytes, id, &sent)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an answer to the question"))
}

/// The question under an id that nobody can guess.
fn with_new_id(question: &[u8]) -> io::Result<(Vec<u8>, u16)> {
    // A hasher's keys come from the kernel's random source.
    let id = (RandomState::new().build_hasher().finish() & 0xffff) as u16;
    let mut sent = question.to_vec();
    sent.get_mut(..2).ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(&id.to_be_bytes());
    Ok((sent, id))
}

/// The message, if it answers exactly what was sent.
fn believed(bytes: &[u8], id: u16, sent: &[u8]) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    let asked = Message::from_vec(sent).ok()?;
    let same = answer.metadata.id == id
        && answer.metadata.message_type == hickory_proto::op::MessageType::Response
        && answer.queries.len() == asked.queries.len()
        && answer.queries.iter().zip(&asked.queries).all(|(answered, asked)| {
            answered.query_type() == asked.query_type()
                && answered.query_class() == asked.query_class()
                && answered.name().to_lowercase() == asked.name().to_lowercase()
        });
    same.then_some(answer)
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{MessageType, OpCode, Query};
    use hickory_proto::rr::{Name, RecordType};

    use super::*;

    fn question(name: &str, id: u16) -> Message {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        message
    }

    #[test]
    fn an_answer_with_another_id_or_question_is_not_believed() {
        let sent = question("a.example.", 7).to_vec().unwrap();
        let answer = |name, id| question(name, id).into_response().to_vec().unwrap();
        assert!(believed(&answer("A.example.", 7), 7, &sent).is_some());
        assert!(believed(&answer("a.example.", 8), 7, &sent).is_none());
        assert!(believed(&answer("b.example.", 7), 7, &sent).is_none());
        assert!(believed(&sent, 7, &sent).is_none(), "a question is no answer");
        assert!(believed(b"", 7, &sent).is_none());
    }

    #[test]
    fn a_question_too_short_for_an_id_is_not_sent() {
        assert!(with_new_id(b"a").is_err());
    }
}
