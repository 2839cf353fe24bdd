//! `xcompose watch`

use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure, Kind};
use crate::cli::interrupt::until_cancelled;
use crate::cli::watch::session::{Builds, ReplacedImages, Session, Settings};
use crate::planner::request::{BuildPolicy, Recreate, Request, Until, Up, Wait};

/// Watch build context for service and rebuild/refresh containers when files are updated
#[derive(Debug, clap::Args)]
pub struct Watch {
    /// Services to watch (default: all that are configured for it)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Do not build & start services before watching
    #[arg(long)]
    no_up: bool,
    /// Prune dangling images on rebuild
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = crate::cli::arguments::boolean, action = clap::ArgAction::Set, value_name = "BOOL")]
    prune: bool,
    /// Hide build output
    #[arg(long)]
    quiet: bool,
}

impl Watch {
    /// Brings up, and follows the files until the user says stop.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        context.ui().quiet_builds(self.quiet);
        let stack = context.load(Need::Files, &self.services)?;
        let named = stack.named(&self.services)?;
        let replaced = if self.prune { ReplacedImages::Remove } else { ReplacedImages::Keep };
        let settings = Settings { replaced, builds: Builds::Allowed };
        let session = Session::new(context, &stack, &self.services, settings)?;
        if context.dry_run() {
            return Ok(Exit::SUCCESS);
        }
        let watched = async {
            if !self.no_up {
                let up = Up {
                    build: BuildPolicy::Always,
                    recreate_dependencies: Recreate::Never,
                    until: Until::Started(Wait::No),
                    orphans: context.orphans(&stack, false),
                    ..Up::default()
                };
                context.carry_out(&stack, "up", Request::up(&named, up)).await?;
            }
            session.run().await
        };
        match until_cancelled(watched).await {
            Ok(never) => match never {},
            Err(failure) if matches!(*failure.kind, Kind::Cancelled) => {
                context.ui().watching("Watch disabled");
                Err(Kind::Quiet(130).into())
            }
            Err(failure) => Err(failure),
        }
    }
}
