//! `cp`: files into containers and out of them, whatever lies in the way.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use crate::support::{Machine, cannot_run};

const STACK: &str = "
services:
  web:
    image: busybox
    command: [sleep, '1000']
    stop_signal: SIGKILL
    scale: 2
    volumes: ['data:/data']
  fixed: {image: busybox, command: [sleep, '1000'], stop_signal: SIGKILL, read_only: true}
volumes: {data: {}}
";

fn machine() -> Machine {
    let machine = Machine::new();
    machine.import_busybox();
    machine.write("compose.yaml", STACK);
    machine.write("tree/a", "one\n");
    machine.write("tree/sub/b", "two\n");
    symlink("a", machine.project().join("tree/link")).unwrap();
    machine.xcompose(["up", "-d"]).ok();
    machine
}

fn inside(machine: &Machine, index: &str, script: &str) -> String {
    machine.xcompose(["exec", "-T", "--index", index, "web", "sh", "-c", script]).ok().stdout()
}

#[test]
fn files_and_folders_go_to_every_replica_and_come_back_from_the_first() {
    if cannot_run() {
        return;
    }
    let machine = machine();
    let cp = |from: &str, to: &str| machine.xcompose(["cp", from, to]);
    cp("tree", "web:/tmp").ok();
    for index in ["1", "2"] {
        assert_eq!(inside(&machine, index, "cat /tmp/tree/sub/b; readlink /tmp/tree/link"), "two\na\n");
    }
    machine.xcompose(["cp", "--index", "2", "tree/a", "web:/only"]).ok();
    assert_eq!(inside(&machine, "2", "cat /only"), "one\n");
    assert_eq!(inside(&machine, "1", "test -e /only || echo none"), "none\n");
    machine.xcompose(["cp", "-L", "tree/link", "web:/plain"]).ok();
    assert_eq!(inside(&machine, "1", "test -L /plain || cat /plain"), "one\n");
    cp("tree/.", "web:/data").ok();
    assert_eq!(inside(&machine, "1", "ls /data"), "a\nlink\nsub\n");

    let out = machine.project().join("out");
    cp("web:/tmp/tree", "out").ok();
    assert_eq!(std::fs::read_to_string(out.join("sub/b")).unwrap(), "two\n");
    cp("web:/tmp/tree", "out").ok();
    assert!(out.join("tree/link").is_symlink(), "into a folder that is there");

    // At rest, a container's own files and its volumes are reached all the same.
    machine.xcompose(["stop"]).ok();
    cp("tree/a", "web:/data/later").ok();
    cp("tree/a", "web:/later").ok();
    cp("web:/data/later", "from-volume").ok();
    machine.xcompose(["start"]).ok();
    assert_eq!(inside(&machine, "2", "cat /later /data/later"), "one\none\n");
    machine.xcompose(["down", "-v"]).ok();
}

#[test]
fn archives_pass_through_the_standard_streams() {
    if cannot_run() {
        return;
    }
    let machine = machine();
    machine.xcompose(["cp", "tree", "web:/tmp"]).ok();
    let archive = machine.project().join("tree.tar");
    let mut cp = machine.command(["cp", "web:/tmp/tree", "-"]);
    assert!(cp.stdout(std::fs::File::create(&archive).unwrap()).status().unwrap().success());
    let mut cp = machine.command(["cp", "-", "web:/data"]);
    assert!(cp.stdin(std::fs::File::open(&archive).unwrap()).status().unwrap().success());
    assert_eq!(inside(&machine, "2", "cat /data/tree/sub/b"), "two\n");

    let mut cp = machine.command(["cp", "-", "web:/data/tree/a"]);
    let mut child = cp.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may say no before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(&std::fs::read(&archive).unwrap());
    let finished = child.wait_with_output().unwrap();
    assert_eq!(finished.status.code(), Some(1));
    let told = String::from_utf8_lossy(&finished.stderr).into_owned();
    assert!(told.contains(":/data/tree/a\" must be a directory"), "{told}");
    machine.xcompose(["down", "-v"]).ok();
}

#[test]
fn what_cannot_be_copied_is_named_and_nothing_is_left() {
    if cannot_run() {
        return;
    }
    let machine = machine();
    let told = |from: &str, to: &str| machine.xcompose(["cp", from, to]).fails(1).stderr();
    assert!(told("a", "b").contains("unknown copy direction"));
    assert!(told("web:/a", "fixed:/a").contains("copying between services is not supported"));
    assert!(told("nosuch:/a", "b").contains("no container found for service \"nosuch\""));
    assert!(told("nosuch", "web:/").contains("nosuch: no such file or directory"));
    assert!(told("web:/nosuch", ".").contains("could not find the file /nosuch"));
    machine.write("kept", "kept");
    assert!(told("web:/dev/null", "kept").contains("/dev/null is a device or a socket"));
    assert_eq!(std::fs::read_to_string(machine.project().join("kept")).unwrap(), "kept");
    assert!(told("tree/a", "web:/nosuch/a").contains("could not find the directory /nosuch"));
    assert!(told("tree/a", "web:/nosuch/").contains("must exist"));
    assert!(told("tree", "web:/bin/busybox").contains("cannot copy a directory to the file /bin/busybox"));
    assert!(told("web:/bin", "nosuch/deep").contains("does not exist"));
    assert!(told("tree/a", "fixed:/a").contains("read-only"));
    machine.xcompose(["stop"]).ok();
    assert!(told("tree/a", "fixed:/a").contains("read-only"));
    machine.xcompose(["down", "-v"]).ok();
}

#[test]
fn a_container_leads_a_copy_nowhere_else() {
    if cannot_run() {
        return;
    }
    let machine = machine();
    let host = machine.project().join("host");
    std::fs::create_dir(&host).unwrap();
    std::fs::write(host.join("file"), "host").unwrap();
    let path = host.display();
    // Links that would lead to the host's files lead to the container's own.
    inside(&machine, "1", &format!("ln -s {path} /link; ln -s ../../../../../..{path}/file /up; mkdir -p {path}"));
    machine.xcompose(["cp", "--index", "1", "tree/a", "web:/link/file"]).ok();
    assert_eq!(inside(&machine, "1", &format!("cat {path}/file")), "one\n");
    machine.xcompose(["cp", "-L", "web:/up", "back"]).ok();
    assert_eq!(std::fs::read_to_string(machine.project().join("back")).unwrap(), "one\n");

    // A link that was copied out before is no way for what comes after it.
    inside(&machine, "1", &format!("mkdir /bad; ln -s {path} /bad/way"));
    machine.xcompose(["cp", "web:/bad/.", "out"]).ok();
    inside(&machine, "1", "rm /bad/way; mkdir /bad/way; echo evil > /bad/way/file");
    machine.xcompose(["cp", "web:/bad/.", "out"]);
    assert_eq!(std::fs::read_to_string(host.join("file")).unwrap(), "host");
    machine.xcompose(["down", "-v"]).ok();
}
