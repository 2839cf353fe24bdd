//! What starts in the end, and what runs untouched.

use std::collections::BTreeMap;

use crate::engine::{ContainerState, Readiness, Sign};
use crate::planner::containers::{self, Circumstances, Decided, Fate, Replica};
use crate::planner::converge::{Converge, existing};
use crate::planner::error::PlanError;
use crate::planner::hooks::Hooks;
use crate::planner::networks;
use crate::planner::plan::{Action, Cause, ContainerRef, Target};
use crate::planner::request::{Ready, Wait};
use crate::planner::start::{Member, Now, Phase, Wish};
use crate::spec::project::service;
use crate::values::health::Probe;
use crate::values::names::ServiceName;

impl<'a> Converge<'a> {
    pub(super) fn note_unchanged(&mut self) {
        for decided in self.decided.values() {
            for replica in &decided.replicas {
                if let Fate::Keep(container) = &replica.fate
                    && Now::of(&container.state) != Now::Idle
                    && !self.stops.contains_key(&container.id)
                {
                    self.plan.unchanged.push(replica.name.clone());
                }
            }
        }
    }

    pub(super) fn start(&mut self, wait: Wait, one_off: Option<(ServiceName, Member)>) -> Result<(), PlanError> {
        self.note_unchanged();
        let mut members = BTreeMap::new();
        if let Some((service, member)) = one_off {
            members.insert(service, vec![member]);
        }
        for (name, decided) in &self.decided {
            if decided.replicas.is_empty() {
                continue;
            }
            let replicas = decided.replicas.iter().map(|replica| self.member(decided, replica));
            members.insert(name.clone(), replicas.collect::<Result<Vec<_>, _>>()?);
        }
        let (before, hooks, ready) = (self.pre_starts()?, Hooks(Some(self.project)), self.ready());
        Phase { graph: &self.graph, members, before, hooks, wait, ready }.emit(&mut self.plan)?;
        self.start_bystanders();
        Ok(())
    }

    /// What shows that services are ready: what they say, else what the user said. A health check needs no such sign.
    fn ready(&self) -> BTreeMap<ServiceName, Readiness> {
        let of = |(name, decided): (&ServiceName, &Decided<'a>)| {
            let service = decided.template.service();
            let probed = service.healthcheck.as_ref().is_some_and(|check| check.probe != Probe::None);
            let declared = || Readiness { signs: vec![Sign::Declared], patience: Readiness::PATIENCE };
            let readiness = match &service.ready {
                Some(ready) => readiness(ready),
                None if probed || self.up.ready == Ready::Started => return None,
                None => declared(),
            };
            (!readiness.signs.is_empty()).then(|| (name.clone(), readiness))
        };
        self.decided.iter().filter_map(of).collect()
    }

    /// What runs before the services' first containers.
    fn pre_starts(&self) -> Result<BTreeMap<ServiceName, Vec<Action>>, PlanError> {
        let around =
            Circumstances { observed: self.observed, inventory: &self.inventory, decided: &self.decided, renewed: &[] };
        let mut all = BTreeMap::new();
        for (name, decided) in &self.decided {
            let Some(first) = decided.replicas.first() else { continue };
            let mut actions = Vec::new();
            for index in 0..decided.template.service().pre_start.len() {
                let config = decided.template.pre_start(index, &first.name, &self.observed.images, &around)?;
                let old = self.observed.containers.iter().find(|container| container.config.name == config.name);
                let (leftover, config) = (old.map(|old| old.id.clone()), Box::new(config));
                actions.push(Action::RunPreStart { service: name.clone(), index, leftover, config });
            }
            if !actions.is_empty() {
                all.insert(name.clone(), actions);
            }
        }
        Ok(all)
    }

    fn member(&self, decided: &Decided<'a>, replica: &Replica<'a>) -> Result<Member, PlanError> {
        let made = self.made.get(&(decided.template.service().name.clone(), replica.number));
        let (container, now, wish, mut after) = match (&replica.fate, made) {
            (Fate::Create(cause) | Fate::Replace(_, cause) | Fate::Renew(_, cause), Some((made, ready))) => {
                (ContainerRef::Made(*made), Now::Idle, Wish::Start(cause.clone()), ready.clone())
            }
            (Fate::Keep(there) | Fate::Replace(there, _) | Fate::Renew(there, _), _) => {
                let wish = match (self.stops.get(&there.id), &there.state) {
                    (None, ContainerState::Running { paused: true, .. }) => {
                        return Err(PlanError::Paused(there.config.name.clone()));
                    }
                    (Some(step), _) => {
                        Wish::Start(self.plan.step(*step).map_or(Cause::NotRunning, |s| s.cause.clone()))
                    }
                    (None, state) if Now::of(state) == Now::Idle => Wish::Start(Cause::NotRunning),
                    (None, _) => Wish::Leave,
                };
                let stop = self.stops.get(&there.id).into_iter().chain(self.renames.get(&there.id)).copied().collect();
                (ContainerRef::Existing(there.id.clone()), Now::of(&there.state), wish, stop)
            }
            (Fate::Create(cause), None) => {
                // Every container that is to be made has a step by now.
                return Err(PlanError::Invalid {
                    service: decided.template.service().name.clone(),
                    reason: format!("no step makes it ({cause})"),
                });
            }
        };
        if wish != Wish::Leave {
            let config = decided.template.config();
            if made.is_none() {
                let attached = networks::of(decided.template.service());
                let ready = attached.filter_map(|key| self.network_ready.get(&self.project.networks.get(key)?.name));
                after.extend(ready);
            }
            after.extend(self.freed.iter().filter(|(old, _)| containers::compete(old, config)).map(|(_, step)| *step));
        }
        Ok(Member { target: Target { name: replica.name.clone(), container }, now, wish, after })
    }

    /// Starts again what ran outside the scope and was stopped for a network's sake.
    fn start_bystanders(&mut self) {
        for container in &self.observed.containers {
            let Some(stop) = self.stops.get(&container.id).copied() else { continue };
            let cause = self.plan.step(stop).map(|step| step.cause.clone());
            let Some(cause @ Cause::NetworkRecreated(_)) = cause else { continue };
            let decided = self.decided.values().any(|decided| {
                decided.replicas.iter().any(|replica| match &replica.fate {
                    Fate::Keep(other) | Fate::Replace(other, _) | Fate::Renew(other, _) => other.id == container.id,
                    Fate::Create(_) => false,
                })
            });
            if decided || self.removals.contains_key(&container.config.name) {
                continue;
            }
            let Cause::NetworkRecreated(network) = &cause else { continue };
            let after = std::iter::once(stop).chain(self.network_ready.get(network).copied()).collect();
            self.plan.push(Action::StartContainer(existing(container)), cause, after);
        }
    }
}

/// What a service says of itself (`x-ready`).
fn readiness(ready: &service::Ready) -> Readiness {
    let ports = ready.tcp.iter().map(|port| Sign::Listens(*port));
    let declared = ready.declared.then_some(Sign::Declared);
    let log = ready.log.iter().map(|text| Sign::Writes(text.clone()));
    let http = ready.http.iter().map(|(port, path)| Sign::Answers { port: *port, path: path.clone() });
    let signs = declared.into_iter().chain(ports).chain(log).chain(http).collect();
    Readiness { signs, patience: ready.timeout.unwrap_or(Readiness::PATIENCE) }
}
