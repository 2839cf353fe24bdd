//! When a container without a health check counts as ready.

use std::fmt;
use std::time::Duration;

/// What shows that a container is ready, and how long that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// All of them.
    pub signs: Vec<Sign>,
    /// How long at most.
    pub patience: Duration,
}

impl Readiness {
    /// How long is waited where nothing is said: longer than databases take to make themselves at home.
    pub const PATIENCE: Duration = Duration::from_secs(60);
}

/// One sign of readiness, seen from outside: no program of the image is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// Somebody listens on the TCP ports that it declares: each that the file names in `ports` and `expose`; where there is
    /// none, any that the image exposes. A container that declares none, or has a health check, shows it at once.
    Declared,
    /// Somebody listens on this TCP port in its network.
    Listens(u16),
    /// A line of its output has this text.
    Writes(String),
    /// A GET of this path on this port is answered with a status of 200 to 399.
    Answers {
        /// TCP.
        port: u16,
        /// From the root, with what is behind a question mark.
        path: String,
    },
}

impl fmt::Display for Sign {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sign::Declared => out.write_str("somebody listens on the ports that it declares"),
            Sign::Listens(port) => write!(out, "somebody listens on port {port}"),
            Sign::Writes(text) => write!(out, "it writes {text:?}"),
            Sign::Answers { port, path } => write!(out, "port {port} answers a GET of {path} well"),
        }
    }
}
