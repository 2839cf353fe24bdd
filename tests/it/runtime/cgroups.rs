//! Control groups as the kernel enforces them.

use std::fs;
use std::path::PathBuf;

use xcompose::engine::Resources;
use xcompose::runtime::cgroup::{Cgroup, DeviceAccess, Tree};
use xcompose::runtime::start::compile;
use xcompose::runtime::start::program::Parentage;
use xcompose::runtime::start::request::Request;

use super::sandbox::{Sandbox, wait};
use crate::support::{cannot_run, eventually};

/// A cgroup that goes when the test ends, however it ends.
struct Group(Cgroup);

impl Group {
    fn new(name: &str, resources: &Resources, devices: &DeviceAccess) -> Group {
        Group::below(&Tree::detect().unwrap(), name, resources, devices)
    }

    fn below(tree: &Tree, name: &str, resources: &Resources, devices: &DeviceAccess) -> Group {
        let parent = format!("/xc-test-{}", std::process::id());
        let group = Group(tree.cgroup(Some(&parent), name));
        group.0.create(resources, devices).unwrap();
        group
    }

    fn around(&self, mut request: Request) -> Request {
        request.join = self.0.join_files();
        request.cgroup_view = self.0.view();
        request
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let folders: Vec<PathBuf> =
            self.0.join_files().iter().filter_map(|file| file.parent().map(PathBuf::from)).collect();
        // After a failed test something may still run in it.
        let removed = self.0.kill().and_then(|()| self.0.remove());
        for parent in folders.iter().filter_map(|folder| folder.parent()) {
            let _ = fs::remove_dir(parent);
        }
        if !std::thread::panicking() {
            removed.unwrap();
        }
    }
}

#[test]
fn limits_hold_and_what_was_used_is_told() {
    if cannot_run() {
        return;
    }
    let sandbox = Sandbox::new();
    let resources =
        Resources { memory: Some(32 << 20), memory_swap: Some(32 << 20), pids: Some(5), ..Resources::default() };
    let group = Group::new("limits", &resources, &DeviceAccess::Default(vec![]));
    assert!(group.0.processes().unwrap().is_empty());

    let out = sandbox.run(group.around(sandbox.shell("for i in 1 2 3 4 5 6 7 8; do sleep 0.01 & done; wait"))).unwrap();
    assert!(out.stderr.contains("can't fork"), "{out:?}");

    assert_eq!(group.0.usage().unwrap().oom_kills, 0);
    let out =
        sandbox.run(group.around(sandbox.shell("dd if=/dev/zero of=/dev/shm/x bs=1M count=60; echo $?"))).unwrap();
    let usage = group.0.usage().unwrap();
    assert_eq!((usage.memory_limit, usage.oom_kills), (32 << 20, 1), "{out:?}");
    assert!(usage.memory_peak > 30 << 20, "{usage:?}");
}

#[test]
fn a_container_sees_its_own_cgroup_and_cannot_write_there() {
    if cannot_run() {
        return;
    }
    let sandbox = Sandbox::new();
    let resources = Resources { memory: Some(64 << 20), ..Resources::default() };
    let group = Group::new("view", &resources, &DeviceAccess::Default(vec![]));
    let Tree::V1(_) = Tree::detect().unwrap() else { return };
    let script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes; \
                  echo 1 > /sys/fs/cgroup/memory/memory.limit_in_bytes; mkdir /sys/fs/cgroup/x /sys/fs/cgroup/memory/x; echo a > /sys/fs/cgroup/devices/devices.allow";
    let out = sandbox.run(group.around(sandbox.shell(script))).unwrap();
    assert_eq!(out.stdout, "67108864\n");
    assert_eq!(out.stderr.matches("Read-only file system").count(), 4, "{out:?}");
}

#[test]
fn devices_outside_the_list_can_be_made_but_not_used() {
    if cannot_run() {
        return;
    }
    let sandbox = Sandbox::new();
    let script =
        "mknod /kmsg c 1 11 && head -c 1 /kmsg; mknod /disk b 254 0 && head -c 1 /disk; head -c 1 /dev/zero | wc -c";
    let group = Group::new("devices", &Resources::default(), &DeviceAccess::Default(vec![]));
    let out = sandbox.run(group.around(sandbox.shell(script))).unwrap();
    assert_eq!(out.stdout, "1\n", "{out:?}");
    assert_eq!(out.stderr.matches("Operation not permitted").count(), 2, "{out:?}");

    let group = Group::new("devices-allowed", &Resources::default(), &DeviceAccess::Default(vec!["c 10:229 r".into()]));
    let out = sandbox.run(group.around(sandbox.shell("mknod /fuse c 10 229 && : < /fuse && echo opened"))).unwrap();
    assert_eq!(out.stdout, "opened\n", "{out:?}");
}

/// The rules as a program of the unified tree, which can be had beside the v1 controllers.
#[test]
fn the_device_program_of_the_unified_tree_decides_as_the_rules_say() {
    if cannot_run() {
        return;
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let unified = mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4));
    let tree = Tree::V2(unified.expect("a cgroup2 tree is mounted").into());
    let sandbox = Sandbox::new();
    let rules = DeviceAccess::Default(vec!["c 10:229 r".into()]);
    let group = Group::below(&tree, "program", &Resources::default(), &rules);
    let script = "mknod /fuse c 10 229 && (: < /fuse) && echo opened; echo x > /fuse; mknod /disk b 254 0; head -c 1 /disk; \
                  mknod /port c 1 4; head -c 1 /port; head -c 1 /dev/urandom | wc -c";
    let mut request = sandbox.shell(script);
    request.join = group.0.join_files();
    let out = sandbox.run(request).unwrap();
    assert_eq!(out.stdout, "opened\n1\n", "{out:?}");
    assert_eq!(out.stderr.matches("Operation not permitted").count(), 3, "{out:?}");
}

#[test]
fn everything_in_it_is_frozen_thawed_and_killed() {
    if cannot_run() {
        return;
    }
    let sandbox = Sandbox::new();
    let group = Group::new("freeze", &Resources::default(), &DeviceAccess::Default(vec![]));
    let request = group.around(sandbox.shell("sleep 1000 & sleep 1000"));
    let started = compile(&request).unwrap().run(Parentage::Child).unwrap();
    eventually("both run", || (group.0.processes().unwrap().len() == 2).then_some(()));
    group.0.freeze(true).unwrap();
    group.0.freeze(false).unwrap();
    group.0.freeze(true).unwrap();
    group.0.kill().unwrap();
    assert_eq!(wait(&started), 128 + 9);
    eventually("nothing is left", || group.0.processes().unwrap().is_empty().then_some(()));
}
