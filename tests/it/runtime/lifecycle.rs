//! Containers under keeper and supervisor, one life each.

use std::time::Duration;

use xcompose::engine::{ContainerState, Engine, Stream};

use super::stack::Stack;
use crate::support::cannot_run;

#[test]
fn a_container_runs_its_output_is_kept_apart_and_its_code_is_told() {
    if cannot_run() {
        return;
    }
    let stack = Stack::new("life");
    let id = stack.run("a", "echo out; echo err >&2; exit 42");
    assert!(matches!(stack.exited(&id), ContainerState::Exited { status: 42, oom_killed: false, .. }));
    assert_eq!(stack.output(&id, Stream::Stdout), "out\n");
    assert_eq!(stack.output(&id, Stream::Stderr), "err\n");
    stack.down();
}

#[test]
fn a_stop_waits_for_a_program_that_handles_its_signal_and_kills_one_that_does_not() {
    if cannot_run() {
        return;
    }
    let stack = Stack::new("stop");
    let polite = stack.run("polite", "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done");
    super::stack::until(|| stack.output(&polite, Stream::Stdout) == "ready\n");
    stack.wait(stack.runtime.stop_container(&polite, None)).unwrap();
    assert!(matches!(stack.observed(&polite).state, ContainerState::Exited { status: 3, .. }));
    assert_eq!(stack.output(&polite, Stream::Stdout), "ready\nbye\n");

    let deaf = stack.run("deaf", "sleep 1000");
    stack.wait(stack.runtime.stop_container(&deaf, Some(Duration::from_millis(10)))).unwrap();
    assert!(matches!(stack.observed(&deaf).state, ContainerState::Exited { status: 137, .. }));
    stack.down();
}
