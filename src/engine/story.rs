//! What is known of a container's life besides its state.

use serde::{Deserialize, Serialize};

/// For whoever asks why a container is as it is, and whether it comes back at boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Story {
    /// The last stop was asked for.
    pub stopped_by_user: bool,
    /// How many times it has been started in all.
    pub runs: u64,
    /// The last probes of its present or last run, newest last.
    pub probes: Vec<Probe>,
    /// What it uses now, while it runs.
    pub memory: Option<Memory>,
    /// TCP ports that it listens on now, while it runs and has a network of its own.
    pub listening: Vec<u16>,
}

/// What one probe said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Nanoseconds since 1970.
    pub started: i64,
    /// Nanoseconds since 1970.
    pub finished: i64,
    /// Exit code; -1 for a probe that could not run or took too long.
    pub status: i32,
    /// What it printed.
    pub output: String,
}

/// Memory of all processes of a container, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Now.
    pub used: u64,
    /// The most ever.
    pub peak: u64,
    /// `None`: no limit.
    pub limit: Option<u64>,
}

/// For how long a container that is stopped stays so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rest {
    /// Until somebody starts it; its policy may still do so at boot.
    #[default]
    UntilStarted,
    /// The machine goes down: what runs now is to run again afterwards.
    UntilBoot,
}

/// What became of a request to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stopped {
    /// It ended by its signal or was killed after its grace period; or it had ended before.
    InOrder,
    /// Its first process provably can't see its stop signal, so it was killed at once.
    Deaf,
}
