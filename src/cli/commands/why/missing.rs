//! Why nothing has made a container of a service: what `up` would stumble over now.

use std::collections::BTreeSet;

use crate::cli::context::Stack;
use crate::cli::ui::time;
use crate::engine::{MountSource, Observed};
use crate::planner;
use crate::planner::plan::Action;
use crate::planner::request::{Answers, Request, Up};
use crate::planner::transfers;
use crate::values::names::ServiceName;

/// A hindrance, and the keys of the service that it is about.
pub(super) type Hindrance = (String, &'static [&'static str]);

/// What is missing, for the service itself or those that it needs; nothing, where nothing is.
pub(super) fn of(stack: &Stack, observed: &Observed, services: &[ServiceName]) -> Vec<Hindrance> {
    let Some(project) = &stack.project else { return Vec::new() };
    let request = Request::up(services, Up { answers: Answers::Yes, ..Up::default() });
    let planned = transfers::pulls(project, observed, &request, time::now()).and_then(|transfers| {
        let expected = transfers::expected(&transfers.plan, observed);
        Ok((transfers.plan, planner::plan(stack.wanted(), &expected, &request)?))
    });
    let (pulls, plan) = match planned {
        Ok(planned) => planned,
        Err(error) => return vec![(error.to_string(), &["networks", "volumes"])],
    };
    let mut found = Vec::new();
    for step in pulls.steps() {
        if let Action::PullImage { image, .. } = &step.action
            && !observed.images.contains_key(image)
        {
            let text = format!("image {image} is not here, and \"up\" has not got it from its registry");
            found.push((text, &["image", "pull_policy", "platform"] as &[_]));
        }
    }
    let configs = plan.steps().iter().filter_map(|step| match &step.action {
        Action::CreateContainer { config, .. } => Some(config),
        _ => None,
    });
    let mut paths = BTreeSet::new();
    for mount in configs.flat_map(|config| &config.mounts) {
        if let MountSource::Bind { source, create: false, .. } = &mount.source
            && !source.exists()
            && paths.insert(source)
        {
            let text = format!("{} does not exist, and is to be mounted at {}", source.display(), mount.target);
            found.push((text, &["volumes", "configs", "secrets"]));
        }
    }
    found
}
