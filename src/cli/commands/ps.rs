//! `xcompose ps`

use serde_json::{Map, Value, json};

use crate::cli::context::{Context, Need, Stack};
use crate::cli::failure::{Exit, Failure};
use crate::cli::members;
use crate::cli::ui::table::Table;
use crate::cli::ui::template::Format;
use crate::cli::ui::{container, time};
use crate::engine::{ContainerState, Labels, NetworkMode, Observed, ObservedContainer};

const STATES: [&str; 7] = ["paused", "restarting", "removing", "running", "dead", "created", "exited"];

/// List containers
#[derive(Debug, clap::Args)]
pub struct Ps {
    /// Services whose containers to show (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Show all stopped containers (including those created by the run command)
    #[arg(short, long)]
    all: bool,
    /// Filter services by a property (supported filters: status)
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Format output: 'table' (columns with a header), 'table TEMPLATE', 'json', or a Go template of fields
    #[arg(long)]
    format: Option<String>,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Include orphaned services (not declared by project)
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = crate::cli::arguments::boolean, action = clap::ArgAction::Set, value_name = "BOOL")]
    orphans: bool,
    /// Only display IDs
    #[arg(short, long)]
    quiet: bool,
    /// Display services
    #[arg(long = "services")]
    only_services: bool,
    /// Filter services by status. Values: [paused | restarting | removing | running | dead | created | exited]
    #[arg(long, value_name = "STATUS")]
    status: Vec<String>,
}

impl Ps {
    /// Prints the project's containers.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let states = self.states()?;
        let format = self.format.clone().or_else(|| context.preference("psFormat"));
        let format = Format::parse(format.as_deref().unwrap_or("table"))?;
        let stack = context.load(Need::FilesOrName, &self.services)?;
        let observed = context.observe(&stack).await?;
        let containers: Vec<_> = members::of(&observed, &self.services)
            .into_iter()
            .filter(|container| self.shown(container, &stack, &states))
            .collect();
        let ui = context.ui();
        if self.quiet {
            for container in containers {
                ui.line(&container.id.0)?;
            }
            return Ok(Exit::SUCCESS);
        }
        if self.only_services {
            let mut seen = Vec::new();
            for container in containers {
                let service = members::service(&container.config.labels);
                if !seen.contains(&service) {
                    seen.push(service);
                    ui.line(service)?;
                }
            }
            return Ok(Exit::SUCCESS);
        }
        let now = time::now();
        let objects =
            || -> Vec<_> { containers.iter().map(|container| self.object(container, &observed, now)).collect() };
        match format {
            Format::Table => {
                let mut table = Table::new(&["NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"]);
                for found in containers {
                    table.row(vec![
                        found.config.name.to_string(),
                        found.config.image.to_string(),
                        container::command(found, self.no_trunc),
                        members::service(&found.config.labels).to_owned(),
                        running_for(found, now),
                        container::status(&found.state, now),
                        container::ports(found),
                    ]);
                }
                ui.text(&table.to_string())?;
            }
            Format::Json => {
                for object in objects() {
                    ui.line(&escaped(&Value::Object(object)))?;
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

    /// The states asked for by `--status` and `--filter`.
    fn states(&self) -> Result<Vec<String>, Failure> {
        let mut states = self.status.clone();
        for filter in &self.filter {
            match filter.split_once('=') {
                Some(("status", state)) => states.push(state.to_owned()),
                Some(("source", _)) => return Err(Failure::usage("the filter source is not supported")),
                Some((key, _)) => return Err(Failure::usage(format!("unknown filter {key}"))),
                None => return Err(Failure::usage("arguments to --filter should be in form KEY=VAL")),
            }
        }
        match states.iter().find(|state| !STATES.contains(&state.as_str())) {
            Some(unknown) => {
                Err(Failure::usage(format!("unknown status {unknown:?}; there are {}", STATES.join(", "))))
            }
            None => Ok(states),
        }
    }

    fn shown(&self, container: &ObservedContainer, stack: &Stack, states: &[String]) -> bool {
        let labels = &container.config.labels;
        let state = container::state(&container.state);
        let by_state = if states.is_empty() {
            self.all || members::alive(container)
        } else {
            states.iter().any(|wanted| wanted == state)
        };
        by_state
            && (self.orphans || stack.knows(members::service(labels)))
            && (self.all || !states.is_empty() || !members::one_off(labels) || members::running(container))
    }

    fn object(&self, found: &ObservedContainer, observed: &Observed, now: i64) -> Map<String, Value> {
        let labels = &found.config.labels;
        let (exit_code, health) = match &found.state {
            ContainerState::Exited { status, .. } => (*status, String::new()),
            ContainerState::Created { failure: Some((status, _)) } => (*status, String::new()),
            ContainerState::Running { health, .. } => (0, health.map_or_else(String::new, |health| health.to_string())),
            _ => (0, String::new()),
        };
        let publishers: Vec<Value> = publishers(found);
        let mounts: Vec<String> = found
            .config
            .mounts
            .iter()
            .filter_map(|mount| match &mount.source {
                crate::engine::MountSource::Bind { source, .. } => Some(source.display().to_string()),
                crate::engine::MountSource::Volume { name, .. } => Some(name.to_string()),
                _ => None,
            })
            .chain(found.anonymous_volumes.iter().map(ToString::to_string))
            .collect();
        let local =
            found.volumes.values().filter(|name| observed.volumes.iter().any(|volume| volume.config.name == **name));
        let name = found.config.name.as_str();
        let fields = json!({
            "Command": container::command(found, self.no_trunc),
            "CreatedAt": time::calendar(found.created),
            "ExitCode": exit_code,
            "Health": health,
            "ID": if self.no_trunc { found.id.0.as_str() } else { found.id.short() },
            "Image": found.config.image.to_string(),
            "Labels": joined(labels),
            "LocalVolumes": local.count().to_string(),
            "Mounts": mounts.join(","),
            "Name": name,
            "Names": name,
            "Networks": networks(&found.config.network),
            "Ports": container::ports(found),
            "Project": found.config.project.as_str(),
            "Publishers": publishers,
            "RunningFor": running_for(found, now),
            "Service": members::service(labels),
            "Size": "0B",
            "State": container::state(&found.state),
            "Status": container::status(&found.state, now),
        });
        match fields {
            Value::Object(object) => object,
            _ => Map::new(),
        }
    }
}

fn running_for(found: &ObservedContainer, now: i64) -> String {
    format!("{} ago", time::human(time::seconds_between(found.created, now)))
}

fn joined(labels: &Labels) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn networks(mode: &NetworkMode) -> String {
    match mode {
        NetworkMode::Networks(all) => {
            all.iter().map(|attachment| attachment.network.as_str()).collect::<Vec<_>>().join(",")
        }
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::Container(_) => String::new(),
    }
}

fn publishers(found: &ObservedContainer) -> Vec<Value> {
    if !members::running(found) {
        return Vec::new();
    }
    let open = found.published.iter().map(|port| {
        json!({
            "URL": port.host_ip.to_string(), "TargetPort": port.target, "PublishedPort": port.published,
            "Protocol": port.protocol.to_string(),
        })
    });
    let closed = found.exposed.iter().filter(|(target, protocol)| {
        !found.published.iter().any(|port| port.target == *target && port.protocol == *protocol)
    });
    let closed = closed.map(|(target, protocol)| {
        json!({ "URL": "", "TargetPort": target, "PublishedPort": 0, "Protocol": protocol.to_string() })
    });
    open.chain(closed).collect()
}

/// As Go's JSON encoder writes it: `<`, `>` and `&` as escapes.
fn escaped(value: &Value) -> String {
    value.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}
