//! `xcompose why`: one screen on why a service's containers are as they are, or were slow.

mod missing;

use std::collections::BTreeMap;

use crate::cli::context::{Context, Need, Stack};
use crate::cli::failure::{Exit, Failure, Kind};
use crate::cli::members;
use crate::cli::ui::why::{Facts, Moment, Reason, Sort};
use crate::cli::ui::{container, time, why};
use crate::engine::{ContainerState, Event, EventAction, EventQuery, LogQuery, Observed, ObservedContainer};
use crate::planner::graph::Edge;
use crate::planner::labels;
use crate::spec::diagnostic::Location;
use crate::spec::{self, Options};
use crate::values::names::ServiceName;

/// How much of the output is shown.
const LINES: u64 = 8;

/// Tell why a service is in its state
///
/// What happened and when, how it ended in words, its last probe and output, the lines of the compose file.
#[derive(Debug, clap::Args)]
pub struct Why {
    /// The service
    #[arg(value_name = "SERVICE")]
    service: String,
    /// Index of the container if service has multiple replicas
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    index: u32,
}

impl Why {
    /// Prints what is known of each of the service's containers.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let services = [self.service.clone()];
        let stack = context.load(Need::FilesOrName, &services)?;
        stack.named(&services)?;
        let observed = context.observe(&stack).await?;
        let wanted = |container: &&ObservedContainer| {
            self.index == 0 || members::number(&container.config.labels) == Some(self.index)
        };
        let found: Vec<_> = members::of(&observed, &services).into_iter().filter(wanted).collect();
        if found.is_empty() {
            return Err(self.unmade(context, &stack, &observed)?);
        }
        for (number, container) in found.iter().enumerate() {
            if number > 0 {
                context.ui().line("")?;
            }
            let facts = self.facts(context, &stack, &observed, container).await?;
            context.ui().text(&why::page(&facts))?;
        }
        Ok(Exit::SUCCESS)
    }

    /// Nothing has made a container of it.
    fn unmade(&self, context: &Context<'_>, stack: &Stack, observed: &Observed) -> Result<Failure, Failure> {
        let mut failure = Failure::from(Kind::NotRunning { service: self.service.clone(), index: self.index });
        let made = !members::of(observed, std::slice::from_ref(&self.service)).is_empty();
        let missing = if made {
            Vec::new()
        } else {
            missing::of(stack, observed, &stack.named(std::slice::from_ref(&self.service))?)
        };
        if missing.is_empty() {
            return Ok(failure.hint(format!("nothing has made a container of it: xcompose up {}", self.service)));
        }
        for (text, about) in missing {
            failure = failure.hint(format!("nothing has made a container of it: {text}"));
            for (at, line) in self.places(context, stack, about) {
                failure = failure.hint(format!("{at}  {line}"));
            }
        }
        Ok(failure)
    }

    async fn facts(
        &self,
        context: &Context<'_>,
        stack: &Stack,
        observed: &Observed,
        found: &ObservedContainer,
    ) -> Result<Facts, Failure> {
        let engine = context.engine();
        let story = engine.story(&found.id).await?;
        let mut events = self.events(context, stack).await?;
        events.retain(|event| event.container == found.id);
        let begun = events.iter().rev().find(|event| event.action == EventAction::Start).map(|event| event.time);
        let mut first = None;
        if let Some(begun) = begun {
            let query = LogQuery { since: Some(begun), ..LogQuery::default() };
            first = engine.logs(&found.id, &query).await?.recv().await.map(|chunk| chunk.time);
        }
        let mut output = Vec::new();
        let mut log = engine.logs(&found.id, &LogQuery { tail: Some(LINES), ..LogQuery::default() }).await?;
        while let Some(chunk) = log.recv().await {
            output.extend_from_slice(&chunk.bytes);
        }
        let mut moments: Vec<Moment> = events.iter().filter_map(Moment::of).collect();
        if !events.iter().any(|event| event.action == EventAction::Create) {
            moments.insert(0, Moment { time: found.created, text: "made".to_owned(), sort: Sort::OnTheWay });
        }
        if let Some(image) = observed.images.get(&found.config.image) {
            let text = format!("image {} got its name here", found.config.image);
            moments.push(Moment { time: image.tagged, text, sort: Sort::Aside });
        }
        moments.extend(first.map(|time| Moment { time, text: "first output".to_owned(), sort: Sort::OnTheWay }));
        moments.sort_by_key(|moment| moment.time);
        let status = container::status(&found.state, time::now());
        let mut reason = why::reason(&found.state, &events, &story);
        if let Some(text) = hindered(observed, found) {
            reason = Reason { text, about: &["depends_on"] };
        }
        let mut about = reason.about.to_vec();
        if matches!(found.state, ContainerState::Exited { .. } | ContainerState::Restarting { .. }) {
            about.extend(["restart", "deploy.restart_policy"]);
        }
        Ok(Facts {
            name: found.config.name.to_string(),
            status,
            places: self.places(context, stack, &about),
            reason: reason.text,
            waits: waits(observed, found),
            moments,
            story,
            output: String::from_utf8_lossy(&output).lines().map(str::to_owned).collect(),
        })
    }

    async fn events(&self, context: &Context<'_>, stack: &Stack) -> Result<Vec<Event>, Failure> {
        let query = EventQuery { since: Some(0), until: Some(time::now()) };
        let mut events = context.engine().events(&stack.name, &query).await?;
        let mut all = Vec::new();
        while let Some(event) = events.recv().await {
            all.push(event);
        }
        Ok(all)
    }

    /// The lines of the compose files that the reason is about; without files there are none.
    fn places(&self, context: &Context<'_>, stack: &Stack, about: &[&str]) -> Vec<(String, String)> {
        if stack.project.is_none() {
            return Vec::new();
        }
        let options = Options { services: vec![self.service.clone()], keep_others: true, ..Options::default() };
        // They have just been loaded; were they changed in between, there is no line to show.
        let Ok(loaded) = spec::load_with(context.source(), &options, context.remote()) else { return Vec::new() };
        let service = format!("services.{}.", self.service);
        let all = loaded.model.origins();
        let of = |wanted: &[&str]| -> Vec<(String, String)> {
            let fits = |path: &str| {
                path.strip_prefix(&service)
                    .is_some_and(|rest| wanted.iter().any(|key| rest == *key || rest.starts_with(&format!("{key}."))))
            };
            let found = all.iter().map(|origin| (origin.path.to_string(), origin)).filter(|(path, _)| fits(path));
            let line = |at: &Location| {
                let lines = at.file.text().lines().nth(usize::try_from(at.line).unwrap_or(1).saturating_sub(1));
                lines.unwrap_or_default().trim().to_owned()
            };
            let mut lines: Vec<_> = found.map(|(_, origin)| (origin.at.to_string(), line(&origin.at))).collect();
            // A list in one line is one line.
            lines.dedup_by(|a, b| a.1 == b.1);
            lines
        };
        let mut places = of(about);
        if places.is_empty() {
            places = of(&["image", "build"]);
        }
        places.truncate(LINES as usize);
        places
    }
}

fn dependencies(found: &ObservedContainer) -> BTreeMap<ServiceName, Edge> {
    labels::parse_dependencies(found.config.labels.get(labels::DEPENDS_ON).map_or("", String::as_str))
}

/// What kept it from being started, in a sentence.
fn hindered(observed: &Observed, found: &ObservedContainer) -> Option<String> {
    if !matches!(found.state, ContainerState::Created { failure: None }) {
        return None;
    }
    dependencies(found).iter().find_map(|(service, edge)| {
        let of = members::of(observed, &[service.as_str()]);
        let why = of.iter().find_map(|other| why::hinders(edge.condition, &other.state))?;
        Some(format!("It was made and not started: {service}, on which it depends, {why}."))
    })
}

/// What it depends on, by its labels, and how that stands: told of a container that has not been started.
fn waits(observed: &Observed, found: &ObservedContainer) -> Vec<String> {
    if !matches!(found.state, ContainerState::Created { failure: None }) {
        return Vec::new();
    }
    let dependencies = dependencies(found);
    let state = |service: &str| {
        let of = members::of(observed, &[service]);
        let states: Vec<String> = of.iter().map(|found| container::status(&found.state, time::now())).collect();
        if states.is_empty() { "has no container".to_owned() } else { states.join(", ") }
    };
    dependencies.keys().map(|service| format!("{service}: {}", state(service.as_str()))).collect()
}
