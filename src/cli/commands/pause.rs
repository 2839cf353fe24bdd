//! `xcompose pause` and `xcompose unpause`

use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure};
use crate::planner::request::{Operation, Request};

/// Pause services
#[derive(Debug, clap::Args)]
pub struct Pause {
    /// Services to pause (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// Unpause services
#[derive(Debug, clap::Args)]
pub struct Unpause {
    /// Services to unpause (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Pause {
    /// Freezes what runs.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        ask(context, "pause", &self.services, Operation::Pause).await
    }
}

impl Unpause {
    /// Thaws it.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        ask(context, "unpause", &self.services, Operation::Unpause).await
    }
}

async fn ask(
    context: &Context<'_>,
    word: &'static str,
    services: &[String],
    operation: Operation,
) -> Result<Exit, Failure> {
    let stack = context.load(Need::FilesOrName, services)?;
    let request = Request { services: stack.named(services)?, operation };
    context.carry_out(&stack, word, request).await?;
    Ok(Exit::SUCCESS)
}
