//! `xcompose rm`

use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure};
use crate::planner::request::{Answers, Operation, Remove, Request, Running, Volumes};

/// Removes stopped service containers
///
/// By default, anonymous volumes attached to containers will not be removed. You can override this with -v. Any data
/// which is not in a volume will be lost.
#[derive(Debug, clap::Args)]
pub struct Rm {
    /// Services whose containers to remove (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Don't ask to confirm removal
    #[arg(short, long)]
    force: bool,
    /// Stop the containers, if required, before removing
    #[arg(short, long)]
    stop: bool,
    /// Remove any anonymous volumes attached to containers
    #[arg(short, long)]
    volumes: bool,
    #[arg(short, long, hide = true)]
    all: bool,
}

impl Rm {
    /// Removes stopped containers, asking first.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let stack = context.load(Need::FilesOrName, &self.services)?;
        let remove = Remove {
            running: if self.stop { Running::Stop } else { Running::Skip },
            volumes: if self.volumes { Volumes::Remove } else { Volumes::Keep },
            answers: if self.force { Answers::Yes } else { Answers::default() },
        };
        let request = Request { services: stack.named(&self.services)?, operation: Operation::Remove(remove) };
        context.carry_out(&stack, "rm", request).await?;
        Ok(Exit::SUCCESS)
    }
}
