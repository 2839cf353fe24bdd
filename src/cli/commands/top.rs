//! `xcompose top`

use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure};
use crate::cli::members;
use crate::cli::ui::table::Table;

/// Display the running processes
#[derive(Debug, clap::Args)]
pub struct Top {
    /// Services whose processes to show (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Top {
    /// Prints a table of the processes of every running container.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let stack = context.load(Need::Name, &self.services)?;
        let engine = context.engine();
        let observed = context.observe(&stack).await?;
        let mut table =
            Table::spaced(4, 2, &["SERVICE", "#", "UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
        let mut empty = true;
        for container in members::of(&observed, &self.services) {
            if !members::running(container) {
                continue;
            }
            let labels = &container.config.labels;
            let number = members::number(labels).map_or_else(|| "-".to_owned(), |number| number.to_string());
            for row in engine.top(&container.id).await? {
                empty = false;
                table.row(vec![
                    members::service(labels).to_owned(),
                    number.clone(),
                    row.uid,
                    row.pid.to_string(),
                    row.ppid.to_string(),
                    row.c.to_string(),
                    row.stime,
                    row.tty,
                    row.time,
                    row.cmd,
                ]);
            }
        }
        if !empty {
            context.ui().text(&table.to_string())?;
        }
        Ok(Exit::SUCCESS)
    }
}
