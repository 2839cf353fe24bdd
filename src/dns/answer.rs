//! From the bytes of a question to the bytes of its answer, where nobody else has to be asked. Pure.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};

use crate::dns::log::Said;
use crate::dns::names::{self, Family, Names};
use crate::dns::{Asker, Transport};

/// How long an answer may be kept, in seconds. Docker says 600; a name here is false the moment its container stops.
const TTL: u32 = 0;
/// What we say we can take, and send at most, in one datagram (DNS flag day 2020 says 1232; nothing here crosses a real link).
const LARGEST_DATAGRAM: u16 = 4096;
/// The shortest record there is: a pointer to a name, then an IPv4 address.
const SHORTEST_RECORD: usize = 16;

/// A question that can be answered.
#[derive(Debug)]
pub(super) struct Question {
    message: Message,
    /// In lower case, without the final dot.
    pub(super) name: String,
    /// Which records are wanted.
    pub(super) kind: RecordType,
    /// The largest answer its asker takes.
    pub(super) limit: u16,
}

/// What arrived.
#[derive(Debug)]
pub(super) enum Arrived {
    /// Something to answer.
    Question(Box<Question>),
    /// Something that has only this answer.
    Fault(Vec<u8>),
    /// Nothing that should have an answer.
    Noise,
}

/// Reads what arrived.
pub(super) fn read(bytes: &[u8], transport: Transport) -> Arrived {
    // An answer must not be answered, or two servers could go on for ever.
    if bytes.len() < 12 || super::wire::is_answer(bytes) {
        return Arrived::Noise;
    }
    let Ok(message) = Message::from_vec(bytes) else {
        let id = super::wire::id(bytes).unwrap_or_default();
        let message = Message::error_msg(id, OpCode::Query, ResponseCode::FormErr);
        return encode(&message, u16::MAX).map_or(Arrived::Noise, Arrived::Fault);
    };
    let limit = match transport {
        Transport::Udp => message.max_payload().clamp(512, LARGEST_DATAGRAM),
        Transport::Tcp => u16::MAX,
    };
    let fault = match message.queries.as_slice() {
        _ if message.metadata.op_code != OpCode::Query => ResponseCode::NotImp,
        // RFC 6891 §6.1.3
        _ if message.version() > 0 => ResponseCode::BADVERS,
        [query] => {
            let text = query.name().to_ascii().to_ascii_lowercase();
            let name = text.strip_suffix('.').unwrap_or(&text).to_owned();
            let kind = query.query_type();
            return Arrived::Question(Box::new(Question { message, name, kind, limit }));
        }
        _ => ResponseCode::FormErr,
    };
    let question = Question { message, name: String::new(), kind: RecordType::ANY, limit };
    Arrived::Fault(question.code(fault))
}

impl Question {
    /// The answer, if the name is one of ours; an empty one if it has nothing of this type. `turn` says whose turn it is
    /// to stand first.
    pub(super) fn ours(&self, asker: &Asker, names: &Names, turn: usize) -> Option<(Vec<u8>, Said)> {
        let query = self.message.queries.first()?;
        if query.query_class() != DNSClass::IN {
            return None;
        }
        if self.kind == RecordType::PTR
            && let Some(address) = names::reversed_address(&self.name)
        {
            let target = names.reverse(asker, address)?;
            let data = RData::PTR(PTR(Name::from_ascii(format!("{target}.")).ok()?));
            let record = Record::from_rdata(query.name().clone(), TTL, data);
            return Some((self.records(vec![record]), Said::Name(target)));
        }
        let family = if self.kind == RecordType::AAAA { Family::V6 } else { Family::V4 };
        let mut addresses = names.lookup(asker, &self.name, family)?;
        if !matches!(self.kind, RecordType::A | RecordType::AAAA) {
            // Mail, services and the like: the name exists, and has none of them.
            addresses.clear();
        }
        if !addresses.is_empty() {
            let first = turn % addresses.len();
            addresses.rotate_left(first);
        }
        let record = |address: &IpAddr| match *address {
            IpAddr::V4(address) => Record::from_rdata(query.name().clone(), TTL, RData::A(A(address))),
            IpAddr::V6(address) => Record::from_rdata(query.name().clone(), TTL, RData::AAAA(AAAA(address))),
        };
        Some((self.records(addresses.iter().map(record).collect()), Said::Addresses(addresses)))
    }

    /// Nothing but a code.
    pub(super) fn code(&self, code: ResponseCode) -> Vec<u8> {
        let mut response = self.response();
        response.metadata.response_code = code;
        self.finish(response)
    }

    fn records(&self, records: Vec<Record>) -> Vec<u8> {
        let mut response = self.response();
        response.metadata.authoritative = true;
        response.insert_answers(records);
        self.finish(response)
    }

    fn response(&self) -> Message {
        let asked = &self.message.metadata;
        let mut response = Message::new(asked.id, MessageType::Response, asked.op_code);
        response.metadata.recursion_desired = asked.recursion_desired;
        response.metadata.checking_disabled = asked.checking_disabled;
        response.metadata.recursion_available = true;
        // One question fits any answer; of several, which are a fault, nobody can say so.
        if self.message.queries.len() == 1 {
            response.queries.clone_from(&self.message.queries);
        }
        if let Some(asked) = &self.message.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(LARGEST_DATAGRAM);
            edns.set_dnssec_ok(asked.flags().dnssec_ok);
            response.set_edns(edns);
        }
        response
    }

    /// In as many bytes as its asker takes: with as many records as fit, and the word that there are more.
    fn finish(&self, mut response: Message) -> Vec<u8> {
        let limit = usize::from(self.limit);
        let mut bytes = encode(&response, u16::MAX).unwrap_or_default();
        if bytes.len() > limit || bytes.is_empty() {
            let surplus = (bytes.len().saturating_sub(limit)).div_ceil(SHORTEST_RECORD);
            let kept = if bytes.is_empty() { 0 } else { response.answers.len().saturating_sub(surplus) };
            response.answers.truncate(kept);
            response.metadata.truncation = true;
            bytes = encode(&response, self.limit).unwrap_or_default();
        }
        bytes
    }
}

fn encode(message: &Message, limit: u16) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(512);
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(limit);
    message.emit(&mut encoder).ok()?;
    Some(bytes)
}
