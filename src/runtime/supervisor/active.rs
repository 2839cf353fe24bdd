//! One active container: what the [machine] decides is done here, and put on record; who waits for it is answered.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use crate::engine::{
    ContainerId, ContainerState, EngineError, Event, EventAction, ProcessIo, Stopped, Subject, WaitFor,
};
use crate::runtime::cgroup::{Cgroup, Usage};
use crate::runtime::container::find::{self, failed};
use crate::runtime::container::record::{Container, Standing};
use crate::runtime::store::{self, now};
use crate::runtime::supervisor::connection::Client;
use crate::runtime::supervisor::control::Answer;
use crate::runtime::supervisor::deaf;
use crate::runtime::supervisor::health::Monitor;
use crate::runtime::supervisor::logs::Pump;
use crate::runtime::supervisor::machine::{self, Effect, Next, State};
use crate::runtime::supervisor::{Message, Supervisor};
use crate::runtime::sys;
use crate::values::health::Health;
use crate::values::restart::Restart;
use crate::values::signal::Signal;

/// Docker's, where neither container nor command say otherwise (compose-behaviours §6).
const GRACE: Duration = Duration::from_secs(10);

/// A container that has a process, is about to, or is about to again.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) container: Arc<Container>,
    pub(super) standing: Standing,
    pub(super) state: State,
    pub(super) run: Option<Run>,
    /// Held, so that nobody removes it.
    _lock: Flock<File>,
    /// Number of the last timer that was armed; others are late.
    pub(super) timer: u64,
    /// Streams for the next run in place of the log, and who is told of its end.
    pub(super) attached: Option<(ProcessIo, Client)>,
    /// Wait for its command to run.
    pub(super) starters: Vec<Client>,
    /// Wait for its end.
    pub(super) stoppers: Vec<Client>,
    pub(super) waiters: Vec<(WaitFor, Client)>,
    /// Who has killed the present run.
    pub(super) killers: Vec<Client>,
    /// What the user asked for, to be told when it is done.
    pub(super) asked: Option<Next>,
    /// How the stop that was asked for went.
    pub(super) stopped: Stopped,
}

/// One run, from the command's first instruction until everything of it is put away.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) pid: i32,
    pub(super) pidfd: Arc<OwnedFd>,
    pub(super) cgroup: Cgroup,
    pub(super) pump: Option<Pump>,
    pub(super) monitor: Option<Monitor>,
    /// It does not have to be seen listening any more before others share their port with it.
    pub(super) listening: bool,
    /// Keeps the root file system's last unmount off the path of a stop.
    pub(super) root: Option<Arc<OwnedFd>>,
    pub(super) attached: Option<Client>,
    /// How it ended, as soon as it did.
    pub(super) ended: Option<Ending>,
    /// The machine was restarted while it ran.
    pub(super) lost_at_boot: bool,
}

impl Run {
    /// Of a process that was there before us.
    pub(super) fn adopted(pid: i32, pidfd: Arc<OwnedFd>, cgroup: Cgroup, pump: Option<Pump>) -> Run {
        let (monitor, root, attached, ended) = (None, None, None, None);
        Run { pid, pidfd, cgroup, pump, monitor, listening: true, root, attached, ended, lost_at_boot: false }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Ending {
    pub(super) status: Option<i32>,
    pub(super) oom_killed: bool,
    /// What it had used, as far as could be read.
    pub(super) usage: Option<Usage>,
}

impl Active {
    pub(super) fn subject(&self) -> Subject {
        Subject::Container(self.container.config.name.to_string())
    }

    /// In memory again, as its records say.
    pub(super) fn new(container: Container, standing: Standing, lock: Flock<File>, state: State) -> Active {
        Active {
            container: Arc::new(container),
            standing,
            state,
            run: None,
            _lock: lock,
            timer: 0,
            attached: None,
            starters: Vec::new(),
            stoppers: Vec::new(),
            waiters: Vec::new(),
            killers: Vec::new(),
            asked: None,
            stopped: Stopped::InOrder,
        }
    }

    /// How long it has between stop signal and kill, unless the user says otherwise.
    pub(super) fn grace(&self) -> Duration {
        self.container.config.stop_grace_period.unwrap_or(GRACE)
    }

    pub(super) fn policy(&self) -> Restart {
        self.container.config.restart
    }

    pub(super) fn event(&self, time: i64, action: EventAction) -> Event {
        let config = &self.container.config;
        let (name, labels, image) = (config.name.clone(), config.labels.clone(), Some(config.image.clone()));
        Event { time, container: self.container.id.clone(), name, labels, image, action, notes: Default::default() }
    }
}

impl Supervisor {
    /// The container in memory, read from disk if it is at rest.
    pub(super) fn active(&mut self, id: &ContainerId) -> Result<&mut Active, EngineError> {
        // Twice, since a borrow that is returned from one branch would last for the other one, too.
        if self.containers.contains_key(id) {
            return self.containers.get_mut(id).ok_or_else(|| missing(id));
        }
        let active = self.load(id)?;
        Ok(self.containers.entry(id.clone()).or_insert(active))
    }

    fn load(&self, id: &ContainerId) -> Result<Active, EngineError> {
        let lock = self.lock(id)?;
        let (container, standing) = find::load(&self.layout, &self.project, id)?.ok_or_else(|| missing(id))?;
        if standing.state == ContainerState::Dead {
            let subject = Subject::Container(container.config.name.to_string());
            return Err(EngineError::State { subject, state: "half removed; remove it again".into() });
        }
        let count = standing.restart_count;
        Ok(Active::new(container, standing, lock, State::Resting { count }))
    }

    /// Keeps others from removing a container while it is active.
    pub(super) fn lock(&self, id: &ContainerId) -> Result<Flock<File>, EngineError> {
        let folder = match File::open(self.layout.container(&self.project, id)) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing(id)),
            Err(error) => return Err(failed("read", id.short())(error)),
        };
        Flock::lock(folder, FlockArg::LockExclusiveNonblock).map_err(|(_, _)| EngineError::State {
            subject: Subject::Container(id.short().to_owned()),
            state: "being made or removed".into(),
        })
    }

    /// The timer of this number is over.
    pub(super) fn timer(&mut self, id: &ContainerId, number: u64) {
        let Some(active) = self.containers.get(id).filter(|active| active.timer == number) else { return };
        match active.state {
            State::Stopping { .. } => self.step(id, machine::Event::GraceOver),
            State::Waiting { .. } => self.step(id, machine::Event::DelayOver),
            State::Resting { .. } | State::Starting { .. } | State::Running { .. } => {}
        }
        self.answer(id);
    }

    /// Lets the machine decide, and does what it says.
    pub(super) fn step(&mut self, id: &ContainerId, event: machine::Event) {
        let Some(active) = self.containers.get_mut(id) else { return };
        let before = active.state;
        let (state, effect) = machine::step(before, event, active.policy());
        active.state = state;
        active.standing.stopped_by_user = machine::stopped_by_user(active.standing.stopped_by_user, event);
        match state {
            State::Resting { count } | State::Stopping { count, .. } => active.standing.restart_count = count,
            State::Starting { tries, .. } | State::Running { tries } | State::Waiting { tries } => {
                active.standing.restart_count = tries.count;
                active.standing.delay = tries.delay;
            }
        }
        if matches!(state, State::Stopping { .. }) {
            // Before it is told to stop, so that it can end what it has and gets nothing new.
            self.show_readiness(id);
        }
        let Some(active) = self.containers.get_mut(id) else { return };
        // While a run is put away, what comes next waits for that: see `drained`.
        let ended = active.run.as_ref().is_some_and(|run| run.ended.is_some());
        match effect {
            Some(Effect::Spawn | Effect::Delay(_)) if ended => {}
            Some(Effect::Spawn) => self.spawn(id),
            Some(Effect::Delay(delay)) => self.arm(id, delay),
            Some(Effect::Stop(grace)) => self.ask_to_end(id, grace),
            Some(Effect::Kill) => {
                let deaf = self.containers.get(id).is_some_and(|active| active.stopped == Stopped::Deaf);
                self.signal(id, Signal::KILL, if deaf { "it can't see its stop signal" } else { "grace period over" });
            }
            Some(Effect::Send(signal)) => self.signal(id, signal, "asked"),
            None => {}
        }
        // A stop in the pause between two runs comes without an end of a process.
        if matches!((before, state), (State::Waiting { .. }, State::Resting { .. })) && !ended {
            self.rest_after_waiting(id);
        }
    }

    pub(super) fn arm(&mut self, id: &ContainerId, delay: Duration) {
        let Some(active) = self.containers.get_mut(id) else { return };
        active.timer += 1;
        if delay == Duration::MAX {
            return;
        }
        let (queue, id, number) = (self.queue.clone(), id.clone(), active.timer);
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            queue.send(Message::Timer(id, number))
        });
    }

    /// Sends the stop signal, and sees to it that the process ends after the grace period: at once if it is proved that it
    /// can't see the signal.
    fn ask_to_end(&mut self, id: &ContainerId, grace: Duration) {
        let Some(active) = self.containers.get_mut(id) else { return };
        active.stopped = Stopped::InOrder;
        if grace.is_zero() {
            return self.signal(id, Signal::KILL, "stop without grace");
        }
        let signal = active.container.stop_signal.unwrap_or(Signal::TERM);
        let frozen = matches!(active.standing.state, ContainerState::Running { paused: true, .. });
        if let ContainerState::Running { stopping, .. } = &mut active.standing.state {
            *stopping = grace != Duration::MAX;
        }
        let pid = active.run.as_ref().map_or(0, |run| run.pid);
        // A frozen one may have been about to ask for the signal.
        let deaf = signal != Signal::KILL && !frozen && deaf::is_deaf(pid, signal);
        if deaf {
            active.stopped = Stopped::Deaf;
        }
        self.signal(id, signal, "stop");
        self.write(id);
        self.arm(id, if deaf { Duration::ZERO } else { grace });
    }

    /// Sends a signal that a user wants, to a frozen container too.
    pub(super) fn signal(&mut self, id: &ContainerId, signal: Signal, why: &str) {
        let Some(active) = self.containers.get_mut(id) else { return };
        let Some(run) = active.run.as_ref().filter(|run| run.ended.is_none()) else { return };
        // It may have ended in this moment; then its end is on its way to us.
        let _ = sys::pidfd_signal(&run.pidfd, signal.number());
        if let ContainerState::Running { paused: paused @ true, .. } = &mut active.standing.state
            && (matches!(active.state, State::Stopping { .. }) || signal == Signal::KILL)
            && run.cgroup.freeze(false).is_ok()
        {
            *paused = false;
        }
        let mut doomed = false;
        if let ContainerState::Running { stopping: stopping @ false, .. } = &mut active.standing.state
            && signal == Signal::KILL
        {
            // It may take its time, but it ends: who looks meanwhile must not take it for one that runs on.
            (*stopping, doomed) = (true, true);
        }
        let event = active.event(now(), EventAction::Kill { signal }).noting("why", why);
        if doomed {
            self.write(id);
        }
        self.tell(event);
    }

    /// Puts on record how it stands.
    pub(super) fn write(&mut self, id: &ContainerId) {
        let Some(active) = self.containers.get_mut(id) else { return };
        active.standing.boot.clone_from(&self.boot);
        let path = self.layout.standing(&self.project, id);
        // On a full disk the record tells of the past, until the next change; what we do does not depend on it.
        let _ = store::rewrite(&path, &active.standing);
    }

    /// Answers everybody whose condition holds now, and forgets a container that is at rest.
    pub(super) fn answer(&mut self, id: &ContainerId) {
        let Some(active) = self.containers.get_mut(id) else { return };
        let rests = active.run.is_none() && matches!(active.state, State::Resting { .. });
        if !matches!(active.state, State::Starting { .. } | State::Stopping { next: Next::Start, .. }) {
            for client in active.starters.drain(..) {
                client.tell(Answer::Done);
            }
        }
        if rests {
            for client in active.stoppers.drain(..) {
                client.tell(Answer::Stopped(active.stopped));
            }
        }
        let known = match &active.standing.state {
            ContainerState::Running { health, .. } => !matches!(health, Some(Health::Starting)),
            _ => rests,
        };
        let state = &active.standing.state;
        active.waiters.retain(|(until, client)| {
            let holds = match until {
                WaitFor::Exited => rests,
                WaitFor::HealthKnown => known,
                WaitFor::Removed => false,
            };
            if holds {
                client.tell(Answer::State(state.clone()));
            }
            !holds && !client.is_gone()
        });
        if rests && let Some(active) = self.containers.remove(id) {
            let ended = matches!(active.standing.state, ContainerState::Exited { .. });
            if active.container.config.auto_remove && ended {
                drop(active);
                self.remove_ended(id);
            }
        }
    }

    /// Answers those who wait for the records to be true, once every end that the kernel knows of is on record.
    pub(super) fn settled(&mut self) {
        let dead = |run: &Run| run.ended.is_some() || sys::pidfd_signal(&run.pidfd, 0).is_err();
        if !self.containers.values().filter_map(|active| active.run.as_ref()).any(dead) {
            for client in self.settlers.drain(..) {
                client.tell(Answer::Done);
            }
        }
    }
}

pub(super) fn missing(id: &ContainerId) -> EngineError {
    EngineError::NotFound(Subject::Container(id.short().to_owned()))
}
