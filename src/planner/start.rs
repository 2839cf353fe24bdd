//! The start phase: what starts after what, and what is waited for (behaviours §3).
//!
//! A container starts when its dependencies are as it needs them: started means that their start has returned; healthy
//! and completed are waits of their own. A wait that the observation already answers is no step.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::{ContainerState, Readiness};
use crate::planner::error::PlanError;
use crate::planner::graph::{Edge, ServiceGraph};
use crate::planner::hooks::Hooks;
use crate::planner::plan::{Action, Cause, Condition, Need, Plan, StepId, Target, Warning};
use crate::planner::request::Wait;
use crate::spec::project::service::Condition as Wanted;
use crate::values::health::Health;
use crate::values::names::ServiceName;

/// A container of a service that takes part.
pub(super) struct Member {
    /// Which.
    pub(super) target: Target,
    /// What it does now.
    pub(super) now: Now,
    /// What is to be done with it.
    pub(super) wish: Wish,
    /// What must have been done before.
    pub(super) after: Vec<StepId>,
}

/// What a container does before the start phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Now {
    /// It does not run.
    Idle,
    /// It runs.
    Running(Option<Health>),
}

impl Now {
    /// From what was observed.
    pub(super) fn of(state: &ContainerState) -> Now {
        match state {
            // Whoever stops it does not want it any more; who wants it now has it started after its end.
            ContainerState::Running { stopping: true, .. } => Now::Idle,
            ContainerState::Running { health, .. } => Now::Running(*health),
            // The engine is about to start it again.
            ContainerState::Restarting { .. } => Now::Running(Some(Health::Starting)),
            ContainerState::Created { .. } | ContainerState::Exited { .. } | ContainerState::Dead => Now::Idle,
        }
    }
}

/// What is to be done with a container in the start phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing.
    Leave,
    /// Start it.
    Start(Cause),
    /// Stop and start it.
    Restart {
        /// Why.
        cause: Cause,
        /// In place of its own grace period.
        grace: Option<Duration>,
    },
}

/// The services that take part, with their containers; one of which none is wanted is not among them.
pub(super) struct Phase<'p> {
    /// Who depends on whom.
    pub(super) graph: &'p ServiceGraph,
    /// The containers.
    pub(super) members: BTreeMap<ServiceName, Vec<Member>>,
    /// What runs before the first container of a service, if none of it runs.
    pub(super) before: BTreeMap<ServiceName, Vec<Action>>,
    /// What runs in containers after starts and before stops.
    pub(super) hooks: Hooks<'p>,
    /// Whether to wait for all in the end, and how long for anything.
    pub(super) wait: Wait,
    /// What shows that a service is ready that has no health check.
    pub(super) ready: BTreeMap<ServiceName, Readiness>,
}

impl Phase<'_> {
    /// Adds the steps.
    pub(super) fn emit(&self, plan: &mut Plan) -> Result<(), PlanError> {
        let mut done = Done::default();
        for service in self.graph.order() {
            let Some(members) = self.members.get(service) else { continue };
            let mut before = self.dependencies(service, plan, &mut done)?;
            let all_start = members.iter().all(|member| matches!(member.wish, Wish::Start(_)));
            if let Some(actions) = self.before.get(service).filter(|_| all_start && !members.is_empty()) {
                before.extend(members.iter().flat_map(|member| &member.after));
                for action in actions {
                    before = vec![plan.push(action.clone(), Cause::Asked, before)];
                }
            }
            for member in members {
                let after = [member.after.as_slice(), &before].concat();
                let target = member.target.clone();
                let step = match member.wish.clone() {
                    Wish::Leave => continue,
                    Wish::Start(cause) => {
                        let start = plan.push(Action::StartContainer(target.clone()), cause.clone(), after);
                        self.hooks.post_start(service, &target, &cause, start, plan)
                    }
                    Wish::Restart { cause, grace } => {
                        let after = match member.now {
                            Now::Running(_) => self.hooks.pre_stop(service, &target, &cause, after, plan),
                            Now::Idle => after,
                        };
                        let action = Action::RestartContainer { target: target.clone(), grace };
                        let restart = plan.push(action, cause.clone(), after);
                        self.hooks.post_start(service, &target, &cause, restart, plan)
                    }
                };
                done.starts.entry(service.clone()).or_default().push(step);
            }
        }
        if let Wait::Yes { .. } = self.wait {
            for (service, members) in self.members.iter().filter(|(_, members)| !members.is_empty()) {
                let completes = |edge: &Edge| edge.condition == Wanted::Completed;
                self.await_ready(service, members.iter().filter(|member| member.starts()), plan, &mut done);
                let condition = match self.graph.dependents(service).iter().any(|(_, edge)| completes(edge)) {
                    true => Condition::Completed,
                    false => Condition::RunningOrHealthy,
                };
                self.await_service(service, members, condition, Need::Required, plan, &mut done);
            }
        }
        Ok(())
    }

    /// The steps after which a service's dependencies are as it needs them.
    fn dependencies(&self, service: &ServiceName, plan: &mut Plan, done: &mut Done) -> Result<Vec<StepId>, PlanError> {
        let mut before = Vec::new();
        let starts = |service| self.members.get(service).into_iter().flatten().any(Member::starts);
        for (dependency, edge) in self.graph.dependencies(service) {
            let Some(members) = self.members.get(dependency) else { continue };
            let condition = match edge.condition {
                Wanted::Started => {
                    before.extend(done.starts.get(dependency).into_iter().flatten());
                    // One that ran before need not have been ready yet.
                    let runs = |member: &&Member| member.starts() || matches!(member.now, Now::Running(_));
                    let awaited = members.iter().filter(|member| starts(service) && runs(member));
                    before.extend(self.await_ready(dependency, awaited, plan, done));
                    continue;
                }
                Wanted::Healthy => Condition::Healthy,
                Wanted::Completed => Condition::Completed,
            };
            let need = if edge.required { Need::Required } else { Need::Optional };
            if !members.is_empty() {
                before.extend(self.await_service(dependency, members, condition, need, plan, done));
                continue;
            }
            let (service, dependency) = (service.clone(), dependency.clone());
            match need {
                Need::Required => return Err(PlanError::MissingDependency { service, dependency }),
                Need::Optional => plan.warnings.push(Warning::MissingDependency { service, dependency }),
            }
        }
        Ok(before)
    }

    /// The step that waits until these members of a service are ready, where something shows that.
    fn await_ready<'m>(
        &self,
        service: &ServiceName,
        members: impl Iterator<Item = &'m Member>,
        plan: &mut Plan,
        done: &mut Done,
    ) -> Option<StepId> {
        let mut readiness = self.ready.get(service)?.clone();
        if let Wait::Yes { timeout: Some(timeout) } = self.wait {
            readiness.patience = readiness.patience.min(timeout);
        }
        if let Some(step) = done.ready.get(service) {
            return Some(*step);
        }
        let containers: Vec<Target> = members.map(|member| member.target.clone()).collect();
        if containers.is_empty() {
            return None;
        }
        let dependents = self.graph.dependents(service).into_iter();
        let dependents =
            dependents.filter(|(name, edge)| edge.condition == Wanted::Started && self.members.contains_key(*name));
        let dependents: Vec<_> = dependents.map(|(name, _)| name.clone()).collect();
        let cause = if dependents.is_empty() { Cause::Asked } else { Cause::NeededBy(dependents) };
        let action = Action::AwaitReady { service: service.clone(), containers, readiness };
        let step = plan.push(action, cause, done.starts.get(service).cloned().unwrap_or_default());
        done.ready.insert(service.clone(), step);
        Some(step)
    }

    /// The step that waits for a service: one for all that want the same; none where that is so already.
    fn await_service(
        &self,
        service: &ServiceName,
        members: &[Member],
        condition: Condition,
        need: Need,
        plan: &mut Plan,
        done: &mut Done,
    ) -> Option<StepId> {
        if members.iter().all(|member| member.is(condition)) {
            return None;
        }
        let key = (service.clone(), condition, need);
        if let Some(step) = done.waits.get(&key) {
            return Some(*step);
        }
        let wants = |edge: &Edge| match edge.condition {
            Wanted::Started => false,
            Wanted::Healthy => condition == Condition::Healthy,
            Wanted::Completed => condition == Condition::Completed,
        };
        let dependents = self.graph.dependents(service).into_iter();
        let dependents = dependents.filter(|(name, edge)| wants(edge) && self.members.contains_key(*name));
        let dependents: Vec<_> = dependents.map(|(name, _)| name.clone()).collect();
        let cause = if dependents.is_empty() { Cause::Asked } else { Cause::NeededBy(dependents) };
        let timeout = match self.wait {
            Wait::No => None,
            Wait::Yes { timeout } => timeout,
        };
        let containers = members.iter().map(|member| member.target.clone()).collect();
        let action = Action::Wait { service: service.clone(), containers, condition, timeout, need };
        let after = done.starts.get(service).cloned().unwrap_or_default();
        let step = plan.push(action, cause, after);
        done.waits.insert(key, step);
        Some(step)
    }
}

impl Member {
    /// Whether it is started.
    fn starts(&self) -> bool {
        self.wish != Wish::Leave
    }

    /// Whether it is in a condition, and stays so.
    fn is(&self, condition: Condition) -> bool {
        self.wish == Wish::Leave
            && match condition {
                Condition::Healthy => self.now == Now::Running(Some(Health::Healthy)),
                Condition::RunningOrHealthy => matches!(self.now, Now::Running(None | Some(Health::Healthy))),
                Condition::Completed => false,
            }
    }
}

/// The steps of the start phase so far.
#[derive(Default)]
struct Done {
    starts: BTreeMap<ServiceName, Vec<StepId>>,
    waits: BTreeMap<(ServiceName, Condition, Need), StepId>,
    ready: BTreeMap<ServiceName, StepId>,
}
