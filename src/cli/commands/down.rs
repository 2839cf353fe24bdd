//! `xcompose down`

use crate::cli::arguments::grace;
use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure};
use crate::cli::provider::{self, Ask};
use crate::planner::request::{Down as Options, RemoveImages, Request, Volumes};

/// Stop and remove containers, networks
#[derive(Debug, clap::Args)]
pub struct Down {
    /// Services to remove, with those that depend on them (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Remove containers for services not defined in the Compose file
    #[arg(long)]
    remove_orphans: bool,
    /// Remove images used by services. "local" remove only images that don't have a custom tag ("local"|"all")
    #[arg(long, value_name = "WHICH")]
    rmi: Option<String>,
    /// Specify a shutdown timeout in seconds
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<i64>,
    /// Remove named volumes declared in the "volumes" section of the Compose file and anonymous volumes attached to
    /// containers
    #[arg(short, long, alias = "volume")]
    volumes: bool,
}

impl Down {
    /// Removes what `up` made.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let images = match self.rmi.as_deref() {
            None | Some("") => RemoveImages::None,
            Some("local") => RemoveImages::Local,
            Some("all") => RemoveImages::All,
            Some(other) => return Err(Failure::usage(format!("invalid value for --rmi: {other:?}"))),
        };
        let stack = context.load(Need::FilesOrName, &self.services)?;
        let options = Options {
            volumes: if self.volumes { Volumes::Remove } else { Volumes::Keep },
            orphans: context.orphans(&stack, self.remove_orphans),
            images,
            grace: grace(self.timeout),
        };
        let named = stack.named(&self.services)?;
        context.carry_out(&stack, "down", Request::down(&named, options)).await?;
        provider::end(context, &stack, &named, Ask::Down).await?;
        Ok(Exit::SUCCESS)
    }
}
