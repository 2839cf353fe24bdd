//! `xcompose attach`
//!
//! What the container writes is read along in its log from this moment on; what the user types goes to its input.

use std::io::IsTerminal;

use tokio::sync::mpsc;

use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure, Kind};
use crate::cli::terminal::detach::Keys;
use crate::cli::terminal::{self, End, Raw};
use crate::cli::ui::time;
use crate::engine::{ContainerId, ContainerState, Event, EventAction, EventQuery, LogQuery, ObservedContainer};
use crate::runtime::sys::terminal::resize;

/// Attach local standard input, output, and error streams to a service's running container
#[derive(Debug, clap::Args)]
#[command(override_usage = "xcompose attach [OPTIONS] SERVICE")]
pub struct Attach {
    /// Override the key sequence for detaching from a container
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Index of the container if service has multiple replicas
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    index: u32,
    /// Do not attach STDIN
    #[arg(long)]
    no_stdin: bool,
    /// Proxy all received signals to the process
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = crate::cli::arguments::boolean, action = clap::ArgAction::Set, value_name = "BOOL")]
    sig_proxy: bool,
    #[arg(hide = true)]
    words: Vec<String>,
}

impl Attach {
    /// Shows, forwards, and ends with the container's exit code.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let [service] = self.words.as_slice() else {
            return Err(Failure::usage(format!("accepts 1 arg(s), received {}", self.words.len())));
        };
        let keys = Keys::chosen(self.detach_keys.clone(), context)?;
        let stack = context.load(Need::Name, std::slice::from_ref(service))?;
        if context.dry_run() {
            return Err(Failure::usage("interactive run is not supported in dry-run mode"));
        }
        let observed = context.observe(&stack).await?;
        let target = context.target(&observed, service, self.index)?;
        if matches!(target.state, ContainerState::Running { paused: true, .. }) {
            return Err(Failure::usage("You cannot attach to a paused container, unpause it first"));
        }
        match self.attend(context, &stack.name, target, keys).await? {
            End::Exited(status) => Ok(Exit::of_process(status)),
            End::Left => Err(terminal::left()),
        }
    }

    async fn attend(
        &self,
        context: &Context<'_>,
        project: &crate::values::names::ProjectName,
        target: &ObservedContainer,
        keys: Keys,
    ) -> Result<End, Failure> {
        let (engine, id) = (context.engine(), &target.id);
        let since = Some(time::now());
        // From then on, also when the supervisor is another one meanwhile: nothing is missed.
        let events = || async { engine.events(project, &EventQuery { since, until: None }).await };
        let mut told = events().await?;
        let query = LogQuery { follow: true, since, ..LogQuery::default() };
        let mut log = engine.logs(id, &query).await?;
        let input = if self.no_stdin { None } else { engine.input(id).await? };
        let terminal = if target.config.tty { input.as_ref() } else { None };
        let at_terminal = std::io::stdin().is_terminal();
        let _raw = if terminal.is_some() && at_terminal { Raw::new() } else { None };
        let mut left = match &input {
            Some(input) => terminal::forward_input(input, (at_terminal && terminal.is_some()).then_some(keys))?,
            None => mpsc::channel(1).1,
        };
        let mut signals = if self.sig_proxy { Some(terminal::forward_signals()?) } else { None };
        let mut resized = terminal::resizes()?;
        if let Some(terminal) = terminal {
            fit(terminal);
        }
        let mut status = None;
        loop {
            tokio::select! {
                biased;
                chunk = log.recv() => match chunk {
                    Some(chunk) => terminal::show(&chunk)?,
                    // All it wrote has been shown; how it ended comes as an event.
                    None => break,
                },
                event = told.recv(), if status.is_none() => match event {
                    Some(event) => status = end_of(id, &event),
                    None => told = events().await?,
                },
                Some(()) = left.recv() => return Ok(End::Left),
                Some(signal) = terminal::next(&mut signals) => {
                    // It has just ended if it can't be told.
                    let _ = engine.kill_container(id, signal).await;
                }
                _ = resized.recv() => if let Some(terminal) = terminal {
                    fit(terminal);
                },
            }
        }
        loop {
            if let Some(status) = status {
                return Ok(End::Exited(status));
            }
            if let Some(event) = told.recv().await {
                status = end_of(id, &event);
                continue;
            }
            let state = engine.observe(project, &[]).await?.containers.into_iter().find(|found| found.id == *id);
            match state.map(|found| found.state) {
                Some(ContainerState::Exited { status, .. }) => return Ok(End::Exited(status)),
                Some(_) => told = events().await?,
                None => return Err(Kind::ProcessLost.into()),
            }
        }
    }
}

/// How the container's run ended, if this event tells that.
fn end_of(id: &ContainerId, event: &Event) -> Option<i32> {
    match event.action {
        EventAction::Die { status, .. } if event.container == *id => Some(status),
        _ => None,
    }
}

/// Gives the container's terminal the size of ours.
fn fit(terminal: &std::os::fd::OwnedFd) {
    use std::os::fd::AsFd;
    let (rows, columns) = terminal::size();
    // A terminal that can't be resized is gone, which its container's end will tell.
    let _ = resize(terminal.as_fd(), rows, columns);
}
