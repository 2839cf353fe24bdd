//! `xcompose start`

use crate::cli::arguments::wait;
use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure};
use crate::planner::request::Request;

/// Start services
#[derive(Debug, clap::Args)]
pub struct Start {
    /// Services to start, with what they depend on (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Wait for services to be running|healthy
    #[arg(long)]
    wait: bool,
    /// Maximum duration in seconds to wait for the project to be running|healthy
    #[arg(long, value_name = "SECONDS", default_value_t = 0, hide_default_value = true)]
    wait_timeout: i64,
}

impl Start {
    /// Starts what exists; makes nothing.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let stack = context.load(Need::FilesOrName, &self.services)?;
        let request = Request::start(&stack.named(&self.services)?, wait(self.wait, self.wait_timeout)?);
        context.carry_out(&stack, "start", request).await?;
        Ok(Exit::SUCCESS)
    }
}
