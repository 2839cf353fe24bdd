//! Resource limits of processes (setrlimit(2)).

use serde::{Deserialize, Serialize};

/// One limit; -1 is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// What the kernel enforces.
    pub soft: i64,
    /// What a process may raise the soft limit to.
    pub hard: i64,
}

/// The kernel's resource numbers by the names Compose uses (x86-64 and arm64).
pub const RESOURCES: [(&str, u32); 16] = [
    ("cpu", 0),
    ("fsize", 1),
    ("data", 2),
    ("stack", 3),
    ("core", 4),
    ("rss", 5),
    ("nproc", 6),
    ("nofile", 7),
    ("memlock", 8),
    ("as", 9),
    ("locks", 10),
    ("sigpending", 11),
    ("msgqueue", 12),
    ("nice", 13),
    ("rtprio", 14),
    ("rttime", 15),
];
