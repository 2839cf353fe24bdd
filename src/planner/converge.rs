//! Making things be as the file says: `up`, `create`, `scale`, and the dependencies of `run`.
//!
//! First everything is decided (networks, volumes, then containers, dependencies first), then the steps are written down:
//! what an earlier command left unfinished; removals; networks and volumes; new containers; replacements, dependents
//! before what they depend on; starts. Nothing waits for a phase as a whole: a step waits for what it needs, so on a fresh
//! `up` everything independent is under way at once. A start waits for the stop of whatever holds its ports or addresses.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{ContainerConfig, ContainerId, ContainerState, Observed, ObservedContainer};
use crate::planner::container_config::Template;
use crate::planner::containers::{self, Circumstances, Decided, Fate, Replica};
use crate::planner::error::PlanError;
use crate::planner::graph::{Edge, ServiceGraph};
use crate::planner::labels::Inventory;
use crate::planner::leftovers::{self, Leftovers};
use crate::planner::plan::{Action, Cause, ContainerRef, InUse, Plan, Replaced, StepId, Target};
use crate::planner::request::{
    AnonymousVolumes, Dependencies, Orphans, Run, RunStart, Until, UnusedResources, Up, Wait,
};
use crate::planner::start::{Member, Now, Phase, Wish};
use crate::planner::{networks, orphans, volumes};
use crate::spec::project::{Project, Service};
use crate::values::names::{ContainerName, NetworkName, ServiceName, VolumeName};

/// A project being converged.
pub(super) struct Converge<'a> {
    project: &'a Project,
    observed: &'a Observed,
    up: &'a Up,
    inventory: Inventory<'a>,
    graph: ServiceGraph,
    /// The services that are to be as the file says.
    scope: BTreeSet<ServiceName>,
    /// Those among them that the user means, the others being dependencies.
    targets: BTreeSet<ServiceName>,
    /// A container for one command, besides.
    one_off: Option<(&'a Run, &'a Service)>,
    plan: Plan,
    decided: BTreeMap<ServiceName, Decided<'a>>,
    network_ready: BTreeMap<NetworkName, StepId>,
    volume_ready: BTreeMap<VolumeName, StepId>,
    /// Running containers that are stopped, with the step and what they hold until then.
    stops: BTreeMap<ContainerId, StepId>,
    freed: Vec<(&'a ContainerConfig, StepId)>,
    /// Containers that get their final names only now.
    renames: BTreeMap<ContainerId, StepId>,
    /// Names that become free.
    removals: BTreeMap<ContainerName, StepId>,
    /// The step that makes (and names) a replica.
    made: BTreeMap<(ServiceName, u32), (StepId, Vec<StepId>)>,
}

/// The graph of a project's active services.
pub(super) fn graph(project: &Project) -> Result<ServiceGraph, PlanError> {
    ServiceGraph::new(project.services.iter().map(|(name, service)| {
        let edge = |(name, to): (&ServiceName, &crate::spec::project::Dependency)| {
            (name.clone(), Edge { condition: to.condition, restart: to.restart, required: to.required })
        };
        (name, service.depends_on.iter().map(edge).collect::<Vec<_>>())
    }))
}

/// What has to be done so that the named services (all, if none is named) are as the file says.
pub(super) fn plan<'a>(
    project: &'a Project,
    observed: &'a Observed,
    named: &[ServiceName],
    up: &'a Up,
) -> Result<Plan, PlanError> {
    let graph = graph(project)?;
    let targets: BTreeSet<ServiceName> = match named {
        [] => project.services.keys().cloned().collect(),
        named => named.iter().cloned().collect(),
    };
    if targets.is_empty() {
        return Err(PlanError::NoServiceSelected);
    }
    if let Some(unknown) = targets.iter().find(|name| !graph.contains(name)) {
        return Err(PlanError::NoSuchService(unknown.clone()));
    }
    let scope = match up.dependencies {
        Dependencies::Include => graph.with_dependencies(&targets),
        Dependencies::Exclude => targets.clone(),
    };
    Converge::new(project, observed, up, graph, scope, targets, None).run()
}

/// What has to be done so that a command can run in a container of a service: the dependencies as `up` has them, the
/// service's own containers untouched, then one container besides (behaviours §9).
pub(super) fn plan_one_off<'a>(
    project: &'a Project,
    observed: &'a Observed,
    service: &'a Service,
    run: &'a Run,
    up: &'a Up,
) -> Result<Plan, PlanError> {
    let graph = graph(project)?;
    let targets = BTreeSet::from([service.name.clone()]);
    let mut scope = match run.dependencies {
        Dependencies::Include => graph.with_dependencies(&targets),
        Dependencies::Exclude => BTreeSet::new(),
    };
    scope.remove(&service.name);
    Converge::new(project, observed, up, graph, scope, targets, Some((run, service))).run()
}

impl<'a> Converge<'a> {
    fn new(
        project: &'a Project,
        observed: &'a Observed,
        up: &'a Up,
        graph: ServiceGraph,
        scope: BTreeSet<ServiceName>,
        targets: BTreeSet<ServiceName>,
        one_off: Option<(&'a Run, &'a Service)>,
    ) -> Converge<'a> {
        Converge {
            project,
            observed,
            up,
            inventory: Inventory::new(&project.name, observed),
            graph,
            scope,
            targets,
            one_off,
            plan: Plan::default(),
            decided: BTreeMap::new(),
            network_ready: BTreeMap::new(),
            volume_ready: BTreeMap::new(),
            stops: BTreeMap::new(),
            freed: Vec::new(),
            renames: BTreeMap::new(),
            removals: BTreeMap::new(),
            made: BTreeMap::new(),
        }
    }

    fn run(mut self) -> Result<Plan, PlanError> {
        self.check_names()?;
        let leftovers = Leftovers::take(&mut self.inventory);
        let services = self.scope.iter().filter_map(|name| self.project.services.get(name));
        let services = services.chain(self.one_off.map(|(_, service)| service));
        let (mut network_keys, mut volume_keys) = (BTreeSet::new(), BTreeSet::new());
        for service in services {
            network_keys.extend(networks::of(service));
            volume_keys.extend(volumes::of(service));
        }
        if self.up.unused_resources == UnusedResources::Create {
            network_keys.extend(self.project.networks.keys());
            volume_keys.extend(self.project.volumes.keys());
        }
        let network_fates = networks::decide(self.project, &network_keys, self.observed, &mut self.plan)?;
        let volume_fates =
            volumes::decide(self.project, &volume_keys, self.observed, &self.up.answers, &mut self.plan)?;
        let renewed: Vec<_> = volume_fates
            .iter()
            .filter(|(_, fate)| matches!(fate, volumes::Fate::Recreate(..)))
            .map(|(name, _)| name.clone())
            .collect();
        self.decide(&renewed)?;

        let replaced: BTreeSet<_> = self.decided.values().flat_map(Decided::gone).collect();
        let stays = |container: &ObservedContainer| !replaced.contains(&container.id);
        self.renames = leftovers::emit(&leftovers, stays, &mut self.plan, &mut self.removals);
        self.remove_orphans();
        self.remove_surplus();
        self.emit_networks(network_fates);
        self.emit_volumes(volume_fates);
        self.emit_new()?;
        let one_off = self.emit_one_off()?;
        self.emit_replacements();
        for name in networks::renamed(self.project, &network_keys, self.observed) {
            let after = self.removals.values().copied().collect();
            let action = Action::RemoveNetwork { name: name.clone(), in_use: InUse::Warn };
            self.plan.push(action, Cause::ConfigChanged(vec!["name".to_owned()]), after);
        }
        match self.up.until {
            Until::Created => self.note_unchanged(),
            Until::Started(wait) => self.start(wait, one_off)?,
        }
        Ok(self.plan)
    }

    /// No two services of the plan may want one container name.
    fn check_names(&self) -> Result<(), PlanError> {
        let mut taken = BTreeMap::new();
        for service in self.scope.iter().filter_map(|name| self.project.services.get(name)) {
            let Some(name) = &service.container_name else { continue };
            if let Some(first) = taken.insert(name, &service.name) {
                let (name, first, second) = (name.clone(), first.clone(), service.name.clone());
                return Err(PlanError::ContainerNameTaken { name, first, second });
            }
        }
        Ok(())
    }

    fn decide(&mut self, renewed: &[VolumeName]) -> Result<(), PlanError> {
        for name in self.graph.order() {
            let Some(service) = self.project.services.get(name).filter(|_| self.scope.contains(name)) else { continue };
            if service.provider.is_some() {
                continue;
            }
            let recreate = if self.targets.contains(name) { self.up.recreate } else { self.up.recreate_dependencies };
            let scale = self.up.scale.get(name).copied().unwrap_or(service.scale);
            let around =
                Circumstances { observed: self.observed, inventory: &self.inventory, decided: &self.decided, renewed };
            let decided = containers::decide(Template::new(self.project, service)?, scale, recreate, &around)?;
            let makes = decided.replicas.iter().any(|replica| !matches!(replica.fate, Fate::Keep(_)));
            if makes && service.build.is_none() && !self.observed.images.contains_key(&service.image) {
                return Err(PlanError::NoSuchImage { image: service.image.clone(), service: name.clone() });
            }
            self.decided.insert(name.clone(), decided);
        }
        Ok(())
    }

    /// Stops a container, once, if it runs.
    fn stop(&mut self, container: &'a ObservedContainer, cause: Cause, after: Vec<StepId>) -> Option<StepId> {
        if Now::of(&container.state) == Now::Idle {
            return None;
        }
        if let Some(step) = self.stops.get(&container.id) {
            return Some(*step);
        }
        let action = Action::StopContainer { target: existing(container), grace: self.up.grace };
        let step = self.plan.push(action, cause, after);
        self.stops.insert(container.id.clone(), step);
        self.freed.push((&container.config, step));
        Some(step)
    }

    fn stop_and_remove(&mut self, container: &'a ObservedContainer, cause: Cause) -> StepId {
        let stopped = self.stop(container, cause.clone(), Vec::new());
        let action = Action::RemoveContainer { target: existing(container), volumes: false };
        let step = self.plan.push(action, cause, stopped.into_iter().collect());
        self.removals.insert(container.config.name.clone(), step);
        step
    }

    fn remove_orphans(&mut self) {
        let found = orphans::find(self.project, &self.inventory);
        match self.up.orphans {
            Orphans::Ignore => {}
            Orphans::Warn => orphans::warn(&found, &mut self.plan),
            Orphans::Include => {
                for container in found {
                    self.stop_and_remove(container, Cause::Orphan);
                }
            }
        }
    }

    fn remove_surplus(&mut self) {
        let surplus: Vec<_> = self.decided.values().flat_map(|decided| decided.surplus.iter().copied()).collect();
        for container in surplus {
            self.stop_and_remove(container, Cause::Surplus);
        }
    }

    fn emit_networks(&mut self, fates: BTreeMap<NetworkName, networks::Fate>) {
        let anew = fates.iter().filter(|(_, fate)| matches!(fate, networks::Fate::Recreate(..)));
        let anew: Vec<_> = anew.map(|(name, _)| name.clone()).collect();
        let mut stopped: BTreeMap<NetworkName, Vec<StepId>> = BTreeMap::new();
        for name in anew {
            for container in &self.observed.containers {
                if container.endpoints.iter().any(|endpoint| endpoint.network == name) {
                    let step = self.stop(container, Cause::NetworkRecreated(name.clone()), Vec::new());
                    stopped.entry(name.clone()).or_default().extend(step);
                }
            }
        }
        self.network_ready =
            networks::emit(fates, &mut self.plan, |name, _| stopped.get(name).cloned().unwrap_or_default());
    }

    fn emit_volumes(&mut self, fates: BTreeMap<VolumeName, volumes::Fate>) {
        let anew = fates.iter().filter(|(_, fate)| matches!(fate, volumes::Fate::Recreate(..)));
        let anew: Vec<_> = anew.map(|(name, _)| name.clone()).collect();
        let mut removed: BTreeMap<VolumeName, Vec<StepId>> = BTreeMap::new();
        for name in anew {
            for container in &self.observed.containers {
                if containers::mounts(container, &name) {
                    let known = self.removals.get(&container.config.name).copied();
                    let step = match known {
                        Some(step) => step,
                        None => self.stop_and_remove(container, Cause::VolumeRecreated(name.clone())),
                    };
                    removed.entry(name.clone()).or_default().push(step);
                }
            }
        }
        self.volume_ready =
            volumes::emit(fates, &mut self.plan, |name, _| removed.get(name).cloned().unwrap_or_default());
    }

    /// Makes new containers, those that replace others under a name for the meantime.
    fn emit_new(&mut self) -> Result<(), PlanError> {
        for name in self.graph.order().to_vec() {
            let Some(decided) = self.decided.get(&name) else { continue };
            let service = decided.template.service();
            let needs = self.needs(service);
            let mut new = Vec::new();
            for replica in &decided.replicas {
                let (old, cause) = match &replica.fate {
                    Fate::Keep(_) => continue,
                    Fate::Create(cause) | Fate::Renew(_, cause) => (None, cause.clone()),
                    Fate::Replace(old, cause) => (Some(*old), cause.clone()),
                };
                let renewed = match &replica.fate {
                    Fate::Renew(old, cause) => Some((*old, cause.clone())),
                    _ => None,
                };
                new.push((replica.number, self.config_of(decided, replica)?, old, renewed, cause));
            }
            for (number, mut config, old, renewed, cause) in new {
                let mut after = needs.clone();
                if let Some((old, cause)) = renewed
                    && !self.removals.contains_key(&old.config.name)
                {
                    self.stop_and_remove(old, cause);
                }
                let replaces = match old {
                    None => None,
                    Some(old) => {
                        let inherit = self.up.anonymous_volumes == AnonymousVolumes::Keep;
                        let final_name = leftovers::disguise(&mut config, old)?;
                        Some(Replaced { id: old.id.clone(), name: final_name, inherit })
                    }
                };
                after.extend(self.removals.get(&config.name));
                let action = Action::CreateContainer { config: Box::new(config), replaces };
                let step = self.plan.push(action, cause, after);
                self.made.insert((name.clone(), number), (step, vec![step]));
            }
        }
        Ok(())
    }

    /// What a new container of a service needs to be made: networks, volumes and donors.
    fn needs(&self, service: &Service) -> Vec<StepId> {
        let network = |key| self.network_ready.get(&self.project.networks.get(key)?.name);
        let volume = |key| self.volume_ready.get(&self.project.volumes.get(key)?.name);
        let mut needs: Vec<StepId> = networks::of(service).filter_map(network).copied().collect();
        needs.extend(volumes::of(service).filter_map(volume));
        for (donor, _) in containers::donors(service) {
            let first = self.decided.get(donor).and_then(|decided| decided.replicas.first());
            needs.extend(first.and_then(|first| match &first.fate {
                Fate::Keep(container) => self.renames.get(&container.id).copied(),
                _ => self.made.get(&(donor.clone(), first.number)).map(|(made, _)| *made),
            }));
        }
        needs
    }

    /// Makes the container for one command; it starts, if the plan starts it, when the dependencies are ready.
    fn emit_one_off(&mut self) -> Result<Option<(ServiceName, Member)>, PlanError> {
        let Some((run, service)) = self.one_off else { return Ok(None) };
        if service.build.is_none() && !self.observed.images.contains_key(&service.image) {
            return Err(PlanError::NoSuchImage { image: service.image.clone(), service: service.name.clone() });
        }
        let around =
            Circumstances { observed: self.observed, inventory: &self.inventory, decided: &self.decided, renewed: &[] };
        let template = Template::new(self.project, service)?;
        let config = template.one_off(run, &self.observed.images, &around)?;
        let name = config.name.clone();
        let after = self.needs(service);
        let action = Action::CreateContainer { config: Box::new(config), replaces: None };
        let made = self.plan.push(action, Cause::Asked, after);
        let wish = match run.start {
            RunStart::Attached => Wish::Leave,
            RunStart::Detached => Wish::Start(Cause::Asked),
        };
        let target = Target { name, container: ContainerRef::Made(made) };
        Ok(Some((service.name.clone(), Member { target, now: Now::Idle, wish, after: vec![made] })))
    }

    fn config_of(&self, decided: &Decided<'a>, replica: &Replica<'a>) -> Result<ContainerConfig, PlanError> {
        let around =
            Circumstances { observed: self.observed, inventory: &self.inventory, decided: &self.decided, renewed: &[] };
        let mut config = decided.template.replica(replica.number, &self.observed.images, &around)?;
        config.name = replica.name.clone();
        Ok(config)
    }

    /// Stops and removes what has been replaced, and gives the new containers their names. Dependents that asked for a
    /// restart are stopped before what they depend on.
    fn emit_replacements(&mut self) {
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

    fn note_unchanged(&mut self) {
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

    fn start(&mut self, wait: Wait, one_off: Option<(ServiceName, Member)>) -> Result<(), PlanError> {
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
        Phase { graph: &self.graph, members, wait }.emit(&mut self.plan)?;
        self.start_bystanders();
        Ok(())
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

/// A container that is there.
pub(super) fn existing(container: &ObservedContainer) -> Target {
    Target { name: container.config.name.clone(), container: ContainerRef::Existing(container.id.clone()) }
}
