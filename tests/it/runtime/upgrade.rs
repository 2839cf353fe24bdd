//! A newer program puts its own supervisor in place of an older one, and nothing that runs notices.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use xcompose::engine::{ContainerState, Engine, ExecConfig, ProcessIo};
use xcompose::runtime::Runtime;
use xcompose::runtime::layout::Layout;
use xcompose::values::signal::Signal;

use super::stack::{Stack, until};
use crate::support::cannot_run;

/// Has the supervisor be of this version, as far as it says.
fn call_it(layout: &Layout, stack: &Stack, version: &str) {
    fs::write(layout.version(&stack.project), format!("{version:?}")).unwrap();
}

fn supervisor(stack: &Stack) -> i32 {
    let mut found = Vec::new();
    until(|| {
        found = stack.ours("--supervisor");
        found.len() == 1
    });
    found[0]
}

/// Which file a process runs from; an error if it has ended.
fn program(pid: i32) -> std::io::Result<u64> {
    Ok(fs::metadata(format!("/proc/{pid}/exe"))?.ino())
}

#[test]
fn an_older_supervisor_gives_way_to_the_program_that_asks_and_what_runs_runs_on() {
    if cannot_run() {
        return;
    }
    let stack = Stack::new("upgrade");
    let layout = Layout::new(stack.machine.data(), stack.machine.run());
    let bystander = stack.run("bystander", "sleep 1000");
    let ends = stack.run("ends", "until [ -e /end ]; do echo waiting; usleep 1000; done; exit 9");
    let (pid, old, keeper) = (stack.pid(&bystander), supervisor(&stack), stack.ours("--keeper"));

    // The same version, and one that is newer than who asks, stay.
    stack.exec(&bystander, &["true"]);
    call_it(&layout, &stack, "999.0.0");
    stack.exec(&bystander, &["true"]);
    assert_eq!(supervisor(&stack), old);

    let other = stack.machine.data().join("newer-xcompose");
    stack.machine.copy_program(&other);
    call_it(&layout, &stack, "0.0.1");
    let newer = Runtime::new(layout.clone()).with_program(&other);
    stack.wait(newer.pause_container(&bystander, true)).unwrap();
    stack.wait(newer.pause_container(&bystander, false)).unwrap();
    let new = supervisor(&stack);
    assert_ne!(new, old);
    let copy = fs::metadata(&other).unwrap().ino();
    assert_eq!(program(new).unwrap(), copy, "it runs from the newer program");
    assert_eq!(fs::read_to_string(layout.version(&stack.project)).unwrap(), format!("{:?}", env!("CARGO_PKG_VERSION")));
    assert_eq!(stack.ours("--keeper"), keeper);
    assert_eq!(stack.pid(&bystander), pid);

    // Killed, it comes back as it was; and so it does when its keeper is killed.
    for role in ["--supervisor", "--keeper"] {
        stack.kill_and_see_another(role);
        until(|| program(supervisor(&stack)).is_ok_and(|found| found == copy));
    }

    stack.exec(&ends, &["touch", "/end"]);
    assert!(matches!(stack.exited(&ends), ContainerState::Exited { status: 9, .. }));
    stack.down();
    assert!(!Path::new(&layout.version(&stack.project)).exists());
}

#[test]
fn an_older_supervisor_stays_while_somebody_has_a_process_with_it() {
    if cannot_run() {
        return;
    }
    let stack = Stack::new("upgrade-busy");
    let layout = Layout::new(stack.machine.data(), stack.machine.run());
    let bystander = stack.run("bystander", "sleep 1000");
    let old = supervisor(&stack);
    // Who follows or waits turns to the next one; who has a process can't.
    let events = stack.wait(stack.runtime.events(&stack.project, &Default::default())).unwrap();
    let config = ExecConfig { command: ["sleep", "1000"].map(str::to_owned).to_vec(), ..Default::default() };
    let io = ProcessIo::Files { stdin: None, stdout: None, stderr: None };
    let process = stack.wait(stack.runtime.exec(&bystander, &config, io)).unwrap();
    call_it(&layout, &stack, "0.0.1");
    assert_eq!(stack.exec(&bystander, &["echo", "served"]).0, "served\n");
    assert_eq!(supervisor(&stack), old);
    stack.wait(process.signals.send(Signal::KILL)).unwrap();
    assert_eq!(stack.wait(process.status).unwrap().unwrap(), 137);
    until(|| {
        stack.exec(&bystander, &["true"]);
        supervisor(&stack) != old
    });
    drop(events);
    stack.down();
}
