//! Containers under keeper and supervisor, one life each.

use std::time::Duration;

use xcompose::engine::{
    ContainerState, Engine, EngineError, EventAction, EventQuery, LogQuery, Mount, MountSource, Rest, Stream, Subject,
    WaitFor,
};
use xcompose::values::health::{Health, HealthCheck, Probe};
use xcompose::values::restart::Restart;
use xcompose::values::signal::Signal;

use super::stack::{Stack, until};
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
    until(|| stack.output(&polite, Stream::Stdout) == "ready\n");
    stack.wait(stack.runtime.stop_container(&polite, None, Rest::UntilStarted)).unwrap();
    assert!(matches!(stack.observed(&polite).state, ContainerState::Exited { status: 3, .. }));
    assert_eq!(stack.output(&polite, Stream::Stdout), "ready\nbye\n");

    let deaf = stack.run("deaf", "sleep 1000");
    stack.wait(stack.runtime.stop_container(&deaf, Some(Duration::from_millis(10)), Rest::UntilStarted)).unwrap();
    assert!(matches!(stack.observed(&deaf).state, ContainerState::Exited { status: 137, .. }));
    stack.down();
}

#[test]
fn what_is_killed_has_ended_when_that_returns_so_that_a_start_starts_it() {
    if cannot_run() {
        return;
    }
    let stack = Stack::new("killed");
    let mut config = stack.config("a", "exec sleep 1000");
    config.restart = Restart::Always;
    let id = stack.create(&config);
    for _ in 0..20 {
        stack.wait(stack.runtime.start_container(&id)).unwrap();
        assert!(matches!(stack.observed(&id).state, ContainerState::Running { .. }));
        stack.wait(stack.runtime.kill_container(&id, Signal::KILL)).unwrap();
        assert!(matches!(stack.observed(&id).state, ContainerState::Exited { status: 137, .. }));
    }
    stack.down();
}

#[test]
fn a_policy_restarts_until_its_limit_and_counts() {
    if cannot_run() {
        return;
    }
    let stack = Stack::new("policy");
    let mut config = stack.config("a", "echo run; exit 7");
    config.restart = Restart::OnFailure { max: 2 };
    let id = stack.create(&config);
    stack.wait(stack.runtime.start_container(&id)).unwrap();
    assert!(matches!(stack.exited(&id), ContainerState::Exited { status: 7, .. }));
    assert_eq!(stack.observed(&id).restart_count, 2);
    assert_eq!(stack.output(&id, Stream::Stdout), "run\nrun\nrun\n");
    stack.down();
}

#[test]
fn a_line_that_a_run_did_not_end_is_told_with_that_run_alone() {
    if cannot_run() {
        return;
    }
    let stack = Stack::new("unended");
    let id = stack.run("a", "printf unended");
    stack.exited(&id);
    let whole = stack.log(&id, &LogQuery::default());
    assert_eq!(whole.last().unwrap().bytes, b"unended");
    let after = LogQuery { since: Some(whole.last().unwrap().time + 1), ..LogQuery::default() };
    assert_eq!(stack.log(&id, &after), [], "it is not told again to who has seen it");
    stack.wait(stack.runtime.start_container(&id)).unwrap();
    stack.exited(&id);
    let second: Vec<u8> = stack.log(&id, &after).into_iter().flat_map(|chunk| chunk.bytes).collect();
    assert_eq!(second, b"unended", "the second run's alone");
    stack.down();
}

#[test]
fn a_stop_in_the_pause_between_restarts_ends_them() {
    if cannot_run() {
        return;
    }
    let stack = Stack::new("pause");
    let mut config = stack.config("a", "exit 1");
    config.restart = Restart::Always;
    let id = stack.create(&config);
    stack.wait(stack.runtime.start_container(&id)).unwrap();
    until(|| stack.observed(&id).restart_count >= 3);
    stack.wait(stack.runtime.stop_container(&id, None, Rest::UntilStarted)).unwrap();
    assert!(matches!(stack.observed(&id).state, ContainerState::Exited { .. }));
    stack.down();
}

#[test]
fn a_command_that_cannot_run_says_so_and_is_not_tried_again() {
    if cannot_run() {
        return;
    }
    let stack = Stack::new("wrong");
    let mut config = stack.config("a", "");
    config.entrypoint = Some(vec!["nowhere".into()]);
    config.restart = Restart::Always;
    let id = stack.create(&config);
    let error = stack.wait(stack.runtime.start_container(&id)).expect_err(&format!("{:?}", stack.observed(&id)));
    assert!(matches!(error, EngineError::Command { code: 127, .. }), "{error:?}");
    assert!(matches!(stack.observed(&id).state, ContainerState::Created { failure: Some((127, _)) }));
    stack.down();
}

#[test]
fn a_further_process_joins_a_container_and_its_code_is_told() {
    if cannot_run() {
        return;
    }
    let stack = Stack::new("exec");
    let id = stack.run("a", "echo $$ > /tmp/me; sleep 1000");
    assert_eq!(stack.exec(&id, &["sh", "-c", "cat /tmp/me; exit 5"]), ("1\n".into(), 5));
    let config = xcompose::engine::ExecConfig { command: vec!["true".into()], ..Default::default() };
    stack.wait(stack.runtime.stop_container(&id, Some(Duration::ZERO), Rest::UntilStarted)).unwrap();
    let io = xcompose::engine::ProcessIo::Files { stdin: None, stdout: None, stderr: None };
    let error = stack.wait(stack.runtime.exec(&id, &config, io)).unwrap_err();
    assert!(matches!(error, EngineError::State { .. }), "{error:?}");
    stack.down();
}

#[test]
fn a_container_is_healthy_as_soon_as_its_probe_succeeds() {
    if cannot_run() {
        return;
    }
    let stack = Stack::new("health");
    let mut config = stack.config("a", "sleep 0.1; touch /tmp/ready; sleep 1000");
    config.healthcheck = Some(HealthCheck {
        probe: Probe::Shell("test -e /tmp/ready".into()),
        interval: Some(Duration::from_secs(3600)),
        timeout: None,
        start_period: None,
        start_interval: None,
        retries: Some(1),
    });
    let id = stack.create(&config);
    stack.wait(stack.runtime.start_container(&id)).unwrap();
    let state = stack.wait(stack.runtime.wait_container(&id, WaitFor::HealthKnown)).unwrap();
    assert!(matches!(state, ContainerState::Running { health: Some(Health::Healthy), .. }), "{state:?}");
    stack.down();
}

#[test]
fn a_creation_that_fails_leaves_nothing_and_a_name_is_taken_once() {
    if cannot_run() {
        return;
    }
    let stack = Stack::new("create");
    let mut config = stack.config("a", "true");
    config.image = "nowhere".parse().unwrap();
    let error = stack.wait(stack.runtime.create_container(&config, None)).unwrap_err();
    assert!(matches!(error, EngineError::NotFound(Subject::Image(_))), "{error:?}");
    let config = stack.config("a", "true");
    stack.create(&config);
    let error = stack.wait(stack.runtime.create_container(&config, None)).unwrap_err();
    assert!(matches!(error, EngineError::State { subject: Subject::ContainerName(_), .. }), "{error:?}");
    let containers = stack.machine.data().join("projects").join(stack.project.as_str()).join("containers");
    assert_eq!(std::fs::read_dir(containers).unwrap().count(), 1);
    stack.down();
    assert_eq!(std::fs::read_dir(stack.machine.data().join("containers")).unwrap().count(), 0);
}

#[test]
fn events_tell_a_life_in_order() {
    if cannot_run() {
        return;
    }
    let stack = Stack::new("events");
    let mut events = stack.wait(stack.runtime.events(&stack.project, &EventQuery::default())).unwrap();
    let id = stack.run("a", "sleep 1000");
    stack.wait(stack.runtime.stop_container(&id, Some(Duration::ZERO), Rest::UntilStarted)).unwrap();
    stack.wait(stack.runtime.remove_container(&id, false, true)).unwrap();
    let mut told = Vec::new();
    while told.last() != Some(&EventAction::Destroy) {
        told.push(stack.wait(events.recv()).unwrap().action);
    }
    let kill = EventAction::Kill { signal: Signal::KILL };
    let die = EventAction::Die { status: 137, restarting: false };
    assert_eq!(told, [EventAction::Create, EventAction::Start, kill, die, EventAction::Stop, EventAction::Destroy]);
    drop(events);
    stack.down();
}

#[test]
fn a_follower_gets_every_line_of_a_run_and_ends_with_it() {
    if cannot_run() {
        return;
    }
    let stack = Stack::new("follow");
    let follow = LogQuery { follow: true, ..LogQuery::default() };
    let id = stack.run("a", "for i in 1 2 3; do echo $i; sleep 0.05; done; printf end");
    let text = |query: &LogQuery| {
        let chunks = stack.log(&id, query);
        assert!(chunks.is_sorted_by(|one, other| one.time < other.time));
        String::from_utf8(chunks.into_iter().flat_map(|chunk| chunk.bytes).collect()).unwrap()
    };
    assert_eq!(text(&follow), "1\n2\n3\nend");
    stack.exited(&id);
    assert_eq!(text(&follow), "1\n2\n3\nend");
    assert_eq!(text(&LogQuery { tail: Some(2), ..LogQuery::default() }), "3\nend");
    assert_eq!(text(&LogQuery { tail: Some(0), ..LogQuery::default() }), "");
    let second = stack.log(&id, &LogQuery::default()).get(1).map(|chunk| chunk.time);
    assert_eq!(text(&LogQuery { since: second, ..LogQuery::default() }), "2\n3\nend");
    assert_eq!(text(&LogQuery { until: second, ..LogQuery::default() }), "1\n2\n");
    stack.down();
}

#[test]
fn a_container_made_for_one_run_is_gone_after_it_with_its_volumes() {
    if cannot_run() {
        return;
    }
    let stack = Stack::new("once");
    let mut config = stack.config("a", "exit 4");
    config.auto_remove = true;
    let mount = Mount { target: "/data".into(), source: MountSource::Anonymous, read_only: false };
    config.mounts.push(mount);
    let id = stack.create(&config);
    assert_eq!(stack.observed(&id).anonymous_volumes.len(), 1);
    let volumes = || stack.wait(stack.runtime.observe(&config.project, &[])).unwrap().volumes;
    assert_eq!(volumes().len(), 1);
    stack.wait(stack.runtime.start_container(&id)).unwrap();
    match stack.wait(stack.runtime.wait_container(&id, WaitFor::Removed)) {
        Ok(_) | Err(EngineError::NotFound(_)) => {}
        Err(other) => panic!("{other}"),
    }
    assert!(matches!(stack.wait(stack.runtime.remove_container(&id, true, true)), Err(EngineError::NotFound(_))));
    assert!(volumes().is_empty());
    stack.down();
}
