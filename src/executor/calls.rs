//! What each action of a plan is for the engine, and in what words it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::engine::{ContainerId, Engine, EngineError, Progress, Readiness, Stopped, Subject};
use crate::executor::progress::{Resource, Status, Update};
use crate::executor::{Observer, Outcome, StepError, hook, wait};
use crate::planner::plan::{Action, Cause, Condition, ContainerRef, InUse, Loss, Need, Plan, StepId, Target};
use crate::values::image_ref::ImageRef;
use crate::values::names::{ContainerName, ServiceName};

/// News of a build that its observer has not yet seen.
const BUILD_NEWS: usize = 64;
/// What is said of a container that no grace period would have helped.
const DEAF: &str = "(killed at once: its first process can't see its stop signal; with \"init: true\" it could)";

/// Makes the calls of one plan.
pub(super) struct Calls<'r> {
    plan: &'r Plan,
    engine: &'r dyn Engine,
    observer: &'r dyn Observer,
    /// What steps have made.
    made: Mutex<BTreeMap<StepId, ContainerId>>,
    lost: Mutex<BTreeSet<ImageRef>>,
}

/// How a step is told: of what, and with which words at its beginning and end; none where it is part of another.
struct Words {
    resource: Resource,
    begin: Option<Status>,
    end: Option<Status>,
}

impl<'r> Calls<'r> {
    /// For a plan of which nothing has been done.
    pub(super) fn new(plan: &'r Plan, engine: &'r dyn Engine, observer: &'r dyn Observer) -> Calls<'r> {
        Calls { plan, engine, observer, made: Mutex::default(), lost: Mutex::default() }
    }

    /// The containers made so far.
    pub(super) fn outcome(&self) -> Outcome {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let named = made.iter().filter_map(|(step, id)| match &self.plan.step(*step)?.action {
            Action::CreateContainer { config, replaces } => {
                let name = replaces.as_ref().map_or(&config.name, |replaced| &replaced.name);
                Some((name.clone(), id.clone()))
            }
            _ => None,
        });
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Outcome { made: named.collect(), lost }
    }

    /// Does one step and tells of it.
    pub(super) async fn step(&self, id: StepId) -> Result<(), StepError> {
        let Some(step) = self.plan.step(id) else { return Ok(()) };
        if let Action::RunHook { target, run } = &step.action {
            let tell = |output: &[u8]| self.observer.hook(&run.source, output);
            return hook::run(self.engine, &self.id_of(&target.container)?, run, &tell).await;
        }
        if let Action::RunPreStart { service, index, leftover, config } = &step.action {
            let source = format!("{service} pre_start[{index}]");
            let tell = |output: &[u8]| self.observer.hook(&source, output);
            return hook::before(self.engine, service, *index, leftover.as_ref(), config, &tell).await;
        }
        if let Action::AwaitReady { service, containers, readiness } = &step.action {
            return self.await_ready(id, service, containers, readiness).await;
        }
        let Some(words) = words(&step.action, &step.cause) else { return self.wait(id, &step.action).await };
        let tell = |status, detail| {
            self.observer.update(Update { step: id, resource: words.resource.clone(), status, detail });
        };
        if let Some(begin) = words.begin {
            tell(begin, None);
        }
        match self.call(id, &step.action).await {
            Ok(detail) => {
                if let Some(end) = words.end {
                    tell(end, detail);
                }
                Ok(())
            }
            Err(EngineError::InUse { subject, holder }) if warns(&step.action) => {
                tell(Status::InUse, Some(format!("{subject} is in use by {holder}")));
                Ok(())
            }
            Err(error) => {
                if let Action::PullImage { image, loss: Loss::Bearable, .. }
                | Action::PushImage { image, loss: Loss::Bearable } = &step.action
                {
                    tell(Status::Warning, Some(error.to_string()));
                    self.lost.lock().unwrap_or_else(PoisonError::into_inner).insert(image.clone());
                    return Ok(());
                }
                tell(Status::Error, Some(error.to_string()));
                Err(error.into())
            }
        }
    }

    fn id_of(&self, container: &ContainerRef) -> Result<ContainerId, EngineError> {
        match container {
            ContainerRef::Existing(id) => Ok(id.clone()),
            ContainerRef::Made(step) => {
                let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
                let id = made.get(step).cloned();
                // A plan names only containers of steps it waits for; this one does not, and nothing can be done.
                id.ok_or_else(|| EngineError::NotFound(Subject::Container(format!("made by step {}", step.index()))))
            }
        }
    }

    async fn travelling(&self, id: StepId, image: &ImageRef, mut news: mpsc::Receiver<Progress>) {
        while let Some(progress) = news.recv().await {
            self.observer.travelling(id, image, progress);
        }
    }

    /// Makes the call of an action; what a user should know of it besides.
    async fn call(&self, id: StepId, action: &Action) -> Result<Option<String>, EngineError> {
        let Action::StopContainer { target, grace, rest } = action else {
            return self.plain_call(id, action).await.map(|()| None);
        };
        match self.engine.stop_container(&self.id_of(&target.container)?, *grace, *rest).await {
            Ok(Stopped::InOrder) | Err(EngineError::NotFound(_)) => Ok(None),
            Ok(Stopped::Deaf) => Ok(Some(DEAF.to_owned())),
            Err(error) => Err(error),
        }
    }

    async fn plain_call(&self, id: StepId, action: &Action) -> Result<(), EngineError> {
        let engine = self.engine;
        let find = |target: &Target| self.id_of(&target.container);
        match action {
            Action::Build { image, config } => {
                let (sender, mut news) = mpsc::channel(BUILD_NEWS);
                let build = engine.build(config, sender);
                let tell = async {
                    while let Some(progress) = news.recv().await {
                        self.observer.building(id, image, progress);
                    }
                };
                let (built, ()) = futures_util::future::join(build, tell).await;
                built.map(drop)
            }
            Action::PullImage { image, platform, .. } => {
                let (sender, news) = mpsc::channel(BUILD_NEWS);
                let pull = engine.pull(image, platform.as_ref(), sender);
                futures_util::future::join(pull, self.travelling(id, image, news)).await.0.map(drop)
            }
            Action::PushImage { image, .. } => {
                let (sender, news) = mpsc::channel(BUILD_NEWS);
                let push = engine.push(image, sender);
                futures_util::future::join(push, self.travelling(id, image, news)).await.0.map(drop)
            }
            Action::CreateNetwork(config) => match engine.create_network(config).await {
                Err(EngineError::Exists(_)) => Ok(()),
                made => made.map(drop),
            },
            Action::RemoveNetwork { name, .. } => gone(engine.remove_network(name).await),
            Action::CreateVolume(config) => engine.create_volume(config).await,
            Action::RemoveVolume { name, .. } => gone(engine.remove_volume(name).await),
            Action::CreateContainer { config, replaces } => {
                let inherit = replaces.as_ref().filter(|replaced| replaced.inherit).map(|replaced| &replaced.id);
                let made = engine.create_container(config, inherit).await?;
                self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(id, made);
                Ok(())
            }
            Action::RenameContainer { container, to } => engine.rename_container(&self.id_of(container)?, to).await,
            Action::StartContainer(target) => engine.start_container(&find(target)?).await,
            Action::RestartContainer { target, grace } => engine.restart_container(&find(target)?, *grace).await,
            Action::KillContainer { target, signal } => match engine.kill_container(&find(target)?, *signal).await {
                // It has ended by itself meanwhile.
                Err(EngineError::State { .. }) => Ok(()),
                killed => gone(killed),
            },
            Action::PauseContainer(target) => engine.pause_container(&find(target)?, true).await,
            Action::UnpauseContainer(target) => engine.pause_container(&find(target)?, false).await,
            Action::RemoveContainer { target, volumes } => {
                gone(engine.remove_container(&find(target)?, true, *volumes).await)
            }
            Action::RemoveImage { image } => gone(engine.remove_image(image, false).await.map(drop)),
            // Told otherwise, and so done elsewhere.
            Action::Wait { .. }
            | Action::AwaitReady { .. }
            | Action::RunHook { .. }
            | Action::RunPreStart { .. }
            | Action::StopContainer { .. } => Ok(()),
        }
    }

    /// Nothing fails for want of a sign: whoever does not show one has been started all the same.
    async fn await_ready(
        &self,
        id: StepId,
        service: &ServiceName,
        containers: &[Target],
        readiness: &Readiness,
    ) -> Result<(), StepError> {
        let mut found: Vec<(ContainerName, ContainerId)> = Vec::with_capacity(containers.len());
        for target in containers {
            found.push((target.name.clone(), self.id_of(&target.container)?));
        }
        let tell = |resource, status, detail| self.observer.update(Update { step: id, resource, status, detail });
        wait::ready(self.engine, service, &found, readiness, &tell).await;
        Ok(())
    }

    async fn wait(&self, id: StepId, action: &Action) -> Result<(), StepError> {
        let Action::Wait { service, containers, condition, timeout, need } = action else { return Ok(()) };
        let tell = |resource, status, detail| self.observer.update(Update { step: id, resource, status, detail });
        let mut found: Vec<(ContainerName, ContainerId)> = Vec::with_capacity(containers.len());
        for target in containers {
            found.push((target.name.clone(), self.id_of(&target.container)?));
        }
        let quiet = |resource, status, detail| {
            // What a dependent can do without is no error.
            let status = if status == Status::Error { Status::Warning } else { status };
            tell(resource, status, detail);
        };
        match need {
            Need::Required => wait::until(self.engine, service, &found, *condition, *timeout, &tell).await,
            Need::Optional => {
                if let Err(error) = wait::until(self.engine, service, &found, *condition, *timeout, &quiet).await {
                    let text = match (condition, error) {
                        (Condition::Completed, StepError::NotSuccessful { status, .. }) => {
                            format!(
                                "optional dependency {:?} didn't complete successfully: exit {status}",
                                service.as_str()
                            )
                        }
                        (_, StepError::Dependency(error)) => {
                            format!("optional dependency {:?} failed to start: {error}", service.as_str())
                        }
                        (_, error) => format!("optional dependency {:?} failed to start: {error}", service.as_str()),
                    };
                    tell(Resource::Service(service.clone()), Status::Warning, Some(text));
                }
                Ok(())
            }
        }
    }
}

/// What is gone already need not be taken away.
fn gone(result: Result<(), EngineError>) -> Result<(), EngineError> {
    match result {
        Err(EngineError::NotFound(_)) => Ok(()),
        other => other,
    }
}

/// Whether a thing that something uses may stay.
fn warns(action: &Action) -> bool {
    match action {
        Action::RemoveNetwork { in_use, .. } | Action::RemoveVolume { in_use, .. } => *in_use == InUse::Warn,
        Action::RemoveImage { .. } => true,
        _ => false,
    }
}

/// The words of a step; a wait has them for each of its containers.
fn words(action: &Action, cause: &Cause) -> Option<Words> {
    use Status::*;
    let container = |name: &ContainerName| Resource::Container(name.clone());
    let (resource, begin, end) = match action {
        Action::Wait { .. } | Action::AwaitReady { .. } | Action::RunHook { .. } | Action::RunPreStart { .. } => {
            return None;
        }
        Action::Build { image, .. } => (Resource::Image(image.clone()), Some(Building), Some(Built)),
        Action::PullImage { image, .. } => (Resource::Image(image.to_string()), Some(Pulling), Some(Pulled)),
        Action::PushImage { image, .. } => (Resource::Image(image.to_string()), Some(Pushing), Some(Pushed)),
        Action::CreateNetwork(config) => (Resource::Network(config.name.clone()), Some(Creating), Some(Created)),
        Action::RemoveNetwork { name, .. } => (Resource::Network(name.clone()), Some(Removing), Some(Removed)),
        Action::CreateVolume(config) => (Resource::Volume(config.name.clone()), Some(Creating), Some(Created)),
        Action::RemoveVolume { name, .. } => (Resource::Volume(name.clone()), Some(Removing), Some(Removed)),
        // To people a replacement is one thing that happens to one container.
        Action::CreateContainer { replaces: Some(old), .. } => (container(&old.name), Some(Recreate), None),
        Action::CreateContainer { config, replaces: None } => (container(&config.name), Some(Creating), Some(Created)),
        Action::RenameContainer { to, .. } => (container(to), None, Some(Recreated)),
        Action::StartContainer(target) => (container(&target.name), Some(Starting), Some(Started)),
        Action::StopContainer { target, .. } if *cause == Cause::Replacement => (container(&target.name), None, None),
        Action::StopContainer { target, .. } => (container(&target.name), Some(Stopping), Some(Stopped)),
        Action::RestartContainer { target, .. } => (container(&target.name), Some(Restarting), Some(Started)),
        Action::KillContainer { target, .. } => (container(&target.name), Some(Killing), Some(Killed)),
        Action::PauseContainer(target) => (container(&target.name), None, Some(Paused)),
        Action::UnpauseContainer(target) => (container(&target.name), None, Some(Unpaused)),
        Action::RemoveContainer { target, .. } if *cause == Cause::Replacement => (container(&target.name), None, None),
        Action::RemoveContainer { target, .. } => (container(&target.name), Some(Removing), Some(Removed)),
        Action::RemoveImage { image } => (Resource::Image(image.clone()), Some(Removing), Some(Removed)),
    };
    Some(Words { resource, begin, end })
}
