//! `xcompose suspend`

use crate::cli::commands::resume;
use crate::cli::context::{Context, Stack};
use crate::cli::failure::{Exit, Failure};
use crate::cli::members;
use crate::engine::{ObservedProject, Rest};
use crate::planner::request::{Operation, Request};

/// Stop what runs until the machine starts again
///
/// For its shutdown: as `stop`, in order and with every grace period, but what is stopped so comes back with `resume` as
/// if it had run on. Works on every project of the machine, or the one that --project-name names; needs no compose file.
#[derive(Debug, Default, clap::Args)]
pub struct Suspend {}

impl Suspend {
    /// Stops project after project; one that fails holds no other up.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let each = async |project| suspend(context, project).await;
        resume::each_project(context, each).await
    }
}

async fn suspend(context: &Context<'_>, project: ObservedProject) -> Result<(), Failure> {
    if !project.containers.iter().any(members::alive) {
        return Ok(());
    }
    let stack = Stack { name: project.name, project: None };
    let operation = Operation::Stop { grace: None, rest: Rest::UntilBoot };
    context.carry_out(&stack, "suspend", Request { services: Vec::new(), operation }).await.map(drop)
}
