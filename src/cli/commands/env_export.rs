//! `xcompose env export`: where published ports are reached, as variables for a shell or an env file.

use std::collections::BTreeMap;

use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure};
use crate::cli::members;
use crate::engine::{Observed, PublishedPort};
use crate::planner::labels;
use crate::values::protocol::Protocol;

/// Print variables with the addresses of published ports
///
/// For a service `db` that publishes its port 5432: DB_HOST and DB_PORT, and DB_PORT_5432. DB_PORT is its lowest port.
/// Use it as: eval "$(xcompose env export)"
#[derive(Debug, clap::Args)]
pub struct Export {
    /// Services to export (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Form of the output. Values: [shell | dotenv]
    #[arg(long, default_value = "shell")]
    format: String,
}

impl Export {
    /// Prints one line a variable.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let prefix = match self.format.as_str() {
            "shell" => "export ",
            "dotenv" => "",
            other => return Err(Failure::usage(format!("format value {other:?} could not be parsed"))),
        };
        let stack = context.load(Need::Name, &self.services)?;
        let observed = context.observe(&stack).await?;
        let mut variables = variables(&observed, &self.services);
        variables.insert("COMPOSE_PROJECT_NAME".to_owned(), stack.name.to_string());
        for (name, value) in variables {
            // Names, addresses and numbers need no quotes.
            context.ui().line(&format!("{prefix}{name}={value}"))?;
        }
        Ok(Exit::SUCCESS)
    }
}

/// Of the first running container of each service.
fn variables(observed: &Observed, services: &[String]) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    let mut containers = members::of(observed, services);
    containers.sort_by_key(|container| members::number(&container.config.labels));
    for container in containers {
        let Some(service) = container.config.labels.get(labels::SERVICE) else { continue };
        let name = variable(service);
        let mut ports: Vec<&PublishedPort> = container.published.iter().collect();
        // TCP and IPv4 first; what is open everywhere is reached on the usual loopback address.
        ports.sort_by_key(|port| (port.protocol != Protocol::Tcp, port.target, !port.host_ip.is_ipv4()));
        for port in ports {
            let host = match port.host_ip {
                ip if !ip.is_unspecified() => ip.to_string(),
                ip if ip.is_ipv4() => "127.0.0.1".to_owned(),
                _ => "::1".to_owned(),
            };
            let suffix = match port.protocol {
                Protocol::Tcp => String::new(),
                other => format!("_{}", variable(&other.to_string())),
            };
            let published = port.published.to_string();
            variables.entry(format!("{name}_HOST")).or_insert(host);
            variables.entry(format!("{name}_PORT")).or_insert_with(|| published.clone());
            variables.entry(format!("{name}_PORT_{}{suffix}", port.target)).or_insert(published);
        }
    }
    variables
}

/// `web-2` as a variable's name: `WEB_2`; it never begins with a digit.
fn variable(name: &str) -> String {
    let letters = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    let digit = name.chars().next().is_some_and(|c| c.is_ascii_digit());
    digit.then_some('_').into_iter().chain(letters).collect()
}
