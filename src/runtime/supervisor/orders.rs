//! What users ask of one container, and who waits for the answer.

use std::time::Duration;

use crate::engine::{ContainerId, ContainerState, EngineError, EventAction, ProcessIo, Rest, WaitFor};
use crate::runtime::store::now;
use crate::runtime::supervisor::Supervisor;
use crate::runtime::supervisor::connection::Client;
use crate::runtime::supervisor::control::Answer;
use crate::runtime::supervisor::machine::{self, Next, State, Stop};
use crate::values::signal::Signal;

impl Supervisor {
    /// A user wants it to run.
    pub(super) fn start(&mut self, id: &ContainerId, client: Client, io: Option<ProcessIo>) {
        let active = match self.active(id) {
            Ok(active) => active,
            Err(error) => return client.refuse(error),
        };
        match io {
            Some(io) if matches!(active.state, State::Resting { .. }) => active.attached = Some((io, client)),
            Some(_) => {
                return client.refuse(EngineError::State { subject: active.subject(), state: "running".into() });
            }
            None => active.starters.push(client),
        }
        self.step(id, machine::Event::StartAsked);
        self.answer(id);
    }

    /// A user wants it to end, and perhaps to run again.
    pub(super) fn stop(&mut self, id: &ContainerId, grace: Option<Duration>, next: Next, rest: Rest, client: Client) {
        let active = match self.active(id) {
            Ok(active) => active,
            Err(error) => return client.refuse(error),
        };
        let grace = grace.unwrap_or(active.grace());
        match next {
            Next::Rest => active.stoppers.push(client),
            Next::Start => active.starters.push(client),
        }
        let rested = matches!(active.state, State::Resting { .. });
        if !rested {
            active.asked = Some(next);
        }
        let before = active.standing.stopped_by_user;
        self.step(id, machine::Event::StopAsked(Stop { grace, next, rest }));
        let stays = rested && next == Next::Rest;
        if stays && self.containers.get(id).is_some_and(|active| active.standing.stopped_by_user != before) {
            // It was suspended, or ended by itself: from now on it is the user's wish that it stays so.
            self.write(id);
        }
        if next == Next::Start
            && let Some(active) = self.containers.get_mut(id).filter(|active| active.run.is_some())
        {
            // Who waited for an end of it waited for this one.
            active.stoppers.retain(|client| !client.is_gone());
        }
        self.answer(id);
    }

    /// A user sends a signal.
    pub(super) fn kill(&mut self, id: &ContainerId, signal: Signal, client: Client) {
        let active = match self.active(id) {
            Ok(active) => active,
            Err(error) => return client.refuse(error),
        };
        if active.run.is_none() && !matches!(active.state, State::Starting { .. } | State::Waiting { .. }) {
            client.refuse(EngineError::State { subject: active.subject(), state: "not running".into() });
            return self.answer(id);
        }
        let ends = signal == Signal::KILL || active.container.stop_signal.is_none_or(|stop| stop == signal);
        self.step(id, machine::Event::SignalAsked { signal, ends });
        if ends {
            self.write(id);
        }
        match self.containers.get_mut(id).filter(|active| signal == Signal::KILL && active.run.is_some()) {
            // Nobody survives it: whoever looks next finds it ended.
            Some(active) => active.killers.push(client),
            None => drop(client.tell(Answer::Done)),
        }
        self.answer(id);
    }

    /// Freezes or thaws.
    pub(super) fn pause(&mut self, id: &ContainerId, wanted: bool, client: Client) {
        let active = match self.active(id) {
            Ok(active) => active,
            Err(error) => return client.refuse(error),
        };
        let subject = active.subject();
        let done = match (&mut active.standing.state, &active.run) {
            (ContainerState::Running { paused, .. }, Some(run)) if *paused != wanted => {
                let verb = if wanted { "pause" } else { "unpause" };
                run.cgroup.freeze(wanted).map(|()| *paused = wanted).map_err(|error| EngineError::Failed {
                    verb,
                    subject,
                    source: Box::new(error),
                })
            }
            (ContainerState::Running { .. }, Some(_)) => {
                let state = if wanted { "already paused" } else { "not paused" };
                Err(EngineError::State { subject, state: state.into() })
            }
            _ => Err(EngineError::State { subject, state: "not running".into() }),
        };
        match done {
            Ok(()) => {
                let event = active.event(now(), if wanted { EventAction::Pause } else { EventAction::Unpause });
                self.show_readiness(id);
                self.write(id);
                self.tell(event);
                client.tell(Answer::Done);
            }
            Err(error) => client.refuse(error),
        }
        self.answer(id);
    }

    /// Somebody waits for something of it.
    pub(super) fn wait(&mut self, id: &ContainerId, until: WaitFor, client: Client) {
        if until == WaitFor::Removed {
            if !self.layout.container(&self.project, id).exists() {
                client.tell(Answer::State(ContainerState::Dead));
                return;
            }
            return self.removal_waiters.push((id.clone(), client));
        }
        match self.active(id) {
            Ok(active) => active.waiters.push((until, client)),
            Err(error) => return client.refuse(error),
        }
        self.answer(id);
    }
}
