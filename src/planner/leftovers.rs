//! What a command that was cut short in the middle of a replacement left behind.
//!
//! A replacement is made under a name for the meantime, `<12 digits of the old one's id>_<final name>`. If the old one is
//! still there, the new one was not yet needed and goes; if it is gone, only the renaming is missing.

use std::collections::BTreeMap;

use crate::engine::{ContainerConfig, ContainerId, ObservedContainer};
use crate::planner::error::PlanError;
use crate::planner::labels::{self, Inventory};
use crate::planner::plan::{Action, Cause, ContainerRef, Plan, StepId, Target};
use crate::values::names::ContainerName;

/// Containers with a name for the meantime.
#[derive(Debug, Default)]
pub(super) struct Leftovers<'a> {
    undo: Vec<&'a ObservedContainer>,
    finish: Vec<(&'a ObservedContainer, ContainerName)>,
}

/// What the replacement of a container is called until that one is gone.
pub(super) fn name_meanwhile(old: &ObservedContainer, name: &ContainerName) -> Result<ContainerName, PlanError> {
    format!("{}_{name}", old.id.short()).try_into().map_err(PlanError::Name)
}

/// Gives a configuration its name for the meantime, and returns the final one.
pub(super) fn disguise(config: &mut ContainerConfig, old: &ObservedContainer) -> Result<ContainerName, PlanError> {
    let name = name_meanwhile(old, &config.name)?;
    config.labels.insert(labels::REPLACE.to_owned(), config.slot.replace('/', "-"));
    Ok(std::mem::replace(&mut config.name, name))
}

/// The digits and the final name, if a container has a name for the meantime.
fn disguised(container: &ObservedContainer) -> Option<(&str, ContainerName)> {
    if !container.config.labels.contains_key(labels::REPLACE) {
        return None;
    }
    let (digits, name) = container.config.name.as_str().split_once('_')?;
    let digits_only = digits.len() == 12 && digits.bytes().all(|c| c.is_ascii_hexdigit());
    Some((digits, ContainerName::try_from(name).ok()?)).filter(|_| digits_only)
}

/// The name that a container has, or should have been given.
pub(super) fn final_name(container: &ObservedContainer) -> ContainerName {
    disguised(container).map_or_else(|| container.config.name.clone(), |(_, name)| name)
}

impl<'a> Leftovers<'a> {
    /// Finds them; those that will go are no more in the inventory.
    pub(super) fn take(inventory: &mut Inventory<'a>) -> Leftovers<'a> {
        let mut found = Leftovers::default();
        let all: Vec<_> = inventory.services.values().flatten().map(|member| member.container).collect();
        for container in &all {
            let Some((digits, name)) = disguised(container) else { continue };
            if all.iter().any(|other| other.id.short() == digits) {
                found.undo.push(container);
            } else {
                found.finish.push((container, name));
            }
        }
        for members in inventory.services.values_mut() {
            members.retain(|member| !found.undo.iter().any(|gone| gone.id == member.container.id));
        }
        found
    }
}

/// Adds the steps that undo, and that finish what `stays` as it is. Returns the latter.
pub(super) fn emit(
    leftovers: &Leftovers<'_>,
    stays: impl Fn(&ObservedContainer) -> bool,
    plan: &mut Plan,
    removals: &mut BTreeMap<ContainerName, StepId>,
) -> BTreeMap<ContainerId, StepId> {
    for container in &leftovers.undo {
        let name = container.config.name.clone();
        let target = Target { name: name.clone(), container: ContainerRef::Existing(container.id.clone()) };
        let action = Action::RemoveContainer { target, volumes: false };
        removals.insert(name, plan.push(action, Cause::Unfinished, Vec::new()));
    }
    let mut renamed = BTreeMap::new();
    for (container, name) in leftovers.finish.iter().filter(|(container, _)| stays(container)) {
        let id = container.id.clone();
        let action = Action::RenameContainer { container: ContainerRef::Existing(id.clone()), to: name.clone() };
        renamed.insert(id, plan.push(action, Cause::Unfinished, Vec::new()));
    }
    renamed
}
