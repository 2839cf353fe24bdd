//! Making things be as the file says: `up`, `create`, `scale`, and the dependencies of `run`.
//!
//! First everything is decided (networks, volumes, then containers, dependencies first), then the steps are written down:
//! what an earlier command left unfinished; removals; networks and volumes; new containers; replacements, dependents
//! before what they depend on; starts. Nothing waits for a phase as a whole: a step waits for what it needs, so on a fresh
//! `up` everything independent is under way at once. A start waits for the stop of whatever holds its ports or addresses.

mod make;
mod replace;
mod starts;

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{ContainerConfig, ContainerId, Observed, ObservedContainer, Rest};
use crate::planner::container_config::Template;
use crate::planner::containers::{self, Circumstances, Decided, Fate};
use crate::planner::error::PlanError;
use crate::planner::graph::{Edge, ServiceGraph};
use crate::planner::labels::Inventory;
use crate::planner::leftovers::{self, Leftovers};
use crate::planner::plan::{Action, Cause, ContainerRef, InUse, Plan, StepId, Target};
use crate::planner::request::{Dependencies, Orphans, Run, Until, UnusedResources, Up};
use crate::planner::start::Now;
use crate::planner::{networks, orphans, volumes};
use crate::spec::project::Project;
use crate::spec::project::service::Service;
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
        let edge = |(name, to): (&ServiceName, &crate::spec::project::service::Dependency)| {
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
        let action =
            Action::StopContainer { target: existing(container), grace: self.up.grace, rest: Rest::UntilStarted };
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
}

/// A container that is there.
pub(super) fn existing(container: &ObservedContainer) -> Target {
    Target { name: container.config.name.clone(), container: ContainerRef::Existing(container.id.clone()) }
}
