//! What a running container uses.

use std::path::Path;

use crate::engine::{Cause, Usage};
use crate::runtime::container::record::Container;
use crate::runtime::container::sandbox::cgroup;
use crate::runtime::store::now;

/// Reads everything at once; `pid` is its first process.
pub fn read(container: &Container, pid: i32) -> Result<Usage, Cause> {
    let cgroup = cgroup(container)?;
    let used = cgroup.usage()?;
    // As its own network namespace tells, whoever reads it.
    let interfaces = std::fs::read_to_string(format!("/proc/{pid}/net/dev"))?;
    let (received, sent) = traffic(&interfaces);
    let machine = memory_of_machine(&std::fs::read_to_string(Path::new("/proc/meminfo"))?);
    Ok(Usage {
        time: now(),
        cpu: used.cpu,
        memory: used.memory.saturating_sub(used.inactive),
        memory_limit: used.memory_limit.min(machine),
        received,
        sent,
        read: used.blocks.0,
        written: used.blocks.1,
        pids: used.pids,
    })
}

/// The bytes of all interfaces but loopback, in and out (proc_pid_net(5)).
fn traffic(interfaces: &str) -> (u64, u64) {
    let mut sum = (0, 0);
    for (name, numbers) in interfaces.lines().filter_map(|line| line.split_once(':')) {
        if name.trim() != "lo" {
            let numbers: Vec<u64> = numbers.split_ascii_whitespace().filter_map(|text| text.parse().ok()).collect();
            sum.0 += numbers.first().copied().unwrap_or(0);
            sum.1 += numbers.get(8).copied().unwrap_or(0);
        }
    }
    sum
}

fn memory_of_machine(meminfo: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = total.and_then(|text| text.split_ascii_whitespace().next()?.parse::<u64>().ok());
    kibibytes.map_or(u64::MAX, |kibibytes| kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_no_traffic_and_the_machine_has_kibibytes() {
        let text = "Inter-|   Receive | Transmit\n face |bytes packets|bytes\n    lo: 9 1 0 0 0 0 0 0 9 1 0\n  eth0: 100 2 0 0 0 0 0 0 50 1 0\n  eth1:    7 1 0 0 0 0 0 0 3 1 0\n";
        assert_eq!(traffic(text), (107, 53));
        assert_eq!(memory_of_machine("MemTotal:       2 kB\nMemFree: 1 kB\n"), 2048);
    }
}
