//! `xcompose addr`: where the services of a project are reached on this machine. Docker Compose has nothing like it.

use serde_json::json;

use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure};
use crate::cli::members;
use crate::cli::ui::container;
use crate::cli::ui::table::Table;
use crate::engine::{ObservedContainer, PublishedPort};
use crate::planner::labels;

/// Print the addresses at which published ports are reached
#[derive(Debug, clap::Args)]
pub struct Addr {
    /// Services to show (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Show every project of this machine
    #[arg(short, long, conflicts_with = "services")]
    all: bool,
    /// Format the output. Values: [table | json]
    #[arg(long, default_value = "table")]
    format: String,
}

/// One open port, and whose.
struct Row {
    project: String,
    service: String,
    container: String,
    port: PublishedPort,
}

impl Addr {
    /// Prints one line a port.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let mut rows: Vec<Row> = Vec::new();
        if self.all {
            for project in context.engine().projects().await? {
                rows.extend(project.containers.iter().flat_map(of));
            }
        } else {
            let stack = context.load(Need::Name, &self.services)?;
            let observed = context.observe(&stack).await?;
            rows.extend(members::of(&observed, &self.services).into_iter().flat_map(of));
        }
        rows.sort_by(|a, b| (&a.project, &a.container, a.port.target).cmp(&(&b.project, &b.container, b.port.target)));
        let ui = context.ui();
        match self.format.as_str() {
            "table" => {
                let columns = ["PROJECT", "SERVICE", "CONTAINER", "PORT", "ADDRESS"];
                let skipped = usize::from(!self.all);
                let mut table = Table::new(&columns[skipped..]);
                for row in rows {
                    let address = container::address(row.port.host_ip, &row.port.published.to_string());
                    let port = format!("{}/{}", row.port.target, row.port.protocol);
                    let cells = vec![row.project, row.service, row.container, port, address];
                    table.row(cells.into_iter().skip(skipped).collect());
                }
                ui.text(&table.to_string())?;
            }
            "json" => {
                let object = |row: &Row| {
                    json!({
                        "Project": row.project, "Service": row.service, "Container": row.container,
                        "TargetPort": row.port.target, "Protocol": row.port.protocol.to_string(),
                        "Host": row.port.host_ip.to_string(), "Port": row.port.published,
                    })
                };
                ui.line(&serde_json::Value::Array(rows.iter().map(object).collect()).to_string())?;
            }
            other => return Err(Failure::usage(format!("format value {other:?} could not be parsed"))),
        }
        Ok(Exit::SUCCESS)
    }
}

/// The ports that are open for a container.
fn of(container: &ObservedContainer) -> impl Iterator<Item = Row> {
    let label = |name: &str| container.config.labels.get(name).cloned().unwrap_or_default();
    container.published.iter().map(move |port| Row {
        project: container.config.project.to_string(),
        service: label(labels::SERVICE),
        container: container.config.name.to_string(),
        port: port.clone(),
    })
}
