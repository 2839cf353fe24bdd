//! Messages of other servers, read only as far as needed (RFC 1035 §4): they are passed on byte by byte, so that types
//! nobody here has heard of come through unharmed.

use std::time::Duration;

/// Of the header.
const HEADER: usize = 12;
/// The type of a start of authority.
const SOA: u16 = 6;
/// The pseudo-type of EDNS, whose time to live is none.
const OPT: u16 = 41;
const NXDOMAIN: u8 = 3;

/// The id.
pub fn id(message: &[u8]) -> Option<u16> {
    word(message, 0)
}

/// The same message under another id.
pub fn set_id(message: &mut [u8], id: u16) {
    if let Some(bytes) = message.get_mut(..2) {
        bytes.copy_from_slice(&id.to_be_bytes());
    }
}

/// Whether it is an answer.
pub fn is_answer(message: &[u8]) -> bool {
    message.get(2).is_some_and(|flags| flags & 0x80 != 0)
}

/// Whether a part is missing.
pub fn is_truncated(message: &[u8]) -> bool {
    message.get(2).is_some_and(|flags| flags & 0x02 != 0)
}

/// The response code, without what EDNS adds to it.
pub fn code(message: &[u8]) -> u8 {
    message.get(3).map_or(0, |flags| flags & 0x0f)
}

/// How many answers it has.
pub fn answers(message: &[u8]) -> u16 {
    word(message, 6).unwrap_or(0)
}

/// Whether two messages ask the same one question, whatever the case of its letters.
pub fn same_question(one: &[u8], other: &[u8]) -> bool {
    let (Some(one), Some(other)) = (question(one), question(other)) else { return false };
    let (Some((name, kind)), Some((other_name, other_kind))) =
        (one.split_last_chunk::<4>(), other.split_last_chunk::<4>())
    else {
        return false;
    };
    name.eq_ignore_ascii_case(other_name) && kind == other_kind
}

/// How long an answer may be kept (RFC 2181 §5.2, RFC 2308 §5); `None`: not at all.
pub fn lifetime(message: &[u8]) -> Option<Duration> {
    if is_truncated(message) || !matches!(code(message), 0 | NXDOMAIN) {
        return None;
    }
    let records = records(message)?;
    let positive = code(message) == 0 && answers(message) > 0;
    let kept = records.iter().filter(|record| record.kind != OPT);
    let seconds = if positive {
        kept.map(|record| record.ttl).min()
    } else {
        // A name that is not there is told by the zone, which says for how long that holds.
        kept.filter(|record| record.kind == SOA).map(|record| record.ttl.min(record.last_word)).min()
    };
    seconds.filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(seconds.into()))
}

/// Takes the time that a message was kept off its records' time to live.
pub fn age(message: &mut [u8], by: Duration) {
    let by = u32::try_from(by.as_secs()).unwrap_or(u32::MAX);
    for record in records(message).unwrap_or_default().into_iter().filter(|record| record.kind != OPT) {
        if let Some(bytes) = message.get_mut(record.at..record.at + 4) {
            bytes.copy_from_slice(&record.ttl.saturating_sub(by).to_be_bytes());
        }
    }
}

/// The message, or its question with the word that the rest did not fit.
pub fn fit(mut message: Vec<u8>, limit: usize) -> Vec<u8> {
    if message.len() <= limit {
        return message;
    }
    let end = question(&message).map(|question| HEADER + question.len()).filter(|end| *end <= limit);
    message.truncate(end.unwrap_or(HEADER));
    if let Some(flags) = message.get_mut(2) {
        *flags |= 0x02;
    }
    // A question that does not fit either is none.
    if let Some(counts) = message.get_mut(if end.is_some() { 6 } else { 4 }..HEADER) {
        counts.fill(0);
    }
    message
}

/// A question of ours or of a container's own making, as it stands in the message: name, type and class.
fn question(message: &[u8]) -> Option<&[u8]> {
    if word(message, 4)? != 1 {
        return None;
    }
    let end = skip_name(message, HEADER)? + 4;
    message.get(HEADER..end)
}

struct Record {
    kind: u16,
    ttl: u32,
    /// Where that stands.
    at: usize,
    /// The last four bytes of its data, of a start of authority the lifetime of what is not there; 0 if it has fewer.
    last_word: u32,
}

/// Every record behind the question; `None` if the message is malformed.
fn records(message: &[u8]) -> Option<Vec<Record>> {
    let mut at = HEADER;
    for _ in 0..word(message, 4)? {
        at = skip_name(message, at)? + 4;
    }
    let count: usize = [6, 8, 10].into_iter().filter_map(|place| word(message, place)).map(usize::from).sum();
    let mut records = Vec::new();
    for _ in 0..count {
        at = skip_name(message, at)?;
        let (kind, ttl) = (word(message, at)?, long(message, at + 4)?);
        let data = at + 10;
        let end = data + usize::from(word(message, at + 8)?);
        if end > message.len() {
            return None;
        }
        let last_word = end.checked_sub(4).filter(|last| *last >= data).and_then(|last| long(message, last));
        records.push(Record { kind, ttl, at: at + 4, last_word: last_word.unwrap_or(0) });
        at = end;
    }
    Some(records)
}

/// Where a name that begins here ends; a pointer ends it.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length if length & 0xc0 == 0 => at += 1 + usize::from(length),
            _ => return None,
        }
    }
}

fn word(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(message.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn long(message: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(message.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
    use hickory_proto::rr::rdata::{A, SOA as Authority};
    use hickory_proto::rr::{Name, RData, Record as Full, RecordType};

    use super::*;

    fn asked(name: &str, id: u16) -> Message {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        message
    }

    fn answer(ttls: &[u32]) -> Vec<u8> {
        let mut message = asked("a.example.", 7).into_response();
        let name = Name::from_ascii("a.example.").unwrap();
        message.add_answers(
            ttls.iter().map(|ttl| Full::from_rdata(name.clone(), *ttl, RData::A(A([192, 0, 2, 1].into())))),
        );
        message.to_vec().unwrap()
    }

    #[test]
    fn an_answer_lives_as_long_as_its_shortest_record_and_ages() {
        let mut message = answer(&[300, 60]);
        assert_eq!(lifetime(&message), Some(Duration::from_secs(60)));
        age(&mut message, Duration::from_secs(45));
        assert_eq!(lifetime(&message), Some(Duration::from_secs(15)));
        let ttls: Vec<u32> = Message::from_vec(&message).unwrap().answers.iter().map(|record| record.ttl).collect();
        assert_eq!(ttls, [255, 15]);
        assert_eq!(lifetime(&answer(&[0])), None);
    }

    #[test]
    fn what_is_not_there_lives_as_long_as_its_zone_says() {
        let mut message = asked("a.example.", 7).into_response();
        message.metadata.response_code = ResponseCode::NXDomain;
        assert_eq!(lifetime(&message.to_vec().unwrap()), None);
        let zone = Name::from_ascii("example.").unwrap();
        let authority = Authority::new(zone.clone(), zone.clone(), 1, 2, 3, 4, 30);
        message.add_authority(Full::from_rdata(zone, 900, RData::SOA(authority)));
        assert_eq!(lifetime(&message.to_vec().unwrap()), Some(Duration::from_secs(30)));
        message.metadata.response_code = ResponseCode::ServFail;
        assert_eq!(lifetime(&message.to_vec().unwrap()), None);
    }

    #[test]
    fn a_start_of_authority_without_data_gives_no_lifetime() {
        let mut message = asked("a.example.", 7).into_response();
        message.metadata.response_code = ResponseCode::NXDomain;
        let mut bytes = message.to_vec().unwrap();
        // One record, of the question's name: a time to live of 60, and no data.
        bytes[9] = 1;
        bytes.extend([0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 60, 0, 0]);
        assert_eq!(lifetime(&bytes), None);
    }

    #[test]
    fn questions_are_the_same_whatever_their_case_and_id() {
        let bytes = |name, id| asked(name, id).to_vec().unwrap();
        assert!(same_question(&bytes("A.example.", 1), &bytes("a.EXAMPLE.", 2)));
        assert!(!same_question(&bytes("b.example.", 1), &bytes("a.example.", 1)));
        assert!(!same_question(b"", &bytes("a.example.", 1)));
    }

    #[test]
    fn what_does_not_fit_says_so() {
        let cut = fit(answer(&[60; 40]), 512);
        let message = Message::from_vec(&cut).unwrap();
        assert!(message.metadata.truncation && message.answers.is_empty());
        assert_eq!(message.queries[0].name().to_string(), "a.example.");
        assert_eq!(fit(answer(&[60]), 512), answer(&[60]));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_lead_astray(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600), limit in 0..600_usize) {
            let mut bytes = bytes;
            let _ = (lifetime(&bytes), same_question(&bytes, &answer(&[1])), answers(&bytes), code(&bytes));
            age(&mut bytes, Duration::from_secs(5));
            let _ = fit(bytes, limit);
        }
    }
}
