//! `xcompose ls`

use std::collections::{BTreeMap, BTreeSet};

use regex_lite::Regex;

use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::members;
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
    /// Filter output based on conditions provided (name=REGEX)
    #[arg(long, value_name = "name=REGEX")]
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
            let invalid = |error| Failure::usage(format!("invalid filter '{filter}': {error}"));
            names.push(Regex::new(name).map_err(invalid)?);
        }
        let mut projects = context.engine().projects().await?;
        if !self.all {
            for project in &mut projects {
                project.containers.retain(members::alive);
            }
        }
        projects.retain(|project| {
            let named = names.is_empty() || names.iter().any(|name| name.is_match(project.name.as_str()));
            named && !project.containers.is_empty()
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
