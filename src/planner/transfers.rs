//! Which images travel: fetched before containers can be compared with them, or sent (behaviours §2, CLI reference §11.28 and §11.29).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::engine::{ImageId, Labels, Observed, ObservedImage};
use crate::planner::converge;
use crate::planner::error::PlanError;
use crate::planner::plan::{Action, Cause, Loss, Plan};
use crate::planner::request::{BuildPolicy, Buildable, Dependencies, Operation, Pull, Push, Request};
use crate::spec::project::Project;
use crate::spec::project::mounts::MountSource;
use crate::spec::project::service::{PullPolicy, Service};
use crate::values::image_ref::ImageRef;
use crate::values::names::ServiceName;
use crate::values::platform::Platform;

/// Images that travel, and what stays.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transfers {
    /// A step an image.
    pub plan: Plan,
    /// What is left as it is, and why.
    pub skipped: Vec<Skipped>,
}

/// Something whose image does not travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// A service, or an image.
    pub what: String,
    /// Why not, in Docker Compose's words.
    pub reason: &'static str,
}

/// One image that is to be fetched.
struct Wish {
    platform: Option<Platform>,
    cause: Cause,
    loss: Loss,
}

/// What has to be fetched first. `now` is nanoseconds since 1970. Where the plan is not empty, carry it out and observe again.
pub fn pulls(project: &Project, observed: &Observed, request: &Request, now: i64) -> Result<Transfers, PlanError> {
    let (pull, build, dependencies) = match &request.operation {
        Operation::Up(up) => (up.pull, up.build, up.dependencies),
        Operation::Run(run) => (run.pull, run.build, run.dependencies),
        Operation::Pull(pull) => return asked(project, observed, request, pull),
        _ => return Ok(Transfers::default()),
    };
    let built = built(project);
    let mut wishes: BTreeMap<ImageRef, Wish> = BTreeMap::new();
    for service in scope(project, request, dependencies)? {
        let policy = match build {
            BuildPolicy::Always if service.build.is_some() => PullPolicy::Build,
            _ => pull.or(service.pull_policy).unwrap_or(PullPolicy::Missing),
        };
        let image = observed.images.get(&service.image);
        let fits = image.is_some_and(|image| {
            let platform = image.platform.parse::<Platform>();
            service.platform.as_ref().is_none_or(|wanted| platform.is_ok_and(|platform| platform.serves(wanted)))
        });
        let old = |limit: Duration| {
            let limit = i64::try_from(limit.as_nanos()).unwrap_or(i64::MAX);
            image.is_some_and(|image| now.saturating_sub(image.tagged) > limit)
        };
        let pinned = service.image.digest().is_some();
        let cause = match policy {
            PullPolicy::Never | PullPolicy::Build => None,
            _ if !fits => Some(Cause::Missing),
            PullPolicy::Missing => None,
            PullPolicy::Always => Some(Cause::Forced).filter(|_| !pinned),
            PullPolicy::Every(limit) => Some(Cause::Old).filter(|_| !pinned && old(limit)),
        };
        let own_build = service.build.is_some() && !service.image_named;
        if let Some(cause) = cause.filter(|_| !own_build) {
            let loss = if built.contains(&service.image) { Loss::Bearable } else { Loss::Fatal };
            let platform = service.platform.clone();
            wishes.entry(service.image.clone()).or_insert(Wish { platform, cause, loss });
        } else if let (Some(image), Some(wanted), false, false) =
            (image, &service.platform, fits, service.build.is_some())
        {
            return Err(PlanError::Platform {
                service: service.name.clone(),
                image: service.image.to_string(),
                wanted: wanted.to_string(),
                found: image.platform.clone(),
            });
        }
        for mount in &service.mounts {
            if let MountSource::Image { image, .. } = &mount.source
                && policy != PullPolicy::Never
                && !observed.images.contains_key(image)
            {
                let loss = if built.contains(image) { Loss::Bearable } else { Loss::Fatal };
                let wish = Wish { platform: service.platform.clone(), cause: Cause::Missing, loss };
                wishes.entry(image.clone()).or_insert(wish);
            }
        }
    }
    Ok(Transfers { plan: fetch(wishes, default_platform(project)?.as_ref()), skipped: Vec::new() })
}

/// What `pull` fetches: everything, unless a policy says otherwise.
fn asked(project: &Project, observed: &Observed, request: &Request, pull: &Pull) -> Result<Transfers, PlanError> {
    let mut skipped = Vec::new();
    let mut wishes: BTreeMap<ImageRef, Wish> = BTreeMap::new();
    let mut skip = |what: String, reason| skipped.push(Skipped { what, reason });
    for service in scope(project, request, pull.dependencies)? {
        let name = || format!("Service {}", service.name);
        let image = || format!("Image {}", service.image);
        let latest = service.image.digest().is_none() && service.image.tag() == Some("latest");
        match pull.policy.or(service.pull_policy) {
            _ if !service.image_named => skip(name(), "No image to be pulled"),
            Some(PullPolicy::Never) => skip(image(), "Its pull policy is never"),
            Some(PullPolicy::Build) => skip(image(), "Image is built"),
            Some(PullPolicy::Missing) if !latest && observed.images.contains_key(&service.image) => {
                skip(image(), "Image is already present locally");
            }
            _ if service.build.is_some() && pull.buildable == Buildable::Skip => skip(image(), "Image can be built"),
            _ => {
                let buildable = service.build.is_some();
                let loss = if buildable || pull.failures == Loss::Bearable { Loss::Bearable } else { Loss::Fatal };
                let platform = service.platform.clone();
                let wish = wishes.entry(service.image.clone()).or_insert(Wish { platform, cause: Cause::Asked, loss });
                if buildable {
                    wish.loss = Loss::Bearable;
                }
            }
        }
    }
    Ok(Transfers { plan: fetch(wishes, default_platform(project)?.as_ref()), skipped })
}

/// What `push` sends: images that are built here and have a name of their own, with their further names.
pub fn pushes(project: &Project, request: &Request, push: &Push) -> Result<Transfers, PlanError> {
    let mut transfers = Transfers::default();
    let mut images = BTreeSet::new();
    for service in scope(project, request, push.dependencies)? {
        let Some(build) = service.build.as_ref().filter(|_| service.image_named) else {
            transfers
                .skipped
                .push(Skipped { what: format!("Service {}", service.name), reason: "No image to be pushed" });
            continue;
        };
        images.insert(service.image.clone());
        for tag in &build.tags {
            let invalid = |error: crate::values::image_ref::InvalidImageRef| PlanError::Invalid {
                service: service.name.clone(),
                reason: error.to_string(),
            };
            images.insert(tag.parse().map_err(invalid)?);
        }
    }
    for image in images {
        transfers.plan.push(Action::PushImage { image, loss: push.failures }, Cause::Asked, Vec::new());
    }
    Ok(transfers)
}

/// How things will stand when the images have come, as far as that can be known before: for showing what would be done.
pub fn expected(plan: &Plan, observed: &Observed) -> Observed {
    let mut expected = observed.clone();
    for step in plan.steps() {
        // One that can be built may not come.
        if let Action::PullImage { image, platform, loss: Loss::Fatal } = &step.action {
            expected.images.entry(image.clone()).or_insert_with(|| ObservedImage {
                id: ImageId("sha256:unknown".to_owned()),
                names: vec![image.clone()],
                size: 0,
                created: 0,
                tagged: 0,
                platform: platform.clone().unwrap_or_else(Platform::host).to_string(),
                labels: Labels::new(),
                volumes: Vec::new(),
            });
        }
    }
    expected
}

/// The services that could build these images, for whoever could not fetch them.
pub fn builders<'a>(project: &'a Project, images: &BTreeSet<ImageRef>) -> Vec<&'a ServiceName> {
    let builds = |service: &&Service| service.build.is_some() && images.contains(&service.image);
    project.services.values().filter(builds).map(|service| &service.name).collect()
}

/// The platform that images are fetched for where their services name none.
fn default_platform(project: &Project) -> Result<Option<Platform>, PlanError> {
    let text = project.environment.get("DOCKER_DEFAULT_PLATFORM").filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_err(PlanError::DefaultPlatform)).transpose()
}

fn fetch(wishes: BTreeMap<ImageRef, Wish>, default: Option<&Platform>) -> Plan {
    let mut plan = Plan::default();
    for (image, Wish { platform, cause, loss }) in wishes {
        let platform = platform.or_else(|| default.cloned());
        plan.push(Action::PullImage { image, platform, loss }, cause, Vec::new());
    }
    plan
}

fn built(project: &Project) -> BTreeSet<&ImageRef> {
    project.services.values().filter(|service| service.build.is_some()).map(|service| &service.image).collect()
}

fn scope<'a>(
    project: &'a Project,
    request: &Request,
    dependencies: Dependencies,
) -> Result<Vec<&'a Service>, PlanError> {
    let graph = converge::graph(project)?;
    if let Some(unknown) = request.services.iter().find(|name| !graph.contains(name)) {
        return Err(PlanError::NoSuchService(unknown.clone()));
    }
    let named: BTreeSet<ServiceName> = match request.services.as_slice() {
        [] => project.services.keys().cloned().collect(),
        services => services.iter().cloned().collect(),
    };
    let scope = match dependencies {
        Dependencies::Include => graph.with_dependencies(&named),
        Dependencies::Exclude => named,
    };
    let active = |name: &ServiceName| project.services.get(name).filter(|service| service.provider.is_none());
    Ok(scope.iter().filter_map(active).collect())
}
