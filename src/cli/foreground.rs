//! `up` in the foreground: carries out the plan, shows the output of the containers, and ends with them (Compose CLI
//! reference, §12; behaviours §7).
//!
//! Everything written after this command began is shown: events are subscribed to before anything starts, and each log is
//! asked for from that moment on.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::context::{Context, Stack};
use crate::cli::failure::{Exit, Failure, Kind};
use crate::cli::follow::{Follower, Interest, News, Seen};
use crate::cli::members;
use crate::cli::terminal::keys::{Key, Keys};
use crate::cli::ui::logs::Form;
use crate::cli::ui::time;
use crate::cli::watch::session::Session;
use crate::engine::{Labels, LogQuery};
use crate::planner::request::{Operation, Orphans, Request};
use crate::values::signal::Signal;

/// When `up` ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// When every watched container has ended.
    AllExited,
    /// The first exit stops the others.
    FirstExit,
    /// The first exit with another code than 0 stops the others.
    FirstFailure,
}

/// What is shown, what is waited for, what is stopped.
#[derive(Debug)]
pub struct Foreground {
    /// Services whose output is shown.
    pub attached: Vec<String>,
    /// Services whose containers it waits for.
    pub watched: Vec<String>,
    /// Services that are stopped in the end; empty: all.
    pub stopped: Vec<String>,
    /// When it ends by itself.
    pub ending: Ending,
    /// The service whose exit code counts.
    pub exit_code_from: Option<String>,
    /// In place of the containers' own grace periods.
    pub grace: Option<Duration>,
    /// How lines look.
    pub form: Form,
}

/// Why everything is being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopping {
    /// It is not.
    No,
    /// A container ended.
    Aborted,
    /// The user said so.
    Asked,
    /// The user said so twice.
    Forced,
}

/// After an interrupt what was written before is shown for so long; the logs have it all.
const LAST_WORDS: Duration = Duration::from_secs(5);

enum Happened {
    Done(Result<(), Failure>),
    News(News),
    Signal,
    Key(Key),
}

/// What else goes on beside the containers' output.
pub struct Around<'k, 'c> {
    /// Files are followed from the start.
    pub watch: Option<Session<'c>>,
    /// Whether the user can press keys.
    pub menu: Menu,
    /// Makes a session when the user asks for one.
    pub session: &'k dyn Fn() -> Result<Session<'c>, Failure>,
}

/// Whether the user can press keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Menu {
    /// What they do is shown.
    Shown,
    /// There are none.
    Absent,
}

/// What the keys do, for the last line of the screen.
fn menu(watching: bool) -> String {
    format!("w {}   d Detach", if watching { "Disable Watch" } else { "Enable Watch" })
}

/// The next key; never, without keys.
async fn pressed(keys: &mut Option<Keys>) -> Option<Key> {
    match keys {
        Some(keys) => keys.next().await,
        None => std::future::pending().await,
    }
}

/// Watches until this is dropped.
fn follow<'a>(session: Session<'a>) -> Work<'a> {
    Box::pin(async move { session.run().await.map(|never| match never {}) })
}

type Work<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>>;

impl Foreground {
    /// Brings up, shows, waits, and stops where that is asked for.
    pub async fn run<'c>(
        self,
        context: &'c Context<'c>,
        stack: &'c Stack,
        request: Request,
        mut around: Around<'_, 'c>,
    ) -> Result<Exit, Failure> {
        let since = time::now();
        let mut interrupts = signal(SignalKind::interrupt()).map_err(Failure::system("listen for signals"))?;
        let mut terminations = signal(SignalKind::terminate()).map_err(Failure::system("listen for signals"))?;
        let mut follower = Follower::new(context.engine(), &stack.name, context.ui().log_printer(self.form));
        follower.subscribe().await?;
        let shown = |labels: &Labels| self.attached.iter().any(|name| name == members::service(labels));
        let counts = |labels: &Labels| self.watched.iter().any(|name| name == members::service(labels));
        let query = LogQuery { follow: true, tail: None, since: Some(since), ..LogQuery::default() };
        let interest = Interest { shown: &shown, counts: &counts, query };
        for container in context.observe(stack).await?.containers {
            let labels = &container.config.labels;
            if members::running(&container) && !members::one_off(labels) && (shown(labels) || counts(labels)) {
                follower.open(&container, &interest).await?;
            }
        }
        let mut work: Option<Work<'_>> = Some(Box::pin(context.bring_up(stack, request, &self.attached)));
        let (mut stopping, mut code) = (Stopping::No, None);
        // Files are followed as soon as everything is up.
        let mut watching: Option<Work<'_>> = None;
        let mut to_watch = around.watch.take();
        let mut keys: Option<Keys> = None;
        let (mut cut_off, mut stopped_at) = (false, None);
        while work.is_some() || (!cut_off && (watching.is_some() || follower.busy())) {
            let happened = tokio::select! {
                biased;
                done = working(&mut work) => Happened::Done(done),
                _ = interrupts.recv() => Happened::Signal,
                _ = terminations.recv() => Happened::Signal,
                news = follower.wait() => Happened::News(news?),
                Some(key) = pressed(&mut keys) => Happened::Key(key),
                failed = working(&mut watching) => return Err(failed.err().unwrap_or_else(|| Kind::ProcessLost.into())),
            };
            match happened {
                Happened::Done(result) => {
                    work = None;
                    result?;
                    stopped_at = Some(Instant::now());
                    follower.catch_up(since, &interest).await?;
                    if !follower.subscribed() {
                        follower.recover(&interest).await?;
                    }
                    if stopping == Stopping::No {
                        watching = to_watch.take().map(follow);
                        // Only now: before, the user may be asked something.
                        if around.menu == Menu::Shown && keys.is_none() {
                            keys = Some(Keys::new()?);
                            context.ui().set_menu(Some(menu(watching.is_some())));
                        }
                    }
                }
                Happened::Key(Key::Detach) => {
                    follower.printer().flush()?;
                    context.ui().set_menu(None);
                    return Ok(Exit::SUCCESS);
                }
                Happened::Key(Key::Watch) if work.is_some() => {}
                Happened::Key(Key::Watch) => {
                    if watching.take().is_some() {
                        context.ui().watching("Watch disabled");
                    } else {
                        match (around.session)() {
                            Ok(session) => watching = Some(follow(session)),
                            Err(failure) => context.ui().watching(&format!("Watch → {}", failure.text())),
                        }
                    }
                    context.ui().set_menu(Some(menu(watching.is_some())));
                }
                Happened::Key(Key::Enter) => context.ui().line("").and_then(|()| context.ui().flush())?,
                Happened::News(news) if matches!(stopping, Stopping::Asked | Stopping::Forced) => {
                    let late = |at: Instant| work.is_none() && at.elapsed() > LAST_WORDS;
                    cut_off |= stopped_at.is_some_and(late);
                    match tokio::time::timeout(LAST_WORDS, follower.take(news, &interest)).await {
                        Ok(seen) => drop(seen?),
                        Err(_) => cut_off = true,
                    }
                }
                Happened::News(news) => {
                    if let Seen::Exit { service, status } = follower.take(news, &interest).await?
                        && self.note(&service, status, &mut code)
                        && stopping == Stopping::No
                    {
                        stopping = Stopping::Aborted;
                        context.ui().say("Aborting on container exit...");
                        work = Some(self.stop(context, stack));
                    }
                }
                Happened::Signal => {
                    follower.printer().flush()?;
                    // Dropping what is under way ends it: the engine finishes or undoes the call in flight.
                    drop((work.take(), watching.take()));
                    context.ui().set_menu(None);
                    if matches!(stopping, Stopping::No | Stopping::Aborted) {
                        stopping = Stopping::Asked;
                        context.ui().say("Gracefully Stopping... press Ctrl+C again to force");
                        work = Some(self.stop(context, stack));
                    } else {
                        stopping = Stopping::Forced;
                        work = Some(self.kill(context, stack));
                    }
                }
            }
        }
        follower.printer().flush()?;
        context.ui().set_menu(None);
        if cut_off {
            context.ui().say("There is more output; `xcompose logs` shows it.");
        }
        match stopping {
            Stopping::Asked | Stopping::Forced => Err(Kind::Quiet(130).into()),
            Stopping::No | Stopping::Aborted => Ok(Exit::of_process(code.unwrap_or(0))),
        }
    }

    /// Remembers the exit code that counts; whether this exit stops the others.
    fn note(&self, service: &str, status: i32, code: &mut Option<i32>) -> bool {
        let stops = match self.ending {
            Ending::AllExited => return false,
            Ending::FirstExit => true,
            Ending::FirstFailure => status != 0,
        };
        let counts = match &self.exit_code_from {
            Some(wanted) => wanted == service,
            None => stops,
        };
        if counts && code.is_none() {
            *code = Some(status);
        }
        stops
    }

    fn stop<'a>(&'a self, context: &'a Context<'_>, stack: &'a Stack) -> Work<'a> {
        Box::pin(async move {
            let services = stack.named(&self.stopped)?;
            context.carry_out_in_lines(stack, Request::stop(&services, self.grace)).await
        })
    }

    fn kill<'a>(&'a self, context: &'a Context<'_>, stack: &'a Stack) -> Work<'a> {
        Box::pin(async move {
            let services = stack.named(&self.stopped)?;
            let operation = Operation::Kill { signal: Signal::KILL, orphans: Orphans::Ignore };
            context.carry_out_in_lines(stack, Request { services, operation }).await
        })
    }
}

/// The work's end; never, if there is none.
async fn working(work: &mut Option<Work<'_>>) -> Result<(), Failure> {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}
