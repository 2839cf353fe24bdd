//! A container's life in words: why it is as it is, when what happened, its last words.

use std::fmt::Write;
use std::time::Duration;

use crate::cli::ui::time;
use crate::engine::{ContainerState, Event, EventAction, Story};
use crate::spec::project::service::Condition;
use crate::values::byte_size::human;
use crate::values::health::Health;
use crate::values::signal::Signal;

/// How many moments are shown; the last ones are what is asked for.
const MOMENTS: usize = 14;

/// A pause that is worth a mark, in nanoseconds.
const SLOW: i64 = 100_000_000;

/// Everything that goes on the page.
#[derive(Debug)]
pub struct Facts {
    /// The container.
    pub name: String,
    /// Its state as `ps` shows it.
    pub status: String,
    /// Why it is so.
    pub reason: String,
    /// Services it waits for, and how they stand.
    pub waits: Vec<String>,
    /// What happened, in order.
    pub moments: Vec<Moment>,
    /// What is known besides.
    pub story: Story,
    /// Its last lines.
    pub output: Vec<String>,
    /// Places in the files, and what stands there.
    pub places: Vec<(String, String)>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// Nanoseconds since 1970.
    pub time: i64,
    /// What.
    pub text: String,
    /// Whether somebody was waiting.
    pub sort: Sort,
}

/// What a pause before or after a moment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// A step on the way to running well: between two of them somebody waits.
    OnTheWay,
    /// An end, or something that has nothing to do with a start: before and after it time just passes.
    Aside,
}

/// Why a container is in its state.
#[derive(Debug, PartialEq, Eq)]
pub struct Reason {
    /// In a sentence.
    pub text: String,
    /// The keys of its service that this is about.
    pub about: &'static [&'static str],
}

impl Moment {
    /// An event that belongs on the page.
    pub fn of(event: &Event) -> Option<Moment> {
        let note = |name: &str| event.notes.get(name).map(String::as_str);
        let because = |name: &str| note(name).map_or_else(String::new, |why| format!(" ({why})"));
        let text = match &event.action {
            EventAction::Create => "made".to_owned(),
            EventAction::Start => format!("started{}", because("why")),
            EventAction::Kill { signal } => format!("{signal} sent{}", because("why")),
            EventAction::Oom => "the kernel's memory killer struck".to_owned(),
            EventAction::Die { .. } if note("unseen").is_some() => format!("ended unseen{}", because("unseen")),
            EventAction::Die { status, .. } => match (note("reason"), note("next")) {
                (Some(reason), _) => format!("could not be started: {reason}"),
                (None, Some(next)) => format!("ended with code {status}; {next}"),
                (None, None) => format!("ended with code {status}"),
            },
            EventAction::Stop => "stopped".to_owned(),
            EventAction::Restart => "restarted".to_owned(),
            EventAction::Pause => "paused".to_owned(),
            EventAction::Unpause => "unpaused".to_owned(),
            EventAction::Health { health } => match note("output").filter(|output| !output.is_empty()) {
                Some(output) => format!("{health}: {output}"),
                None => health.to_string(),
            },
            EventAction::Destroy => "removed".to_owned(),
            EventAction::ExecCreate { .. } | EventAction::ExecStart { .. } | EventAction::ExecDie { .. } => {
                return None;
            }
        };
        let sort = match &event.action {
            EventAction::Create | EventAction::Start | EventAction::Health { health: Health::Healthy } => {
                Sort::OnTheWay
            }
            _ => Sort::Aside,
        };
        Some(Moment { time: event.time, text, sort })
    }
}

/// Why a container is in its state, from what happened to it.
pub fn reason(state: &ContainerState, events: &[Event], story: &Story) -> Reason {
    let told = |text: &str, about| Reason { text: text.to_owned(), about };
    match state {
        ContainerState::Created { failure: Some((code, reason)) } => {
            let text = match code {
                127 => format!("It could not be started: its command is not in the image. {reason}"),
                126 => format!("It could not be started: its command can't be executed. {reason}"),
                // What a start takes of the machine.
                _ => {
                    return Reason {
                        text: format!("It could not be started. {reason}"),
                        about: &["ports", "volumes", "devices"],
                    };
                }
            };
            Reason { text, about: &["command", "entrypoint", "image"] }
        }
        ContainerState::Created { failure: None } => told("It was made and nobody has started it.", &["depends_on"]),
        ContainerState::Running { paused: true, .. } => told("Somebody has paused it.", &[]),
        ContainerState::Running { stopping: true, .. } => told(
            "It is being stopped: it has its grace period to end by itself.",
            &["stop_grace_period", "stop_signal"],
        ),
        ContainerState::Running { health, .. } => running(*health, story),
        ContainerState::Restarting { status, .. } => {
            let mut reason = ended(*status, false, events);
            reason.text.push_str(" Its restart policy starts it again.");
            reason
        }
        ContainerState::Exited { unseen: true, .. } => {
            let rebooted = last(events, |event| event.notes.contains_key("unseen"));
            match rebooted.and_then(|event| event.notes.get("unseen")) {
                Some(why) => Reason { text: format!("How it ended is not known: {why}."), about: &[] },
                None => told("How it ended is not known: nobody was left to see it.", &[]),
            }
        }
        ContainerState::Exited { status, oom_killed, .. } => {
            let mut reason = ended(*status, *oom_killed, events);
            if story.stopped_by_user {
                reason.text.push_str(" It was stopped by hand, so no policy starts it.");
            }
            reason
        }
        ContainerState::Dead => told("Its removal was broken off; removing it again finishes that.", &[]),
    }
}

/// Why a container that depends on this one, which is in this state, can't have been started; `None` if it could.
pub fn hinders(condition: Condition, state: &ContainerState) -> Option<&'static str> {
    use ContainerState::{Created, Exited, Running};
    match (condition, state) {
        (_, Created { failure: Some(_) }) => Some("could not be started"),
        (Condition::Completed, Exited { status: 1.., .. }) => Some("did not end successfully"),
        (Condition::Healthy, Running { health: Some(Health::Unhealthy), .. }) => Some("is unhealthy"),
        (Condition::Healthy, Exited { .. }) => Some("ended instead of being healthy"),
        _ => None,
    }
}

fn running(health: Option<Health>, story: &Story) -> Reason {
    let probe = story.probes.last().map(|probe| probe_in_words(probe.status, &probe.output));
    let because = probe.map_or_else(String::new, |probe| format!(" Its last probe {probe}."));
    let text = match health {
        None => return Reason { text: "It runs.".to_owned(), about: &[] },
        Some(Health::Healthy) => "It runs, and its probes succeed.".to_owned(),
        Some(Health::Starting) => format!("It runs, and no probe has succeeded yet.{because}"),
        Some(Health::Unhealthy) => format!("It runs, but too many probes in a row failed.{because}"),
    };
    Reason { text, about: &["healthcheck"] }
}

/// How a process ended, in words, and who is to blame for it.
fn ended(status: i32, oom_killed: bool, events: &[Event]) -> Reason {
    if oom_killed {
        let oom = last(events, |event| event.action == EventAction::Oom);
        let bytes = |name: &str| oom.and_then(|event| event.notes.get(name)?.parse::<u64>().ok());
        let text = match (bytes("limit").filter(|limit| *limit != u64::MAX), bytes("peak")) {
            (Some(limit), Some(peak)) => format!(
                "The kernel's memory killer ended it: its limit is {}, its peak was {}.",
                human(limit),
                human(peak)
            ),
            _ => "The kernel's memory killer ended it: the machine had no memory left.".to_owned(),
        };
        return Reason { text, about: &["mem_limit", "deploy.resources.limits"] };
    }
    let signal = Signal::from_number(status - 128);
    let killed = last(events, |event| matches!(event.action, EventAction::Kill { .. }));
    let killed = killed.filter(|kill| {
        last(events, |event| event.action == EventAction::Start).is_none_or(|start| start.time <= kill.time)
    });
    let why = killed.and_then(|event| event.notes.get("why")).map(String::as_str);
    let asked = matches!(why, Some("stop" | "asked"));
    let text = match (status, signal) {
        (0, _) if asked => "It was asked to end, and ended successfully (0).".to_owned(),
        (0, _) => "It ended by itself and was successful (0).".to_owned(),
        (126, _) => "It ended with 126: as shells say, a command could not be executed.".to_owned(),
        (127, _) => "It ended with 127: as shells say, a command was not found.".to_owned(),
        (_, Some(signal)) => match (signal, why) {
            (Signal::KILL, Some("it can't see its stop signal")) => {
                return Reason {
                    text: "It was stopped, and killed at once: its first process can't see its stop signal. With \
                           \"init: true\" it could."
                        .to_owned(),
                    about: &["init", "stop_signal", "command", "entrypoint"],
                };
            }
            (Signal::KILL, Some("grace period over")) => {
                return Reason {
                    text: "It was stopped, and killed when its grace period was over.".to_owned(),
                    about: &["stop_grace_period", "stop_signal"],
                };
            }
            (_, Some("asked" | "stop" | "stop without grace")) => format!("A command had it ended by {signal}."),
            (_, _) => format!("It was killed by {signal}, and by none of xcompose's commands: {}", blame(signal)),
        },
        (_, None) if asked => format!("It was asked to end, and ended with code {status}."),
        (_, None) => format!("It ended by itself with code {status}."),
    };
    Reason { text, about: &["command", "entrypoint"] }
}

fn blame(signal: Signal) -> &'static str {
    match signal.number() {
        4 | 5 | 7 | 8 | 11 | 31 => "the program crashed, or did what it may not.",
        6 => "the program gave up by itself (abort).",
        _ => "something in it or on the machine sent that.",
    }
}

fn last(events: &[Event], is: impl Fn(&Event) -> bool) -> Option<&Event> {
    events.iter().rev().find(|event| is(event))
}

fn probe_in_words(status: i32, output: &str) -> String {
    let output = output.trim_end().lines().last().unwrap_or_default();
    match (status, output) {
        (0, _) => "succeeded".to_owned(),
        (_, "") => format!("ended with code {status} and printed nothing"),
        (-1, output) => format!("failed: {output}"),
        (_, output) => format!("ended with code {status}: {output}"),
    }
}

/// The page.
pub fn page(facts: &Facts) -> String {
    let mut text = format!("{}: {}\n  {}\n", facts.name, facts.status, facts.reason);
    // Writing to a string can't fail, here and below.
    for wait in &facts.waits {
        let _ = writeln!(text, "  It depends on {wait}");
    }
    if let Some(memory) = facts.story.memory {
        let limit = memory.limit.map_or_else(String::new, |limit| format!(" of {}", human(limit)));
        let _ = writeln!(
            text,
            "  It uses {}{limit} of memory now; its peak was {}.",
            human(memory.used),
            human(memory.peak)
        );
    }
    if !facts.story.listening.is_empty() {
        let ports: Vec<_> = facts.story.listening.iter().map(u16::to_string).collect();
        let _ = writeln!(text, "  It listens on {}.", ports.join(", "));
    }
    text.push_str("\nWhat happened\n");
    text.push_str(&timeline(&facts.moments));
    if let Some(probe) = facts.story.probes.last() {
        let took = span(probe.finished - probe.started);
        let _ = writeln!(
            text,
            "\nLast probe\n  {}  {} after {took}",
            time::micro(probe.started),
            probe_in_words(probe.status, &probe.output)
        );
    }
    if !facts.output.is_empty() {
        text.push_str("\nLast output\n");
        for line in &facts.output {
            let _ = writeln!(text, "  | {line}");
        }
    }
    if !facts.places.is_empty() {
        text.push_str("\nIn the file\n");
        for (at, what) in &facts.places {
            let _ = writeln!(text, "  {at}  {what}");
        }
    }
    text
}

/// Each moment with the time since the one before, the longest pause marked.
fn timeline(moments: &[Moment]) -> String {
    let mut text = String::new();
    let skipped = moments.len().saturating_sub(MOMENTS);
    if skipped > 0 {
        let _ = writeln!(text, "  … {skipped} earlier");
    }
    let shown = moments.get(skipped..).unwrap_or_default();
    let pauses: Vec<i64> = shown.windows(2).map(|pair| pair[1].time - pair[0].time).collect();
    let waited = |number: &usize| shown[*number..=*number + 1].iter().all(|moment| moment.sort == Sort::OnTheWay);
    let longest = (0..pauses.len()).filter(waited).max_by_key(|number| pauses[*number]);
    let longest = longest.filter(|number| pauses[*number] >= SLOW);
    for (number, moment) in shown.iter().enumerate() {
        let before = number.checked_sub(1);
        let pause = before.and_then(|before| pauses.get(before)).copied();
        let since = pause.map_or_else(String::new, |pause| format!("+{}", span(pause)));
        let mark = if before.is_some() && before == longest { "  <- longest pause" } else { "" };
        let _ = writeln!(text, "  {} {since:>9}  {}{mark}", time::micro(moment.time), moment.text);
    }
    text
}

/// `7ms`, `2.5s`, `3m`.
fn span(nanoseconds: i64) -> String {
    let span = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0));
    match span.as_secs() {
        0 if span.as_millis() == 0 => format!("{}µs", span.as_micros()),
        0 => format!("{}ms", span.as_millis()),
        1..100 => format!("{:.1}s", span.as_secs_f64()),
        100..6000 => format!("{}m", span.as_secs() / 60),
        6000..360_000 => format!("{}h", span.as_secs() / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}
