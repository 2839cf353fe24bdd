//! What is done with one container partly here and partly by the supervisor that watches over it.

use std::time::Duration;

use crate::engine::{
    CommitConfig, ContainerId, ContainerState, Engine as _, EngineError, Event, EventAction, ImageId, Rest, Stopped,
    Subject, WaitFor,
};
use crate::runtime::container::record::Container;
use crate::runtime::container::{commit, find, remove};
use crate::runtime::supervisor::control::{Answer, Request};
use crate::runtime::volume::Volumes;
use crate::runtime::{Runtime, client, journal, missing, store};

/// Tells who follows the events of its project what was done here.
pub(super) async fn tell(runtime: &Runtime, container: &Container, action: EventAction) {
    let event = Event {
        time: store::now(),
        container: container.id.clone(),
        name: container.config.name.clone(),
        labels: container.config.labels.clone(),
        image: Some(container.config.image.clone()),
        action,
        notes: Default::default(),
    };
    // Without it followers lose a line; what was done stands.
    let _ = journal::append(&runtime.layout.journal(&container.config.project), &event);
    client::tell(&runtime.layout, &container.config.project, &Request::Tell(event)).await;
}

/// Ends it, or a start of it that is under way.
pub(super) async fn stop(
    runtime: &Runtime,
    id: &ContainerId,
    grace: Option<Duration>,
    rest: Rest,
) -> Result<Stopped, EngineError> {
    let (project, container, standing) = runtime.load(id)?;
    let request = Request::Stop { id: id.clone(), grace, rest };
    let policy = container.config.restart;
    let would_come_back = match standing.state {
        ContainerState::Exited { status, .. } => {
            policy.at_boot(standing.stopped_by_user, status) && !policy.at_boot(true, status)
        }
        _ => false,
    };
    let answer = match standing.state {
        ContainerState::Running { .. } | ContainerState::Restarting { .. } => Some(runtime.ask(id, request).await?),
        ContainerState::Created { .. } | ContainerState::Exited { .. } => {
            let asked = if rest == Rest::UntilStarted && would_come_back {
                // What was suspended: that it is to stay has to be put on record.
                runtime.ask(id, request).await.map(Some)
            } else {
                // The record may be older than a start that is under way, which only a supervisor knows of.
                client::ask_if_served(&runtime.layout, &project, &request).await
            };
            match asked {
                // It is being removed.
                Err(EngineError::State { .. }) => None,
                other => other?,
            }
        }
        ContainerState::Dead => None,
    };
    Ok(match answer {
        Some(Answer::Stopped(stopped)) => stopped,
        _ => Stopped::InOrder,
    })
}

/// Waits for a change of it; the state that it then has, or had before it was removed.
pub(super) async fn wait(runtime: &Runtime, id: &ContainerId, until: WaitFor) -> Result<ContainerState, EngineError> {
    let last = runtime.load(id)?.2.state;
    match runtime.ask(id, Request::Wait { id: id.clone(), until }).await? {
        // The supervisor was told of the removal only.
        Answer::State(ContainerState::Dead) => Ok(last),
        Answer::State(state) => Ok(state),
        _ => Err(missing(id)),
    }
}

/// Removes it and, if that is wanted, its anonymous volumes.
pub(super) async fn remove(runtime: &Runtime, id: &ContainerId, force: bool, volumes: bool) -> Result<(), EngineError> {
    let Some(project) = find::by_id(&runtime.layout, id)? else { return Err(missing(id)) };
    let Some((container, standing)) = find::load(&runtime.layout, &project, id)? else {
        // What a killed creation or removal has left.
        let (project, id) = (project, id.clone());
        return runtime.blocking(move |layout| remove::sweep(layout, &project, &id).map(drop)).await;
    };
    if standing.state.is_active() {
        if !force {
            let subject = Subject::Container(container.config.name.to_string());
            return Err(EngineError::State { subject, state: "running: stop it first, or remove it by force".into() });
        }
        let grace = Some(Duration::ZERO);
        runtime.ask(id, Request::Stop { id: id.clone(), grace, rest: Rest::UntilStarted }).await?;
    }
    let volumes = if volumes { remove::Volume::Remove } else { remove::Volume::Keep };
    let (auto_remove, doomed) = (container.config.auto_remove, id.clone());
    let removed = match runtime.blocking(move |layout| remove::remove(layout, &project, &doomed, volumes)).await {
        // Made for one run, which is over: the supervisor is about to remove it by itself.
        Err(EngineError::State { .. }) if auto_remove => {
            return match runtime.wait_container(id, WaitFor::Removed).await {
                Ok(_) | Err(EngineError::NotFound(_)) => Ok(()),
                Err(error) => Err(error),
            };
        }
        other => other?,
    };
    tell(runtime, &removed, EventAction::Destroy).await;
    release_volumes(runtime, &removed)
}

/// Takes off the file systems that a removed container's volumes show, where no other container has the volume.
fn release_volumes(runtime: &Runtime, removed: &Container) -> Result<(), EngineError> {
    let volumes = Volumes::open(&runtime.layout);
    for name in removed.volumes.values() {
        let shows = volumes.find(name)?.is_some_and(|volume| !volume.config.driver_opts.is_empty());
        if shows && !find::of_machine(&runtime.layout)?.iter().any(|(container, _)| container.has_volume(name)) {
            volumes.release(name)?;
        }
    }
    Ok(())
}

/// Makes an image of it, which it stands still for if that is wanted.
pub(super) async fn commit(runtime: &Runtime, id: &ContainerId, config: &CommitConfig) -> Result<ImageId, EngineError> {
    let (_, container, standing) = runtime.load(id)?;
    let running = matches!(standing.state, ContainerState::Running { paused: false, .. });
    let freeze = config.pause && running;
    if freeze {
        runtime.pause_container(id, true).await?;
    }
    let config = config.clone();
    let made = runtime.blocking(move |layout| commit::commit(layout, &container, &config)).await;
    if freeze {
        runtime.pause_container(id, false).await?;
    }
    made
}
