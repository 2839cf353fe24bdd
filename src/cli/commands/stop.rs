//! `xcompose stop`

use crate::cli::arguments::grace;
use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure};
use crate::cli::provider::{self, Ask};
use crate::planner::request::Request;

/// Stop services
#[derive(Debug, clap::Args)]
pub struct Stop {
    /// Services to stop (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Specify a shutdown timeout in seconds
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<i64>,
}

impl Stop {
    /// Stops; containers stay.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let stack = context.load(Need::FilesOrName, &self.services)?;
        let named = stack.named(&self.services)?;
        let request = Request::stop(&named, grace(self.timeout));
        context.carry_out(&stack, "stop", request).await?;
        provider::end(context, &stack, &named, Ask::Stop).await?;
        Ok(Exit::SUCCESS)
    }
}
