//! The supervisor: owns what a project's running containers do.
//!
//! One task owns everything and takes one message after another from a queue; connections, log pumps, timers, probes
//! and the start threads only put messages into it. Deciding is done by [`machine`], which is pure. A container is in
//! memory only while it is active; at rest its records on disk are all there is.
//!
//! It dies without loss at any moment: what must survive is held by the keeper or lies in `state.json`, and
//! [`recover`] makes the next one from those.

mod active;
mod begin;
pub mod connection;
pub mod control;
mod deaf;
mod end;
mod etc;
mod exec;
mod firewall;
pub mod health;
mod left;
pub mod link;
pub mod logs;
pub mod machine;
pub mod names;
mod orders;
mod persist;
mod published;
mod questions;
mod recover;
mod removal;
pub mod starter;
mod unmount;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::dns::Resolver;
use crate::engine::{ContainerId, ContainerState, EngineError, Event, EventAction, Subject};
use crate::engine::{Probe, Rest};
use crate::runtime::container::find;
use crate::runtime::container::record::Container;
use crate::runtime::journal;
use crate::runtime::keeper::protocol::{LISTENER, PROGRAM};
use crate::runtime::layout::Layout;
use crate::runtime::network::Networks;
use crate::runtime::network::changes::Changes;
use crate::runtime::network::published::Published;
use crate::runtime::start::process::Started;
use crate::runtime::supervisor::active::Active;
use crate::runtime::supervisor::connection::Client;
use crate::runtime::supervisor::control::{Answer, Request};
use crate::runtime::supervisor::link::{Link, Word};
use crate::runtime::supervisor::machine::Next;
use crate::runtime::supervisor::names::Membership;
use crate::runtime::supervisor::starter::{Launched, Starter};
use crate::runtime::sys::memory;
use crate::runtime::version;
use crate::values::names::ProjectName;

/// How long nothing was asked of it before it takes itself to be at rest.
const REST: Duration = Duration::from_secs(1);
/// How long it stays with nothing to do: the next command may be on its way.
const LINGER: Duration = Duration::from_millis(500);
/// How long somebody who asks it to leave waits for others to go.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long it waits at most for its clients to read its last answers.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What the queue holds.
enum Message {
    /// A client asks.
    Asked(Request, Client),
    /// A container's command runs, or can't.
    Launched(ContainerId, Result<Launched, EngineError>),
    /// A further process runs in a container, or can't.
    Joined {
        /// Which.
        id: ContainerId,
        /// Its command line.
        command: String,
        client: Client,
        started: Result<Started, EngineError>,
    },
    /// A further process in a container has ended.
    Left(ContainerId, i32),
    /// It is time to probe this run of a container.
    ProbeDue(ContainerId, u64),
    /// A probe of this run of a container runs, or can't.
    Probing {
        id: ContainerId,
        number: u64,
        /// Nanoseconds since 1970.
        began: i64,
        /// What it prints.
        reader: OwnedFd,
        started: Result<Started, EngineError>,
    },
    /// A probe of this run of a container has ended.
    Probed(ContainerId, u64, Probe),
    /// The timer of this number, armed for a container, is over.
    Timer(ContainerId, u64),
    /// Everything that an ended container wrote is in its log, where its end has this time.
    Drained(ContainerId, i64),
    /// Whoever asked it to leave has waited long enough.
    Stay,
    /// This run of a container listens, or has had time enough to.
    Listening(ContainerId, u64),
    /// A container that was made for one run is gone, or could not be removed.
    Removed(ContainerId, Result<Box<Container>, EngineError>),
    /// Nobody writes any more to a terminal that was left; the key it is held by.
    Silent(String),
    /// A process that somebody else was parent of has ended.
    AdoptedEnded(ContainerId, Option<i32>),
}

impl Message {
    /// Whether it leads to work that is not done all the time.
    fn is_work(&self) -> bool {
        matches!(self, Message::Asked(..) | Message::Launched(..) | Message::Joined { .. } | Message::Drained(..))
    }
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
    published: Published,
    resolver: Resolver,
    membership: Membership,
    starter: Starter,
    /// Takes records of containers that have just started.
    records: mpsc::UnboundedSender<PathBuf>,
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
    leaver: Option<Client>,
    /// Of the machine, as records have it.
    boot: Option<String>,
}

/// The supervisor: ends when nothing runs and nobody is connected.
pub fn main(layout: &Layout, project: &ProjectName) -> ExitCode {
    memory::share_one_heap();
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
    let published = Published::default();
    let membership = Membership::new(layout);
    let mut supervisor = Supervisor {
        layout: layout.clone(),
        project: project.clone(),
        link,
        networks: Networks::new(layout.clone()),
        resolver: Resolver::new(membership.clone()),
        membership,
        starter: Starter::new(layout, &published)?,
        published,
        records: persist::start(),
        queue,
        containers: BTreeMap::new(),
        children: HashMap::new(),
        early: Vec::new(),
        starting: 0,
        clients: 0,
        subscribers: Vec::new(),
        removal_waiters: Vec::new(),
        settlers: Vec::new(),
        leaver: None,
        boot: find::boot().ok(),
    };
    version::write(layout, project)?;
    // Without it (a kernel without nftables) there is nothing to look after.
    let firewall = Changes::open().ok();
    let mut connections = JoinSet::new();
    let mut orphaned = false;
    supervisor.recover(words);
    // When it will have been at rest for long enough, if much was done since it last was.
    let mut rest = Some(Instant::now() + REST);
    loop {
        let idle = supervisor.is_idle() && supervisor.others() == 0;
        tokio::select! {
            biased;
            Some(message) = messages.recv() => {
                if message.is_work() {
                    rest = Some(Instant::now() + REST);
                }
                supervisor.take(message);
            }
            word = supervisor.link.word(), if !orphaned => match word {
                Word::Ended { pid, status } => supervisor.ended(pid, status),
                Word::Gone => orphaned = true,
            },
            changed = next_change(firewall.as_ref()) => {
                changed?;
                supervisor.repair_firewall();
            }
            accepted = listener.accept(), if !orphaned => {
                let (stream, _) = accepted?;
                supervisor.clients += 1;
                connections.spawn(connection::serve(stream, supervisor.queue.clone()));
            }
            Some(_) = connections.join_next() => supervisor.clients -= 1,
            () = at(rest) => {
                rest = None;
                memory::forget_beginning();
            }
            () = tokio::time::sleep(LINGER), if idle => {
                if supervisor.leave(&listener)? {
                    supervisor.farewell(&mut connections).await;
                    return Ok(());
                }
            }
        }
        if supervisor.is_idle()
            && supervisor.others() == 1
            && let Some(client) = supervisor.leaver.take()
        {
            if supervisor.leave(&listener)? {
                let keeper = nix::unistd::getppid().as_raw();
                client.tell(Answer::Leaving { keeper, supervisor: nix::unistd::getpid().as_raw() });
                drop(client);
                supervisor.farewell(&mut connections).await;
                return Ok(());
            }
            client.tell(Answer::Done);
        }
        // The threads' starts end first: their processes have to be on record. What was asked for meanwhile is asked for
        // again by the clients, who see their connections closed.
        if orphaned && supervisor.starting == 0 && messages.is_empty() && !supervisor.is_putting_away() {
            let Supervisor { link, layout, project, containers, .. } = supervisor;
            // The next one holds them from now on.
            drop(containers);
            return link.succeed(&layout, &project).map_err(|error| io::Error::from(error.errno));
        }
    }
}

/// Waits for a moment, if there is one.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// The next change of the firewall; never, where nobody can tell.
async fn next_change(firewall: Option<&Changes>) -> io::Result<()> {
    match firewall {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
}

impl Supervisor {
    fn take(&mut self, message: Message) {
        match message {
            Message::Asked(request, client) => self.asked(request, client),
            Message::Launched(id, launched) => {
                self.starting -= 1;
                self.launched(&id, launched);
                self.forget_early();
            }
            Message::Removed(id, removed) => {
                self.starting -= 1;
                self.removed(&id, removed);
                self.forget_early();
            }
            Message::Joined { id, command, client, started } => {
                self.starting -= 1;
                self.joined(id, command, client, started);
                self.forget_early();
            }
            Message::Left(id, status) => self.tell_of(&id, EventAction::ExecDie { status }),
            Message::ProbeDue(id, number) => self.probe(&id, number),
            Message::Probing { id, number, began, reader, started } => {
                self.starting -= 1;
                self.probing(id, number, began, reader, started);
                self.forget_early();
            }
            Message::Probed(id, number, result) => self.probed(&id, number, result),
            Message::Timer(id, number) => self.timer(&id, number),
            Message::Listening(id, number) => self.listening(&id, number),
            Message::Drained(id, time) => self.drained(&id, time),
            Message::Stay => {
                if let Some(client) = self.leaver.take() {
                    client.tell(Answer::Done);
                }
            }
            Message::Silent(key) => self.link.release(&key),
            Message::AdoptedEnded(id, status) => self.container_ended(&id, status),
        }
    }

    fn asked(&mut self, request: Request, client: Client) {
        match request {
            Request::Start { id } => self.start(&id, client, None),
            Request::StartAttached { id, io } => match client.streams(io) {
                Some(io) => self.start(&id, client, Some(io)),
                None => client.refuse(EngineError::Invalid {
                    subject: Subject::Container(id.short().to_owned()),
                    reason: "its streams did not come along".into(),
                }),
            },
            Request::Stop { id, grace, rest } => self.stop(&id, grace, Next::Rest, rest, client),
            Request::Restart { id, grace } => self.stop(&id, grace, Next::Start, Rest::UntilStarted, client),
            Request::Kill { id, signal } => self.kill(&id, signal, client),
            Request::Pause { id, paused } => self.pause(&id, paused, client),
            Request::Wait { id, until } => self.wait(&id, until, client),
            Request::Input { id } => self.input(&id, client),
            Request::Left { id, process } => self.left(&id, process, client),
            Request::Exec { id, config, io } => self.exec(&id, &config, io, client),
            Request::Events => {
                client.tell(Answer::Done);
                self.subscribers.retain(|client| !client.is_gone());
                self.subscribers.push(client);
            }
            Request::Names => {
                client.tell(Answer::Names(questions::resolutions(&self.resolver)));
            }
            Request::Questions { follow } => questions::tell(&self.resolver, client, follow),
            Request::Tell(event) => {
                self.told(&event);
                client.tell(Answer::Done);
            }
            Request::Settle => {
                self.settlers.push(client);
                self.settled();
            }
            // Whoever runs needs us.
            Request::Leave if !self.is_idle() => {
                client.tell(Answer::Done);
            }
            Request::Leave => {
                // Connections that were just closed may still count.
                self.leaver = Some(client);
                let queue = self.queue.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(PATIENCE).await;
                    queue.send(Message::Stay)
                });
            }
            Request::GiveWay => self.give_way(&client),
            // Only meant for a process that the connection has started.
            Request::Signal(_) => drop(client),
        }
    }

    /// Lets a newer program take over. Supervisors may be killed at any moment, so this one is: the next one finds all it
    /// needs on record and in the keeper's hands, and whoever follows or waits turns to it. Only who has a start, a stop or
    /// a process under way is not disturbed, nor an end that is being put on record.
    fn give_way(&mut self, client: &Client) {
        let disturbs = self.others().saturating_sub(self.waiting()) > 1;
        let busy = disturbs || self.starting > 0 || self.is_putting_away();
        match client.file().filter(|_| !busy) {
            Some(program) => {
                self.link.hold(PROGRAM.to_owned(), program);
                // It can't fail, and nothing comes behind it.
                let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
            }
            None => {
                client.tell(Answer::Done);
            }
        }
    }

    /// A child of the keeper has ended.
    fn ended(&mut self, pid: i32, status: i32) {
        match self.children.remove(&pid) {
            Some(Child::First(id)) => self.container_ended(&id, Some(status)),
            Some(Child::Other(waiting)) => {
                // Who asked for it may have gone.
                let _ = waiting.send(exit_code(status));
                self.link.seen(pid);
            }
            None => {
                self.early.push((pid, status));
                self.forget_early();
            }
        }
    }

    /// The status of a process that has just been told of, if it is over already.
    fn early(&mut self, pid: i32) -> Option<i32> {
        let place = self.early.iter().position(|(early, _)| *early == pid)?;
        Some(self.early.remove(place).1)
    }

    /// With no start under way nobody will ever ask for these: starts that failed.
    fn forget_early(&mut self) {
        if self.starting == 0 {
            for (pid, _) in self.early.drain(..) {
                self.link.seen(pid);
            }
        }
    }

    /// Puts an event on record, and tells whoever waits for this removal.
    fn tell(&mut self, event: Event) {
        self.told(&event);
        if journal::append(&self.layout.journal(&self.project), &event).is_err() {
            // They see that there is something to see, and look at how things stand.
            self.subscribers.clear();
        }
    }

    /// An event is on record: whoever waits for this removal is told.
    fn told(&mut self, event: &Event) {
        if event.action == EventAction::Destroy {
            let (gone, others) =
                std::mem::take(&mut self.removal_waiters).into_iter().partition(|(id, _)| *id == event.container);
            self.removal_waiters = others;
            let gone: Vec<(ContainerId, Client)> = gone;
            for (_, client) in gone {
                client.tell(Answer::State(ContainerState::Dead));
            }
        }
    }

    /// Whether the end of a run is about to be put on record: nobody else can learn its status any more.
    fn is_putting_away(&self) -> bool {
        self.containers.values().filter_map(|active| active.run.as_ref()).any(|run| run.ended.is_some())
    }

    /// Clients that want something done; who only follows events is none.
    fn others(&self) -> usize {
        self.clients.saturating_sub(self.subscribers.iter().filter(|client| !client.is_gone()).count())
    }

    /// Clients that wait for something, and ask again if their connection ends.
    fn waiting(&self) -> usize {
        let waiters = self.containers.values().flat_map(|active| &active.waiters).map(|(_, client)| client);
        let removals = self.removal_waiters.iter().map(|(_, client)| client);
        waiters.chain(removals).filter(|client| !client.is_gone()).count()
    }

    /// Says its last words, and has the keeper end.
    async fn farewell(&mut self, connections: &mut JoinSet<()>) {
        for subscriber in self.subscribers.drain(..) {
            subscriber.tell(Answer::Done);
        }
        let all = async { while connections.join_next().await.is_some() {} };
        // A client that does not read is not waited for.
        let _ = tokio::time::timeout(LAST_WORDS, all).await;
        self.link.quit();
    }

    fn is_idle(&self) -> bool {
        self.containers.is_empty() && self.starting == 0
    }

    /// Takes the socket away, unless somebody is about to connect; whether it is gone.
    fn leave(&self, listener: &UnixListener) -> io::Result<bool> {
        let lock = std::fs::File::options().create(true).append(true).open(self.layout.control_lock(&self.project));
        let lock = match lock {
            // The folder is gone, and our socket with it: nobody finds us any more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            other => other?,
        };
        let Ok(_lock) = Flock::lock(lock, FlockArg::LockExclusiveNonblock) else { return Ok(false) };
        let mut waiting = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        if poll(&mut waiting, PollTimeout::ZERO)? > 0 {
            return Ok(false);
        }
        for path in [self.layout.version(&self.project), self.layout.control(&self.project)] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(true)
    }
}

/// A status of wait(2) as Docker tells it: the exit code, or 128 and the signal.
fn exit_code(status: i32) -> i32 {
    match status & 0x7f {
        0 => (status >> 8) & 0xff,
        signal => 128 + signal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_is_the_code_or_128_and_the_signal() {
        assert_eq!(exit_code(42 << 8), 42);
        assert_eq!(exit_code(9), 137);
        // With a core dump, and by a real-time signal.
        assert_eq!(exit_code(0x80 | 11), 139);
        assert_eq!(exit_code(64), 192);
    }
}
