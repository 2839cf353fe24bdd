//! cgroup v2: one tree; controllers are handed down from folder to folder.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::engine::Resources;
use crate::runtime::cgroup::{
    CgroupError, DeviceAccess, Usage, cpu_quota, devices, keyed, memory_and_swap, number, write, write_if_there,
};
use crate::runtime::sys::OrOs;

const CONTROLLERS: [&str; 5] = ["memory", "pids", "cpu", "cpuset", "io"];

pub(super) fn create(
    mount: &Path,
    name: &Path,
    resources: &Resources,
    access: &DeviceAccess,
) -> Result<(), CgroupError> {
    let mut folder = mount.to_owned();
    for part in name {
        hand_down(&folder)?;
        folder.push(part);
        fs::create_dir_all(&folder).or_os("mkdir", folder.display().to_string())?;
    }
    let set = |controller: &'static str, file: &str, value: String| {
        let file = folder.join(file);
        if file.exists() { write(&file, &value) } else { Err(CgroupError::Missing(controller)) }
    };

    if let Some(memory) = resources.memory.filter(|memory| *memory > 0) {
        set("memory", "memory.max", memory.to_string())?;
        // The kernel counts swap by itself; without swap accounting there is no such file.
        let swap = memory_and_swap(resources).map(|both| both.saturating_sub(memory));
        write_if_there(
            &folder.join("memory.swap.max"),
            &swap.map_or_else(|| "max".to_owned(), |swap| swap.to_string()),
        )?;
    }
    if let Some(reserved) = resources.memory_reservation.filter(|reserved| *reserved > 0) {
        set("memory", "memory.low", reserved.to_string())?;
    }
    if let Some((quota, period)) = cpu_quota(resources) {
        let quota = if quota < 0 { "max".to_owned() } else { quota.to_string() };
        set("cpu", "cpu.max", format!("{quota} {period}"))?;
    }
    if let Some(shares) = resources.cpu_shares.filter(|shares| *shares > 0) {
        set("cpu", "cpu.weight", weight(shares).to_string())?;
    }
    if let Some(pids) = resources.pids {
        set("pids", "pids.max", pids.to_string())?;
    }
    if let Some(cpus) = &resources.cpuset {
        set("cpuset", "cpuset.cpus", cpus.clone())?;
    }
    if let Some(weight) = resources.blkio_weight.filter(|weight| *weight > 0) {
        // As with v1: a weight that no scheduler of this machine knows is discarded.
        write_if_there(&folder.join("io.bfq.weight"), &weight.to_string())?;
        let scaled = 1 + (u32::from(weight).saturating_sub(10)) * 9999 / 990;
        write_if_there(&folder.join("io.weight"), &scaled.to_string())?;
    }
    if let DeviceAccess::Default(rules) = access {
        devices::attach(&folder, &devices::rules(rules)?)?;
    }
    Ok(())
}

/// Lets the folders below have the controllers this one has.
fn hand_down(folder: &Path) -> Result<(), CgroupError> {
    let has = fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
    let file = folder.join("cgroup.subtree_control");
    let given = fs::read_to_string(&file).unwrap_or_default();
    let words = |text: &str, word: &str| text.split_whitespace().any(|other| other == word);
    let missing = CONTROLLERS.into_iter().filter(|controller| words(&has, controller) && !words(&given, controller));
    let wanted: Vec<String> = missing.map(|controller| format!("+{controller}")).collect();
    if !wanted.is_empty() {
        write(&file, &wanted.join(" "))?;
    }
    Ok(())
}

/// Docker's mapping of 2…262144 to 1…10000.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

pub(super) fn freeze(folder: &Path, frozen: bool) -> Result<(), CgroupError> {
    let wanted = u64::from(frozen);
    write(&folder.join("cgroup.freeze"), &wanted.to_string())?;
    for _ in 0..500 {
        if keyed(&folder.join("cgroup.events"), "frozen") == wanted {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    if frozen {
        write(&folder.join("cgroup.freeze"), "0")?;
    }
    Err(CgroupError::Stuck(format!("{} does not freeze", folder.display())))
}

pub(super) fn usage(folder: &Path) -> Usage {
    let read = |file: &str| number(&folder.join(file));
    Usage {
        memory: read("memory.current"),
        inactive: keyed(&folder.join("memory.stat"), "inactive_file"),
        memory_peak: read("memory.peak"),
        memory_limit: read("memory.max"),
        cpu: keyed(&folder.join("cpu.stat"), "usage_usec") * 1000,
        pids: read("pids.current"),
        blocks: blocks(&folder.join("io.stat")),
        oom_kills: keyed(&folder.join("memory.events"), "oom_kill"),
    }
}

/// The sums over all devices of `8:0 rbytes=1 wbytes=2 …`.
fn blocks(file: &Path) -> (u64, u64) {
    let text = fs::read_to_string(file).unwrap_or_default();
    let sum = |key: &str| {
        let values = text.split_ascii_whitespace().filter_map(|word| word.strip_prefix(key));
        values.filter_map(|value| value.parse::<u64>().ok()).sum()
    };
    (sum("rbytes="), sum("wbytes="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_go_to_their_files_and_controllers_are_handed_down() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("x/id");
        fs::create_dir_all(&own).unwrap();
        for (file, text) in [("cgroup.controllers", "cpu memory pids\n"), ("cgroup.subtree_control", "cpu\n")] {
            fs::write(folder.path().join(file), text).unwrap();
        }
        for file in ["memory.max", "memory.swap.max", "memory.low", "cpu.max", "cpu.weight", "pids.max"] {
            fs::write(own.join(file), "").unwrap();
        }
        let resources = Resources {
            memory: Some(64 << 20),
            memory_swap: Some(64 << 20),
            memory_reservation: Some(32 << 20),
            cpu_period: Some(50_000),
            cpu_shares: Some(1024),
            pids: Some(9),
            ..Resources::default()
        };
        create(folder.path(), Path::new("x/id"), &resources, &DeviceAccess::All).unwrap();
        let read = |file: &str| fs::read_to_string(own.join(file)).unwrap();
        assert_eq!((read("memory.max"), read("memory.swap.max")), ("67108864".into(), "0".into()));
        assert_eq!((read("memory.low"), read("cpu.max")), ("33554432".into(), "max 50000".into()));
        assert_eq!((read("cpu.weight"), read("pids.max")), ("39".into(), "9".into()));
        assert_eq!(fs::read_to_string(folder.path().join("cgroup.subtree_control")).unwrap(), "+memory +pids");
        let cpuset = Resources { cpuset: Some("0".into()), ..Resources::default() };
        let error = create(folder.path(), Path::new("x/id"), &cpuset, &DeviceAccess::All).unwrap_err();
        assert_eq!(error.to_string(), "this machine has no cgroup controller cpuset");
    }

    #[test]
    fn usage_is_read_from_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            ("memory.current", "10\n"),
            ("memory.peak", "20\n"),
            ("memory.max", "max\n"),
            ("cpu.stat", "usage_usec 3\nuser_usec 1\n"),
            ("pids.current", "4\n"),
            ("memory.stat", "anon 1\ninactive_file 6\n"),
            ("io.stat", "8:0 rbytes=7 wbytes=8 rios=1\n8:16 rbytes=1 wbytes=1\n"),
            ("memory.events", "low 0\noom 2\noom_kill 1\n"),
        ];
        for (file, text) in files {
            fs::write(folder.path().join(file), text).unwrap();
        }
        let usage = usage(folder.path());
        let expected = Usage {
            memory: 10,
            inactive: 6,
            memory_peak: 20,
            memory_limit: u64::MAX,
            cpu: 3000,
            pids: 4,
            blocks: (8, 9),
            oom_kills: 1,
        };
        assert_eq!(usage, expected);
    }
}
