//! What was asked, by whom, and what was answered: the last questions, and those that come while somebody follows.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::broadcast;

/// Questions that are kept.
const KEPT: usize = 1000;
/// Questions that a slow follower may be behind; then it misses some.
const BEHIND: usize = 1024;

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// When.
    pub time: SystemTime,
    /// By which container.
    pub asker: String,
    /// For which name, in lower case.
    pub name: String,
    /// For which records.
    pub kind: String,
    /// With which answer.
    pub said: Said,
    /// How long others took for it; nothing if none were asked.
    pub took: Duration,
}

/// An answer, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// One of ours has these; none of the kind that was asked for, if empty.
    Addresses(Vec<IpAddr>),
    /// An address of ours has this name.
    Name(String),
    /// It is not ours, and nobody else may be asked.
    NoSuchName,
    /// What an upstream server said.
    Theirs {
        /// The response code.
        code: u8,
        /// How many records.
        answers: u16,
        /// Which server; `None`: it had said so before.
        by: Option<IpAddr>,
    },
    /// What an upstream server had to say does not fit a datagram; the asker comes again by TCP.
    TooLong {
        /// Which.
        by: IpAddr,
    },
    /// No upstream server answered in time.
    NoAnswer,
}

impl std::fmt::Display for Said {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Said::Addresses(addresses) if addresses.is_empty() => out.write_str("no such record"),
            Said::Addresses(addresses) => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                out.write_str(&addresses.join(" "))
            }
            Said::Name(name) => out.write_str(name),
            Said::NoSuchName => out.write_str("NXDOMAIN"),
            Said::Theirs { code, answers, by } => {
                match code {
                    0 if *answers == 0 => out.write_str("no such record")?,
                    0 if *answers == 1 => out.write_str("1 record")?,
                    0 => write!(out, "{answers} records")?,
                    1 => out.write_str("FORMERR")?,
                    2 => out.write_str("SERVFAIL")?,
                    3 => out.write_str("NXDOMAIN")?,
                    5 => out.write_str("REFUSED")?,
                    code => write!(out, "code {code}")?,
                }
                match by {
                    Some(server) => write!(out, " from {server}"),
                    None => out.write_str(" from the cache"),
                }
            }
            Said::TooLong { by } => write!(out, "too long for a datagram, to be asked again by TCP, from {by}"),
            Said::NoAnswer => out.write_str("SERVFAIL: no upstream server answered"),
        }
    }
}

/// The questions of a resolver.
#[derive(Debug)]
pub struct Log {
    last: Mutex<VecDeque<Asked>>,
    followers: broadcast::Sender<Asked>,
}

impl Default for Log {
    fn default() -> Log {
        Log { last: Mutex::default(), followers: broadcast::channel(BEHIND).0 }
    }
}

impl Log {
    /// Takes a question down.
    pub(super) fn note(&self, asked: impl FnOnce(SystemTime) -> Asked) {
        let asked = asked(SystemTime::now());
        if self.followers.receiver_count() > 0 {
            // The last one may have gone in this moment.
            let _ = self.followers.send(asked.clone());
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= KEPT {
            last.pop_front();
        }
        last.push_back(asked);
    }

    /// The last questions, the oldest first, and those to come.
    pub fn read(&self) -> (Vec<Asked>, broadcast::Receiver<Asked>) {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        (last.iter().cloned().collect(), self.followers.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: String) -> impl FnOnce(SystemTime) -> Asked {
        |time| Asked {
            time,
            asker: "a".to_owned(),
            name,
            kind: "A".to_owned(),
            said: Said::NoSuchName,
            took: Duration::ZERO,
        }
    }

    #[test]
    fn the_last_questions_are_kept_and_followers_hear_of_new_ones() {
        let log = Log::default();
        for number in 0..KEPT + 2 {
            log.note(asked(number.to_string()));
        }
        let (last, mut next) = log.read();
        assert_eq!((last.len(), last[0].name.as_str()), (KEPT, "2"));
        log.note(asked("new".to_owned()));
        assert_eq!(next.try_recv().unwrap().name, "new");
    }

    #[test]
    fn an_answer_is_told_in_short() {
        let said = |said: Said| said.to_string();
        assert_eq!(
            said(Said::Addresses(vec!["10.0.0.2".parse().unwrap(), "10.0.0.3".parse().unwrap()])),
            "10.0.0.2 10.0.0.3"
        );
        assert_eq!(said(Said::Theirs { code: 0, answers: 2, by: None }), "2 records from the cache");
        assert_eq!(said(Said::Theirs { code: 3, answers: 0, by: "192.0.2.1".parse().ok() }), "NXDOMAIN from 192.0.2.1");
    }
}
