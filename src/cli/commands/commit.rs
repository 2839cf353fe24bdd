//! `xcompose commit`

use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure};
use crate::cli::members;
use crate::cli::ui::phase::Phase;
use crate::cli::ui::progress::News;
use crate::engine::CommitConfig;
use crate::values::image_ref::ImageRef;

/// Create a new image from a service container's changes
#[derive(Debug, clap::Args)]
pub struct Commit {
    /// The service
    #[arg(value_name = "SERVICE")]
    service: String,
    /// Name of the image
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
    /// Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")
    #[arg(short, long)]
    author: Option<String>,
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Index of the container if service has multiple replicas
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "N")]
    index: u32,
    /// Commit message
    #[arg(short, long)]
    message: Option<String>,
    /// Pause container during commit
    #[arg(short, long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = crate::cli::arguments::boolean, action = clap::ArgAction::Set, value_name = "BOOL")]
    pause: bool,
}

impl Commit {
    /// Makes the image; its identity is told.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let stack = context.load(Need::Name, &[])?;
        let observed = context.observe(&stack).await?;
        let container = members::existing(&observed, &self.service, self.index)?;
        let name = self.name.as_deref().map(str::parse::<ImageRef>).transpose();
        let name = name.map_err(|error| Failure::usage(error.to_string()))?;
        let ui = context.ui();
        ui.begin("commit");
        let news = |phase, text: String| {
            let id = format!("Container {}", container.config.name);
            ui.news(News { id, phase, text, details: String::new() });
        };
        news(Phase::Working, "Committing".to_owned());
        if context.dry_run() {
            news(Phase::Done, "Committed".to_owned());
            ui.end();
            return Ok(Exit::SUCCESS);
        }
        let config =
            CommitConfig { name, author: self.author, message: self.message, changes: self.change, pause: self.pause };
        let made = context.engine().commit_container(&container.id, &config).await;
        match &made {
            Ok(id) => news(Phase::Done, format!("Committed as {}", id.0)),
            Err(_) => news(Phase::Error, "Error".to_owned()),
        }
        ui.end();
        made?;
        Ok(Exit::SUCCESS)
    }
}
