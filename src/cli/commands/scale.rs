//! `xcompose scale`

use std::collections::BTreeMap;

use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure};
use crate::planner::request::{Dependencies, Recreate, Request, Up};
use crate::values::names::ServiceName;

/// Scale services
#[derive(Debug, clap::Args)]
#[command(override_usage = "xcompose scale [OPTIONS] SERVICE=REPLICAS...")]
pub struct Scale {
    /// Don't start linked services
    #[arg(long)]
    no_deps: bool,
    #[arg(hide = true)]
    words: Vec<String>,
}

impl Scale {
    /// Makes or removes replicas.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        if self.words.is_empty() {
            return Err(Failure::too_few_arguments(1, 0));
        }
        let mut scale = BTreeMap::new();
        for word in &self.words {
            let invalid = || Failure::usage(format!("invalid scale specifier: {word}"));
            let (service, count) = word.split_once('=').ok_or_else(invalid)?;
            let service = ServiceName::try_from(service).map_err(|_| invalid())?;
            let count: u32 = count.parse().map_err(|_| {
                Failure::usage(format!("invalid scale specifier: can't parse replica value as int: {word}"))
            })?;
            scale.insert(service, count);
        }
        let services: Vec<String> = scale.keys().map(ToString::to_string).collect();
        let stack = context.load(Need::Files, &services)?;
        let up = Up {
            scale,
            recreate: Recreate::Diverged,
            dependencies: if self.no_deps { Dependencies::Exclude } else { Dependencies::Include },
            orphans: context.orphans(&stack, false),
            ..Up::default()
        };
        context.carry_out(&stack, "scale", Request::up(&stack.named(&services)?, up)).await?;
        Ok(Exit::SUCCESS)
    }
}
