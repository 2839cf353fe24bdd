//! `xcompose plan`

use crate::cli::commands::up::Up;
use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};

/// Print what `up` with the same options would do, and why
#[derive(Debug, clap::Args)]
pub struct Plan {
    /// The options of `up`.
    #[command(flatten)]
    up: Up,
}

impl Plan {
    /// Prints the plan; changes nothing.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        self.up.plan(context).await
    }
}
