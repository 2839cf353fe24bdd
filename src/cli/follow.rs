//! Shows what containers write while they run, and tells when they end: the common part of `logs -f` and `up`.
//!
//! When the news of an exit comes, all that the container wrote is in its log. So reading along is broken off then, the
//! rest of the log is read at once, and the exit is told after the last line, however the two raced. When the container is
//! started again, its log is read on from there.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use crate::cli::failure::Failure;
use crate::cli::members;
use crate::cli::ui::logs::LogPrinter;
use crate::cli::ui::time;
use crate::engine::{
    ContainerId, ContainerState, Engine, EngineError, Event, EventAction, EventQuery, Labels, LogChunk, LogQuery,
    ObservedContainer,
};
use crate::planner::labels;
use crate::values::names::ProjectName;

/// Prints to wherever.
pub type Printer = LogPrinter<Box<dyn Write>, Box<dyn Write>>;

/// Follows the containers of a project.
pub struct Follower {
    engine: Arc<dyn Engine>,
    project: ProjectName,
    printer: Printer,
    events: Option<mpsc::Receiver<Event>>,
    /// Everything that happened until then is known.
    heard: i64,
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
    /// Reads its log along.
    reader: Option<AbortHandle>,
    /// The time of the last piece of its log.
    seen: Option<i64>,
    /// When its last end was that has been told of.
    told: i64,
}

/// Something happened; for [`Follower::take`].
#[derive(Debug)]
pub enum News {
    /// A piece of output.
    Chunk(LogChunk),
    /// A log is not read along any more.
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
            heard: i64::MAX,
            followed: HashMap::new(),
            news: mpsc::channel(64),
            readers: JoinSet::new(),
        }
    }

    /// From now on no event is missed.
    pub async fn subscribe(&mut self) -> Result<(), Failure> {
        self.events = Some(self.engine.events(&self.project, &EventQuery::default()).await?);
        self.heard = self.heard.min(time::now());
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
        let alive = members::alive(container);
        let shown = (interest.shown)(labels);
        self.watch(id, labels, interest, alive);
        if !shown {
            return Ok(());
        }
        self.register(id, container.config.name.as_str());
        if members::running(container) {
            self.read(id, interest).await
        } else {
            self.read_rest(id, None, interest).await
        }
    }

    fn watch(&mut self, id: &ContainerId, labels: &Labels, interest: &Interest<'_>, alive: bool) {
        let (service, counts, shown) = (members::service(labels), (interest.counts)(labels), (interest.shown)(labels));
        self.followed.entry(id.clone()).and_modify(|followed| followed.alive |= alive).or_insert_with(|| Followed {
            service: service.to_owned(),
            counts,
            shown,
            alive,
            reader: None,
            seen: None,
            told: i64::MIN,
        });
    }

    /// Reads a log along, from where it has been shown.
    async fn read(&mut self, id: &ContainerId, interest: &Interest<'_>) -> Result<(), Failure> {
        let Some(followed) = self.followed.get_mut(id) else { return Ok(()) };
        if followed.reader.is_some() {
            return Ok(());
        }
        let query = LogQuery { follow: true, ..followed.unseen(&interest.query) };
        let mut log = match self.engine.logs(id, &query).await {
            Ok(log) => log,
            // Removed since the event told of it.
            Err(EngineError::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let (news, id) = (self.news.0.clone(), id.clone());
        let reader = self.readers.spawn(async move {
            while let Some(chunk) = log.recv().await {
                if news.send(News::Chunk(chunk)).await.is_err() {
                    return;
                }
            }
            // Nobody listens any more if this fails.
            let _ = news.send(News::End(id)).await;
        });
        followed.reader = Some(reader);
        Ok(())
    }

    /// Prints what is in the log of a container that has ended, and was not shown yet; `until` is the end of its run.
    async fn read_rest(
        &mut self,
        id: &ContainerId,
        until: Option<i64>,
        interest: &Interest<'_>,
    ) -> Result<(), Failure> {
        let Some(followed) = self.followed.get_mut(id) else { return Ok(()) };
        if let Some(reader) = followed.reader.take() {
            reader.abort();
        }
        // What had been read already; only readers send to this queue.
        while let Ok(news) = self.news.1.try_recv() {
            match news {
                News::Chunk(chunk) => self.print_chunk(&chunk)?,
                News::End(id) => self.reader_ended(&id),
                News::Event(_) | News::Silence => {}
            }
        }
        let Some(followed) = self.followed.get_mut(id).filter(|followed| followed.shown) else { return Ok(()) };
        let query = LogQuery { follow: false, until, ..followed.unseen(&interest.query) };
        let mut log = match self.engine.logs(id, &query).await {
            Ok(log) => log,
            Err(EngineError::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        while let Some(chunk) = log.recv().await {
            self.print_chunk(&chunk)?;
        }
        self.printer.end(id);
        Ok(())
    }

    fn print_chunk(&mut self, chunk: &LogChunk) -> Result<(), Failure> {
        if let Some(followed) = self.followed.get_mut(&chunk.container) {
            followed.seen = followed.seen.max(Some(chunk.time));
        }
        Ok(self.printer.chunk(chunk)?)
    }

    fn reader_ended(&mut self, id: &ContainerId) {
        if let Some(followed) = self.followed.get_mut(id) {
            followed.reader = None;
        }
    }

    /// Whether some container that counts lives.
    pub fn busy(&self) -> bool {
        self.followed.values().any(|followed| followed.counts && followed.alive)
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

    /// After containers were started: events that tell of them may still be on their way. Each that runs, or has ended since
    /// `since` without being told of, is waited for.
    pub async fn catch_up(&mut self, since: i64, interest: &Interest<'_>) -> Result<(), Failure> {
        for container in self.engine.observe(&self.project, &[]).await?.containers {
            let labels = &container.config.labels;
            let expected = match container.state {
                ContainerState::Running { .. } | ContainerState::Restarting { .. } => true,
                ContainerState::Exited { finished, .. } => {
                    finished >= since && self.followed.get(&container.id).is_none_or(|known| known.told < finished)
                }
                ContainerState::Created { .. } | ContainerState::Dead => false,
            };
            if expected && !members::one_off(labels) && ((interest.shown)(labels) || (interest.counts)(labels)) {
                self.watch(&container.id, labels, interest, true);
                if (interest.shown)(labels) {
                    self.register(&container.id, container.config.name.as_str());
                }
            }
        }
        Ok(())
    }

    /// Whether events are being told.
    pub fn subscribed(&self) -> bool {
        self.events.is_some()
    }

    /// Prints what the news tells, and follows what it makes known.
    pub async fn take(&mut self, news: News, interest: &Interest<'_>) -> Result<Seen, Failure> {
        match news {
            News::Chunk(chunk) => self.print_chunk(&chunk)?,
            News::End(id) => self.reader_ended(&id),
            News::Event(event) => return self.event(&event, interest).await,
            News::Silence => return self.recover(interest).await,
        }
        Ok(Seen::Other)
    }

    async fn event(&mut self, event: &Event, interest: &Interest<'_>) -> Result<Seen, Failure> {
        let (id, labels) = (&event.container, &event.labels);
        self.heard = self.heard.max(event.time);
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
                self.watch(id, labels, interest, true);
                if (interest.shown)(labels) {
                    self.register(id, event.name.as_str());
                    self.read(id, interest).await?;
                }
            }
            EventAction::Die { status, restarting } => {
                return self.ended(id, *status, event.time, *restarting, interest).await;
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

    /// Prints a container's last words and tells of its end.
    async fn ended(
        &mut self,
        id: &ContainerId,
        status: i32,
        time: i64,
        restarting: bool,
        interest: &Interest<'_>,
    ) -> Result<Seen, Failure> {
        // Twice, if it came as news while it was seen in the state of things.
        if self.followed.get(id).is_none_or(|followed| followed.told >= time) {
            return Ok(Seen::Other);
        }
        self.read_rest(id, restarting.then_some(time), interest).await?;
        let again = if restarting { " (restarting)" } else { "" };
        self.printer.status(id, &format!("exited with code {status}{again}"));
        let Some(followed) = self.followed.get_mut(id) else { return Ok(Seen::Other) };
        followed.told = time;
        if restarting {
            return Ok(Seen::Other);
        }
        followed.alive = false;
        Ok(Seen::Exit { service: followed.service.clone(), status })
    }

    /// After the end of a subscription: takes the ends that were missed from the state of things, and subscribes again if
    /// something still runs. What was started meanwhile is followed, too.
    pub async fn recover(&mut self, interest: &Interest<'_>) -> Result<Seen, Failure> {
        self.events = None;
        let mut observed = self.engine.observe(&self.project, &[]).await?;
        let lives = |container: &ObservedContainer| members::alive(container);
        if observed.containers.iter().any(lives) {
            self.subscribe().await?;
            observed = self.engine.observe(&self.project, &[]).await?;
        }
        self.catch_up(self.heard, interest).await?;
        let mut seen = Seen::Other;
        let ids: Vec<ContainerId> = self.followed.keys().cloned().collect();
        for id in ids {
            let Some(followed) = self.followed.get_mut(&id) else { continue };
            let state =
                observed.containers.iter().find(|container| container.id == id).map(|container| &container.state);
            match state {
                Some(ContainerState::Exited { status, finished, .. }) if followed.alive => {
                    let ended = self.ended(&id, *status, *finished, false, interest).await?;
                    // Of several ends at once one is as good as another.
                    seen = if seen == Seen::Other { ended } else { seen };
                }
                Some(ContainerState::Running { .. }) if followed.shown => self.read(&id, interest).await?,
                Some(ContainerState::Running { .. } | ContainerState::Restarting { .. }) => {}
                _ => followed.alive = false,
            }
        }
        Ok(seen)
    }
}

impl Followed {
    /// The part of its log that was not shown yet, out of what is wanted.
    fn unseen(&self, query: &LogQuery) -> LogQuery {
        match self.seen {
            Some(seen) => LogQuery { since: Some(seen.saturating_add(1)), tail: None, ..query.clone() },
            None => query.clone(),
        }
    }
}
