//! Images: which have to be made before containers can be compared with them (behaviours §2).

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::Observed;
use crate::planner::build_config::{Platforms, build_config};
use crate::planner::converge;
use crate::planner::error::PlanError;
use crate::planner::graph::ServiceGraph;
use crate::planner::plan::{Action, Cause, Plan, StepId};
use crate::planner::request::{Build as Options, BuildPolicy, Dependencies, Operation, Request};
use crate::spec::project::Project;
use crate::spec::project::build::{Build, BuildContext};
use crate::spec::project::mounts::MountSource;
use crate::spec::project::service::{PullPolicy, Service};
use crate::values::image_ref::ImageRef;
use crate::values::names::ServiceName;

/// Every image that a project's services run on or mount: what to ask an engine for.
pub fn named(project: &Project) -> Vec<ImageRef> {
    let mut found = BTreeSet::new();
    for service in project.services.values() {
        found.insert(service.image.clone());
        for mount in &service.mounts {
            if let MountSource::Image { image, .. } = &mount.source {
                found.insert(image.clone());
            }
        }
    }
    found.into_iter().collect()
}

/// Which images have to be made before [`super::plan()`] can compare containers with them: the first half of `up`, `run` and
/// `build`. Where this is not empty, carry it out, observe again, and plan.
pub fn plan(project: &Project, observed: &Observed, request: &Request) -> Result<Plan, PlanError> {
    let graph = converge::graph(project)?;
    if let Some(unknown) = request.services.iter().find(|name| !graph.contains(name)) {
        return Err(PlanError::NoSuchService(unknown.clone()));
    }
    let named: BTreeSet<ServiceName> = match request.services.as_slice() {
        [] => project.services.keys().cloned().collect(),
        services => services.iter().cloned().collect(),
    };
    let pull = match &request.operation {
        Operation::Up(up) => up.pull,
        Operation::Run(run) => run.pull,
        _ => None,
    };
    let none = Options::default();
    let (policy, dependencies, options, platforms) = match &request.operation {
        Operation::Up(up) => (up.build, up.dependencies, &none, Platforms::Own),
        Operation::Run(run) => (run.build, run.dependencies, &none, Platforms::Own),
        Operation::Build(build) => (BuildPolicy::Always, build.dependencies, build, Platforms::All),
        _ => return Ok(Plan::default()),
    };
    let mut scope = match dependencies {
        Dependencies::Include => graph.with_dependencies(&named),
        Dependencies::Exclude => named,
    };
    include_contexts(project, &mut scope);
    let mut builds = Builds { project, options, platforms, steps: BTreeMap::new(), plan: Plan::default() };
    for name in order(project, &graph, &scope) {
        let Some(service) = known(project, &name) else { continue };
        let Some(build) = &service.build else { continue };
        let missing = !observed.images.contains_key(&service.image);
        let cause = match (policy, pull.or(service.pull_policy)) {
            (BuildPolicy::Never, _) => continue,
            (BuildPolicy::Always, _) | (_, Some(PullPolicy::Build)) => Cause::Asked,
            (BuildPolicy::Missing, Some(PullPolicy::Never)) => continue,
            (BuildPolicy::Missing, _) if missing => Cause::Missing,
            (BuildPolicy::Missing, _) => continue,
        };
        builds.add(service, build, cause)?;
    }
    Ok(builds.plan)
}

/// Services whose images others are built from (`additional_contexts: service:…`) are built too.
fn include_contexts(project: &Project, scope: &mut BTreeSet<ServiceName>) {
    let mut queue: Vec<_> = scope.iter().cloned().collect();
    while let Some(name) = queue.pop() {
        for other in contexts(project, &name) {
            if scope.insert(other.clone()) {
                queue.push(other.clone());
            }
        }
    }
}

/// A service, active or not: profiles say what runs, not what others are built from.
fn known<'a>(project: &'a Project, service: &ServiceName) -> Option<&'a Service> {
    project.services.get(service).or_else(|| project.disabled.get(service))
}

fn contexts<'a>(project: &'a Project, service: &ServiceName) -> impl Iterator<Item = &'a ServiceName> {
    let build = known(project, service).and_then(|service| service.build.as_ref());
    build.into_iter().flat_map(|build| build.additional_contexts.values()).filter_map(|context| match context {
        BuildContext::Service(name) => Some(name),
        BuildContext::Directory(_) | BuildContext::Remote(_) => None,
    })
}

/// Services whose images others are built from come first.
fn order(project: &Project, graph: &ServiceGraph, scope: &BTreeSet<ServiceName>) -> Vec<ServiceName> {
    fn visit(project: &Project, name: &ServiceName, seen: &mut BTreeSet<ServiceName>, found: &mut Vec<ServiceName>) {
        if seen.insert(name.clone()) {
            for other in contexts(project, name) {
                visit(project, other, seen, found);
            }
            found.push(name.clone());
        }
    }
    let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
    let inactive = scope.iter().filter(|name| !graph.contains(name));
    for name in graph.order().iter().filter(|name| scope.contains(*name)).chain(inactive) {
        visit(project, name, &mut seen, &mut found);
    }
    found
}

struct Builds<'a> {
    project: &'a Project,
    options: &'a Options,
    platforms: Platforms,
    /// The build of each image; an image is built once even if several services build it.
    steps: BTreeMap<ImageRef, StepId>,
    plan: Plan,
}

impl Builds<'_> {
    fn add(&mut self, service: &Service, build: &Build, cause: Cause) -> Result<(), PlanError> {
        if self.steps.contains_key(&service.image) {
            return Ok(());
        }
        let after = contexts(self.project, &service.name)
            .filter_map(|other| self.steps.get(&known(self.project, other)?.image))
            .copied()
            .collect();
        let config = build_config(self.project, service, build, self.options, self.platforms)?;
        let config = Box::new(config);
        let step = self.plan.push(Action::Build { image: service.image.to_string(), config }, cause, after);
        self.steps.insert(service.image.clone(), step);
        Ok(())
    }
}
