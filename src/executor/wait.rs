//! Waiting until containers are as a dependent needs them (behaviours §3): an event of the engine, never a tick.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::engine::{ContainerId, ContainerState, Engine, Readiness, WaitFor};
use crate::executor::progress::{Resource, Status};
use crate::executor::{StepError, WaitError};
use crate::planner::plan::Condition;
use crate::values::health::Health;
use crate::values::names::{ContainerName, ServiceName};

/// Resolves when the containers are in the condition, or can't come to be. `tell` hears of each container.
pub(super) async fn until(
    engine: &dyn Engine,
    service: &ServiceName,
    containers: &[(ContainerName, ContainerId)],
    condition: Condition,
    timeout: Option<Duration>,
    tell: &(dyn Fn(Resource, Status, Option<String>) + Send + Sync),
) -> Result<(), StepError> {
    for (name, _) in containers {
        tell(Resource::Container(name.clone()), Status::Waiting, None);
    }
    let waiting = async {
        match condition {
            Condition::Completed => completed(engine, service, containers, tell).await,
            Condition::Healthy => all(engine, containers, Unprobed::Fails, tell).await.map_err(StepError::Dependency),
            Condition::RunningOrHealthy => {
                all(engine, containers, Unprobed::Passes, tell).await.map_err(StepError::Wait)
            }
        }
    };
    let Some(limit) = timeout else { return waiting.await };
    match tokio::time::timeout(limit, waiting).await {
        Ok(result) => result,
        Err(_) => Err(match condition {
            Condition::RunningOrHealthy => StepError::NotHealthyAfter(crate::values::duration::go(limit)),
            Condition::Healthy | Condition::Completed => StepError::DependencyTimeout,
        }),
    }
}

/// What a container without health check counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unprobed {
    Passes,
    Fails,
}

/// All of them must come to be healthy.
async fn all(
    engine: &dyn Engine,
    containers: &[(ContainerName, ContainerId)],
    unprobed: Unprobed,
    tell: &(dyn Fn(Resource, Status, Option<String>) + Send + Sync),
) -> Result<(), WaitError> {
    let mut pending: FuturesUnordered<_> =
        containers.iter().map(|(name, id)| async move { (name, healthy(engine, name, id, unprobed).await) }).collect();
    while let Some((name, result)) = pending.next().await {
        match result {
            Ok(()) => tell(Resource::Container(name.clone()), Status::Healthy, None),
            Err(error) => {
                tell(Resource::Container(name.clone()), Status::Error, Some(error.to_string()));
                return Err(error);
            }
        }
    }
    Ok(())
}

async fn healthy(
    engine: &dyn Engine,
    name: &ContainerName,
    id: &ContainerId,
    unprobed: Unprobed,
) -> Result<(), WaitError> {
    loop {
        match engine.wait_container(id, WaitFor::HealthKnown).await.map_err(WaitError::Engine)? {
            ContainerState::Running { health: Some(Health::Healthy), .. } => return Ok(()),
            ContainerState::Running { health: Some(Health::Unhealthy), .. } => {
                return Err(WaitError::Unhealthy(name.clone()));
            }
            ContainerState::Running { health: None, .. } => match unprobed {
                Unprobed::Passes => return Ok(()),
                Unprobed::Fails => return Err(WaitError::NoHealthCheck(name.clone())),
            },
            ContainerState::Exited { status, .. } => {
                return Err(WaitError::Exited { container: name.clone(), status });
            }
            ContainerState::Created { failure } => {
                let status = failure.map_or(0, |(status, _)| status);
                return Err(WaitError::Exited { container: name.clone(), status });
            }
            ContainerState::Dead => return Err(WaitError::Exited { container: name.clone(), status: 0 }),
            // Not known yet after all: between two runs, or the answer is older than the state.
            ContainerState::Restarting { .. } | ContainerState::Running { health: Some(Health::Starting), .. } => {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// The first container to end decides.
async fn completed(
    engine: &dyn Engine,
    service: &ServiceName,
    containers: &[(ContainerName, ContainerId)],
    tell: &(dyn Fn(Resource, Status, Option<String>) + Send + Sync),
) -> Result<(), StepError> {
    let mut pending: FuturesUnordered<_> = containers
        .iter()
        .map(|(name, id)| async move { (name, engine.wait_container(id, WaitFor::Exited).await) })
        .collect();
    let Some((name, state)) = pending.next().await else { return Ok(()) };
    let status = match state? {
        ContainerState::Exited { status, .. } => status,
        ContainerState::Created { failure: Some((status, _)) } => status,
        state => {
            tracing::debug!(?state, %name, "an engine says that this container has exited");
            0
        }
    };
    let resource = Resource::Container(name.clone());
    if status == 0 {
        tell(resource, Status::Exited, None);
        return Ok(());
    }
    let error = StepError::NotSuccessful { service: service.clone(), status };
    tell(resource, Status::Error, Some(error.to_string()));
    Err(error)
}

/// Resolves when all containers have given every sign of being ready, can't give one any more, or nobody waits any longer.
pub(super) async fn ready(
    engine: &dyn Engine,
    service: &ServiceName,
    containers: &[(ContainerName, ContainerId)],
    readiness: &Readiness,
    tell: &(dyn Fn(Resource, Status, Option<String>) + Send + Sync),
) {
    let one = |name: &ContainerName, id: &ContainerId| {
        let (name, id) = (name.clone(), id.clone());
        async move {
            tell(Resource::Container(name.clone()), Status::Waiting, None);
            let begun = tokio::time::Instant::now();
            for sign in &readiness.signs {
                let limit = readiness.patience.saturating_sub(begun.elapsed());
                let why = match tokio::time::timeout(limit, engine.await_sign(&id, sign)).await {
                    Ok(Ok(true)) => continue,
                    Ok(Ok(false)) => format!("it has ended before {sign}"),
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => {
                        let waited = crate::values::duration::go(readiness.patience);
                        format!("waited {waited} until {sign}, in vain")
                    }
                };
                let text = format!("service {:?} does not show that it is ready: {why}", service.as_str());
                return tell(Resource::Container(name), Status::Warning, Some(text));
            }
            tell(Resource::Container(name), Status::Ready, None);
        }
    };
    let mut pending: FuturesUnordered<_> = containers.iter().map(|(name, id)| one(name, id)).collect();
    while pending.next().await.is_some() {}
}
