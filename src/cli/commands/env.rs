//! `xcompose env explain`: where the value of a variable comes from. Docker Compose has nothing like it; [`Export`] is the
//! other way round.

use clap::Subcommand;

use crate::cli::commands::env_export::Export;
use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};
use crate::spec::Options;
use crate::spec::environment::{Candidate, Origin};
use crate::spec::lists::Variable;

/// Explain the variables that compose files use, or export addresses as variables
#[derive(Debug, clap::Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Env {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell where the value of each variable comes from, and which other values lost
    Explain {
        /// Variables (default: those that the compose files name)
        #[arg(value_name = "VARIABLE")]
        names: Vec<String>,
    },
    Export(Export),
}

impl Env {
    /// To explain needs neither engine nor rights.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let mut names = match self.command {
            Command::Explain { names } => names,
            Command::Export(export) => return export.run(context).await,
        };
        let ui = context.ui();
        let mut warnings = Vec::new();
        let located = context.source().locate(context.remote(), &mut warnings)?;
        for warning in &warnings {
            ui.diagnostic(warning);
        }
        let used =
            crate::spec::load_with(context.source(), &Options::as_written(), context.remote())?.model.variables();
        if names.is_empty() {
            names = used.keys().cloned().collect();
        }
        for name in &names {
            let candidates = located.environment.candidates(name);
            ui.line(&first_line(name, candidates, used.get(name)))?;
            for lost in candidates.iter().skip(1) {
                ui.line(&format!("  not {:?} from {}", lost.value, place(&lost.origin)))?;
            }
            for (path, at) in used.get(name).map_or(&[][..], |variable| &variable.places) {
                ui.line(&format!("  used by {path} at {at}"))?;
            }
        }
        Ok(Exit::SUCCESS)
    }
}

fn first_line(name: &str, candidates: &[Candidate], used: Option<&Variable>) -> String {
    match (candidates.first(), used) {
        (Some(one), _) => format!("{name}={:?} from {}{}", one.value, place(&one.origin), why(candidates)),
        (None, Some(Variable { required: true, .. })) => format!("{name} is not set, and must be"),
        (None, Some(variable)) if !variable.default.is_empty() => {
            format!("{name} is not set; the compose file falls back to {:?}", variable.default)
        }
        (None, Some(_)) => format!("{name} is not set: blank"),
        (None, None) => format!("{name} is neither set nor used"),
    }
}

/// What made the first of several candidates the one that counts.
fn why(candidates: &[Candidate]) -> &'static str {
    match candidates {
        [] | [_] => "",
        [one, ..] => match &one.origin {
            Origin::Process => ", which comes before any env file",
            Origin::File(_) => ", which is the last of the env files to set it",
            Origin::Compose => ", which nothing overrules",
        },
    }
}

fn place(origin: &Origin) -> String {
    match origin {
        Origin::Process => "the environment of this command".to_owned(),
        Origin::File(at) => at.to_string(),
        Origin::Compose => "Compose itself".to_owned(),
    }
}
