//! `xcompose ls`

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::ui::container;
use crate::cli::ui::table::Table;
use crate::engine::ObservedProject;
use crate::planner::labels;

/// List running compose projects
#[derive(Debug, clap::Args)]
pub struct Ls {
    /// Show all stopped projects
    #[arg(short, long)]
    all: bool,
    /// Filter output based on conditions provided (name=TEXT)
    #[arg(long, value_name = "NAME=TEXT")]
    filter: Vec<String>,
    /// Format the output. Values: [table | json]
    #[arg(long, default_value = "table")]
    format: String,
    /// Only display project names
    #[arg(short, long)]
    quiet: bool,
}

impl Ls {
    /// Prints a table of the projects of this machine.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let mut names = Vec::new();
        for filter in &self.filter {
            let name =
                filter.strip_prefix("name=").ok_or_else(|| Failure::usage(format!("invalid filter '{filter}'")))?;
            names.push(name);
        }
        let mut projects = context.engine().projects().await?;
        projects.retain(|project| {
            let shown =
                self.all || project.containers.iter().any(|container| container::state(&container.state) != "exited");
            let named = names.is_empty() || names.iter().any(|name| fits(project.name.as_str(), name));
            shown && named && !project.containers.is_empty()
        });
        projects.sort_by(|a, b| a.name.cmp(&b.name));
        let ui = context.ui();
        if self.quiet {
            for project in &projects {
                ui.line(project.name.as_str())?;
            }
            return Ok(Exit::SUCCESS);
        }
        match self.format.as_str() {
            "table" => {
                let mut table = Table::spaced(20, 3, &["NAME", "STATUS", "CONFIG FILES"]);
                for project in &projects {
                    table.row(vec![project.name.to_string(), states(project), files(project)]);
                }
                ui.text(&table.to_string())?;
            }
            "json" => {
                let object = |project: &ObservedProject| {
                    serde_json::json!({
                        "Name": project.name.as_str(), "Status": states(project), "ConfigFiles": files(project)
                    })
                };
                ui.line(&serde_json::Value::Array(projects.iter().map(object).collect()).to_string())?;
            }
            other => return Err(Failure::usage(format!("format value {other:?} could not be parsed"))),
        }
        Ok(Exit::SUCCESS)
    }
}

/// `exited(1), running(2)`.
fn states(project: &ObservedProject) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for container in &project.containers {
        *counts.entry(container::state(&container.state)).or_default() += 1;
    }
    counts.iter().map(|(state, count)| format!("{state}({count})")).collect::<Vec<_>>().join(", ")
}

fn files(project: &ObservedProject) -> String {
    let texts = project.containers.iter().filter_map(|container| container.config.labels.get(labels::CONFIG_FILES));
    let all: BTreeSet<&str> = texts.flat_map(|text| text.split(',')).filter(|file| !file.is_empty()).collect();
    if all.is_empty() { "N/A".to_owned() } else { all.into_iter().collect::<Vec<_>>().join(",") }
}

/// The filter is part of the name; `^` and `$` bind it to an end. (Docker takes a whole regular expression.)
fn fits(name: &str, filter: &str) -> bool {
    match (filter.strip_prefix('^'), filter.strip_suffix('$')) {
        (Some(_), Some(_)) => name == filter.trim_start_matches('^').trim_end_matches('$'),
        (Some(start), None) => name.starts_with(start),
        (None, Some(end)) => name.ends_with(end),
        (None, None) => name.contains(filter),
    }
}
