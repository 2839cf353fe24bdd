//! Shows what containers write while they run, and tells when they end: the common part of `logs -f` and `up`.
//!
//! A followed log ends with the run of its container, after the last line; the news of the exit is printed then. When the
//! container is started again, its log is asked for again, from where the last run ended.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::cli::failure::Failure;
use crate::cli::members;
use crate::cli::ui::logs::LogPrinter;
use crate::engine::{
    ContainerId, ContainerState, Engine, EngineError, Event, EventAction, Labels, LogChunk, LogQuery, ObservedContainer,
};
use crate::planner::labels;
use crate::values::names::ProjectName;

type Printer = LogPrinter<std::io::Stdout, std::io::Stderr>;

/// Follows the containers of a project.
pub struct Follower {
    engine: Arc<dyn Engine>,
    project: ProjectName,
    printer: Printer,
    events: Option<mpsc::Receiver<Event>>,
    followed: HashMap<ContainerId, Followed>,
    news: (mpsc::Sender<News>, mpsc::Receiver<News>),
    readers: JoinSet<()>,
}

/// One container.
#[derive(Debug)]
struct Followed {
    service: String,
    /// Its end is waited for.
    counts: bool,
    /// Its output is shown.
    shown: bool,
    /// It has a process, or will have one again without being asked.
    alive: bool,
    /// Its log is being read.
    reading: bool,
    /// The time of the last piece of its log.
    seen: Option<i64>,
    /// It ended, which will be told when its log is read to the end.
    ended: Option<Ended>,
    /// It runs again, from when on its log is wanted.
    again: Option<i64>,
}

/// How a container ended.
#[derive(Debug, Clone, Copy)]
struct Ended {
    status: i32,
    restarting: bool,
    time: i64,
}

/// Something happened; for [`Follower::take`].
#[derive(Debug)]
pub enum News {
    /// A piece of output.
    Chunk(LogChunk),
    /// A log has been read to the end of a run.
    End(ContainerId),
    /// An event.
    Event(Box<Event>),
    /// No more events come from this subscription: nothing runs any more, or the supervisor is being replaced.
    Silence,
}

/// What it meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A container ended for good, and its output has been printed.
    Exit {
        /// Whose container it is.
        service: String,
        /// How it ended.
        status: i32,
    },
    /// Something that needs no answer.
    Other,
}

/// Whose containers are followed.
pub struct Interest<'a> {
    /// Containers whose output is shown.
    pub shown: &'a dyn Fn(&Labels) -> bool,
    /// Containers whose end is waited for.
    pub counts: &'a dyn Fn(&Labels) -> bool,
    /// Which part of their logs.
    pub query: LogQuery,
}

impl Follower {
    /// Prints with this printer.
    pub fn new(engine: Arc<dyn Engine>, project: &ProjectName, printer: Printer) -> Follower {
        Follower {
            engine,
            project: project.clone(),
            printer,
            events: None,
            followed: HashMap::new(),
            news: mpsc::channel(64),
            readers: JoinSet::new(),
        }
    }

    /// From now on no event is missed.
    pub async fn subscribe(&mut self) -> Result<(), Failure> {
        self.events = Some(self.engine.events(&self.project).await?);
        Ok(())
    }

    /// The printer, for lines of our own.
    pub fn printer(&mut self) -> &mut Printer {
        &mut self.printer
    }

    /// Lines of this container may come: its name takes part in the column's width.
    pub fn register(&mut self, id: &ContainerId, name: &str) {
        self.printer.register(id, members::shown_name(name, &self.project));
    }

    /// Prints a log as it is now.
    pub async fn print(&mut self, id: &ContainerId, query: &LogQuery) -> Result<(), Failure> {
        let mut log = self.engine.logs(id, query).await?;
        while let Some(chunk) = log.recv().await {
            self.printer.chunk(&chunk)?;
        }
        self.printer.end(id);
        Ok(self.printer.flush()?)
    }

    /// Takes over a container that is there already: prints its log, and goes on with it if it runs.
    pub async fn open(&mut self, container: &ObservedContainer, interest: &Interest<'_>) -> Result<(), Failure> {
        let (id, labels) = (&container.id, &container.config.labels);
        let alive = matches!(container.state, ContainerState::Running { .. } | ContainerState::Restarting { .. });
        let shown = (interest.shown)(labels);
        self.watch(id, labels, interest, alive);
        if !shown {
            return Ok(());
        }
        self.register(id, container.config.name.as_str());
        if members::running(container) {
            self.read(id, &interest.query).await
        } else {
            self.print(id, &LogQuery { follow: false, ..interest.query.clone() }).await
        }
    }

    fn watch(&mut self, id: &ContainerId, labels: &Labels, interest: &Interest<'_>, alive: bool) {
        let (service, counts, shown) = (members::service(labels), (interest.counts)(labels), (interest.shown)(labels));
        self.followed.entry(id.clone()).and_modify(|followed| followed.alive |= alive).or_insert_with(|| Followed {
            service: service.to_owned(),
            counts,
            shown,
            alive,
            reading: false,
            seen: None,
            ended: None,
            again: None,
        });
    }

    async fn read(&mut self, id: &ContainerId, query: &LogQuery) -> Result<(), Failure> {
        let Some(followed) = self.followed.get_mut(id) else { return Ok(()) };
        if followed.reading {
            followed.again = query.since;
            return Ok(());
        }
        let mut log = match self.engine.logs(id, &LogQuery { follow: true, ..query.clone() }).await {
            Ok(log) => log,
            // Removed since the event told of it.
            Err(EngineError::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        followed.reading = true;
        let (news, id) = (self.news.0.clone(), id.clone());
        self.readers.spawn(async move {
            while let Some(chunk) = log.recv().await {
                if news.send(News::Chunk(chunk)).await.is_err() {
                    return;
                }
            }
            // Nobody listens any more if this fails.
            let _ = news.send(News::End(id)).await;
        });
        Ok(())
    }

    /// Whether some container that counts lives, or its last words are still to be printed.
    pub fn busy(&self) -> bool {
        let lasts = |followed: &&Followed| followed.alive || followed.reading || followed.ended.is_some();
        self.followed.values().filter(|followed| followed.counts).any(|followed| lasts(&followed))
    }

    /// Follows until no container is left.
    pub async fn run(&mut self, interest: &Interest<'_>) -> Result<(), Failure> {
        while self.busy() {
            let news = self.wait().await?;
            self.take(news, interest).await?;
        }
        Ok(self.printer.flush()?)
    }

    /// Waits for news; its future may be dropped. What has been printed is written when nothing more is waiting.
    pub async fn wait(&mut self) -> Result<News, Failure> {
        if let Ok(news) = self.news.1.try_recv() {
            return Ok(news);
        }
        self.printer.flush()?;
        let event = async {
            match self.events.as_mut() {
                Some(events) => events.recv().await.map_or(News::Silence, |event| News::Event(Box::new(event))),
                // Nothing runs; only what has been written is still to come.
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(news) = self.news.1.recv() => Ok(news),
            news = event => Ok(news),
        }
    }

    /// Whether events are being told.
    pub fn subscribed(&self) -> bool {
        self.events.is_some()
    }

    /// Prints what the news tells, and follows what it makes known.
    pub async fn take(&mut self, news: News, interest: &Interest<'_>) -> Result<Seen, Failure> {
        match news {
            News::Chunk(chunk) => {
                if let Some(followed) = self.followed.get_mut(&chunk.container) {
                    followed.seen = Some(chunk.time);
                }
                self.printer.chunk(&chunk)?;
                Ok(Seen::Other)
            }
            News::End(id) => {
                self.printer.end(&id);
                if let Some(followed) = self.followed.get_mut(&id) {
                    followed.reading = false;
                }
                self.settle(&id, interest).await
            }
            News::Event(event) => self.event(&event, interest).await,
            News::Silence => self.recover(interest).await,
        }
    }

    async fn event(&mut self, event: &Event, interest: &Interest<'_>) -> Result<Seen, Failure> {
        let (id, labels) = (&event.container, &event.labels);
        if members::one_off(labels) {
            return Ok(Seen::Other);
        }
        match &event.action {
            EventAction::Create if (interest.shown)(labels) => {
                if let Some(name) = labels.get(labels::REPLACE) {
                    self.printer.line(&format!("{name} has been recreated"));
                }
            }
            EventAction::Start => {
                let known = self.followed.get(id);
                // What belongs to the run before has been shown.
                let last_end = known.and_then(|followed| followed.seen).map(|time| time.saturating_add(1));
                self.watch(id, labels, interest, true);
                if (interest.shown)(labels) {
                    self.register(id, event.name.as_str());
                    let tail = if last_end.is_some() { None } else { interest.query.tail };
                    let query = LogQuery { since: last_end.or(interest.query.since), tail, ..interest.query.clone() };
                    self.read(id, &query).await?;
                }
            }
            EventAction::Die { status, restarting } => {
                if let Some(followed) = self.followed.get_mut(id) {
                    followed.alive &= *restarting;
                    followed.ended = Some(Ended { status: *status, restarting: *restarting, time: event.time });
                    return self.settle(id, interest).await;
                }
            }
            // A stop in the pause between two restarts comes without a death.
            EventAction::Stop | EventAction::Destroy => {
                if let Some(followed) = self.followed.get_mut(id) {
                    followed.alive = false;
                }
            }
            _ => {}
        }
        Ok(Seen::Other)
    }

    /// Tells of a container's end once its log has been read to the end.
    async fn settle(&mut self, id: &ContainerId, interest: &Interest<'_>) -> Result<Seen, Failure> {
        let Some(followed) = self.followed.get_mut(id) else { return Ok(Seen::Other) };
        if followed.reading {
            return Ok(Seen::Other);
        }
        let mut seen = Seen::Other;
        if let Some(ended) = followed.ended.take() {
            followed.seen = followed.seen.max(Some(ended.time));
            let again = if ended.restarting { " (restarting)" } else { "" };
            self.printer.status(id, &format!("exited with code {}{again}", ended.status));
            if !ended.restarting {
                seen = Seen::Exit { service: followed.service.clone(), status: ended.status };
            }
        }
        if let Some(since) = followed.again.take() {
            self.read(id, &LogQuery { since: Some(since), tail: None, ..interest.query.clone() }).await?;
        }
        Ok(seen)
    }

    /// After the end of a subscription: takes the ends that were missed from the state of things, and subscribes again if
    /// something still runs.
    pub async fn recover(&mut self, interest: &Interest<'_>) -> Result<Seen, Failure> {
        self.events = None;
        let mut observed = self.engine.observe(&self.project, &[]).await?;
        let lives = |container: &ObservedContainer| {
            matches!(container.state, ContainerState::Running { .. } | ContainerState::Restarting { .. })
        };
        if observed.containers.iter().any(lives) {
            self.subscribe().await?;
            observed = self.engine.observe(&self.project, &[]).await?;
        }
        let mut first = Seen::Other;
        let ids: Vec<ContainerId> = self.followed.keys().cloned().collect();
        for id in ids {
            let state =
                observed.containers.iter().find(|container| container.id == id).map(|container| &container.state);
            let Some(followed) = self.followed.get_mut(&id) else { continue };
            match state {
                Some(ContainerState::Exited { status, finished, .. }) if followed.alive && followed.ended.is_none() => {
                    followed.ended = Some(Ended { status: *status, restarting: false, time: *finished });
                    followed.alive = false;
                }
                Some(ContainerState::Running { .. }) if followed.shown && !followed.reading => {
                    let since = followed.seen.map(|time| time.saturating_add(1)).or(interest.query.since);
                    self.read(&id, &LogQuery { since, tail: None, ..interest.query.clone() }).await?;
                    continue;
                }
                Some(ContainerState::Running { .. } | ContainerState::Restarting { .. }) => continue,
                _ => followed.alive = false,
            }
            let seen = self.settle(&id, interest).await?;
            if first == Seen::Other {
                first = seen;
            }
        }
        Ok(first)
    }
}
