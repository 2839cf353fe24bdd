//! cgroup v1: a tree for each controller.
//!
//! Each one joined costs some 90 microseconds at start and end, so a container joins five, and `cpuset` and `blkio` only
//! if they are asked for.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::engine::Resources;
use crate::runtime::cgroup::{
    CgroupError, DeviceAccess, Usage, blocks_of_processes, cpu_quota, devices, keyed, memory_and_swap, number, write,
    write_if_there,
};
use crate::runtime::sys::OrOs;

/// All that have to do with containers.
pub(super) const CONTROLLERS: [&str; 7] = ["memory", "pids", "cpu", "freezer", "devices", "cpuset", "blkio"];

type Mounts = BTreeMap<String, PathBuf>;

pub(super) fn create(
    mounts: &Mounts,
    name: &Path,
    resources: &Resources,
    access: &DeviceAccess,
) -> Result<(), CgroupError> {
    let folder = |controller: &'static str| mounts.get(controller).map(|mount| mount.join(name));
    let needed = |controller: &'static str| folder(controller).ok_or(CgroupError::Missing(controller));
    let wanted = CONTROLLERS.into_iter().filter(|controller| match *controller {
        "cpuset" => resources.cpuset.is_some(),
        "blkio" => resources.blkio_weight.is_some(),
        _ => true,
    });
    for controller in wanted {
        if let Some(folder) = folder(controller) {
            fs::create_dir_all(&folder).or_os("mkdir", folder.display().to_string())?;
        }
    }

    if let Some(memory) = resources.memory.filter(|memory| *memory > 0) {
        let folder = needed("memory")?;
        let limit = |file: &str, bytes: Option<u64>| {
            write_if_there(&folder.join(file), &bytes.map_or_else(|| "-1".to_owned(), |bytes| bytes.to_string()))
        };
        // A limit that is taken over may be above the new one of both together, or below the new one of memory alone.
        limit("memory.memsw.limit_in_bytes", None)?;
        write(&folder.join("memory.limit_in_bytes"), &memory.to_string())?;
        limit("memory.memsw.limit_in_bytes", memory_and_swap(resources))?;
    }
    if let Some(reserved) = resources.memory_reservation.filter(|reserved| *reserved > 0) {
        write(&needed("memory")?.join("memory.soft_limit_in_bytes"), &reserved.to_string())?;
    }
    if let Some(swappiness) = resources.memory_swappiness {
        write(&needed("memory")?.join("memory.swappiness"), &swappiness.to_string())?;
    }
    if resources.oom_kill_disable {
        write(&needed("memory")?.join("memory.oom_control"), "1")?;
    }
    if let Some((quota, period)) = cpu_quota(resources) {
        let folder = needed("cpu")?;
        write(&folder.join("cpu.cfs_period_us"), &period.to_string())?;
        write(&folder.join("cpu.cfs_quota_us"), &quota.to_string())?;
    }
    if let Some(shares) = resources.cpu_shares.filter(|shares| *shares > 0) {
        write(&needed("cpu")?.join("cpu.shares"), &shares.max(2).to_string())?;
    }
    if let Some(pids) = resources.pids {
        write(&needed("pids")?.join("pids.max"), &pids.to_string())?;
    }
    if let Some(weight) = resources.blkio_weight.filter(|weight| *weight > 0) {
        let folder = needed("blkio")?;
        // Which scheduler is there decides which file is; with neither Docker discards the weight with a warning.
        write_if_there(&folder.join("blkio.weight"), &weight.to_string())?;
        write_if_there(&folder.join("blkio.bfq.weight"), &weight.to_string())?;
    }
    if let Some(cpus) = &resources.cpuset {
        processors(mounts.get("cpuset").ok_or(CgroupError::Missing("cpuset"))?, name, cpus)?;
    }
    if let DeviceAccess::Default(rules) = access {
        let folder = needed("devices")?;
        write(&folder.join("devices.deny"), "a")?;
        for rule in devices::rules(rules)? {
            write(&folder.join("devices.allow"), &rule.to_string())?;
        }
    }
    Ok(())
}

/// Nothing can join a set of processors before it has processors and memory, nor have what its parents have not.
fn processors(mount: &Path, name: &Path, cpus: &str) -> Result<(), CgroupError> {
    let mut folder = mount.to_owned();
    for part in name {
        let parent = folder.clone();
        folder.push(part);
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let read = |folder: &Path| fs::read_to_string(folder.join(file)).unwrap_or_default().trim().to_owned();
            if read(&folder).is_empty() {
                write(&folder.join(file), &read(&parent))?;
            }
        }
    }
    write(&folder.join("cpuset.cpus"), cpus)
}

pub(super) fn freeze(mounts: &Mounts, name: &Path, frozen: bool) -> Result<(), CgroupError> {
    let file = mounts.get("freezer").ok_or(CgroupError::Missing("freezer"))?.join(name).join("freezer.state");
    let wanted = if frozen { "FROZEN" } else { "THAWED" };
    // The kernel may need to be asked again for a process that was about to start another.
    for _ in 0..500 {
        write(&file, wanted)?;
        let state = fs::read_to_string(&file).or_os("read", file.display().to_string())?;
        if state.trim() == wanted {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    if frozen {
        write(&file, "THAWED")?;
    }
    Err(CgroupError::Stuck(format!("{} does not become {wanted}", file.display())))
}

pub(super) fn usage(mounts: &Mounts, name: &Path, processes: &[i32]) -> Result<Usage, CgroupError> {
    let file = |controller: &str, file: &str| mounts.get(controller).map(|mount| mount.join(name).join(file));
    let read = |controller: &str, name: &str| file(controller, name).map_or(0, |file| number(&file));
    let limit = read("memory", "memory.limit_in_bytes");
    Ok(Usage {
        memory: read("memory", "memory.usage_in_bytes"),
        inactive: file("memory", "memory.stat").map_or(0, |file| keyed(&file, "total_inactive_file")),
        memory_peak: read("memory", "memory.max_usage_in_bytes"),
        // No limit is the largest number of whole pages.
        memory_limit: if limit >= i64::MAX.unsigned_abs() & !0xffff { u64::MAX } else { limit },
        cpu: processes.iter().map(|pid| processor_time(*pid)).sum(),
        pids: read("pids", "pids.current"),
        blocks: blocks_of_processes(processes),
        oom_kills: file("memory", "memory.oom_control").map_or(0, |file| keyed(&file, "oom_kill")),
    })
}

/// Nanoseconds of a process and of those it has waited for. Of all processes together they are the container's, since
/// process 1 waits for what its children leave behind; a controller of its own for this would slow every start.
fn processor_time(pid: i32) -> u64 {
    let text: io::Result<String> = fs::read_to_string(format!("/proc/{pid}/stat"));
    let Ok(text) = text else { return 0 };
    // The name in parentheses may hold anything; utime, stime, cutime and cstime are fields 14 to 17.
    let Some((_, fields)) = text.rsplit_once(") ") else { return 0 };
    let ticks: u64 = fields.split(' ').skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum();
    // The kernel tells these in hundredths of a second, on every machine (`USER_HZ`).
    ticks * 10_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Folders that take any file, as the kernel's do for those that exist.
    fn tree(folder: &Path) -> Mounts {
        CONTROLLERS.into_iter().map(|name| (name.to_owned(), folder.join(name))).collect()
    }

    fn make(folder: &Path, files: &[&str]) {
        for file in files {
            let file = folder.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
    }

    #[test]
    fn limits_go_to_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let mounts = tree(folder.path());
        let files = [
            "memory/x/id/memory.limit_in_bytes",
            "memory/x/id/memory.memsw.limit_in_bytes",
            "cpu/x/id/cpu.cfs_quota_us",
            "cpu/x/id/cpu.cfs_period_us",
            "cpu/x/id/cpu.shares",
            "pids/x/id/pids.max",
            "devices/x/id/devices.deny",
            "devices/x/id/devices.allow",
        ];
        make(folder.path(), &files);
        let resources = Resources {
            memory: Some(64 << 20),
            nano_cpus: Some(500_000_000),
            cpu_shares: Some(1),
            pids: Some(7),
            ..Resources::default()
        };
        create(&mounts, Path::new("x/id"), &resources, &DeviceAccess::All).unwrap();
        let read = |file: &str| fs::read_to_string(folder.path().join(file)).unwrap();
        assert_eq!(read(files[0]), "67108864");
        // These files are no kernel's: what is written stays where it is not overwritten.
        assert_eq!(read(files[1]), "134217728");
        assert_eq!((read(files[2]), read(files[3]), read(files[4])), ("50000".into(), "100000".into(), "2".into()));
        assert_eq!((read(files[5]), read(files[6])), ("7".into(), String::new()));
        create(&mounts, Path::new("x/id"), &Resources::default(), &DeviceAccess::Default(vec![])).unwrap();
        assert_eq!(read(files[6]), "a");
    }

    #[test]
    fn a_missing_controller_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let resources = Resources { pids: Some(7), ..Resources::default() };
        let mounts = Mounts::from([("memory".to_owned(), folder.path().join("memory"))]);
        let error = create(&mounts, Path::new("x"), &resources, &DeviceAccess::All).unwrap_err();
        assert_eq!(error.to_string(), "this machine has no cgroup controller pids");
    }
}
