//! What happened, and what is known besides: the answers to `events` and `why`.

use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use tokio::sync::mpsc;

use crate::engine::{ContainerState, EngineError, Event, EventQuery, Memory, NetworkMode, Story, Subject};
use crate::runtime::container::find;
use crate::runtime::container::record::{Container, Standing};
use crate::runtime::container::sandbox;
use crate::runtime::journal::Reader;
use crate::runtime::network::listening;
use crate::runtime::store::now;
use crate::runtime::supervisor::control::{Answer, Channel, Request};
use crate::runtime::watch::{Seen, Watch};
use crate::runtime::{Runtime, client};
use crate::values::names::ProjectName;

/// Events on their way to whoever asked.
const UNREAD: usize = 64;

/// A project's events from now on, or since a moment: read from the journal, while a connection to the supervisor, if
/// there is one, tells whether it lives.
pub(super) async fn events(
    runtime: &Runtime,
    project: &ProjectName,
    query: EventQuery,
) -> Result<mpsc::Receiver<Event>, EngineError> {
    let failed = |error: io::Error| EngineError::Failed {
        verb: "follow",
        subject: Subject::Project(project.to_string()),
        source: Box::new(error),
    };
    let (layout, folder) = (runtime.layout.clone(), runtime.layout.journal(project));
    let open = || -> io::Result<_> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        // Who wants to know of starts may want to read what is written then.
        let held = File::options().create(true).append(true).open(layout.followers(project))?;
        let held = Flock::lock(held, FlockArg::LockShared).map_err(|(_, errno)| errno)?;
        let watch = Watch::new()?;
        watch.add(&folder)?;
        Ok((watch, Reader::open(&folder, query.since)?, held))
    };
    let (watch, mut journal, held) = open().map_err(failed)?;
    // Whatever runs without anybody who watches over it gets somebody.
    let mut watcher = if find::of_project(&layout, project)?.iter().any(|(_, standing)| standing.state.is_active()) {
        Some(client::ask(&runtime.client, project, &Request::Events, &[]).await?.1)
    } else {
        client::attach(&layout, project).await
    };
    let (sender, receiver) = mpsc::channel(UNREAD);
    let project = project.clone();
    tokio::spawn(async move {
        let _held = held;
        let mut killed = false;
        loop {
            // What is in the journal after this moment is not older than it.
            let over = query.until.is_some_and(|until| until <= now());
            let mut news = false;
            while let Ok(Some(event)) = journal.next() {
                news = true;
                if query.until.is_none_or(|until| event.time <= until) && sender.send(event).await.is_err() {
                    return;
                }
            }
            if killed || over {
                return;
            }
            if news && watcher.is_none() {
                watcher = client::attach(&layout, &project).await;
            }
            tokio::select! {
                seen = watch.seen() => {
                    if !matches!(seen, Ok(Seen::Change)) {
                        return;
                    }
                }
                gone = gone(&mut watcher) => {
                    killed = gone == Gone::Killed;
                    watcher = None;
                }
                () = time(query.until) => {}
                () = sender.closed() => return,
            }
        }
    });
    Ok(receiver)
}

/// Waits for a moment, if there is one.
async fn time(until: Option<i64>) {
    let Some(until) = until else { return std::future::pending().await };
    let left = u64::try_from(until.saturating_sub(now())).unwrap_or(0);
    tokio::time::sleep(Duration::from_nanos(left)).await;
}

/// How a supervisor went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gone {
    /// With a word of farewell: nothing runs any more, and all is told.
    InOrder,
    /// Without.
    Killed,
}

/// Waits until the supervisor is gone.
async fn gone(watcher: &mut Option<Channel>) -> Gone {
    let Some(watcher) = watcher else { return std::future::pending().await };
    match watcher.receive::<Answer>().await {
        Ok(Some(_)) => Gone::InOrder,
        Ok(None) | Err(_) => Gone::Killed,
    }
}

/// What is known of a container besides its state.
pub(super) fn story(container: &Container, standing: Standing) -> Story {
    let running = matches!(standing.state, ContainerState::Running { .. });
    let usage = if running { sandbox::cgroup(container).and_then(|cgroup| cgroup.usage()).ok() } else { None };
    let memory = usage.map(|usage| Memory {
        used: usage.memory,
        peak: usage.memory_peak,
        limit: Some(usage.memory_limit).filter(|limit| *limit != u64::MAX),
    });
    let own_network = matches!(container.config.network, NetworkMode::Networks(_) | NetworkMode::None);
    let process = standing.process.as_ref().filter(|process| running && own_network && find::alive(process));
    Story {
        stopped_by_user: standing.stopped_by_user,
        runs: standing.runs,
        probes: standing.probes,
        memory,
        listening: process.map(|process| listening::ports(process.pid)).unwrap_or_default(),
    }
}
