//! Processes of containers, as whoever starts or watches them sees them.

use std::os::fd::OwnedFd;

use tokio::sync::{mpsc, oneshot};

use crate::engine::{
    Attended, Cause, ContainerId, ContainerState, EngineError, Process, ProcessIo, ProcessRow, Subject, Usage,
};
use crate::runtime::container::record::Container;
use crate::runtime::container::sandbox;
use crate::runtime::container::{top, usage};
use crate::runtime::supervisor::control::{Answer, Channel, Request, Streams};
use crate::runtime::{Runtime, client};

/// Has a process of a container started with these streams.
pub(super) async fn begin(
    runtime: &Runtime,
    id: &ContainerId,
    io: ProcessIo,
    request: impl FnOnce(Streams) -> Request,
) -> Result<Process, EngineError> {
    let project = runtime.project_of(id)?;
    let (streams, files) = Streams::of(io);
    let (answer, mut channel) = client::ask(&runtime.client, &project, &request(streams), &files).await?;
    let subject = Subject::Container(id.short().to_owned());
    match answer {
        Answer::Process => {
            let terminal = channel.files().pop_front();
            Ok(process(channel, terminal, subject))
        }
        _ => Err(EngineError::State { subject, state: "not started".into() }),
    }
}

/// A process that runs: signals go to it, and its status comes back.
fn process(mut channel: Channel, terminal: Option<OwnedFd>, subject: Subject) -> Process {
    let (done, status) = oneshot::channel();
    let (signals, mut asked) = mpsc::channel(8);
    tokio::spawn(async move {
        let lost = || EngineError::State {
            subject: subject.clone(),
            state: "in the hands of another supervisor, which does not know how this process ended".into(),
        };
        let status = loop {
            tokio::select! {
                answer = channel.receive() => match answer {
                    Ok(Some(Answer::Status(status))) => break Ok(status),
                    Ok(Some(Answer::Failed(failure))) => break Err(failure.into()),
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => break Err(lost()),
                },
                Some(signal) = asked.recv() => {
                    // If it can't be told, the end of the connection is read next.
                    let _ = channel.send(&Request::Signal(signal), &[]).await;
                }
            }
        };
        // Nobody may be waiting any more.
        let _ = done.send(status);
    });
    Process { terminal, status, signals }
}

/// The end of a container's standard input that is written to, if it has one.
pub(super) async fn input(runtime: &Runtime, id: &ContainerId) -> Result<Option<OwnedFd>, EngineError> {
    let project = runtime.project_of(id)?;
    let (_, mut channel) = client::ask(&runtime.client, &project, &Request::Input { id: id.clone() }, &[]).await?;
    Ok(channel.files().pop_front())
}

/// Hands a terminal that its user has left to the supervisor, which goes on reading it.
pub(super) async fn leave(
    runtime: &Runtime,
    id: &ContainerId,
    process: Attended,
    terminal: OwnedFd,
) -> Result<(), EngineError> {
    let project = runtime.project_of(id)?;
    let left = Request::Left { id: id.clone(), process };
    client::ask(&runtime.client, &project, &left, &[terminal]).await.map(drop)
}

/// The processes of a running container.
pub(super) fn top(runtime: &Runtime, id: &ContainerId) -> Result<Vec<ProcessRow>, EngineError> {
    let (container, _) = running(runtime, id)?;
    let pids = sandbox::cgroup(&container).and_then(|cgroup| cgroup.processes());
    let read = pids.map_err(Cause::from).and_then(|pids| top::rows(&pids).map_err(Cause::from));
    read.map_err(|source| EngineError::Failed { verb: "read", subject: subject(&container), source })
}

/// What a running container has used.
pub(super) fn usage(runtime: &Runtime, id: &ContainerId) -> Result<Usage, EngineError> {
    let (container, pid) = running(runtime, id)?;
    let used = usage::read(&container, pid);
    used.map_err(|source| EngineError::Failed { verb: "read", subject: subject(&container), source })
}

/// A container that runs, and its first process.
fn running(runtime: &Runtime, id: &ContainerId) -> Result<(Container, i32), EngineError> {
    let (_, container, standing) = runtime.load(id)?;
    match standing.state {
        ContainerState::Running { pid, .. } => Ok((container, pid)),
        _ => Err(EngineError::State { subject: subject(&container), state: "not running".into() }),
    }
}

fn subject(container: &Container) -> Subject {
    Subject::Container(container.config.name.to_string())
}
