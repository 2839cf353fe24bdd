//! What a project leaves behind on a machine: it must be nothing.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::{Machine, eventually};

/// Insists that nothing of the machine's projects is left: processes, namespaces, links, mounts, cgroups, rules, records.
#[track_caller]
pub fn none(machine: &Machine, containers: &[String], bridges: &BTreeSet<String>) {
    // The last links and namespaces go in the kernel's own time, after the call that removed them has returned.
    eventually("nothing is left", || {
        let found = all(machine, containers, bridges);
        if !found.is_empty() {
            eprintln!("still there: {found:?}");
        }
        found.is_empty().then_some(())
    });
}

/// Our processes on this machine, by their command lines.
pub fn processes(machine: &Machine) -> Vec<(i32, String)> {
    let mark = format!("XCOMPOSE_RUN={}", machine.run().display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(environment) = std::fs::read(entry.path().join("environ")) else { continue };
        if environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push((pid, String::from_utf8_lossy(&command).replace('\0', " ")));
        }
    }
    found
}

/// The bridges of the machine's networks, as their records name them: others' come and go meanwhile.
pub fn bridges(machine: &Machine) -> BTreeSet<String> {
    let records = files(&machine.data().join("networks")).into_iter().filter(|path| path.ends_with(".json"));
    let bridge = |path: String| {
        let record: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        record["bridge"].as_str().unwrap().to_owned()
    };
    records.map(bridge).collect()
}

fn links() -> BTreeSet<String> {
    let folder = std::fs::read_dir("/sys/class/net").unwrap();
    folder.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn all(machine: &Machine, containers: &[String], bridges: &BTreeSet<String>) -> Vec<String> {
    let mut found: Vec<String> =
        processes(machine).into_iter().map(|(pid, command)| format!("process {pid}: {command}")).collect();
    let root = machine.data();
    let root = root.parent().unwrap().to_str().unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(mounts.lines().filter(|line| line.contains(root)).map(|line| format!("mount {line}")));
    found.extend(links().intersection(bridges).map(|name| format!("link {name}")));
    for id in containers {
        found.extend(folders_named("/sys/fs/cgroup", id).into_iter().map(|path| format!("cgroup {path}")));
    }
    let records = [machine.data().join("networks"), machine.run().join("networks"), machine.data().join("projects")];
    for folder in records {
        found.extend(
            files(&folder).into_iter().filter(|path| !path.ends_with("lock")).map(|path| format!("file {path}")),
        );
    }
    let folders = std::fs::read_dir(machine.run().join("networks")).into_iter().flatten().flatten();
    found.extend(folders.map(|entry| format!("folder {}", entry.path().display())));
    let rules = std::process::Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    let rules = String::from_utf8_lossy(&rules.stdout).into_owned();
    found.extend(bridges.iter().filter(|bridge| rules.contains(*bridge)).map(|bridge| format!("rule for {bridge}")));
    found
}

fn folders_named(root: &str, part: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut queue = vec![Path::new(root).to_owned()];
    while let Some(folder) = queue.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().contains(part) {
                    found.push(entry.path().display().to_string());
                }
                queue.push(entry.path());
            }
        }
    }
    found
}

fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut queue = vec![root.to_owned()];
    while let Some(folder) = queue.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                queue.push(entry.path());
            } else {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found
}
