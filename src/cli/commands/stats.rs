//! `xcompose stats`

use std::collections::BTreeMap;
use std::io::{IsTerminal, stdout};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure, Kind};
use crate::cli::members;
use crate::cli::ui::table::Table;
use crate::cli::ui::template::Format;
use crate::engine::{ContainerId, EngineError, ObservedContainer, Usage};
use crate::values::byte_size::{binary, human};

/// Between two readings, which together make a rate.
const PERIOD: Duration = Duration::from_secs(1);

/// Display a live stream of container(s) resource usage statistics
#[derive(Debug, clap::Args)]
pub struct Stats {
    /// The service whose containers to show (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    all: bool,
    /// Format output using a custom template ("table"|"json"|"table TEMPLATE"|"TEMPLATE")
    #[arg(long, default_value = "table")]
    format: String,
    /// Disable streaming stats and only pull the first result
    #[arg(long)]
    no_stream: bool,
    /// Do not truncate output
    #[arg(long)]
    no_trunc: bool,
}

impl Stats {
    /// Prints a table again and again, or once.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        if self.services.len() > 1 {
            return Err(Failure::usage(format!("accepts at most 1 arg(s), received {}", self.services.len())));
        }
        let format = Format::parse(&self.format)?;
        let stack = context.load(Need::Name, &self.services)?;
        let ui = context.ui();
        // A screen is drawn over, a file or a pipe gets one table after another.
        let redraw = stdout().is_terminal() && !self.no_stream && matches!(format, Format::Table | Format::Columns(_));
        let mut clock = tokio::time::interval(PERIOD);
        let mut before = BTreeMap::new();
        loop {
            clock.tick().await;
            let observed = context.observe(&stack).await?;
            let wanted = |container: &&ObservedContainer| {
                let service = members::service(&container.config.labels);
                (self.all || members::running(container)) && self.services.iter().all(|name| name == service)
            };
            let containers: Vec<_> = observed.containers.iter().filter(wanted).collect();
            if containers.is_empty()
                && let Some(service) = self.services.first()
            {
                return Err(Kind::NotRunning { service: service.clone(), index: 0 }.into());
            }
            let mut now = BTreeMap::new();
            for container in containers.iter().filter(|container| members::running(container)) {
                match context.engine().usage(&container.id).await {
                    Ok(usage) => drop(now.insert(container.id.clone(), usage)),
                    // It ended between the two questions.
                    Err(EngineError::State { .. } | EngineError::NotFound(_) | EngineError::Failed { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            let first = before.is_empty() && !now.is_empty();
            if first && self.no_stream {
                before = now;
                continue;
            }
            let rows = containers.iter().map(|container| self.row(container, &before, &now)).collect::<Vec<_>>();
            let text = shown(&format, &rows)?;
            if redraw {
                ui.text(&format!("\x1b[H\x1b[J{text}"))?;
            } else {
                ui.text(&text)?;
            }
            ui.flush()?;
            if self.no_stream {
                return Ok(Exit::SUCCESS);
            }
            before = now;
        }
    }

    fn row(
        &self,
        container: &ObservedContainer,
        before: &BTreeMap<ContainerId, Usage>,
        now: &BTreeMap<ContainerId, Usage>,
    ) -> Map<String, Value> {
        let usage = now.get(&container.id).copied().unwrap_or_default();
        let earlier = before.get(&container.id).copied().unwrap_or(usage);
        let id = if self.no_trunc { container.id.0.as_str() } else { container.id.short() };
        let pair = |one: u64, other: u64| format!("{} / {}", human(one), human(other));
        let fields = json!({
            "BlockIO": pair(usage.read, usage.written),
            "CPUPerc": percent(usage.cpu.saturating_sub(earlier.cpu), (usage.time - earlier.time).unsigned_abs()),
            "Container": id,
            "ID": id,
            "MemPerc": percent(usage.memory, usage.memory_limit),
            "MemUsage": format!("{} / {}", binary(usage.memory), binary(usage.memory_limit)),
            "Name": container.config.name.as_str(),
            "NetIO": pair(usage.received, usage.sent),
            "PIDs": usage.pids.to_string(),
        });
        match fields {
            Value::Object(object) => object,
            _ => Map::new(),
        }
    }
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "0.00%".to_owned() } else { format!("{:.2}%", part as f64 / whole as f64 * 100.0) }
}

fn shown(format: &Format, rows: &[Map<String, Value>]) -> Result<String, Failure> {
    match format {
        Format::Table => {
            let header =
                ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"];
            let mut table = Table::new(&header);
            for row in rows {
                let cell = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
                let cells = ["ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"];
                table.row(cells.map(cell).to_vec());
            }
            Ok(table.to_string())
        }
        Format::Json => Ok(rows.iter().map(|row| format!("{}\n", Value::Object(row.clone()))).collect()),
        Format::Columns(template) => Ok(template.table(rows)?.to_string()),
        Format::Text(template) => {
            let mut text = String::new();
            for row in rows {
                text.push_str(&template.render(row)?);
                text.push('\n');
            }
            Ok(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_over_no_time_is_nothing() {
        assert_eq!([percent(0, 0), percent(1, 8), percent(2, 1)], ["0.00%", "12.50%", "200.00%"]);
    }
}
