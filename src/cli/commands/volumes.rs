//! `xcompose volumes`

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure};
use crate::cli::members;
use crate::cli::ui::table::Table;
use crate::cli::ui::template::Format;
use crate::engine::ObservedVolume;
use crate::planner::labels;

/// List volumes
#[derive(Debug, clap::Args)]
pub struct Volumes {
    /// Services whose volumes to show (default: all of the project)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Format output: 'table' (columns with a header), 'table TEMPLATE', 'json', or a Go template of fields
    #[arg(long, default_value = "table")]
    format: String,
    /// Only display volume names
    #[arg(short, long)]
    quiet: bool,
}

impl Volumes {
    /// Prints the project's volumes.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let format = Format::parse(&self.format)?;
        let stack = context.load(Need::FilesOrName, &self.services)?;
        let observed = context.observe(&stack).await?;
        let mounted: BTreeSet<_> = members::of(&observed, &self.services)
            .into_iter()
            .filter(|container| members::running(container))
            .flat_map(|container| container.volumes.values())
            .collect();
        let mut volumes: Vec<&ObservedVolume> = observed
            .volumes
            .iter()
            .filter(|volume| {
                let project = volume.config.labels.get(labels::PROJECT);
                let own = project.is_some_and(|project| project == stack.name.as_str());
                own && (self.services.is_empty() || mounted.contains(&volume.config.name))
            })
            .collect();
        volumes.sort_by(|a, b| a.config.name.cmp(&b.config.name));
        let ui = context.ui();
        if self.quiet {
            for volume in volumes {
                ui.line(volume.config.name.as_str())?;
            }
            return Ok(Exit::SUCCESS);
        }
        let objects = || volumes.iter().map(|volume| object(volume)).collect::<Vec<_>>();
        match format {
            Format::Table => {
                let mut table = Table::new(&["DRIVER", "VOLUME NAME"]);
                for volume in volumes {
                    table.row(vec![volume.config.driver.clone(), volume.config.name.to_string()]);
                }
                ui.text(&table.to_string())?;
            }
            Format::Json => {
                for object in objects() {
                    ui.line(&Value::Object(object).to_string())?;
                }
            }
            Format::Columns(template) => ui.text(&template.table(&objects())?.to_string())?,
            Format::Text(template) => {
                for object in objects() {
                    ui.line(&template.render(&object)?)?;
                }
            }
        }
        Ok(Exit::SUCCESS)
    }
}

fn object(volume: &ObservedVolume) -> Map<String, Value> {
    let labels = volume.config.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
    let fields = json!({
        "Availability": "N/A", "Driver": volume.config.driver, "Group": "N/A", "Labels": labels, "Links": "N/A",
        "Mountpoint": volume.mountpoint.display().to_string(), "Name": volume.config.name.as_str(), "Scope": "local",
        "Size": "N/A", "Status": "N/A",
    });
    match fields {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}
