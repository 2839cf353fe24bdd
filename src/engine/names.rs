//! How names resolve in containers, as told to whoever wants to see it.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What one container is told when it asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// Which container asks.
    pub asker: String,
    /// Every name that it is answered itself, with the addresses. Each of them also stands with its network's name behind it.
    pub names: Vec<(String, Vec<IpAddr>)>,
    /// Who is asked for all other names; empty: they do not exist for it.
    pub upstreams: Vec<IpAddr>,
}

/// A question that a container has asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Nanoseconds since 1970.
    pub time: i64,
    /// Which container asked.
    pub asker: String,
    /// For which name.
    pub name: String,
    /// For which records: `A`, `AAAA`, …
    pub kind: String,
    /// What it was told, in words.
    pub answer: String,
    /// How long others took for it; nothing if nobody else was asked.
    pub took: Duration,
}
