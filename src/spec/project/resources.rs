//! What a container may use: processor, memory, devices.

use std::collections::BTreeMap;

use crate::spec::diagnostic::Location;

/// A device in the containers of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// On the host, or a CDI name.
    pub source: String,
    /// In the container.
    pub target: String,
    /// Out of `rwm`.
    pub permissions: String,
    /// Where it stands.
    pub location: Location,
}

/// Devices that a driver provides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRequest {
    /// What they must be able to.
    pub capabilities: Vec<String>,
    /// Who provides them.
    pub driver: Option<String>,
    /// How many; `None` is all.
    pub count: Option<u64>,
    /// Exactly these.
    pub device_ids: Vec<String>,
    /// For the driver.
    pub options: BTreeMap<String, String>,
    /// Where it stands.
    pub location: Location,
}

/// What a container may use; `None` is no limit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resources {
    /// Billionths of a processor.
    pub nano_cpus: Option<u64>,
    /// Weight.
    pub cpu_shares: Option<u64>,
    /// Microseconds in a period.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// Microseconds of real time in a period.
    pub cpu_rt_runtime: Option<u64>,
    /// Microseconds.
    pub cpu_rt_period: Option<u64>,
    /// Which processors.
    pub cpuset: Option<String>,
    /// Bytes.
    pub memory: Option<u64>,
    /// Memory and swap, bytes; -1 is no limit.
    pub memory_swap: Option<i64>,
    /// Bytes.
    pub memory_reservation: Option<u64>,
    /// 0 to 100.
    pub memory_swappiness: Option<u64>,
    /// Processes and threads; -1 is no limit.
    pub pids: Option<i64>,
    /// Stall instead of kill.
    pub oom_kill_disable: bool,
    /// -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Block devices.
    pub blkio: Blkio,
}

/// Limits on block devices.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blkio {
    /// 10 to 1000.
    pub weight: Option<u16>,
    /// Path, weight.
    pub weight_device: Vec<(String, u16)>,
    /// Path, bytes a second.
    pub device_read_bps: Vec<(String, u64)>,
    /// Path, bytes a second.
    pub device_write_bps: Vec<(String, u64)>,
    /// Path, operations a second.
    pub device_read_iops: Vec<(String, u64)>,
    /// Path, operations a second.
    pub device_write_iops: Vec<(String, u64)>,
}
