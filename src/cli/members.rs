//! A project's containers by what their labels say: whose replica, which number, for one command only or not.

use crate::cli::failure::{Failure, Kind};
use crate::engine::{ContainerState, Labels, Observed, ObservedContainer};
use crate::planner::labels;
use crate::values::names::ProjectName;

/// The service it belongs to; empty if its labels do not say.
pub fn service(labels: &Labels) -> &str {
    labels.get(labels::SERVICE).map_or("", String::as_str)
}

/// Its number among its service's containers; one-off ones have none.
pub fn number(labels: &Labels) -> Option<u32> {
    labels.get(labels::NUMBER)?.parse().ok()
}

/// Whether it was made for one command (`run`).
pub fn one_off(labels: &Labels) -> bool {
    labels.get(labels::ONE_OFF).is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

/// What lines of its output begin with: its name without the project, unless the name is the user's own.
pub fn shown_name<'a>(name: &'a str, project: &ProjectName) -> &'a str {
    let rest = name.strip_prefix(project.as_str());
    rest.and_then(|rest| rest.strip_prefix(['-', '_'])).filter(|rest| !rest.is_empty()).unwrap_or(name)
}

/// Whether it has a process.
pub fn running(container: &ObservedContainer) -> bool {
    matches!(container.state, ContainerState::Running { .. })
}

/// Whether it has a process, or will have one again without being asked.
pub fn alive(container: &ObservedContainer) -> bool {
    container.state.is_active()
}

/// The containers of these services (all services if none is named), by name.
pub fn of<'a>(observed: &'a Observed, services: &[impl AsRef<str>]) -> Vec<&'a ObservedContainer> {
    let wanted = |container: &&ObservedContainer| {
        let own = service(&container.config.labels);
        services.is_empty() || services.iter().any(|service| service.as_ref() == own)
    };
    let mut found: Vec<_> = observed.containers.iter().filter(wanted).collect();
    found.sort_by(|a, b| a.config.name.cmp(&b.config.name));
    found
}

/// The running containers of a service, by number, one-off ones last.
pub fn running_of<'a>(observed: &'a Observed, service: &str) -> Vec<&'a ObservedContainer> {
    let mut found = of(observed, &[service]);
    found.retain(|container| running(container));
    found.sort_by_key(|container| {
        let labels = &container.config.labels;
        (one_off(labels), number(labels).unwrap_or(u32::MAX))
    });
    found
}

/// A container of a service, whether it runs or not: the one of this number, or the first.
pub fn existing<'a>(observed: &'a Observed, wanted: &str, index: u32) -> Result<&'a ObservedContainer, Failure> {
    let mut found = of(observed, &[wanted]);
    found.retain(|container| !one_off(&container.config.labels));
    found.sort_by_key(|container| number(&container.config.labels).unwrap_or(u32::MAX));
    let fits = |container: &&ObservedContainer| index == 0 || number(&container.config.labels) == Some(index);
    let missing = || Kind::NotRunning { service: wanted.to_owned(), index }.into();
    found.into_iter().find(fits).ok_or_else(missing)
}
