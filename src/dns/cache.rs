//! Answers of other servers, kept for as long as they say, but not for ever, and not many.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::dns::wire;

/// Answers kept at one time.
const ENTRIES: usize = 512;
/// The largest that is kept.
const LARGEST: usize = 4096;
/// The longest time that one is kept.
const LONGEST: Duration = Duration::from_secs(3600);

/// Questions with their answers. A question is everything but its id: flags, letters and EDNS as they were written.
#[derive(Debug, Default)]
pub(super) struct Cache(HashMap<Key, Kept>);

type Key = (Vec<IpAddr>, Vec<u8>);

#[derive(Debug)]
struct Kept {
    answer: Vec<u8>,
    since: Instant,
    until: Instant,
}

impl Cache {
    /// The answer as these servers gave it, under the question's id, its records aged.
    pub(super) fn find(&self, servers: &[IpAddr], question: &[u8], now: Instant) -> Option<Vec<u8>> {
        let kept = self.0.get(&key(servers, question)?).filter(|kept| now < kept.until)?;
        let mut answer = kept.answer.clone();
        wire::set_id(&mut answer, wire::id(question)?);
        wire::age(&mut answer, now.duration_since(kept.since));
        Some(answer)
    }

    /// Keeps an answer, if it may be kept.
    pub(super) fn keep(&mut self, servers: &[IpAddr], question: &[u8], answer: &[u8], now: Instant) {
        let (Some(key), Some(lifetime)) = (key(servers, question), wire::lifetime(answer)) else { return };
        if answer.len() > LARGEST {
            return;
        }
        if self.0.len() >= ENTRIES {
            self.0.retain(|_, kept| now < kept.until);
        }
        if self.0.len() >= ENTRIES
            && let Some(first) = self.0.iter().min_by_key(|(_, kept)| kept.until).map(|(key, _)| key.clone())
        {
            self.0.remove(&first);
        }
        let until = now + lifetime.min(LONGEST);
        self.0.insert(key, Kept { answer: answer.to_vec(), since: now, until });
    }
}

fn key(servers: &[IpAddr], question: &[u8]) -> Option<Key> {
    Some((servers.to_vec(), question.get(2..)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, MessageType, OpCode, Query};
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{Name, RData, Record, RecordType};

    use super::*;

    fn exchange(name: &str, id: u16, ttl: u32) -> (Vec<u8>, Vec<u8>) {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        let name = Name::from_ascii(name).unwrap();
        message.add_query(Query::query(name.clone(), RecordType::A));
        let question = message.to_vec().unwrap();
        let mut answer = message.into_response();
        answer.add_answer(Record::from_rdata(name, ttl, RData::A(A([192, 0, 2, 1].into()))));
        (question, answer.to_vec().unwrap())
    }

    const SERVER: [IpAddr; 1] = [IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 53))];

    #[test]
    fn an_answer_is_given_again_under_the_new_id_until_its_time_is_over() {
        let mut cache = Cache::default();
        let now = Instant::now();
        let (question, answer) = exchange("a.example.", 1, 60);
        cache.keep(&SERVER, &question, &answer, now);
        let (again, _) = exchange("a.example.", 2, 60);
        let found = cache.find(&SERVER, &again, now + Duration::from_secs(20)).unwrap();
        let found = Message::from_vec(&found).unwrap();
        assert_eq!((found.metadata.id, found.answers[0].ttl), (2, 40));
        assert_eq!(cache.find(&SERVER, &again, now + Duration::from_secs(60)), None);
        assert_eq!(cache.find(&[], &again, now), None, "other servers may know otherwise");
        let (other, _) = exchange("b.example.", 1, 60);
        assert_eq!(cache.find(&SERVER, &other, now), None);
    }

    #[test]
    fn however_many_are_asked_only_so_many_are_kept() {
        let mut cache = Cache::default();
        let now = Instant::now();
        for number in 0..2 * ENTRIES {
            let (question, answer) = exchange(&format!("n{number}.example."), 1, 60 + number as u32);
            cache.keep(&SERVER, &question, &answer, now);
        }
        assert_eq!(cache.0.len(), ENTRIES);
        let (last, _) = exchange(&format!("n{}.example.", 2 * ENTRIES - 1), 1, 60);
        assert!(cache.find(&SERVER, &last, now).is_some());
    }
}
