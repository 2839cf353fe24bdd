//! A run ends: its status, the rest of its output, and everything of it put away.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::{ContainerId, ContainerState, EventAction};
use crate::runtime::container::log::Mark;
use crate::runtime::container::record::UNKNOWN;
use crate::runtime::store::now;
use crate::runtime::supervisor::active::Ending;
use crate::runtime::supervisor::control::Answer;
use crate::runtime::supervisor::logs::Writer;
use crate::runtime::supervisor::machine::{self, State, Tries};
use crate::runtime::supervisor::unmount::Unmount;
use crate::runtime::supervisor::{Message, Supervisor, exit_code};

impl Supervisor {
    /// The first process of a container has ended; `None`: nobody knows how.
    pub(super) fn container_ended(&mut self, id: &ContainerId, status: Option<i32>) {
        let Some(active) = self.containers.get_mut(id) else { return };
        let Some(run) = active.run.as_mut().filter(|run| run.ended.is_none()) else { return };
        let usage = run.cgroup.usage().ok();
        let oom_killed = usage.as_ref().is_some_and(|usage| usage.oom_kills > 0);
        run.ended = Some(Ending { status, oom_killed, usage });
        let pump = run.pump.take();
        self.withdraw(id);
        let Some(active) = self.containers.get_mut(id) else { return };
        let since = match active.standing.state {
            ContainerState::Running { since, .. } => since,
            _ => now(),
        };
        let lasted = Duration::from_nanos(u64::try_from(now() - since).unwrap_or(0));
        active.timer += 1;
        self.step(id, machine::Event::Ended { status: status.map_or(UNKNOWN, exit_code), lasted });
        let Some(active) = self.containers.get(id) else { return };
        let mark = match active.state {
            State::Waiting { .. } | State::Starting { .. } => Mark::Ended,
            State::Resting { .. } | State::Running { .. } | State::Stopping { .. } => Mark::Closed,
        };
        let (queue, id) = (self.queue.clone(), id.clone());
        tokio::spawn(async move {
            let time = match pump {
                Some(pump) => pump.finish(mark).await,
                None => now(),
            };
            queue.send(Message::Drained(id, time))
        });
    }

    /// Everything an ended run wrote is in the log: the rest of it is put away, and what comes next begins.
    pub(super) fn drained(&mut self, id: &ContainerId, time: i64) {
        let Some(active) = self.containers.get_mut(id) else { return };
        let Some(mut run) = active.run.take() else { return };
        let ending = run.ended.take().unwrap_or_default();
        let status = ending.status.map_or(UNKNOWN, exit_code);
        let unseen = ending.status.is_none();
        let stays = matches!(active.state, State::Resting { .. });
        let restarting = matches!(active.state, State::Waiting { .. });
        active.standing.process = None;
        active.standing.state = if stays {
            ContainerState::Exited { status, finished: time, oom_killed: ending.oom_killed, unseen }
        } else {
            ContainerState::Restarting { status, finished: time }
        };
        let mut events = Vec::new();
        if ending.oom_killed {
            let mut event = active.event(time, EventAction::Oom);
            if let Some(usage) = &ending.usage {
                event =
                    event.noting("limit", usage.memory_limit.to_string()).noting("peak", usage.memory_peak.to_string());
            }
            events.push(event);
        }
        let mut event = active.event(time, EventAction::Die { status, restarting });
        if unseen {
            let why = if run.lost_at_boot { "the machine was restarted" } else { "nobody saw how it ended" };
            event = event.noting("unseen", why);
        }
        if let State::Waiting { tries } = active.state {
            event = event.noting("next", format!("start {} in {:?}", tries.count, tries.delay));
        }
        events.push(event);
        if active.asked.is_some() {
            events.push(active.event(time, EventAction::Stop));
        }
        if stays {
            active.asked = None;
        }
        let attached = run.attached.take();
        if let Some(root) = run.root.take().and_then(Arc::into_inner) {
            tokio::spawn(Unmount::new(root).later());
        }
        let cgroup = run.cgroup.clone();
        self.put_away(id);
        self.write(id);
        // Its task ends after us.
        let _ = self.records.send(self.layout.standing(&self.project, id));
        self.children.retain(|pid, _| *pid != run.pid);
        self.link.seen(run.pid);
        drop(run);
        // What is left of it is found by the next start.
        let _ = cgroup.remove();
        for event in events {
            self.tell(event);
        }
        if let Some(client) = attached {
            client.tell(Answer::Status(status));
        }
        let Some(active) = self.containers.get_mut(id) else { return };
        for client in active.killers.drain(..) {
            client.tell(Answer::Done);
        }
        match active.state {
            State::Waiting { tries: Tries { delay, .. } } => self.arm(id, delay),
            State::Starting { .. } => self.spawn(id),
            State::Resting { .. } | State::Running { .. } | State::Stopping { .. } => {}
        }
        self.answer(id);
        self.settled();
    }

    /// Takes what is left of a run away: its names, ports and addresses, if they are still there, and its files.
    pub(super) fn put_away(&mut self, id: &ContainerId) {
        self.withdraw(id);
        self.link.release(&format!("{}/", id.0));
        for path in self.layout.pipes(&self.project, id) {
            // It may never have had one.
            let _ = std::fs::remove_file(path);
        }
        if let Some(active) = self.containers.get_mut(id) {
            active.standing.endpoints.clear();
            active.standing.published.clear();
        }
        if self.containers.values().all(|active| active.standing.endpoints.is_empty()) {
            self.membership.rest();
        }
    }

    pub(super) fn rest_after_waiting(&mut self, id: &ContainerId) {
        let Some(active) = self.containers.get_mut(id) else { return };
        active.timer += 1;
        if let ContainerState::Restarting { status, finished } = active.standing.state {
            active.standing.state = ContainerState::Exited { status, finished, oom_killed: false, unseen: false };
        }
        let time = self.close_log(id);
        if let Some(active) = self.containers.get_mut(id) {
            active.asked = None;
            let event = active.event(time, EventAction::Stop);
            self.write(id);
            self.tell(event);
        }
    }

    /// Notes in the log that the last run was the last.
    fn close_log(&self, id: &ContainerId) -> i64 {
        let Some(active) = self.containers.get(id) else { return now() };
        let writer = Writer::open(&self.layout, &self.project, id, &active.container.config.logging);
        // Followers are told by the event, too.
        writer.and_then(|mut writer| writer.mark(Mark::Closed)).unwrap_or_else(|_| now())
    }
}
