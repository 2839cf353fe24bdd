//! `xcompose wait`

use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure, Kind};
use crate::cli::members;
use crate::engine::{ContainerState, WaitFor};
use crate::planner::request::{Down, Orphans, Request};

/// Block until containers of all (or specified) services stop.
#[derive(Debug, clap::Args)]
#[command(override_usage = "xcompose wait [OPTIONS] SERVICE [SERVICE...]")]
pub struct Wait {
    /// Drops project when the first container stops
    #[arg(long)]
    down_project: bool,
    #[arg(hide = true)]
    services: Vec<String>,
}

impl Wait {
    /// Waits for exits; the exit code is the last container's.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        if self.services.is_empty() {
            return Err(Failure::too_few_arguments(1, 0));
        }
        let stack = context.load(Need::FilesOrName, &self.services)?;
        let observed = context.observe(&stack).await?;
        let containers: Vec<_> = members::of(&observed, &self.services)
            .into_iter()
            .filter(|container| members::running(container))
            .collect();
        if containers.is_empty() {
            return Err(Kind::NoContainers(stack.name.clone()).into());
        }
        let engine = context.engine();
        let waits = containers.iter().map(|container| {
            let engine = engine.clone();
            async move { (&container.id, engine.wait_container(&container.id, WaitFor::Exited).await) }
        });
        let mut waits: FuturesUnordered<_> = waits.collect();
        let mut last = 0;
        while let Some((id, state)) = waits.next().await {
            if let ContainerState::Exited { status, .. } = state? {
                context.ui().line(&format!("container {:?} exited with status code {status}", id.0))?;
                context.ui().flush()?;
                last = status;
            }
            if self.down_project {
                let down = Down { orphans: Orphans::Include, ..Down::default() };
                context.carry_out(&stack, "down", Request::down(&[], down)).await?;
                break;
            }
        }
        Ok(Exit::of_process(last))
    }
}
