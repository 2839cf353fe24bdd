//! The old ones go: replaced containers, and those that are interrupted by it.

use std::collections::BTreeMap;

use crate::planner::containers::{self, Fate};
use crate::planner::converge::{Converge, existing};
use crate::planner::plan::{Action, Cause, ContainerRef, StepId};
use crate::values::names::ServiceName;

impl Converge<'_> {
    /// Stops and removes what has been replaced, and gives the new containers their names. Dependents that asked for a
    /// restart are stopped before what they depend on.
    pub(super) fn emit_replacements(&mut self) {
        let interrupted = self.interrupted();
        for name in self.graph.order().iter().rev().cloned().collect::<Vec<_>>() {
            let Some(decided) = self.decided.get(&name) else { continue };
            let replaced: Vec<_> = decided
                .replicas
                .iter()
                .filter_map(|replica| match &replica.fate {
                    Fate::Replace(old, _) => Some((replica.number, replica.name.clone(), *old)),
                    _ => None,
                })
                .collect();
            let kept: Vec<_> = decided
                .replicas
                .iter()
                .filter_map(|replica| match &replica.fate {
                    Fate::Keep(container) => Some(*container),
                    _ => None,
                })
                .collect();
            if let Some((cause, made)) = interrupted.get(&name) {
                for container in kept {
                    self.stop(container, cause.clone(), made.clone());
                }
            }
            let dependents = self.stops_of_dependents(&name);
            for (number, final_name, old) in replaced {
                let Some((made, _)) = self.made.get(&(name.clone(), number)).cloned() else { continue };
                let after = std::iter::once(made).chain(dependents.iter().copied()).collect();
                let stopped = self.stop(old, Cause::Replacement, after);
                let remove = Action::RemoveContainer { target: existing(old), volumes: false };
                let after = std::iter::once(made).chain(stopped).collect();
                let removed = self.plan.push(remove, Cause::Replacement, after);
                self.removals.insert(old.config.name.clone(), removed);
                let rename = Action::RenameContainer { container: ContainerRef::Made(made), to: final_name };
                let renamed = self.plan.push(rename, Cause::Replacement, vec![removed]);
                self.made.insert((name.clone(), number), (made, vec![renamed]));
            }
        }
    }

    /// The services whose containers stay but have to be stopped and started, because something that they asked to be
    /// restarted with, or whose namespaces they live in, is made anew or restarted itself; with the steps that make it: if
    /// it can't be made, nothing has been interrupted.
    fn interrupted(&self) -> BTreeMap<ServiceName, (Cause, Vec<StepId>)> {
        let mut found: BTreeMap<ServiceName, (Cause, Vec<StepId>)> = BTreeMap::new();
        for name in self.graph.order() {
            let Some(decided) = self.decided.get(name) else { continue };
            let donors = containers::donors(decided.template.service());
            let lives_in =
                |other: &ServiceName| donors.iter().any(|(donor, what)| *donor == other && what.end_with_it());
            for (dependency, edge) in self.graph.dependencies(name) {
                let Some(other) = self.decided.get(dependency).filter(|_| edge.restart || lives_in(dependency)) else {
                    continue;
                };
                let anew =
                    other.replicas.iter().any(|replica| matches!(replica.fate, Fate::Replace(..) | Fate::Renew(..)));
                let stopped = other.replicas.iter().any(|replica| match &replica.fate {
                    Fate::Keep(container) => self.stops.contains_key(&container.id),
                    _ => false,
                });
                if anew {
                    let made = self.made.iter().filter(|((service, _), _)| service == dependency);
                    let made = made.map(|(_, (made, _))| *made).collect();
                    found.insert(name.clone(), (Cause::DependencyRecreated(dependency.clone()), made));
                } else if stopped || found.contains_key(dependency) {
                    let made = found.get(dependency).map(|(_, made)| made.clone()).unwrap_or_default();
                    found.insert(name.clone(), (Cause::DependencyRestarted(dependency.clone()), made));
                }
            }
        }
        found
    }

    fn stops_of_dependents(&self, service: &ServiceName) -> Vec<StepId> {
        let mut found = Vec::new();
        for (dependent, edge) in self.graph.dependents(service) {
            let Some(decided) = self.decided.get(dependent).filter(|_| edge.restart) else { continue };
            for replica in &decided.replicas {
                if let Fate::Keep(container) | Fate::Replace(container, _) = &replica.fate {
                    found.extend(self.stops.get(&container.id));
                }
            }
        }
        found
    }
}
