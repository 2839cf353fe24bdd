//! `down`: everything that `up` made goes, dependents first (behaviours §18).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::engine::{ContainerState, ObservedContainer, Rest};
use crate::planner::converge::existing;
use crate::planner::existing::Existing;
use crate::planner::hooks::Hooks;
use crate::planner::plan::{Action, Cause, InUse, Plan, StepId, Warning};
use crate::planner::request::{Down, Orphans, RemoveImages, Volumes};
use crate::planner::start::Now;
use crate::planner::{labels, orphans};
use crate::values::image_ref::ImageRef;
use crate::values::names::ServiceName;

impl<'a> Existing<'a> {
    /// `down`: containers, dependents first; then what they used.
    pub(in crate::planner) fn down(mut self, down: &Down) -> Plan {
        if self.named {
            if self.services.is_empty() {
                return self.plan;
            }
            self.services = self.graph.with_dependents(&self.services);
        }
        let (mut gone, mut stopped) = self.take_down(down);
        if down.orphans == Orphans::Include {
            for container in self.orphans() {
                let stop = self.stop_running(container, down.grace, Cause::Orphan, Vec::new());
                stopped.extend(&stop);
                let action = Action::RemoveContainer { target: existing(container), volumes: false };
                gone.push(self.plan.push(action, Cause::Orphan, stop));
            }
        }
        for container in &self.observed.containers {
            let label = |name: &str| container.config.labels.get(name).map(String::as_str);
            let service = label(labels::SERVICE).and_then(|name| name.parse::<ServiceName>().ok());
            let ours = label(labels::PROJECT) == Some(self.name.as_str()) && label(labels::HOOK).is_some();
            if ours && (!self.named || service.is_some_and(|service| self.services.contains(&service))) {
                let action = Action::RemoveContainer { target: existing(container), volumes: true };
                gone.push(self.plan.push(action, Cause::Asked, Vec::new()));
            }
        }
        // Only what runs is on a network; the kernel takes some 30 ms for one, beside which the containers' files can go.
        let networks = self.networks(&Vec::from_iter(stopped));
        let images = self.images(down.images, &gone);
        let volumes = if down.volumes == Volumes::Remove { self.volumes(&gone) } else { false };
        if gone.is_empty() && !networks && !images && !volumes {
            self.plan.warnings.push(Warning::NothingToRemove(self.name.to_string()));
        }
        self.plan
    }

    fn stop_running(
        &mut self,
        container: &ObservedContainer,
        grace: Option<Duration>,
        cause: Cause,
        after: Vec<StepId>,
    ) -> Vec<StepId> {
        if Now::of(&container.state) == Now::Idle {
            return after;
        }
        let action = Action::StopContainer { target: existing(container), grace, rest: Rest::UntilStarted };
        vec![self.plan.push(action, cause, after)]
    }

    /// Stops and removes the replicas; a service is stopped when its dependents are. The removals, and the stops.
    fn take_down(&mut self, down: &Down) -> (Vec<StepId>, BTreeSet<StepId>) {
        let mut gone = Vec::new();
        let mut stopped: BTreeMap<ServiceName, Vec<StepId>> = BTreeMap::new();
        for service in self.graph.order().iter().rev().cloned().collect::<Vec<_>>() {
            let dependents = self.graph.dependents(&service).into_iter();
            let before: Vec<StepId> =
                dependents.filter_map(|(dependent, _)| stopped.get(dependent)).flatten().copied().collect();
            let mut stops = Vec::new();
            if self.services.contains(&service) {
                for member in self.inventory.of(&service).to_vec() {
                    let after = match member.container.state {
                        ContainerState::Running { .. } => {
                            let (hooks, target) = (Hooks(self.file), existing(member.container));
                            hooks.pre_stop(&service, &target, &Cause::Asked, before.clone(), &mut self.plan)
                        }
                        _ => before.clone(),
                    };
                    let stop = self.stop_running(member.container, down.grace, Cause::Asked, after);
                    let volumes = down.volumes == Volumes::Remove;
                    let action = Action::RemoveContainer { target: existing(member.container), volumes };
                    gone.push(self.plan.push(action, Cause::Asked, stop.clone()));
                    stops.extend(stop);
                }
            }
            // A service without running containers hands on the order that goes through it.
            stopped.insert(service, if stops.is_empty() { before } else { stops });
        }
        (gone, stopped.into_values().flatten().collect())
    }

    /// Containers of unknown services and ended one-offs; running one-offs of the services that go.
    fn orphans(&self) -> Vec<&'a ObservedContainer> {
        let mut found = match self.file {
            Some(project) => orphans::find(project, &self.inventory),
            None => Vec::new(),
        };
        for service in &self.services {
            for container in self.inventory.one_offs.get(service).into_iter().flatten() {
                if !found.iter().any(|other| other.id == container.id) {
                    found.push(container);
                }
            }
        }
        if self.named {
            let service = |container: &ObservedContainer| {
                container.config.labels.get(labels::SERVICE).and_then(|label| label.parse::<ServiceName>().ok())
            };
            found.retain(|container| service(container).is_some_and(|name| self.services.contains(&name)));
        }
        found
    }

    fn networks(&mut self, stopped: &[StepId]) -> bool {
        let mut declared = false;
        for network in &self.observed.networks {
            let labels = &network.config.labels;
            let ours = labels.get(labels::PROJECT).is_some_and(|label| label == self.name.as_str());
            let key = labels.get(labels::NETWORK);
            let wanted = match self.file {
                None => true,
                Some(project) => project.networks.values().any(|wanted| wanted.name == network.config.name),
            };
            if ours && key.is_some() && wanted {
                let action = Action::RemoveNetwork { name: network.config.name.clone(), in_use: InUse::Warn };
                self.plan.push(action, Cause::Asked, stopped.to_vec());
                declared = true;
            }
        }
        declared || self.file.is_some_and(|project| project.networks.values().any(|network| !network.external))
    }

    fn volumes(&mut self, gone: &[StepId]) -> bool {
        let mut declared = false;
        for volume in &self.observed.volumes {
            let labels = &volume.config.labels;
            let ours = labels.get(labels::PROJECT).is_some_and(|label| label == self.name.as_str());
            let wanted = match self.file {
                None => labels.contains_key(labels::VOLUME),
                Some(project) => {
                    project.volumes.values().any(|wanted| !wanted.external && wanted.name == volume.config.name)
                }
            };
            if ours && wanted {
                let action = Action::RemoveVolume { name: volume.config.name.clone(), in_use: InUse::Warn };
                self.plan.push(action, Cause::Asked, gone.to_vec());
                declared = true;
            }
        }
        declared || self.file.is_some_and(|project| project.volumes.values().any(|volume| !volume.external))
    }

    fn images(&mut self, which: RemoveImages, gone: &[StepId]) -> bool {
        let mut names: BTreeSet<ImageRef> = BTreeSet::new();
        if which != RemoveImages::None {
            if let Some(project) = self.file {
                let services = self.services.iter().filter_map(|name| project.services.get(name));
                let services = services.filter(|service| which == RemoveImages::All || !service.image_named);
                names.extend(services.map(|service| service.image.clone()));
            } else if which == RemoveImages::All {
                names.extend(self.replicas().into_iter().map(|container| container.config.image.clone()));
            }
        }
        for name in &names {
            if self.observed.images.contains_key(name) {
                let action = Action::RemoveImage { image: name.to_string() };
                self.plan.push(action, Cause::Asked, gone.to_vec());
            }
        }
        !names.is_empty()
    }
}
