//! Further processes in a running container: for users, and as probes of its health.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::engine::{ContainerId, ContainerState, EngineError, EventAction, ExecConfig, ProcessIo, Subject};
use crate::runtime::container::sandbox;
use crate::runtime::start::process::Started;
use crate::runtime::start::request::{ExecRequest, Process};
use crate::runtime::store::now;
use crate::runtime::supervisor::connection::Client;
use crate::runtime::supervisor::control::{Answer, Streams};
use crate::runtime::supervisor::starter::Job;
use crate::runtime::supervisor::{Child, Message, Supervisor, exit_code};

impl Supervisor {
    /// A user wants another process in a container.
    pub(super) fn exec(&mut self, id: &ContainerId, config: &ExecConfig, streams: Streams, client: Client) {
        let Some(io) = client.streams(streams) else {
            return client.refuse(EngineError::Invalid {
                subject: Subject::Container(id.short().to_owned()),
                reason: "its streams did not come along".into(),
            });
        };
        let (request, subject) = match self.exec_request(id, config, io) {
            Ok(request) => request,
            Err(error) => return client.refuse(error),
        };
        let command = config.command.join(" ");
        self.tell_of(id, EventAction::ExecCreate { command: command.clone() });
        let (queue, id) = (self.queue.clone(), id.clone());
        self.starting += 1;
        let done = Box::new(move |started| {
            // A supervisor that is gone answers nobody.
            let _ = queue.send(Message::Joined { id, command, client, started });
        });
        self.starter.put(Job::Exec { request: Box::new(request), subject, done });
    }

    /// A user wants to type into a container.
    pub(super) fn input(&self, id: &ContainerId, client: Client) {
        let running = self.containers.get(id).is_some_and(|active| active.run.is_some());
        if !running {
            let subject = Subject::Container(id.short().to_owned());
            return client.refuse(EngineError::State { subject, state: "not running".to_owned() });
        }
        let held = |name: &str| self.link.held(&format!("{}/{name}", id.0));
        client.input(held("terminal").or_else(|| held("stdin")));
    }

    /// What has to be known to run a process in a container; refused unless it runs.
    pub(super) fn exec_request(
        &self,
        id: &ContainerId,
        config: &ExecConfig,
        io: ProcessIo,
    ) -> Result<(ExecRequest, Subject), EngineError> {
        let active = self.containers.get(id);
        let name = active.map_or(id.short(), |active| active.container.config.name.as_str());
        let subject = Subject::Container(name.to_owned());
        let refuse = |state: &str| EngineError::State { subject: subject.clone(), state: state.to_owned() };
        let Some(active) = active else { return Err(refuse("not running")) };
        let Some(run) = active.run.as_ref().filter(|run| run.ended.is_none()) else {
            return Err(refuse("not running"));
        };
        if matches!(active.standing.state, ContainerState::Running { paused: true, .. }) {
            return Err(refuse("paused"));
        }
        let own = sandbox::process(&active.container);
        let mut security = own.security;
        security.privileged |= config.privileged;
        let mut env = own.env;
        env.extend(config.environment.iter().map(|(name, value)| format!("{name}={value}")));
        let request = ExecRequest {
            container: Arc::clone(&run.pidfd),
            pid: run.pid,
            process: Process {
                argv: config.command.clone(),
                env,
                working_dir: config.working_dir.clone().unwrap_or(own.working_dir),
                user: config.user.clone().or(own.user),
                groups: own.groups,
                security,
            },
            hostname: active.container.hostname.clone(),
            ulimits: active.container.config.ulimits.clone(),
            join: run.cgroup.join_files(),
            io,
        };
        Ok((request, subject))
    }

    /// A user's process runs, or can't.
    pub(super) fn joined(
        &mut self,
        id: ContainerId,
        command: String,
        client: Client,
        started: Result<Started, EngineError>,
    ) {
        let started = match started {
            Ok(started) => started,
            Err(error) => return client.refuse(error),
        };
        self.tell_of(&id, EventAction::ExecStart { command });
        let status = self.status_of(started.pid);
        client.process(started.pidfd, started.terminal);
        let queue = self.queue.clone();
        tokio::spawn(async move {
            if let Ok(status) = status.await {
                client.tell(Answer::Status(status));
                let _ = queue.send(Message::Left(id, status));
            }
        });
    }

    /// Puts on record what happened to an active container.
    pub(super) fn tell_of(&mut self, id: &ContainerId, action: EventAction) {
        if let Some(active) = self.containers.get(id) {
            let event = active.event(now(), action);
            self.tell(event);
        }
    }

    /// The exit code of a process that has just been started, once it ends.
    pub(super) fn status_of(&mut self, pid: i32) -> oneshot::Receiver<i32> {
        let (sender, receiver) = oneshot::channel();
        match self.early(pid) {
            Some(status) => {
                // The receiver is right here.
                let _ = sender.send(exit_code(status));
                self.link.seen(pid);
            }
            None => drop(self.children.insert(pid, Child::Other(sender))),
        }
        receiver
    }
}
