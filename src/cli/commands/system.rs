//! `xcompose system …`: what lies on disk. Docker Compose leaves this to Docker.

use clap::Subcommand;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::ui::table::Table;
use crate::engine::Share;
use crate::values::byte_size;

/// Show and clean up what lies on disk
#[derive(Debug, clap::Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct System {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show disk usage
    Df {
        /// Format output: 'table' or 'json'
        #[arg(long, default_value = "table")]
        format: String,
    },
    /// Remove images that no container uses and have no name, and what builds and pulls have left
    Prune {
        /// Remove all images that no container uses, not just those without a name
        #[arg(short, long)]
        all: bool,
        /// Do not ask
        #[arg(short, long)]
        force: bool,
    },
}

impl System {
    /// Shows or cleans up.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        match self.command {
            Command::Df { format } => usage(context, &format).await?,
            Command::Prune { all, force } => prune(context, all, force).await?,
        }
        Ok(Exit::SUCCESS)
    }
}

async fn usage(context: &Context<'_>, format: &str) -> Result<(), Failure> {
    let found = context.engine().disk_use().await?;
    let rows = [
        ("Images", found.images),
        ("Containers", found.containers),
        ("Local Volumes", found.volumes),
        ("Build Cache", found.cache),
    ];
    match format {
        "table" => {
            let mut table = Table::new(&["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]);
            for (kind, share) in rows {
                table.row(vec![
                    kind.to_owned(),
                    share.total.to_string(),
                    share.active.to_string(),
                    byte_size::human(share.size),
                    reclaimable(&share),
                ]);
            }
            context.ui().text(&table.to_string())
        }
        "json" => {
            for (kind, share) in rows {
                let object = json!({
                    "Type": kind, "TotalCount": share.total.to_string(), "Active": share.active.to_string(),
                    "Size": byte_size::human(share.size), "Reclaimable": reclaimable(&share),
                });
                context.ui().line(&object.to_string())?;
            }
            Ok(())
        }
        other => Err(Failure::usage(format!("format value {other:?} could not be parsed"))),
    }
}

/// `1.2GB (40%)`
fn reclaimable(share: &Share) -> String {
    let size = byte_size::human(share.reclaimable);
    match share.size {
        0 => size,
        all => format!("{size} ({}%)", u128::from(share.reclaimable) * 100 / u128::from(all)),
    }
}

/// Removes images that nothing uses, after asking.
pub async fn prune(context: &Context<'_>, all: bool, force: bool) -> Result<(), Failure> {
    let what = if all { "all images without at least one container associated to them" } else { "all dangling images" };
    let question = format!(
        "WARNING! This will remove {what}, and what builds and pulls have left.\nAre you sure you want to continue?"
    );
    if context.dry_run() || (!force && !context.ui().confirm(&question, false)?) {
        return Ok(());
    }
    let pruned = context.engine().prune_images(all).await?;
    for line in &pruned.lines {
        context.ui().line(line)?;
    }
    context.ui().line(&format!("Total reclaimed space: {}", byte_size::human(pruned.reclaimed)))
}
