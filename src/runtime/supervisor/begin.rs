//! A run begins: its pipes, its start in a thread, and everything of it in our care.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use crate::dns::{Asker, Upstreams};
use crate::engine::{ContainerConfig, ContainerId, ContainerState, EngineError, EventAction, NetworkMode, ProcessIo};
use crate::runtime::container::find;
use crate::runtime::container::log::Mark;
use crate::runtime::container::record::Container;
use crate::runtime::store::now;
use crate::runtime::supervisor::active::{Run, missing};
use crate::runtime::supervisor::connection::Client;
use crate::runtime::supervisor::control::{Answer, Failure};
use crate::runtime::supervisor::logs::{Pump, Source, Writer};
use crate::runtime::supervisor::machine::{self, Next, State};
use crate::runtime::supervisor::starter::{self, Job, Launched};
use crate::runtime::supervisor::{Child, Message, Supervisor};
use crate::runtime::sys;
use crate::values::health::Health;
use crate::values::signal::Signal;

impl Supervisor {
    /// Puts a start into the threads' queue.
    pub(super) fn spawn(&mut self, id: &ContainerId) {
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
            None => self.pipes(id, &container.config),
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
    fn pipes(&mut self, id: &ContainerId, config: &ContainerConfig) -> io::Result<ProcessIo> {
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
        let stdin = if config.stdin_open {
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
                let by = match active.state {
                    State::Starting { tries, .. } if tries.count > 0 => format!("policy, start {}", tries.count),
                    _ => "asked".to_owned(),
                };
                let event = active.event(time, EventAction::Start).noting("why", by);
                let starters = std::mem::take(&mut active.starters);
                let pid = active.run.as_ref().map(|run| run.pid);
                let restarted = active.asked == Some(Next::Start);
                self.write(id);
                let layout = &self.layout;
                for record in [layout.container_record(&self.project, id), layout.standing(&self.project, id)] {
                    // Their task ends after us.
                    let _ = self.records.send(record);
                }
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
                let before = match active.standing.state {
                    ContainerState::Exited { .. } | ContainerState::Restarting { .. } => {
                        let died = active.event(now(), EventAction::Die { status: code, restarting: false });
                        Some(died.noting("reason", words(&error)))
                    }
                    _ => None,
                };
                active.standing.state = ContainerState::Created { failure: Some((code, words(&error))) };
                active.asked = None;
                let told = std::mem::take(&mut active.starters).into_iter();
                let told: Vec<Client> = told.chain(active.attached.take().map(|(_, client)| client)).collect();
                for client in told {
                    client.tell(Answer::Failed(Failure::from(&error)));
                }
                self.step(id, machine::Event::StartFailed);
                self.put_away(id);
                self.write(id);
                if let Some(event) = before {
                    // It had run, so somebody may follow it.
                    self.tell(event);
                }
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
            let writer = Writer::open(&self.layout, &self.project, id, &container.config.logging);
            let mut writer = writer?;
            let time = writer.mark(Mark::Started)?;
            let attached = active.attached.take().map(|(_, client)| client);
            let pump = match (&attached, started.terminal) {
                (Some(client), terminal) => {
                    client.process(pidfd.try_clone()?, terminal);
                    Pump::start(writer, [None, None])?
                }
                (None, Some(terminal)) => Pump::start(writer, [Some(self.link.hold_terminal(id, terminal)?), None])?,
                (None, None) => {
                    let source = |name: &str| self.link.held(&key(name)).map(Source::pipe).transpose();
                    Pump::start(writer, [source("stdout")?, source("stderr")?])?
                }
            };
            let standing = &mut active.standing;
            (standing.endpoints, standing.published) = (Vec::new(), Vec::new());
            if let Some(connection) = connection {
                for (key, socket) in self.published.to_keep(id)? {
                    self.link.hold(key, socket);
                }
                self.published.serve(id)?;
                if let Some(sockets) = &connection.dns {
                    self.link.hold(key("dns/udp"), sockets.udp.try_clone()?);
                    self.link.hold(key("dns/tcp"), sockets.tcp.try_clone()?);
                }
                standing.endpoints = connection.endpoints;
                standing.published = connection.published;
                if let Some(sockets) = connection.dns {
                    let networks = standing.endpoints.iter().map(|endpoint| endpoint.network_id.clone());
                    self.membership.join(&networks.collect::<Vec<String>>());
                    let asker = asker(&self.networks, container, &standing.endpoints);
                    self.resolver.serve(&id.0, asker, sockets)?;
                }
            }
            let health = container.health.as_ref().map(|_| Health::Starting);
            standing.state =
                ContainerState::Running { pid: started.pid, since: time, health, paused: false, stopping: false };
            // A process that has ended already has no mark; its status is on its way.
            standing.process = find::mark(started.pid).ok();
            standing.runs += 1;
            standing.probes.clear();
            let run = Run {
                pid: started.pid,
                pidfd: Arc::clone(&pidfd),
                cgroup,
                pump: Some(pump),
                monitor: None,
                listening: container.health.is_some() || self.published.shared(id).is_empty(),
                root: started.root,
                attached,
                ended: None,
                lost_at_boot: false,
            };
            Ok((time, run))
        };
        let (time, run) = take().map_err(|error| {
            // It must not run without us: its status is thrown away with those of failed starts.
            let _ = sys::pidfd_signal(&pidfd, Signal::KILL.number());
            wrong(error)
        })?;
        active.run = Some(run);
        self.show_readiness(id);
        self.await_listening(id);
        Ok(time)
    }
}

/// Opens a named pipe for reading, without waiting for writers.
pub(super) fn open_pipe(path: &std::path::Path) -> io::Result<OwnedFd> {
    OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path).map(OwnedFd::from)
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
    let mut found = attachments.iter().filter_map(|attachment| networks.find(&attachment.network).ok());
    let outside = found.find(|network| !network.config.internal);
    let gateways = outside.iter().flat_map(|network| [network.subnet(true), network.subnet(false)]);
    let machine = gateways.flatten().map(|subnet| subnet.gateway).collect();
    let upstreams = match container.config.dns.servers.as_slice() {
        _ if outside.is_none() => Upstreams::Nobody,
        [] => Upstreams::OfMachine,
        own => Upstreams::These(own.to_vec()),
    };
    Asker {
        container: container.config.name.to_string(),
        networks: endpoints.iter().map(|endpoint| endpoint.network_id.clone()).collect(),
        links,
        machine,
        upstreams,
    }
}

/// An error and its causes in one line.
fn words(error: &EngineError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
