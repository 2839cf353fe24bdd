//! `xcompose pull`

use std::collections::BTreeSet;

use crate::cli::context::{Context, Need, Stack};
use crate::cli::failure::{Exit, Failure};
use crate::planner::plan::Loss;
use crate::planner::request::{Buildable, Dependencies, Operation, Pull as Options, Request};
use crate::planner::transfers;
use crate::spec::project::service::PullPolicy;
use crate::values::image_ref::ImageRef;

/// Pull service images
#[derive(Debug, clap::Args)]
pub struct Pull {
    /// Services whose images to pull (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Ignore images that can be built
    #[arg(long)]
    ignore_buildable: bool,
    /// Pull what it can and ignores images with pull failures
    #[arg(long)]
    ignore_pull_failures: bool,
    /// Also pull services declared as dependencies
    #[arg(long)]
    include_deps: bool,
    /// Apply pull policy ("missing"|"always")
    #[arg(long, value_name = "WHEN")]
    policy: Option<String>,
    /// Pull without printing progress information
    #[arg(short, long)]
    quiet: bool,
    #[arg(long, hide = true)]
    parallel: bool,
    #[arg(long, hide = true)]
    no_parallel: bool,
}

impl Pull {
    /// Fetches images; starts nothing.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let ui = context.ui();
        if self.parallel {
            ui.warn("option '--parallel' is DEPRECATED and will be ignored.");
        }
        if self.no_parallel {
            ui.warn("option '--no-parallel' is DEPRECATED and will be ignored.");
        }
        let policy = match self.policy.as_deref() {
            None => None,
            Some("missing") => Some(PullPolicy::Missing),
            Some("always") => Some(PullPolicy::Always),
            Some(other) => return Err(Failure::usage(format!("invalid --policy option {other:?}"))),
        };
        if self.quiet {
            ui.silence();
        }
        let stack = context.load(Need::Files, &self.services)?;
        let pull = Options {
            dependencies: if self.include_deps { Dependencies::Include } else { Dependencies::Exclude },
            policy,
            buildable: if self.ignore_buildable { Buildable::Skip } else { Buildable::Fetch },
            failures: if self.ignore_pull_failures { Loss::Bearable } else { Loss::Fatal },
        };
        let request = Request { services: stack.named(&self.services)?, operation: Operation::Pull(pull) };
        let outcome = context.carry_out(&stack, "pull", request).await?;
        must_build(context, &stack, &outcome.lost);
        Ok(Exit::SUCCESS)
    }
}

/// Names the services whose images have to be built, since they could not be fetched.
fn must_build(context: &Context<'_>, stack: &Stack, lost: &BTreeSet<ImageRef>) {
    let Some(project) = &stack.project else { return };
    let services: Vec<&str> = transfers::builders(project, lost).into_iter().map(|name| name.as_str()).collect();
    if !services.is_empty() {
        context.ui().say(&format!(
            "WARNING: Some service image(s) must be built from source by running:\n    xcompose build {}",
            services.join(" ")
        ));
    }
}
