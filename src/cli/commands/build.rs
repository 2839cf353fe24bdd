//! `xcompose build`

use std::collections::BTreeMap;

use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure};
use crate::planner::request::{Build as Options, Dependencies, Operation, Request};

/// Build or rebuild services
#[derive(Debug, clap::Args)]
pub struct Build {
    /// Services to build (default: all that have a build section)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Set build-time variables for services
    #[arg(long, value_name = "KEY=VALUE")]
    build_arg: Vec<String>,
    /// Do not use cache when building the image
    #[arg(long)]
    no_cache: bool,
    /// Suppress the build output
    #[arg(short, long)]
    quiet: bool,
    /// Also build dependencies (transitively)
    #[arg(long)]
    with_dependencies: bool,
    /// Old name of the root flag `--progress`
    #[arg(long, hide = true)]
    progress: Option<String>,
    #[arg(long, hide = true)]
    force_rm: bool,
    #[arg(long, hide = true)]
    no_rm: bool,
    #[arg(long, hide = true)]
    compress: bool,
    #[arg(long, hide = true)]
    parallel: bool,
}

impl Build {
    /// Builds images; starts nothing.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        if let Some(word) = &self.progress {
            context.set_progress(word)?;
        }
        context.ui().quiet_builds(self.quiet);
        if self.quiet {
            context.ui().silence();
        }
        let stack = context.load(Need::Files, &self.services)?;
        let mut args = BTreeMap::new();
        for text in &self.build_arg {
            match text.split_once('=') {
                Some((name, value)) => args.insert(name.to_owned(), value.to_owned()),
                None => context.variable(text).and_then(|value| args.insert(text.clone(), value)),
            };
        }
        let dependencies = if self.with_dependencies { Dependencies::Include } else { Dependencies::Exclude };
        let build = Options { dependencies, args, no_cache: self.no_cache };
        let services = stack.named(&self.services)?;
        let request = Request { services, operation: Operation::Build(build) };
        context.carry_out(&stack, "build", request).await?;
        Ok(Exit::SUCCESS)
    }
}
