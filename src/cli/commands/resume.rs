//! `xcompose resume`

use std::collections::BTreeSet;

use crate::cli::context::{Context, Stack};
use crate::cli::failure::{Exit, Failure};
use crate::cli::members;
use crate::engine::{ContainerId, ContainerState, ObservedProject};
use crate::planner::request::{Operation, Request};
use crate::values::names::ProjectName;

/// Bring back what a restart of the machine ended
///
/// As the restart policies say. Works on every project of the machine, or the one that --project-name names; needs no compose file. Containers with
/// `restart: always` come back, `unless-stopped` ones unless somebody stopped them, `on-failure` ones unless they ended
/// well; what depends on others waits for them as it does with `up`.
#[derive(Debug, Default, clap::Args)]
pub struct Resume {}

impl Resume {
    /// Starts what comes back, project after project; one that fails holds no other up.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let each = async |project| resume(context, project).await;
        each_project(context, each).await
    }
}

/// Does something with the project that is named, or with every one of the machine, and ends with the last failure.
pub(super) async fn each_project(
    context: &Context<'_>,
    each: impl AsyncFn(ObservedProject) -> Result<(), Failure>,
) -> Result<Exit, Failure> {
    let only = match &context.globals().project_name {
        Some(name) => {
            Some(ProjectName::try_from(name.to_lowercase()).map_err(|error| Failure::usage(error.to_string()))?)
        }
        None => None,
    };
    let mut projects = context.engine().projects().await?;
    projects.retain(|project| only.as_ref().is_none_or(|only| *only == project.name));
    let mut failed = None;
    for project in projects {
        if let Err(failure) = each(project).await {
            // All of them are told; the last one is what the command ends with.
            if let Some(earlier) = failed.replace(failure) {
                context.ui().failure(&earlier);
            }
        }
    }
    failed.map_or(Ok(Exit::SUCCESS), Err)
}

async fn resume(context: &Context<'_>, project: ObservedProject) -> Result<(), Failure> {
    let mut containers: BTreeSet<ContainerId> = BTreeSet::new();
    for container in project.containers.iter().filter(|container| !members::one_off(&container.config.labels)) {
        let policy = container.config.restart;
        let comes_back = match &container.state {
            ContainerState::Exited { status, .. } => {
                policy.at_boot(context.engine().story(&container.id).await?.stopped_by_user, *status)
            }
            // Its start failed, and nobody has stopped it since.
            ContainerState::Created { failure: Some((status, _)) } => policy.at_boot(false, *status),
            ContainerState::Created { failure: None }
            | ContainerState::Running { .. }
            | ContainerState::Restarting { .. }
            | ContainerState::Dead => false,
        };
        if comes_back {
            containers.insert(container.id.clone());
        }
    }
    if containers.is_empty() {
        return Ok(());
    }
    let stack = Stack { name: project.name, project: None };
    let request = Request { services: Vec::new(), operation: Operation::Resume { containers } };
    context.carry_out(&stack, "resume", request).await.map(drop)
}
