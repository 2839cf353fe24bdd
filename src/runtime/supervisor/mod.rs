//! The supervisor: owns what a project's running containers do.
//!
//! One task owns everything and takes one message after another from a queue; connections, log pumps, timers, probes
//! and the start threads only put messages into it. Deciding is done by [`machine`], which is pure. A container is in
//! memory only while it is active; at rest its records on disk are all there is.
//!
//! It dies without loss at any moment: what must survive is held by the keeper or lies in `state.json`, and
//! [`recover`] makes the next one from those.

mod active;
pub mod connection;
pub mod control;
pub mod link;
pub mod logs;
pub mod machine;
mod names;
mod recover;
pub mod starter;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::dns::Resolver;
use crate::engine::{ContainerId, EngineError, Event, EventAction, Subject, WaitFor};
use crate::runtime::container::find;
use crate::runtime::keeper::protocol::LISTENER;
use crate::runtime::layout::Layout;
use crate::runtime::network::Networks;
use crate::runtime::start::program::Started;
use crate::runtime::store;
use crate::runtime::supervisor::active::Active;
use crate::runtime::supervisor::connection::{Client, Reply};
use crate::runtime::supervisor::control::{Answer, Failure, Request};
use crate::runtime::supervisor::link::{Link, Word};
use crate::runtime::supervisor::names::Membership;
use crate::runtime::supervisor::starter::{Launched, Starter};
use crate::values::names::ProjectName;

/// How long it stays with nothing to do: the next command may be on its way.
const LINGER: Duration = Duration::from_millis(500);
/// How long it waits at most for its clients to read its last answers.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What the queue holds.
enum Message {
    /// A client asks.
    Asked(Request, Client),
    /// A client that is not waiting for one container any more has gone.
    ClientGone,
    /// A container's command runs, or can't.
    Launched(ContainerId, Result<Launched, EngineError>),
    /// A further process runs in a container, or can't.
    Joined(Client, Result<Started, EngineError>),
    /// The timer of this number, armed for a container, is over.
    Timer(ContainerId, u64),
    /// Everything that an ended container wrote is in its log.
    Drained(ContainerId),
    /// A process that somebody else was parent of has ended.
    AdoptedEnded(ContainerId, Option<i32>),
}

/// What becomes of a child's status.
enum Child {
    /// It is the first process of a container.
    First(ContainerId),
    /// Somebody waits for it.
    Other(oneshot::Sender<i32>),
}

struct Supervisor {
    layout: Layout,
    project: ProjectName,
    link: Link,
    networks: Networks,
    resolver: Resolver,
    membership: Membership,
    starter: Starter,
    queue: mpsc::UnboundedSender<Message>,
    containers: BTreeMap<ContainerId, Active>,
    children: HashMap<i32, Child>,
    /// Statuses of processes whose start has not been told yet.
    early: Vec<(i32, i32)>,
    /// Starts under way.
    starting: usize,
    clients: usize,
    subscribers: Vec<Client>,
    removal_waiters: Vec<(ContainerId, Client)>,
    settlers: Vec<Client>,
    /// The keeper is dead: as soon as no start is under way, another one takes over.
    orphaned: bool,
}

/// The supervisor: ends when nothing runs and nobody is connected.
pub fn main(layout: &Layout, project: &ProjectName) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.and_then(|runtime| runtime.block_on(run(layout, project)));
    // Nobody listens to a supervisor's last words; the keeper starts another one.
    if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(layout: &Layout, project: &ProjectName) -> io::Result<()> {
    let (link, words) = Link::open().await?;
    let listener = link.held(LISTENER).ok_or(io::ErrorKind::NotConnected)?;
    let listener = std::os::unix::net::UnixListener::from(listener);
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    let (queue, mut messages) = mpsc::unbounded_channel();
    let mut supervisor = Supervisor {
        layout: layout.clone(),
        project: project.clone(),
        link,
        networks: Networks::new(layout.clone()),
        resolver: Resolver::new(),
        membership: Membership::new(layout)?,
        starter: Starter::new(layout)?,
        queue,
        containers: BTreeMap::new(),
        children: HashMap::new(),
        early: Vec::new(),
        starting: 0,
        clients: 0,
        subscribers: Vec::new(),
        removal_waiters: Vec::new(),
        settlers: Vec::new(),
        orphaned: false,
    };
    let mut connections = JoinSet::new();
    supervisor.recover(words)?;
    loop {
        let idle = supervisor.is_idle() && supervisor.clients == 0;
        tokio::select! {
            biased;
            Some(message) = messages.recv() => supervisor.take(message),
            word = supervisor.link.word(), if !supervisor.orphaned => match word {
                Word::Ended { pid, status } => supervisor.ended(pid, status),
                Word::Gone => supervisor.orphaned = true,
            },
            () = supervisor.membership.changed() => supervisor.swap_names(),
            accepted = listener.accept(), if !supervisor.orphaned => {
                let (stream, _) = accepted?;
                supervisor.clients += 1;
                connections.spawn(connection::serve(stream, supervisor.queue.clone()));
            }
            Some(_) = connections.join_next() => {}
            () = tokio::time::sleep(LINGER), if idle => {
                if supervisor.leave(&listener, 0)? {
                    supervisor.link.quit();
                    return Ok(());
                }
            }
        }
        if let Some(client) = supervisor.leaver.take() {
            // Asked to leave: everybody else's last answer is under way already.
            if supervisor.is_idle() && supervisor.leave(&listener, 1)? {
                let pids = Answer::Leaving { keeper: nix::unistd::getppid().as_raw(), supervisor: nix::unistd::getpid().as_raw() };
                client.last(pids);
                drop(client);
                let all = async { while connections.join_next().await.is_some() {} };
                let _ = tokio::time::timeout(LAST_WORDS, all).await;
                supervisor.link.quit();
                return Ok(());
            }
            client.last(Answer::Done);
        }
        if supervisor.orphaned && supervisor.starting == 0 {
            let Supervisor { link, layout, project, .. } = supervisor;
            return link.succeed(&layout, &project).map_err(|error| io::Error::from(error.errno));
        }
    }
}
