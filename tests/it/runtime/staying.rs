//! Stops that are asked for, what is remembered of a life, and output that is not kept.

use std::time::Duration;

use xcompose::engine::{ContainerId, ContainerState, Engine, Event, EventAction, EventQuery, Rest, Stopped, Stream};
use xcompose::values::signal::Signal;

use super::stack::{Stack, until};
use crate::support::cannot_run;

const HOUR: Duration = Duration::from_secs(3600);
/// Ends with 7 when it is told to, and says when it can hear that.
const OBEYS: &str = "trap 'exit 7' TERM; touch /ready; while :; do sleep 0.02; done";

fn ready(stack: &Stack, id: &ContainerId) {
    until(|| stack.exec(id, &["test", "-e", "/ready"]).1 == 0);
}

fn remembered(stack: &Stack) -> Vec<Event> {
    let query = EventQuery { since: Some(0), until: Some(now()) };
    stack.wait(async {
        let mut events = stack.runtime.events(&stack.project, &query).await.unwrap();
        let mut all = Vec::new();
        while let Some(event) = events.recv().await {
            all.push(event);
        }
        all
    })
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_nanos()).unwrap()
}

#[test]
fn a_process_that_cannot_see_its_stop_signal_is_killed_at_once_and_another_gets_its_grace() {
    if cannot_run() {
        return;
    }
    let stack = Stack::new("deaf");
    let run = |name, script, init| {
        let mut config = stack.config(name, script);
        (config.stop_grace_period, config.init) = (Some(HOUR), init);
        let id = stack.create(&config);
        stack.wait(stack.runtime.start_container(&id)).unwrap();
        id
    };
    let stop = |id| stack.wait(stack.runtime.stop_container(id, None, Rest::UntilStarted)).unwrap();
    let status = |id| match stack.observed(id).state {
        ContainerState::Exited { status, .. } => status,
        other => panic!("{other:?}"),
    };
    let deaf = run("deaf", "exec sleep 1000", false);
    until(|| stack.exec(&deaf, &["sh", "-c", "grep -q sleep /proc/1/cmdline"]).1 == 0);
    assert_eq!((stop(&deaf), status(&deaf)), (Stopped::Deaf, 137));
    let obeys = run("obeys", OBEYS, false);
    ready(&stack, &obeys);
    assert_eq!((stop(&obeys), status(&obeys)), (Stopped::InOrder, 7));
    // With an init in front the signal arrives, and kills whoever has no handler.
    let behind = run("behind", "exec sleep 1000", true);
    until(|| stack.exec(&behind, &["sh", "-c", "grep -q sleep /proc/2/cmdline"]).1 == 0);
    assert_eq!((stop(&behind), status(&behind)), (Stopped::InOrder, 143));
    let kills = remembered(&stack).into_iter().filter(|event| event.container == deaf);
    let kills: Vec<_> = kills.filter(|event| event.action == EventAction::Kill { signal: Signal::KILL }).collect();
    assert_eq!(kills[0].notes["why"], "it can't see its stop signal");
    stack.down();
}

#[test]
fn a_life_is_remembered_when_nothing_runs_any_more() {
    if cannot_run() {
        return;
    }
    let stack = Stack::new("remember");
    let id = stack.run("a", "sleep 1000");
    assert_eq!(stack.exec(&id, &["sh", "-c", "exit 3"]).1, 3);
    stack.wait(stack.runtime.kill_container(&id, Signal::KILL)).unwrap();
    stack.exited(&id);
    stack.down();
    let told: Vec<EventAction> = remembered(&stack).into_iter().map(|event| event.action).collect();
    let command = "sh -c exit 3".to_owned();
    let mut wanted = vec![
        EventAction::Create,
        EventAction::Start,
        EventAction::ExecCreate { command: command.clone() },
        EventAction::ExecStart { command },
        EventAction::ExecDie { status: 3 },
        EventAction::Kill { signal: Signal::KILL },
        EventAction::Die { status: 137, restarting: false },
        EventAction::Destroy,
    ];
    // The end of the further process and the kill are told by different parts.
    let order = |action: &EventAction| format!("{action:?}");
    let (mut told, mut rest) = (told, wanted.split_off(4));
    let mut told_rest = told.split_off(4);
    told_rest.sort_by_key(order);
    rest.sort_by_key(order);
    assert_eq!((told, told_rest), (wanted, rest));
    // Nobody had to be started to tell it.
    assert_eq!(stack.ours("--supervisor"), [] as [i32; 0]);
}

#[test]
fn who_starts_what_another_command_was_stopping_gets_it_running_again() {
    if cannot_run() {
        return;
    }
    let stack = Stack::new("restop");
    let mut config = stack.config("a", "trap 'sleep 0.3; exit 7' TERM; touch /ready; while :; do sleep 0.02; done");
    config.stop_grace_period = Some(HOUR);
    let id = stack.create(&config);
    stack.wait(stack.runtime.start_container(&id)).unwrap();
    ready(&stack, &id);
    let pid = stack.pid(&id);
    // A command that is killed as soon as the stop is under way.
    stack.wait(async {
        let stop = std::pin::pin!(stack.runtime.stop_container(&id, None, Rest::UntilStarted));
        let begun = std::pin::pin!(async {
            let mut events = stack.runtime.events(&stack.project, &EventQuery::default()).await.unwrap();
            while !matches!(events.recv().await.unwrap().action, EventAction::Kill { .. }) {}
        });
        // The subscription first: it holds before the stop is asked for.
        futures_util::future::select(begun, stop).await;
    });
    match stack.observed(&id).state {
        ContainerState::Running { stopping, .. } => assert!(stopping),
        // It has been quick.
        ContainerState::Exited { status, .. } => assert_eq!(status, 7),
        other => panic!("{other:?}"),
    }
    stack.wait(stack.runtime.start_container(&id)).unwrap();
    assert_ne!(stack.pid(&id), pid);
    stack.down();
}

#[test]
fn of_output_that_is_only_for_who_is_attached_no_more_than_its_end_is_kept() {
    if cannot_run() {
        return;
    }
    let stack = Stack::new("mute");
    for (name, tty) in [("plain", false), ("terminal", true)] {
        let mut config = stack.config(name, "seq 1 200000; exit 5");
        (config.logging.driver, config.tty) = (Some("none".into()), tty);
        let id = stack.create(&config);
        stack.wait(stack.runtime.start_container(&id)).unwrap();
        assert!(matches!(stack.exited(&id), ContainerState::Exited { status: 5, .. }));
        let kept = stack.output(&id, Stream::Stdout);
        assert!(kept.len() < 256 << 10 && kept.trim_end().ends_with("200000"), "{} bytes", kept.len());
    }
    stack.down();
}
