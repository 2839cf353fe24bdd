//! Nothing is lost when keeper, supervisor or both are killed.

use std::time::Duration;

use xcompose::engine::{ContainerId, ContainerState, Engine, Rest, Stream};
use xcompose::runtime::cgroup::{DeviceAccess, Tree};
use xcompose::values::restart::Restart;

use super::stack::{Stack, until};
use crate::support::cannot_run;

const LINES: usize = 200_000;

/// Writes numbered lines as fast as it can, then ends with 9.
fn flood(stack: &Stack) -> ContainerId {
    stack.run("flood", &format!("seq 1 {LINES}; exit 9"))
}

fn assert_every_line_once(stack: &Stack, id: &ContainerId) {
    let output = stack.output(id, Stream::Stdout);
    let mut count = 0;
    for (line, number) in output.lines().zip(1..) {
        assert_eq!(line.parse(), Ok(number));
        count = number;
    }
    assert_eq!(count, LINES);
}

#[test]
fn a_supervisor_killed_again_and_again_during_a_flood_loses_no_line_doubles_none_and_knows_the_code() {
    if cannot_run() {
        return;
    }
    let stack = Stack::new("crash-s");
    let bystander = stack.run("bystander", "sleep 1000");
    let pid = stack.pid(&bystander);
    let id = flood(&stack);
    for _ in 0..8 {
        stack.kill_and_see_another("--supervisor");
    }
    assert!(matches!(stack.exited(&id), ContainerState::Exited { status: 9, .. }), "{:?}", stack.observed(&id).state);
    assert_every_line_once(&stack, &id);
    assert_eq!(stack.pid(&bystander), pid);
    stack.down();
}

#[test]
fn a_killed_keeper_is_replaced_and_nothing_is_lost() {
    if cannot_run() {
        return;
    }
    let stack = Stack::new("crash-k");
    let bystander = stack.run("bystander", "sleep 1000");
    let pid = stack.pid(&bystander);
    let id = flood(&stack);
    for _ in 0..4 {
        stack.kill_and_see_another("--keeper");
    }
    assert!(matches!(stack.exited(&id), ContainerState::Exited { status: 9, .. }), "{:?}", stack.observed(&id).state);
    assert_every_line_once(&stack, &id);
    assert_eq!(stack.pid(&bystander), pid);
    stack.wait(stack.runtime.stop_container(&bystander, Some(Duration::ZERO), Rest::UntilStarted)).unwrap();
    assert!(matches!(stack.observed(&bystander).state, ContainerState::Exited { status: 137, .. }));
    stack.down();
}

#[test]
fn with_both_killed_the_next_command_adopts_what_runs_with_its_output() {
    if cannot_run() {
        return;
    }
    let stack = Stack::new("crash-b");
    let bystander = stack.run("bystander", "sleep 1000");
    let pid = stack.pid(&bystander);
    // Ends only when it is told to: an exit while nobody is there to see it can't be known.
    let id = stack.run("flood", &format!("seq 1 {LINES}; until [ -e /end ]; do sleep 0.05; done; exit 9"));
    for _ in 0..3 {
        // Stopped first: neither may see the other die.
        let both = [stack.ours("--keeper"), stack.ours("--supervisor")].concat();
        for signal in [nix::sys::signal::Signal::SIGSTOP, nix::sys::signal::Signal::SIGKILL] {
            for pid in &both {
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), signal).unwrap();
            }
        }
        until(|| both.iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}/cwd/.")).exists()));
        assert_eq!(stack.pid(&bystander), pid);
    }
    assert_eq!(stack.exec(&id, &["touch", "/end"]).1, 0);
    assert!(matches!(stack.exited(&id), ContainerState::Exited { status: 9, .. }), "{:?}", stack.observed(&id).state);
    assert_every_line_once(&stack, &id);
    stack.down();
}

#[test]
fn a_cgroup_that_a_killed_supervisor_left_goes_with_its_container() {
    if cannot_run() {
        return;
    }
    let stack = Stack::new("crash-g");
    let id = stack.run("a", "true");
    stack.exited(&id);
    let cgroup = Tree::detect().unwrap().cgroup(None, &id.0);
    cgroup.create(&Default::default(), &DeviceAccess::All).unwrap();
    let mut stray = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    for file in cgroup.join_files() {
        std::fs::write(file.with_file_name("cgroup.procs"), stray.id().to_string()).unwrap();
    }
    assert_eq!(cgroup.processes().unwrap(), [stray.id().cast_signed()]);
    // Its death is seen at once by a parent that waits.
    let waiting = std::thread::spawn(move || stray.wait().unwrap());
    stack.down();
    assert!(!waiting.join().unwrap().success());
    let left = |folder: &std::fs::DirEntry| folder.path().join("xcompose").join(&id.0).exists();
    assert!(!std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten().any(|folder| left(&folder)));
}

#[test]
fn restarts_go_on_after_a_supervisor_was_killed() {
    if cannot_run() {
        return;
    }
    let stack = Stack::new("crash-r");
    let mut config = stack.config("a", "sleep 0.05; exit 1");
    config.restart = Restart::OnFailure { max: 4 };
    let id = stack.create(&config);
    stack.wait(stack.runtime.start_container(&id)).unwrap();
    stack.kill_and_see_another("--supervisor");
    stack.kill_and_see_another("--supervisor");
    assert!(matches!(stack.exited(&id), ContainerState::Exited { status: 1, .. }));
    assert_eq!(stack.observed(&id).restart_count, 4);
    stack.down();
}
