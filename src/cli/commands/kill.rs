//! `xcompose kill`

use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure};
use crate::planner::request::{Operation, Request};
use crate::values::signal::Signal;

/// Force stop service containers
#[derive(Debug, clap::Args)]
pub struct Kill {
    /// Services to signal (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Also containers of services not defined in the Compose file
    #[arg(long)]
    remove_orphans: bool,
    /// Signal to send to the container
    #[arg(short, long, value_name = "SIGNAL", default_value = "SIGKILL")]
    signal: String,
}

impl Kill {
    /// Sends a signal to what runs.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let signal: Signal = self.signal.parse().map_err(|error| Failure::usage(format!("{error}")))?;
        let stack = context.load(Need::FilesOrName, &self.services)?;
        let orphans = context.orphans(&stack, self.remove_orphans);
        let request =
            Request { services: stack.named(&self.services)?, operation: Operation::Kill { signal, orphans } };
        context.carry_out(&stack, "kill", request).await?;
        Ok(Exit::SUCCESS)
    }
}
