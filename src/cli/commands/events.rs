//! `xcompose events`

use std::collections::BTreeMap;

use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure};
use crate::cli::members;
use crate::cli::ui::time;
use crate::engine::{Event, EventAction, EventQuery};
use crate::planner::labels;

/// Receive real time events from containers
#[derive(Debug, clap::Args)]
pub struct Events {
    /// Services whose events to show (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Output events as a stream of json objects
    #[arg(long)]
    json: bool,
    /// Show all events created since timestamp
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Stream events until this timestamp
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
}

impl Events {
    /// Prints events as they happen, and those remembered since a moment.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let now = time::now();
        let moment = |text: &Option<String>| text.as_ref().map(|text| time::moment(text, now)).transpose();
        let invalid = |error: time::InvalidMoment| Failure::usage(error.to_string());
        let (mut since, until) = (moment(&self.since).map_err(invalid)?, moment(&self.until).map_err(invalid)?);
        let stack = context.load(Need::FilesOrName, &self.services)?;
        let engine = context.engine();
        context.ui().flush()?;
        loop {
            let mut events = engine.events(&stack.name, &EventQuery { since, until }).await?;
            while let Some(event) = events.recv().await {
                since = Some(event.time.saturating_add(1));
                self.print(context, &event)?;
            }
            if until.is_some_and(|until| until <= time::now()) {
                // Odd, but what scripts find with Docker Compose (Compose CLI reference, exit codes).
                return Err(Failure::usage("EOF"));
            }
            // Whoever watched over the project was killed; what happened meanwhile is told by who comes after.
            since = since.or(Some(now));
        }
    }

    fn print(&self, context: &Context<'_>, event: &Event) -> Result<(), Failure> {
        let service = members::service(&event.labels);
        let wanted = self.services.is_empty() || self.services.iter().any(|name| name == service);
        if !wanted || members::one_off(&event.labels) {
            return Ok(());
        }
        context.ui().text(&if self.json { as_json(event) } else { as_text(event) })?;
        context.ui().flush()
    }
}

fn as_json(event: &Event) -> String {
    let object = serde_json::json!({
        "action": action(&event.action), "attributes": attributes(event), "id": event.container.0,
        "service": members::service(&event.labels), "time": time::rfc3339(event.time), "type": "container",
    });
    format!("{object}\n")
}

/// A line, and an empty one after it, as Docker Compose prints it.
fn as_text(event: &Event) -> String {
    let attributes: Vec<_> = attributes(event).iter().map(|(key, value)| format!("{key}={value}")).collect();
    let (time, what) = (time::micro(event.time), action(&event.action));
    format!("{time} container {what} {} ({})\n\n", event.container.0, attributes.join(", "))
}

/// The container's own labels, its name, and what belongs to the event; Compose's labels are left out.
fn attributes(event: &Event) -> BTreeMap<String, String> {
    let own = event.labels.iter().filter(|(key, _)| !key.starts_with(labels::PREFIX));
    let mut all: BTreeMap<String, String> = own.map(|(key, value)| (key.clone(), value.clone())).collect();
    all.insert("name".to_owned(), event.name.to_string());
    all.extend(event.image.as_ref().map(|image| ("image".to_owned(), image.to_string())));
    match &event.action {
        EventAction::Die { status, .. } => all.insert("exitCode".to_owned(), status.to_string()),
        EventAction::ExecDie { status } => all.insert("exitCode".to_owned(), status.to_string()),
        EventAction::Kill { signal } => all.insert("signal".to_owned(), signal.number().to_string()),
        _ => None,
    };
    // What Docker does not tell has names that Docker does not use.
    all.extend(event.notes.iter().map(|(name, value)| (format!("xcompose.{name}"), value.clone())));
    all
}

fn action(action: &EventAction) -> String {
    let word = match action {
        EventAction::Create => "create",
        EventAction::Start => "start",
        EventAction::Kill { .. } => "kill",
        EventAction::Oom => "oom",
        EventAction::Die { .. } => "die",
        EventAction::Stop => "stop",
        EventAction::Restart => "restart",
        EventAction::Pause => "pause",
        EventAction::Unpause => "unpause",
        EventAction::Health { health } => return format!("health_status: {health}"),
        EventAction::ExecCreate { command } => return format!("exec_create: {command}"),
        EventAction::ExecStart { command } => return format!("exec_start: {command}"),
        EventAction::ExecDie { .. } => "exec_die",
        EventAction::Destroy => "destroy",
    };
    word.to_owned()
}
