//! One active container: does what the [machine] decides, and puts on record what came of it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::stat::Mode;

use crate::dns::Asker;
use crate::engine::{
    ContainerId, ContainerState, EngineError, Event, EventAction, NetworkMode, ProcessIo, Subject, WaitFor,
};
use crate::runtime::cgroup::Cgroup;
use crate::runtime::container::find::{self, failed};
use crate::runtime::container::log::Mark;
use crate::runtime::container::record::{Container, Standing};
use crate::runtime::network::files;
use crate::runtime::network::proxy::Proxy;
use crate::runtime::store::{self, Durability, now};
use crate::runtime::supervisor::connection::Client;
use crate::runtime::supervisor::control::Answer;
use crate::runtime::supervisor::health::Monitor;
use crate::runtime::supervisor::logs::{Pump, Rotation, Source, Writer};
use crate::runtime::supervisor::machine::{self, Effect, Next, State, Stop, Tries};
use crate::runtime::supervisor::starter::{self, Job, Launched};
use crate::runtime::supervisor::{Child, Message, Supervisor, exit_code};
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
    timer: u64,
    /// Streams for the next run in place of the log, and who is told of its end.
    attached: Option<(ProcessIo, Client)>,
    /// Wait for its command to run.
    starters: Vec<Client>,
    /// Wait for its end.
    stoppers: Vec<Client>,
    waiters: Vec<(WaitFor, Client)>,
    /// What the user asked for, to be told when it is done.
    asked: Option<Next>,
}

/// One run, from the command's first instruction until everything of it is put away.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) pid: i32,
    pub(super) pidfd: Arc<OwnedFd>,
    pub(super) cgroup: Cgroup,
    pub(super) pump: Option<Pump>,
    pub(super) proxy: Option<Proxy>,
    pub(super) monitor: Option<Monitor>,
    /// Keeps the root file system's last unmount off the path of a stop.
    pub(super) root: Option<Arc<OwnedFd>>,
    pub(super) attached: Option<Client>,
    /// How it ended, as soon as it did.
    pub(super) ended: Option<Ending>,
}

impl Run {
    /// Of a process that was there before us.
    pub(super) fn adopted(
        pid: i32,
        pidfd: Arc<OwnedFd>,
        cgroup: Cgroup,
        pump: Option<Pump>,
        proxy: Option<Proxy>,
    ) -> Run {
        Run { pid, pidfd, cgroup, pump, proxy, monitor: None, root: None, attached: None, ended: None }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    status: Option<i32>,
    oom_killed: bool,
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
            asked: None,
        }
    }

    fn policy(&self) -> Restart {
        self.container.config.restart
    }

    fn event(&self, time: i64, action: EventAction) -> Event {
        let config = &self.container.config;
        let (name, labels) = (config.name.clone(), config.labels.clone());
        Event { time, container: self.container.id.clone(), name, labels, action }
    }
}

impl Supervisor {
    /// The container in memory, read from disk if it is at rest.
    fn active(&mut self, id: &ContainerId) -> Result<&mut Active, EngineError> {
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
        active.standing.stopped_by_user = false;
        self.step(id, machine::Event::StartAsked);
        self.answer(id);
    }

    /// A user wants it to end, and perhaps to run again.
    pub(super) fn stop(&mut self, id: &ContainerId, grace: Option<Duration>, next: Next, client: Client) {
        let active = match self.active(id) {
            Ok(active) => active,
            Err(error) => return client.refuse(error),
        };
        let grace = grace.or(active.container.config.stop_grace_period).unwrap_or(GRACE);
        match next {
            Next::Rest => active.stoppers.push(client),
            Next::Start => active.starters.push(client),
        }
        let rested = matches!(active.state, State::Resting { .. });
        active.standing.stopped_by_user = next == Next::Rest;
        if !rested {
            active.asked = Some(next);
        }
        self.step(id, machine::Event::StopAsked(Stop { grace, next }));
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
        active.standing.stopped_by_user |= ends;
        self.step(id, machine::Event::SignalAsked { signal, ends });
        client.tell(Answer::Done);
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
    fn step(&mut self, id: &ContainerId, event: machine::Event) {
        let Some(active) = self.containers.get_mut(id) else { return };
        let before = active.state;
        let (state, effect) = machine::step(before, event, active.policy());
        active.state = state;
        match state {
            State::Resting { count } | State::Stopping { count, .. } => active.standing.restart_count = count,
            State::Starting { tries, .. } | State::Running { tries } | State::Waiting { tries } => {
                active.standing.restart_count = tries.count;
                active.standing.delay = tries.delay;
            }
        }
        // While a run is put away, what comes next waits for that: see `drained`.
        let ended = active.run.as_ref().is_some_and(|run| run.ended.is_some());
        match effect {
            Some(Effect::Spawn | Effect::Delay(_)) if ended => {}
            Some(Effect::Spawn) => self.spawn(id),
            Some(Effect::Delay(delay)) => self.arm(id, delay),
            Some(Effect::Stop(grace)) => {
                if grace.is_zero() {
                    self.signal(id, Signal::KILL);
                } else {
                    let signal = self.containers.get(id).and_then(|active| active.container.stop_signal);
                    self.signal(id, signal.unwrap_or(Signal::TERM));
                    self.arm(id, grace);
                }
            }
            Some(Effect::Kill) => self.signal(id, Signal::KILL),
            Some(Effect::Send(signal)) => self.signal(id, signal),
            None => {}
        }
        // A stop in the pause between two runs comes without an end of a process.
        if matches!((before, state), (State::Waiting { .. }, State::Resting { .. })) && !ended {
            self.rest_after_waiting(id);
        }
    }

    fn rest_after_waiting(&mut self, id: &ContainerId) {
        let Some(active) = self.containers.get_mut(id) else { return };
        active.timer += 1;
        if let ContainerState::Restarting { status, finished } = active.standing.state {
            active.standing.state = ContainerState::Exited { status, finished, oom_killed: false };
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
        let rotation = Rotation::of(&active.container.config.logging);
        let writer = Writer::open(&self.layout.log(&self.project, id), rotation);
        // Followers are told by the event, too.
        writer.and_then(|mut writer| writer.mark(Mark::Closed)).unwrap_or_else(|_| now())
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

    /// Sends a signal that a user wants, to a frozen container too.
    fn signal(&mut self, id: &ContainerId, signal: Signal) {
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
        let event = active.event(now(), EventAction::Kill { signal });
        self.tell(event);
    }

    /// Puts a start into the threads' queue.
    fn spawn(&mut self, id: &ContainerId) {
        let Some(active) = self.containers.get_mut(id) else { return };
        active.timer += 1;
        let container = Arc::clone(&active.container);
        let io = match &active.attached {
            Some((ProcessIo::Files { stdin, stdout, stderr }, _)) => {
                let copy = |file: &Option<OwnedFd>| file.as_ref().map(OwnedFd::try_clone).transpose();
                copy(stdin)
                    .and_then(|stdin| Ok(ProcessIo::Files { stdin, stdout: copy(stdout)?, stderr: copy(stderr)? }))
            }
            Some((ProcessIo::Terminal { rows, columns }, _)) => {
                Ok(ProcessIo::Terminal { rows: *rows, columns: *columns })
            }
            None if container.config.tty => Ok(ProcessIo::Terminal { rows: 24, columns: 80 }),
            None => self.pipes(id, container.config.stdin_open),
        };
        let io = match io {
            Ok(io) => io,
            Err(error) => return self.launched(id, Err(starter::failed(&container, error))),
        };
        let (queue, id) = (self.queue.clone(), id.clone());
        self.starting += 1;
        let done = Box::new(move |launched| {
            // A supervisor that is gone has a successor, which finds the process by its cgroup.
            let _ = queue.send(Message::Launched(id, launched));
        });
        self.starter.put(Job::Start { container, io, done });
    }

    /// Makes the pipes of a run's output, and has the keeper hold the ends that we read.
    ///
    /// Named pipes, open for reading in the container, too: if every process of ours is killed the container is not, and
    /// what it has written is still there for the next one that opens them.
    fn pipes(&mut self, id: &ContainerId, stdin_open: bool) -> io::Result<ProcessIo> {
        let mut writers = Vec::new();
        for (path, name) in self.layout.pipes(&self.project, id).iter().zip(["stdout", "stderr"]) {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => nix::unistd::mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?,
            }
            let reader = open_pipe(path)?;
            writers.push(OwnedFd::from(OpenOptions::new().read(true).write(true).open(path)?));
            self.link.hold(format!("{}/{name}", id.0), reader);
        }
        let stdin = if stdin_open {
            let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
            self.link.hold(format!("{}/stdin", id.0), writer);
            Some(reader)
        } else {
            None
        };
        let stderr = writers.pop();
        Ok(ProcessIo::Files { stdin, stdout: writers.pop(), stderr })
    }

    /// Its command runs, or can't.
    pub(super) fn launched(&mut self, id: &ContainerId, launched: Result<Launched, EngineError>) {
        let run = launched.and_then(|launched| self.ran(id, launched));
        let Some(active) = self.containers.get_mut(id) else { return };
        match run {
            Ok(time) => {
                let event = active.event(time, EventAction::Start);
                let starters = std::mem::take(&mut active.starters);
                let pid = active.run.as_ref().map(|run| run.pid);
                let restarted = active.asked == Some(Next::Start);
                self.write(id);
                self.step(id, machine::Event::Spawned);
                self.tell(event);
                self.begin_health(id);
                if restarted && let Some(active) = self.containers.get_mut(id) {
                    active.asked = None;
                    let event = active.event(time, EventAction::Restart);
                    self.tell(event);
                }
                for client in starters {
                    client.tell(Answer::Done);
                }
                if let Some(pid) = pid {
                    match self.early(pid) {
                        Some(status) => self.container_ended(id, Some(status)),
                        None => drop(self.children.insert(pid, Child::First(id.clone()))),
                    }
                }
            }
            Err(error) => {
                let code = match &error {
                    EngineError::Command { code, .. } => *code,
                    _ => 128,
                };
                active.standing.state = ContainerState::Created { failure: Some((code, words(&error))) };
                active.asked = None;
                let told = std::mem::take(&mut active.starters).into_iter();
                let told: Vec<Client> = told.chain(active.attached.take().map(|(_, client)| client)).collect();
                for client in told {
                    client.refuse(EngineError::from(control_failure(&error)));
                }
                self.step(id, machine::Event::StartFailed);
                self.put_away(id);
                self.write(id);
            }
        }
        self.answer(id);
    }

    /// Takes everything of a new run into our care. Returns the time it has in the log.
    fn ran(&mut self, id: &ContainerId, launched: Launched) -> Result<i64, EngineError> {
        let Launched { started, connection, cgroup } = launched;
        let Some(active) = self.containers.get_mut(id) else { return Err(missing(id)) };
        let subject = active.subject();
        let wrong = |error: io::Error| EngineError::Failed { verb: "start", subject, source: Box::new(error) };
        let pidfd = Arc::new(started.pidfd);
        let take = || -> io::Result<(i64, Run)> {
            let key = |name: &str| format!("{}/{name}", id.0);
            self.link.hold(key("pid"), pidfd.try_clone()?);
            let container = &active.container;
            let writer = Writer::open(&self.layout.log(&self.project, id), Rotation::of(&container.config.logging));
            let mut writer = writer?;
            let time = writer.mark(Mark::Started)?;
            let attached = active.attached.take().map(|(_, client)| client);
            let pump = match (&attached, started.terminal) {
                (Some(client), terminal) => {
                    client.process(pidfd.try_clone()?, terminal);
                    Pump::start(writer, [None, None])?
                }
                (None, Some(terminal)) => {
                    let (out, into) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
                    for (name, file) in [("terminal", &terminal), ("relay/out", &out), ("relay/into", &into)] {
                        self.link.hold(key(name), file.try_clone()?);
                    }
                    Pump::start(writer, [Some(Source::terminal(terminal, out, into)?), None])?
                }
                (None, None) => {
                    let source = |name: &str| self.link.held(&key(name)).map(Source::pipe).transpose();
                    Pump::start(writer, [source("stdout")?, source("stderr")?])?
                }
            };
            let standing = &mut active.standing;
            let mut holders = Vec::new();
            (standing.endpoints, standing.published) = (Vec::new(), Vec::new());
            if let Some(connection) = connection {
                for (number, holder) in connection.holders.iter().enumerate() {
                    self.link.hold(key(&format!("port/{number}/{}", holder.target)), holder.socket.try_clone()?);
                }
                if let Some(sockets) = &connection.dns {
                    self.link.hold(key("dns/udp"), sockets.udp.try_clone()?);
                    self.link.hold(key("dns/tcp"), sockets.tcp.try_clone()?);
                }
                standing.endpoints = connection.endpoints;
                standing.published = connection.published;
                holders = connection.holders;
                if let Some(sockets) = connection.dns {
                    let asker = asker(&self.networks, container, &standing.endpoints);
                    self.resolver.serve(&id.0, asker, sockets)?;
                }
            }
            let health = container.health.as_ref().map(|_| Health::Starting);
            standing.state = ContainerState::Running { pid: started.pid, since: time, health, paused: false };
            // A process that has ended already has no mark; its status is on its way.
            standing.process = find::mark(started.pid).ok();
            standing.runs += 1;
            standing.exit_unknown = false;
            standing.probes.clear();
            let proxy = if holders.is_empty() { None } else { Some(Proxy::start(holders)?) };
            let run = Run {
                pid: started.pid,
                pidfd: Arc::clone(&pidfd),
                cgroup,
                pump: Some(pump),
                proxy,
                monitor: None,
                root: started.root,
                attached,
                ended: None,
            };
            Ok((time, run))
        };
        let (time, run) = take().map_err(|error| {
            // It must not run without us: its status is thrown away with those of failed starts.
            let _ = sys::pidfd_signal(&pidfd, Signal::KILL.number());
            wrong(error)
        })?;
        active.run = Some(run);
        let networks: Vec<String> =
            active.standing.endpoints.iter().map(|endpoint| endpoint.network_id.clone()).collect();
        self.membership.join(id, &networks);
        self.swap_names();
        Ok(time)
    }

    /// What resolves has changed.
    pub(super) fn swap_names(&mut self) {
        self.resolver.swap(self.membership.names());
    }

    /// The first process of a container has ended; `None`: nobody knows how.
    pub(super) fn container_ended(&mut self, id: &ContainerId, status: Option<i32>) {
        let Some(active) = self.containers.get_mut(id) else { return };
        let Some(run) = active.run.as_mut().filter(|run| run.ended.is_none()) else { return };
        let oom_killed = run.cgroup.usage().is_ok_and(|usage| usage.oom_kills > 0);
        run.ended = Some(Ending { status, oom_killed });
        let pump = run.pump.take();
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
        let ending = run.ended.unwrap_or(Ending { status: None, oom_killed: false });
        let status = ending.status.map_or(UNKNOWN, exit_code);
        let stays = matches!(active.state, State::Resting { .. });
        let restarting = matches!(active.state, State::Waiting { .. });
        active.standing.exit_unknown = ending.status.is_none();
        active.standing.process = None;
        active.standing.state = if stays {
            ContainerState::Exited { status, finished: time, oom_killed: ending.oom_killed }
        } else {
            ContainerState::Restarting { status, finished: time }
        };
        let mut events = Vec::new();
        if ending.oom_killed {
            events.push(active.event(time, EventAction::Oom));
        }
        events.push(active.event(time, EventAction::Die { status, restarting }));
        if active.asked.is_some() {
            events.push(active.event(time, EventAction::Stop));
        }
        if stays {
            active.asked = None;
        }
        let attached = run.attached.take();
        // The last unmount may write out a whole file system; nobody waits for that.
        if let Some(root) = run.root.take() {
            std::thread::spawn(move || drop(root));
        }
        let cgroup = run.cgroup.clone();
        drop(run.proxy.take());
        self.put_away(id);
        self.write(id);
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
        match active.state {
            State::Waiting { tries: Tries { delay, .. } } => self.arm(id, delay),
            State::Starting { .. } => self.spawn(id),
            State::Resting { .. } | State::Running { .. } | State::Stopping { .. } => {}
        }
        self.answer(id);
        self.settled();
    }

    /// Takes a run's names, ports, addresses and files away.
    fn put_away(&mut self, id: &ContainerId) {
        self.resolver.stop(&id.0);
        self.membership.leave(id);
        self.swap_names();
        self.link.release(&format!("{}/", id.0));
        for path in self.layout.pipes(&self.project, id) {
            // It may never have had one.
            let _ = std::fs::remove_file(path);
        }
        if let Some(active) = self.containers.get_mut(id) {
            let endpoints = std::mem::take(&mut active.standing.endpoints);
            active.standing.published.clear();
            // An address that stays taken is freed with its network, or by the container's next start.
            let _ = self.networks.disconnect(id, &endpoints);
        }
        if self.containers.values().all(|active| active.standing.endpoints.is_empty()) {
            self.membership.rest();
        }
    }

    /// Puts on record how it stands.
    pub(super) fn write(&mut self, id: &ContainerId) {
        let Some(active) = self.containers.get(id) else { return };
        let path = self.layout.standing(&self.project, id);
        // On a full disk the record tells of the past, until the next change; what we do does not depend on it.
        let _ = store::write(&path, &active.standing, Durability::Memory);
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
                client.tell(Answer::Done);
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

/// What is told of an exit that nobody knows: Docker's word for it.
const UNKNOWN: i32 = 255;

/// Opens a named pipe for reading, without waiting for writers.
pub(super) fn open_pipe(path: &std::path::Path) -> io::Result<OwnedFd> {
    OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path).map(OwnedFd::from)
}

fn missing(id: &ContainerId) -> EngineError {
    EngineError::NotFound(Subject::Container(id.short().to_owned()))
}

/// Who asks on a container's resolver, and where other questions go.
pub(super) fn asker(
    networks: &crate::runtime::network::Networks,
    container: &Container,
    endpoints: &[crate::engine::Endpoint],
) -> Asker {
    let NetworkMode::Networks(attachments) = &container.config.network else { return Asker::default() };
    let mut links = std::collections::BTreeMap::new();
    for attachment in attachments {
        for (alias, targets) in &attachment.links {
            let targets = targets.iter().map(ToString::to_string);
            links.entry(alias.clone()).or_insert_with(Vec::new).extend(targets);
        }
    }
    let outside = attachments
        .iter()
        .any(|attachment| networks.find(&attachment.network).is_ok_and(|network| !network.config.internal));
    let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    Asker {
        networks: endpoints.iter().map(|endpoint| endpoint.network_id.clone()).collect(),
        links,
        upstreams: if outside { files::upstreams(&container.config.dns, &host) } else { Vec::new() },
    }
}

fn control_failure(error: &EngineError) -> crate::runtime::supervisor::control::Failure {
    error.into()
}

/// An error and its causes in one line.
fn words(error: &EngineError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
