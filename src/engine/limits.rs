//! What a container may do and use.

use serde::{Deserialize, Serialize};

/// What a container may do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Security {
    /// All capabilities and devices, no masks, no filter.
    pub privileged: bool,
    /// Added to Docker's default set; `ALL` and the `CAP_` prefix are understood.
    pub cap_add: Vec<String>,
    /// Taken away.
    pub cap_drop: Vec<String>,
    /// Set-user-id programs gain nothing.
    pub no_new_privileges: bool,
    /// The system call filter.
    pub seccomp: Seccomp,
    /// No masked and read-only paths (`systempaths=unconfined`).
    pub unmasked: bool,
}

/// Which system calls pass.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seccomp {
    /// Docker's allow-list.
    #[default]
    Default,
    /// All.
    Unconfined,
    /// A profile in Docker's JSON format.
    Profile(String),
}

/// What a container may use; `None` is no limit.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Resources {
    /// Bytes.
    pub memory: Option<u64>,
    /// Memory and swap together, bytes; -1 is no limit.
    pub memory_swap: Option<i64>,
    /// Bytes kept under pressure.
    pub memory_reservation: Option<u64>,
    /// 0 to 100.
    pub memory_swappiness: Option<u64>,
    /// The kernel stalls instead of killing.
    pub oom_kill_disable: bool,
    /// -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Processors, in billionths (Docker's NanoCpus).
    pub nano_cpus: Option<u64>,
    /// Relative weight, default 1024.
    pub cpu_shares: Option<u64>,
    /// Microseconds in a period.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// Processors, `0-3,5`.
    pub cpuset: Option<String>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Size of `/dev/shm` in bytes (default 64 MiB).
    pub shm_size: Option<u64>,
    /// 10 to 1000.
    pub blkio_weight: Option<u16>,
}
