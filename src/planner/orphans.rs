//! Containers of the project whose service the file does not have (behaviours §1.10).

use crate::engine::{ContainerState, ObservedContainer};
use crate::planner::labels::Inventory;
use crate::planner::plan::{Plan, Warning};
use crate::spec::project::Project;
use crate::values::names::ServiceName;

/// Replicas of unknown services, and one-off containers that have ended. A running one-off is somebody's work.
pub(super) fn find<'a>(project: &Project, inventory: &Inventory<'a>) -> Vec<&'a ObservedContainer> {
    let known =
        |service: &ServiceName| project.services.contains_key(service) || project.disabled.contains_key(service);
    let replicas = inventory.services.iter().filter(|(service, _)| !known(service));
    let replicas = replicas.flat_map(|(_, members)| members.iter().map(|member| member.container));
    let ended = |container: &&ObservedContainer| {
        matches!(container.state, ContainerState::Exited { .. } | ContainerState::Dead)
    };
    let one_offs = inventory.one_offs.values().flatten().copied().filter(ended);
    let mut found: Vec<_> = replicas.chain(one_offs).collect();
    found.sort_by(|a, b| a.config.name.cmp(&b.config.name));
    found
}

/// Names them in a warning.
pub(super) fn warn(orphans: &[&ObservedContainer], plan: &mut Plan) {
    if !orphans.is_empty() {
        let names = orphans.iter().map(|container| container.config.name.clone()).collect();
        plan.warnings.push(Warning::Orphans(names));
    }
}
