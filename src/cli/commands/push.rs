//! `xcompose push`

use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure};
use crate::planner::plan::Loss;
use crate::planner::request::{Dependencies, Operation, Push as Options, Request};

/// Push service images
#[derive(Debug, clap::Args)]
pub struct Push {
    /// Services whose images to push (default: all that are built and have a name)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Push what it can and ignores images with push failures
    #[arg(long)]
    ignore_push_failures: bool,
    /// Also push images of services declared as dependencies
    #[arg(long)]
    include_deps: bool,
    /// Push without printing progress information
    #[arg(short, long)]
    quiet: bool,
}

impl Push {
    /// Sends images to their registries.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        if self.quiet {
            context.ui().silence();
        }
        let stack = context.load(Need::Files, &self.services)?;
        let push = Options {
            dependencies: if self.include_deps { Dependencies::Include } else { Dependencies::Exclude },
            failures: if self.ignore_push_failures { Loss::Bearable } else { Loss::Fatal },
        };
        let request = Request { services: stack.named(&self.services)?, operation: Operation::Push(push) };
        context.carry_out(&stack, "push", request).await?;
        Ok(Exit::SUCCESS)
    }
}
