//! kill -9 in the middle of things: nothing half-made is seen, and the next command takes the leavings away.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::support::{Machine, busybox_archive, cannot_run, eventually};

fn entries(path: &std::path::Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_killed_build_takes_its_command_along_and_the_next_one_cleans_up() {
    if cannot_run() {
        return;
    }
    let machine = Machine::new();
    machine.import_busybox();
    let mark = format!("10{}", std::process::id());
    machine.write("context/Dockerfile", &format!("FROM busybox\nRUN echo begun; sleep {mark}\n"));
    let mut build = machine
        .command(["--progress", "plain", "image", "build", "-t", "web", "context"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(build.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.trim() == "begun" || line.ends_with(" begun")), "the command runs");
    build.kill().unwrap();
    build.wait().unwrap();
    eventually("the command is gone with its build", || {
        let running = fs::read_dir("/proc").unwrap().flatten().any(|process| {
            fs::read(process.path().join("cmdline")).is_ok_and(|line| line == format!("sleep\0{mark}\0").as_bytes())
        });
        (!running).then_some(())
    });
    assert_eq!(entries(&machine.data().join("images/tmp")).len(), 1, "what it left is there");
    assert_eq!(machine.xcompose(["image", "ls", "-q"]).ok().stdout().lines().count(), 1, "busybox alone");

    machine.write("context/Dockerfile", "FROM busybox\nRUN echo again > /file\n");
    machine.xcompose(["image", "build", "-t", "web", "context"]).ok();
    assert_eq!(entries(&machine.data().join("images/tmp")), [""; 0]);
    assert_eq!(entries(&machine.run().join("builds")), ["lock"]);
    assert_eq!(entries(&machine.data().join("networks")).iter().filter(|name| name.ends_with(".json")).count(), 0);
}

#[test]
fn a_killed_import_leaves_no_image_and_no_rubbish_behind() {
    if cannot_run() {
        return;
    }
    let machine = Machine::new();
    let archive = fs::read(busybox_archive(&machine.project())).unwrap();
    let mut import = machine.command(["image", "import", "-", "half"]).stdin(Stdio::piped()).spawn().unwrap();
    // More than a pipe holds has been read when this returns.
    let mut input = import.stdin.take().unwrap();
    input.write_all(&archive[..archive.len() / 2]).unwrap();
    import.kill().unwrap();
    import.wait().unwrap();
    drop(input);
    assert_eq!(machine.xcompose(["image", "ls", "-q"]).ok().stdout(), "");
    machine.import_busybox();
    assert_eq!(entries(&machine.data().join("images/tmp")), [""; 0]);
    assert_eq!(entries(&machine.data().join("images/layers")).len(), 1);
}

#[test]
fn a_killed_prune_breaks_no_image_and_the_next_one_finishes_it() {
    if cannot_run() {
        return;
    }
    let machine = Machine::new();
    machine.import_busybox();
    let layers = machine.data().join("images/layers");
    let kept = entries(&layers);
    let folder = machine.data().join("many");
    fs::create_dir(&folder).unwrap();
    for number in 0..3000 {
        fs::write(folder.join(number.to_string()), [1; 5000]).unwrap();
    }
    let archive = Command::new("tar").arg("-C").arg(&folder).args(["-c", "."]).output().unwrap().stdout;
    let mut import = machine.command(["image", "import", "-", "many"]).stdin(Stdio::piped()).spawn().unwrap();
    import.stdin.take().unwrap().write_all(&archive).unwrap();
    assert!(import.wait().unwrap().success());
    machine.xcompose(["image", "tag", "busybox", "kept"]).ok();
    fs::write(machine.project().join("compose.yaml"), "services: {a: {image: kept, command: sleep 9}}\n").unwrap();
    machine.xcompose(["create"]).ok();
    let big = entries(&layers).into_iter().find(|name| !kept.contains(name)).unwrap();

    // Killed as soon as the layer is out of its place: in the midst of removing it.
    let mut prune = machine.command(["image", "prune", "-af"]).stdout(Stdio::null()).spawn().unwrap();
    eventually("the layer is being removed", || (!layers.join(&big).exists()).then_some(()));
    prune.kill().unwrap();
    prune.wait().unwrap();
    assert!(!machine.xcompose(["image", "ls"]).ok().stdout().contains("many"));
    machine.xcompose(["run", "--rm", "a", "true"]).ok();
    machine.xcompose(["image", "prune", "-af"]).ok();
    assert_eq!(entries(&machine.data().join("images/tmp")), [""; 0]);
    assert_eq!(entries(&layers), kept);
    // What somebody else left counts as freed by whoever takes it away.
    fs::create_dir(machine.data().join("images/tmp/1-0")).unwrap();
    fs::write(machine.data().join("images/tmp/1-0/half"), [1; 40_000]).unwrap();
    let told = machine.xcompose(["image", "prune", "-f"]).ok().stdout();
    assert!(told.starts_with("Total reclaimed space: ") && !told.contains(" 0B"), "{told}");
    machine.xcompose(["down"]).ok();
}
