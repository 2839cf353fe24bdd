//! What is done with containers that exist: start, stop, restart, kill, pause, remove, and `down` (behaviours §3, §6, §18).
//!
//! Needs no file: without one, services and their dependencies are read from the labels of what is there.

mod down;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::engine::{ContainerId, ContainerState, Observed, ObservedContainer, Rest};
use crate::planner::Wanted;
use crate::planner::converge::{self, existing};
use crate::planner::error::PlanError;
use crate::planner::graph::ServiceGraph;
use crate::planner::hooks::Hooks;
use crate::planner::labels::{self, Inventory};
use crate::planner::orphans;
use crate::planner::plan::{Action, Cause, OnFailure, Plan, Question, StepId, Warning};
use crate::planner::request::{Dependents, Orphans, Remove, Running, Volumes, Wait};
use crate::planner::start::{Member, Now, Phase, Wish};
use crate::spec::project::Project;
use crate::values::names::{ProjectName, ServiceName};
use crate::values::signal::Signal;

/// A project as far as commands on existing containers need it.
pub(super) struct Existing<'a> {
    name: &'a ProjectName,
    file: Option<&'a Project>,
    observed: &'a Observed,
    inventory: Inventory<'a>,
    graph: ServiceGraph,
    /// The services named; all active ones if none was.
    services: BTreeSet<ServiceName>,
    named: bool,
    plan: Plan,
}

/// What is to be done about a service that was named but does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// It is an error.
    Refuse,
    /// It has been removed already, as far as a name can tell.
    Ignore,
}

impl<'a> Existing<'a> {
    /// From files or a name.
    pub(super) fn new(
        wanted: Wanted<'a>,
        observed: &'a Observed,
        named: &[ServiceName],
        unknown: Unknown,
    ) -> Result<Existing<'a>, PlanError> {
        let (name, file) = match wanted {
            Wanted::Project(project) => (&project.name, Some(project)),
            Wanted::Name(name) => (name, None),
        };
        let inventory = Inventory::new(name, observed);
        let graph = match file {
            Some(project) => converge::graph(project)?,
            None => graph_of_labels(&inventory)?,
        };
        let mut services: BTreeSet<ServiceName> = named.iter().cloned().collect();
        let disabled = |service: &ServiceName| file.is_some_and(|project| project.disabled.contains_key(service));
        if let Some(missing) = services.iter().find(|service| !graph.contains(service) && !disabled(service))
            && (unknown == Unknown::Refuse || file.is_some())
        {
            return Err(PlanError::NoSuchService(missing.clone()));
        }
        services.retain(|service| graph.contains(service) || disabled(service));
        if named.is_empty() {
            services = graph.order().iter().cloned().collect();
        }
        let mut plan = Plan::default();
        plan.on_failure = OnFailure::GoOn;
        Ok(Existing { name, file, observed, inventory, graph, services, named: !named.is_empty(), plan })
    }

    /// The replicas of the services, by service.
    fn replicas(&self) -> Vec<&'a ObservedContainer> {
        let all = self.services.iter().flat_map(|service| self.inventory.of(service));
        all.map(|member| member.container).collect()
    }

    /// `start`: what exists, with dependencies; nothing is made.
    pub(super) fn start(mut self, wait: Wait) -> Result<Plan, PlanError> {
        self.plan.on_failure = OnFailure::Cancel;
        let scope = self.graph.with_dependencies(&self.services);
        if scope.iter().all(|service| self.inventory.of(service).is_empty()) {
            let wanted = |service: &&ServiceName| self.scale(service) > 0;
            return match self.services.iter().find(wanted) {
                Some(service) => Err(PlanError::NothingToStart(service.clone())),
                None => Ok(self.plan),
            };
        }
        let mut members = BTreeMap::new();
        for service in scope.into_iter().filter(|service| self.scale(service) > 0) {
            let mut found = Vec::new();
            for member in self.inventory.of(&service) {
                let container = member.container;
                if let ContainerState::Running { paused: true, .. } = container.state {
                    return Err(PlanError::Paused(container.config.name.clone()));
                }
                let now = Now::of(&container.state);
                let wish = if now == Now::Idle { Wish::Start(Cause::NotRunning) } else { Wish::Leave };
                found.push(Member { target: existing(container), now, wish, after: Vec::new() });
            }
            members.insert(service, found);
        }
        Phase {
            graph: &self.graph,
            members,
            before: BTreeMap::new(),
            hooks: Hooks(self.file),
            wait,
            ready: BTreeMap::new(),
        }
        .emit(&mut self.plan)?;
        Ok(self.plan)
    }

    /// `resume`: these containers, as `start` would start them, but one that fails holds up only those that need it.
    pub(super) fn resume(mut self, containers: &BTreeSet<ContainerId>) -> Result<Plan, PlanError> {
        let mut members = BTreeMap::new();
        for service in &self.services {
            let found = self.inventory.of(service).iter().map(|member| {
                let now = Now::of(&member.container.state);
                let starts = now == Now::Idle && containers.contains(&member.container.id);
                let wish = if starts { Wish::Start(Cause::NotRunning) } else { Wish::Leave };
                Member { target: existing(member.container), now, wish, after: Vec::new() }
            });
            // Whoever stays down is waited for by nobody.
            let found: Vec<Member> =
                found.filter(|member| member.now != Now::Idle || member.wish != Wish::Leave).collect();
            if !found.is_empty() {
                members.insert(service.clone(), found);
            }
        }
        Phase {
            graph: &self.graph,
            members,
            before: BTreeMap::new(),
            hooks: Hooks(None),
            wait: Wait::No,
            ready: BTreeMap::new(),
        }
        .emit(&mut self.plan)?;
        Ok(self.plan)
    }

    fn scale(&self, service: &ServiceName) -> u32 {
        self.file.and_then(|project| project.services.get(service)).map_or(1, |service| service.scale)
    }

    /// `restart`: running and stopped ones alike, in order; dependents that asked for it too.
    pub(super) fn restart(mut self, grace: Option<Duration>, dependents: Dependents) -> Result<Plan, PlanError> {
        self.plan.on_failure = OnFailure::Cancel;
        let mut causes: BTreeMap<ServiceName, Cause> =
            self.services.iter().map(|service| (service.clone(), Cause::Asked)).collect();
        if dependents == Dependents::Include {
            // Whoever restarts takes along those who asked to be restarted with it, near and far.
            for service in self.graph.order() {
                if !causes.contains_key(service) {
                    continue;
                }
                for (dependent, _) in self.graph.dependents(service).into_iter().filter(|(_, edge)| edge.restart) {
                    let cause = Cause::DependencyRestarted(service.clone());
                    causes.entry(dependent.clone()).or_insert(cause);
                }
            }
        }
        let mut members = BTreeMap::new();
        for (service, cause) in causes {
            let all = self.inventory.of(&service).iter().map(|member| Member {
                target: existing(member.container),
                now: Now::of(&member.container.state),
                wish: Wish::Restart { cause: cause.clone(), grace },
                after: Vec::new(),
            });
            let all: Vec<_> = all.collect();
            if !all.is_empty() {
                members.insert(service, all);
            }
        }
        Phase {
            graph: &self.graph,
            members,
            before: BTreeMap::new(),
            hooks: Hooks(self.file),
            wait: Wait::No,
            ready: BTreeMap::new(),
        }
        .emit(&mut self.plan)?;
        Ok(self.plan)
    }

    /// `stop` and `suspend`: dependents before what they depend on.
    pub(super) fn stop(mut self, grace: Option<Duration>, rest: Rest) -> Plan {
        self.stop_all(grace, rest);
        self.plan
    }

    /// Stops the replicas, those that do not run too: the engine does nothing then, and the user sees that all are stopped.
    fn stop_all(&mut self, grace: Option<Duration>, rest: Rest) -> BTreeMap<ServiceName, Vec<StepId>> {
        let mut stops: BTreeMap<ServiceName, Vec<StepId>> = BTreeMap::new();
        let order: Vec<_> = self.graph.order().iter().rev().cloned().collect();
        let outside = self.services.iter().filter(|service| !self.graph.contains(service)).cloned();
        for service in outside.collect::<Vec<_>>().into_iter().chain(order) {
            if !self.services.contains(&service) {
                continue;
            }
            let before: Vec<StepId> = self
                .graph
                .dependents(&service)
                .into_iter()
                .filter_map(|(dependent, _)| stops.get(dependent))
                .flatten()
                .copied()
                .collect();
            for member in self.inventory.of(&service) {
                let target = existing(member.container);
                let after = match member.container.state {
                    ContainerState::Running { .. } => {
                        let hooks = Hooks(self.file);
                        hooks.pre_stop(&service, &target, &Cause::Asked, before.clone(), &mut self.plan)
                    }
                    _ => before.clone(),
                };
                let step = self.plan.push(Action::StopContainer { target, grace, rest }, Cause::Asked, after);
                stops.entry(service.clone()).or_default().push(step);
            }
            // A service without containers hands on the order that goes through it.
            stops.entry(service).or_insert(before);
        }
        stops
    }

    /// `kill`: what runs, one-off containers included.
    pub(super) fn kill(mut self, signal: Signal, orphans: Orphans) -> Plan {
        let mut all = self.replicas();
        let one_offs = self.services.iter().filter_map(|service| self.inventory.one_offs.get(service));
        all.extend(one_offs.flatten().copied());
        if let (Orphans::Include, Some(project), false) = (orphans, self.file, self.named) {
            all.extend(orphans::find(project, &self.inventory));
        }
        for container in all {
            if let ContainerState::Running { .. } = container.state {
                let action = Action::KillContainer { target: existing(container), signal };
                self.plan.push(action, Cause::Asked, Vec::new());
            }
        }
        if self.plan.is_empty() {
            self.plan.warnings.push(Warning::NothingToKill);
        }
        self.plan
    }

    /// `pause` and `unpause`: what runs. The engine refuses what is so already.
    pub(super) fn pause(mut self, paused: bool) -> Plan {
        for container in self.replicas() {
            if let ContainerState::Running { .. } = container.state {
                let target = existing(container);
                let action = if paused { Action::PauseContainer(target) } else { Action::UnpauseContainer(target) };
                self.plan.push(action, Cause::Asked, Vec::new());
            }
        }
        self.plan
    }

    /// `rm`: stopped replicas, and with `--stop` running ones.
    pub(super) fn remove(mut self, remove: &Remove) -> Plan {
        let idle = |container: &&ObservedContainer| Now::of(&container.state) == Now::Idle;
        let going: Vec<_> =
            self.replicas().into_iter().filter(|c| remove.running == Running::Stop || idle(c)).collect();
        if going.is_empty() {
            self.plan.warnings.push(Warning::NothingToDelete);
            return self.plan;
        }
        let question = Question::RemoveContainers(going.iter().map(|c| c.config.name.clone()).collect());
        match remove.answers.to(&question) {
            Some(true) => {}
            Some(false) => return self.plan,
            None => {
                self.plan.questions.push(question);
                return self.plan;
            }
        }
        let mut stops = BTreeMap::new();
        if remove.running == Running::Stop {
            self.stop_all(None, Rest::UntilStarted);
            for (id, step) in self.plan.numbered() {
                if let Action::StopContainer { target, .. } = &step.action {
                    stops.insert(target.name.clone(), id);
                }
            }
        }
        for container in going {
            let after = stops.get(&container.config.name).copied().into_iter().collect();
            let volumes = remove.volumes == Volumes::Remove;
            self.plan.push(Action::RemoveContainer { target: existing(container), volumes }, Cause::Asked, after);
        }
        self.plan
    }
}

/// The services of a project that is known by name alone, in the order that their containers' labels tell.
fn graph_of_labels(inventory: &Inventory<'_>) -> Result<ServiceGraph, PlanError> {
    let one_offs = inventory.one_offs.keys().filter(|service| !inventory.services.contains_key(*service));
    let services = inventory.services.keys().chain(one_offs);
    ServiceGraph::new(services.map(|service| {
        let first = inventory.of(service).first();
        let label = first.and_then(|member| member.container.config.labels.get(labels::DEPENDS_ON));
        (service, label.map(|label| labels::parse_dependencies(label)).unwrap_or_default())
    }))
}
