//! `xcompose restart`

use crate::cli::arguments::grace;
use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure};
use crate::planner::request::{Dependents, Operation, Request};

/// Restart service containers
#[derive(Debug, clap::Args)]
pub struct Restart {
    /// Services to restart (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Don't restart dependent services
    #[arg(long)]
    no_deps: bool,
    /// Specify a shutdown timeout in seconds
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<i64>,
}

impl Restart {
    /// Stops and starts containers as they are; changes of the file do not count.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let stack = context.load(Need::FilesOrName, &self.services)?;
        let dependents = if self.no_deps { Dependents::Exclude } else { Dependents::Include };
        let request = Request {
            services: stack.named(&self.services)?,
            operation: Operation::Restart { grace: grace(self.timeout), dependents },
        };
        context.carry_out(&stack, "restart", request).await?;
        Ok(Exit::SUCCESS)
    }
}
