//! What one container does next. Pure: no clock, no process, no I/O; the task that owns it supplies those.
//!
//! ```text
//!            start asked              spawned              stop asked
//!   Resting ─────────────▶ Starting ───────────▶ Running ─────────────▶ Stopping
//!    ▲ ▲ ▲                  │    ▲                │    │                   │  │
//!    │ │ └── start failed ──┘    │ delay over     │    │ ended, no more    │  │ ended, start again
//!    │ │                         │                │    ▼                   │  ▼
//!    │ └── stop asked ──────── Waiting ◀──────────┘  Resting ◀── ended ────┘ Starting
//!    │                                ended, again
//! ```
//!
//! The rules are those of Docker's restart manager (compose-behaviours §5 and §6): 100 ms, doubled each time up to a
//! minute, from the start again after a run of ten seconds; the count is reset only by a user's start; a start that fails
//! is never tried again.

use std::time::Duration;

use crate::engine::Rest;
use crate::values::restart::Restart;
use crate::values::signal::Signal;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// A run of this length makes the next delay the first one again.
const LONG_RUN: Duration = Duration::from_secs(10);

/// What the policy has done since a user started the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tries {
    /// How often it started it again.
    pub count: u32,
    /// How long it waited the last time; zero: not at all yet.
    pub delay: Duration,
}

/// Each state carries exactly what is true in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There is no process, and none will come by itself.
    Resting {
        /// Kept for whoever asks.
        count: u32,
    },
    /// A start is under way.
    Starting {
        /// So far.
        tries: Tries,
        /// What to do as soon as there is a process.
        then: Option<Stop>,
    },
    /// There is a process.
    Running {
        /// So far.
        tries: Tries,
    },
    /// There is a process, which is to end.
    Stopping {
        /// What comes after its end.
        next: Next,
        /// So far.
        count: u32,
    },
    /// It ended and is started again after a delay.
    Waiting {
        /// With the delay that is running.
        tries: Tries,
    },
}

/// A stop that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// From the signal to the kill; `MAX` is for ever.
    pub grace: Duration,
    /// What comes after the end.
    pub next: Next,
    /// For how long nothing does, where nothing does.
    pub rest: Rest,
}

/// What comes after the end of a process that is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Rest,
    /// Another start (`restart`).
    Start,
}

/// What happens to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A user wants it to run.
    StartAsked,
    /// Its command runs.
    Spawned,
    /// Its command can't be run.
    StartFailed,
    /// Its process ended.
    Ended {
        /// Exit code, or 128 and the signal.
        status: i32,
        /// How long it ran.
        lasted: Duration,
    },
    /// A user wants it to end, and perhaps to start again.
    StopAsked(Stop),
    /// The grace period of the last `StopAsked` is over.
    GraceOver,
    /// A user sends a signal.
    SignalAsked {
        /// Which.
        signal: Signal,
        /// It means that the user wants the end of it: no policy starts it again.
        ends: bool,
    },
    /// The delay is over.
    DelayOver,
}

/// What the owner has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Start a process, then tell `Spawned` or `StartFailed`.
    Spawn,
    /// Send the stop signal; tell `GraceOver` after this long, `MAX` being never.
    Stop(Duration),
    /// Kill it.
    Kill,
    /// Send this signal.
    Send(Signal),
    /// Tell `DelayOver` after this long.
    Delay(Duration),
}

/// Whether it is a user's wish that it does not run, which some policies respect at boot: `before`, and after this event.
pub fn stopped_by_user(before: bool, event: Event) -> bool {
    match event {
        Event::StartAsked | Event::StopAsked(Stop { next: Next::Start, .. }) => false,
        Event::StopAsked(Stop { next: Next::Rest, rest: Rest::UntilStarted, .. })
        | Event::SignalAsked { ends: true, .. } => true,
        Event::StopAsked(Stop { next: Next::Rest, rest: Rest::UntilBoot, .. })
        | Event::SignalAsked { ends: false, .. }
        | Event::Spawned
        | Event::StartFailed
        | Event::Ended { .. }
        | Event::GraceOver
        | Event::DelayOver => before,
    }
}

/// Where `event` leads from `state`, and what is to be done.
pub fn step(state: State, event: Event, policy: Restart) -> (State, Option<Effect>) {
    use {Effect::*, Event::*, State::*};
    match (state, event) {
        (Resting { .. }, StartAsked | StopAsked(self::Stop { next: Next::Start, .. })) => {
            (Starting { tries: Tries::default(), then: None }, Some(Spawn))
        }
        // A user who restarts it does not wait for the policy.
        (Waiting { .. }, StopAsked(self::Stop { next: Next::Start, .. })) => {
            (Starting { tries: Tries::default(), then: None }, Some(Spawn))
        }
        (Waiting { tries }, StopAsked(self::Stop { next: Next::Rest, .. }) | SignalAsked { ends: true, .. }) => {
            (Resting { count: tries.count }, None)
        }
        (Waiting { tries }, DelayOver) => (Starting { tries, then: None }, Some(Spawn)),

        (Starting { tries, then: None }, Spawned) => (Running { tries }, None),
        (Starting { tries, then: Some(stop) }, Spawned) => {
            (Stopping { next: stop.next, count: tries.count }, Some(Stop(stop.grace)))
        }
        (Starting { tries, .. }, StartFailed) => (Resting { count: tries.count }, None),
        (Starting { tries, .. }, StopAsked(stop)) => (Starting { tries, then: Some(stop) }, None),
        (Starting { tries, .. }, SignalAsked { ends: true, .. }) => {
            let stop = self::Stop { grace: Duration::ZERO, next: Next::Rest, rest: Rest::UntilStarted };
            (Starting { tries, then: Some(stop) }, None)
        }
        (Starting { tries, then: Some(_) }, StartAsked) => (Starting { tries, then: None }, None),

        (Running { tries }, Ended { status, lasted }) if policy.again(status, tries.count) => {
            let delay = match tries.delay {
                _ if lasted >= LONG_RUN => FIRST_DELAY,
                Duration::ZERO => FIRST_DELAY,
                delay => (delay * 2).min(LONGEST_DELAY),
            };
            (Waiting { tries: Tries { count: tries.count.saturating_add(1), delay } }, Some(Delay(delay)))
        }
        (Running { tries }, Ended { .. }) => (Resting { count: tries.count }, None),
        (Running { tries }, StopAsked(stop)) => {
            (Stopping { next: stop.next, count: tries.count }, Some(Stop(stop.grace)))
        }
        (Running { tries }, SignalAsked { signal, ends: true }) => {
            (Stopping { next: Next::Rest, count: tries.count }, Some(Send(signal)))
        }
        (state @ Running { .. }, SignalAsked { signal, ends: false }) => (state, Some(Send(signal))),

        (Stopping { next: Next::Rest, count }, Ended { .. }) => (Resting { count }, None),
        (Stopping { next: Next::Start, .. }, Ended { .. }) => {
            (Starting { tries: Tries::default(), then: None }, Some(Spawn))
        }
        (Stopping { count, .. }, StopAsked(stop)) => (Stopping { next: stop.next, count }, Some(Stop(stop.grace))),
        (state @ Stopping { .. }, GraceOver) => (state, Some(Kill)),
        (state @ Stopping { .. }, SignalAsked { signal, .. }) => (state, Some(Send(signal))),
        // A start that comes while it ends holds after the end.
        (Stopping { count, .. }, StartAsked) => (Stopping { next: Next::Start, count }, None),

        // Done already, late or repeated. Listed, never `_`, so that a new state has to answer here.
        (
            state @ Resting { .. },
            Spawned
            | StartFailed
            | Ended { .. }
            | StopAsked(self::Stop { next: Next::Rest, .. })
            | GraceOver
            | SignalAsked { .. }
            | DelayOver,
        )
        | (
            state @ Waiting { .. },
            StartAsked | Spawned | StartFailed | Ended { .. } | GraceOver | SignalAsked { ends: false, .. },
        )
        | (
            state @ Starting { .. },
            StartAsked | Ended { .. } | GraceOver | SignalAsked { ends: false, .. } | DelayOver,
        )
        | (state @ Running { .. }, StartAsked | Spawned | StartFailed | GraceOver | DelayOver)
        | (state @ Stopping { .. }, Spawned | StartFailed | DelayOver) => (state, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: State = State::Resting { count: 0 };

    fn ended(status: i32) -> Event {
        Event::Ended { status, lasted: Duration::from_secs(1) }
    }

    fn stop(next: Next) -> Event {
        Event::StopAsked(Stop { grace: Duration::from_secs(10), next, rest: Rest::UntilStarted })
    }

    fn suspend() -> Event {
        Event::StopAsked(Stop { grace: Duration::from_secs(10), next: Next::Rest, rest: Rest::UntilBoot })
    }

    fn run(policy: Restart, events: &[Event]) -> (State, Vec<Effect>) {
        let mut effects = Vec::new();
        let state = events.iter().fold(REST, |state, event| {
            let (state, effect) = step(state, *event, policy);
            effects.extend(effect);
            state
        });
        (state, effects)
    }

    fn alphabet() -> Vec<Event> {
        vec![
            Event::StartAsked,
            Event::Spawned,
            Event::StartFailed,
            ended(0),
            ended(1),
            Event::Ended { status: 1, lasted: Duration::from_secs(11) },
            stop(Next::Rest),
            stop(Next::Start),
            suspend(),
            Event::GraceOver,
            Event::SignalAsked { signal: Signal::KILL, ends: true },
            Event::SignalAsked { signal: Signal::INT, ends: false },
            Event::DelayOver,
        ]
    }

    /// Calls `check` with every sequence of up to `length` events.
    fn sequences(length: usize, check: &mut impl FnMut(&[Event])) {
        fn extend(length: usize, events: &mut Vec<Event>, check: &mut impl FnMut(&[Event])) {
            check(events);
            if events.len() < length {
                for event in alphabet() {
                    events.push(event);
                    extend(length, events, check);
                    events.pop();
                }
            }
        }
        extend(length, &mut Vec::new(), check);
    }

    #[test]
    fn a_process_is_spawned_only_where_there_is_none_and_signalled_only_where_there_is_one() {
        let has_process = |state| matches!(state, State::Running { .. } | State::Stopping { .. });
        for policy in [Restart::No, Restart::Always, Restart::UnlessStopped, Restart::OnFailure { max: 1 }] {
            sequences(4, &mut |events| {
                let mut state = REST;
                for event in events {
                    let (next, effect) = step(state, *event, policy);
                    match effect {
                        Some(Effect::Spawn) => {
                            assert!(matches!(next, State::Starting { .. }), "{events:?}");
                            assert!(!matches!(state, State::Starting { .. } | State::Running { .. }), "{events:?}");
                        }
                        Some(Effect::Stop(_) | Effect::Kill | Effect::Send(_)) => {
                            assert!(has_process(next), "{events:?}");
                        }
                        Some(Effect::Delay(_)) => assert!(matches!(next, State::Waiting { .. }), "{events:?}"),
                        None => {}
                    }
                    // A process never vanishes from the books but by its end, and never appears but by a spawn.
                    if has_process(state) && !has_process(next) {
                        assert!(matches!(event, Event::Ended { .. }), "{events:?}");
                    }
                    if !has_process(state) && has_process(next) {
                        assert!(matches!(event, Event::Spawned), "{events:?}");
                    }
                    state = next;
                }
            });
        }
    }

    #[test]
    fn after_a_stop_nothing_but_a_user_starts_it() {
        sequences(3, &mut |before| {
            let asked = before.iter().copied().chain([stop(Next::Rest)]);
            let state = asked.fold(REST, |state, event| step(state, event, Restart::Always).0);
            let calm = [Event::Spawned, ended(1), Event::GraceOver, Event::DelayOver, ended(0), Event::DelayOver];
            let mut after = state;
            for event in calm {
                let (next, effect) = step(after, event, Restart::Always);
                assert!(!matches!(effect, Some(Effect::Spawn | Effect::Delay(_))), "{before:?} then {event:?}");
                after = next;
            }
            assert!(matches!(after, State::Resting { .. }), "{before:?}");
        });
    }

    /// A container through restarts of the machine, as its records have it.
    #[derive(Clone, Copy)]
    struct Life {
        state: State,
        stopped_by_user: bool,
        /// How its last run ended, if it has had one.
        last: Option<i32>,
    }

    impl Life {
        const NEW: Life = Life { state: REST, stopped_by_user: false, last: None };

        fn is_alive(self) -> bool {
            matches!(self.state, State::Running { .. } | State::Stopping { .. })
        }

        /// What happens to it; what can't happen now does not.
        fn take(mut self, event: Event, policy: Restart) -> Life {
            let possible = match event {
                Event::Spawned | Event::StartFailed => matches!(self.state, State::Starting { .. }),
                Event::Ended { .. } | Event::GraceOver => self.is_alive(),
                Event::DelayOver => matches!(self.state, State::Waiting { .. }),
                // Refused.
                Event::SignalAsked { .. } => !matches!(self.state, State::Resting { .. }),
                Event::StartAsked | Event::StopAsked(_) => true,
            };
            if possible {
                if let Event::Ended { status, .. } = event {
                    self.last = Some(status);
                }
                self.stopped_by_user = stopped_by_user(self.stopped_by_user, event);
                self.state = step(self.state, event, policy).0;
            }
            self
        }

        /// The machine is restarted, and `resume` is called.
        fn boot(mut self, policy: Restart) -> Life {
            if self.is_alive() {
                // Nobody saw how it ended.
                self.last = Some(255);
            }
            self.state = REST;
            let comes_back = self.last.is_some_and(|status| policy.at_boot(self.stopped_by_user, status));
            if comes_back { self.take(Event::StartAsked, policy) } else { self }
        }
    }

    #[test]
    fn after_a_restart_of_the_machine_a_policy_brings_back_what_it_promises_whatever_was_before() {
        let up = |life: Life| matches!(life.state, State::Starting { .. });
        for policy in [Restart::No, Restart::Always, Restart::UnlessStopped, Restart::OnFailure { max: 2 }] {
            sequences(4, &mut |events| {
                // Each event in turn, with a restart of the machine at every place.
                for place in 0..=events.len() {
                    let (before, after) = events.split_at(place);
                    let once = before.iter().fold(Life::NEW, |life, event| life.take(*event, policy));
                    let booted = once.boot(policy);
                    let says_no = before.iter().rev().find_map(|event| match event {
                        Event::StartAsked | Event::StopAsked(Stop { next: Next::Start, .. }) => Some(false),
                        Event::StopAsked(Stop { rest: Rest::UntilStarted, .. }) => Some(true),
                        _ => None,
                    });
                    let signalled = before.iter().any(|event| matches!(event, Event::SignalAsked { ends: true, .. }));
                    let ran = once.last.is_some() || once.is_alive();
                    match policy {
                        Restart::No => assert!(!up(booted), "{before:?}"),
                        Restart::Always => assert_eq!(up(booted), ran, "{before:?}"),
                        Restart::UnlessStopped if signalled => {}
                        Restart::UnlessStopped => {
                            assert_eq!(up(booted), ran && says_no != Some(true), "{before:?}");
                        }
                        Restart::OnFailure { .. } => {
                            assert_eq!(up(booted), once.is_alive() || once.last.is_some_and(|last| last != 0));
                        }
                    }
                    // What was brought back, or not, is like any other: a second restart finds it as its orders left it.
                    let later = after.iter().fold(booted, |life, event| life.take(*event, policy));
                    if policy == Restart::UnlessStopped && later.stopped_by_user {
                        assert!(!up(later.boot(policy)), "{events:?}");
                    }
                }
            });
        }
    }

    #[test]
    fn a_kill_counts_as_a_stop_for_unless_stopped_and_a_shutdown_does_not() {
        let policy = Restart::UnlessStopped;
        let running = [Event::StartAsked, Event::Spawned];
        let then = |events: &[Event]| {
            let life = running.iter().chain(events).fold(Life::NEW, |life, event| life.take(*event, policy));
            matches!(life.boot(policy).state, State::Starting { .. })
        };
        assert!(!then(&[Event::SignalAsked { signal: Signal::KILL, ends: true }, ended(137)]));
        assert!(then(&[Event::SignalAsked { signal: Signal::INT, ends: false }, ended(0), Event::DelayOver]));
        assert!(then(&[suspend(), ended(0)]));
        assert!(!then(&[stop(Next::Rest), ended(0), suspend()]), "a shutdown takes nothing back");
    }

    #[test]
    fn delays_double_up_to_a_minute_and_start_again_after_a_long_run() {
        let mut state = run(Restart::Always, &[Event::StartAsked, Event::Spawned]).0;
        let mut delays = Vec::new();
        let once = |state: &mut State, seconds| {
            let (next, effect) =
                step(*state, Event::Ended { status: 0, lasted: Duration::from_secs(seconds) }, Restart::Always);
            *state = step(step(next, Event::DelayOver, Restart::Always).0, Event::Spawned, Restart::Always).0;
            match effect {
                Some(Effect::Delay(delay)) => delay.as_millis(),
                other => panic!("{other:?}"),
            }
        };
        for _ in 0..12 {
            delays.push(once(&mut state, 1));
        }
        delays.push(once(&mut state, 10));
        delays.push(once(&mut state, 9));
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000, 100, 200]);
    }

    #[test]
    fn on_failure_with_four_runs_five_times_and_counts_four() {
        let policy = Restart::OnFailure { max: 4 };
        let mut events = vec![Event::StartAsked];
        for _ in 0..5 {
            events.extend([Event::Spawned, ended(3), Event::DelayOver]);
        }
        let (state, effects) = run(policy, &events);
        assert_eq!(state, State::Resting { count: 4 });
        assert_eq!(effects.iter().filter(|effect| **effect == Effect::Spawn).count(), 5);
        assert_eq!(run(policy, &[Event::StartAsked, Event::Spawned, ended(0)]).0, REST);
    }

    #[test]
    fn a_start_that_fails_is_not_tried_again_even_with_always() {
        assert_eq!(run(Restart::Always, &[Event::StartAsked, Event::StartFailed, Event::DelayOver]).0, REST);
    }

    #[test]
    fn a_stop_during_the_start_waits_for_the_process_and_then_ends_it() {
        let (state, effects) = run(Restart::Always, &[Event::StartAsked, stop(Next::Rest), Event::Spawned, ended(0)]);
        assert_eq!(state, REST);
        assert_eq!(effects, [Effect::Spawn, Effect::Stop(Duration::from_secs(10))]);
    }

    #[test]
    fn a_restart_ignores_the_policy_and_resets_its_count() {
        let events = [Event::StartAsked, Event::Spawned, stop(Next::Start), ended(137), Event::Spawned];
        assert_eq!(run(Restart::No, &events).0, State::Running { tries: Tries::default() });
    }
}
