//! `xcompose network …`: networks that belong to no project, for projects to share. Docker Compose leaves this to Docker.

use std::collections::BTreeMap;
use std::net::IpAddr;

use clap::Subcommand;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::ui::table::Table;
use crate::engine::{AddressPool, EngineError, NetworkConfig, ObservedNetwork};
use crate::planner::labels;
use crate::values::cidr::Cidr;
use crate::values::names::NetworkName;

/// Manage networks that projects share
#[derive(Debug, clap::Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Network {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a network, which compose files name as external
    Create(Box<Create>),
    /// List networks
    #[command(alias = "list")]
    Ls {
        /// Format the output. Values: [table | json]
        #[arg(long, default_value = "table")]
        format: String,
        /// Only display names
        #[arg(short, long)]
        quiet: bool,
    },
    /// Remove networks that no running container is on
    #[command(alias = "remove")]
    Rm {
        /// Networks to remove
        #[arg(value_name = "NETWORK", required = true)]
        names: Vec<String>,
    },
}

#[derive(Debug, clap::Args)]
struct Create {
    /// Its name
    #[arg(value_name = "NETWORK")]
    name: String,
    /// Subnet in CIDR form (default: one that is free)
    #[arg(long, value_name = "CIDR")]
    subnet: Vec<Cidr>,
    /// The bridge's address in one of the subnets
    #[arg(long, value_name = "IP")]
    gateway: Vec<IpAddr>,
    /// The part of a subnet that dynamic addresses come from
    #[arg(long, value_name = "CIDR")]
    ip_range: Vec<Cidr>,
    /// Give it IPv6 addresses, too
    #[arg(long)]
    ipv6: bool,
    /// Leave no way out
    #[arg(long)]
    internal: bool,
    /// Driver (bridge)
    #[arg(short, long, value_name = "DRIVER", default_value = "bridge")]
    driver: String,
    /// Option of the driver
    #[arg(short, long = "opt", value_name = "KEY=VALUE")]
    opts: Vec<String>,
    /// Label
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// Accepted: any project may join
    #[arg(long)]
    attachable: bool,
}

impl Network {
    /// Does it.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let (engine, ui) = (context.engine(), context.ui());
        match self.command {
            Command::Create(create) => {
                let id = engine.create_network(&create.config()?).await?;
                ui.line(&id)?;
            }
            Command::Ls { format, quiet } => {
                let mut networks = engine.networks().await?;
                networks.sort_by(|a, b| a.config.name.cmp(&b.config.name));
                match format.as_str() {
                    _ if quiet => networks.iter().try_for_each(|network| ui.line(network.config.name.as_str()))?,
                    "table" => {
                        let mut table = Table::new(&["NAME", "DRIVER", "SUBNETS", "PROJECT"]);
                        for network in &networks {
                            table.row(vec![
                                network.config.name.to_string(),
                                network.config.driver.clone(),
                                network.subnets.join(", "),
                                project(network),
                            ]);
                        }
                        ui.text(&table.to_string())?;
                    }
                    "json" => {
                        let object = |network: &ObservedNetwork| {
                            json!({
                                "Name": network.config.name.as_str(), "ID": network.id, "Driver": network.config.driver,
                                "Subnets": network.subnets, "Internal": network.config.internal,
                                "Labels": network.config.labels, "Project": project(network),
                            })
                        };
                        ui.line(&serde_json::Value::Array(networks.iter().map(object).collect()).to_string())?;
                    }
                    other => return Err(Failure::usage(format!("format value {other:?} could not be parsed"))),
                }
            }
            Command::Rm { names } => {
                let mut failed: Option<EngineError> = None;
                for name in names {
                    let name = NetworkName::try_from(name).map_err(|error| Failure::usage(error.to_string()))?;
                    match engine.remove_network(&name).await {
                        Ok(()) => ui.line(name.as_str())?,
                        // The others go all the same; each failure is told, the last as the command's own.
                        Err(error) => {
                            if let Some(earlier) = failed.replace(error) {
                                ui.warn(&earlier.to_string());
                            }
                        }
                    }
                }
                if let Some(failed) = failed {
                    return Err(failed.into());
                }
            }
        }
        Ok(Exit::SUCCESS)
    }
}

fn project(network: &ObservedNetwork) -> String {
    network.config.labels.get(labels::PROJECT).cloned().unwrap_or_default()
}

impl Create {
    fn config(&self) -> Result<NetworkConfig, Failure> {
        let name = NetworkName::try_from(self.name.as_str()).map_err(|error| Failure::usage(error.to_string()))?;
        let mut pools: Vec<(Cidr, AddressPool)> = Vec::new();
        for subnet in &self.subnet {
            let blank = AddressPool { subnet: None, ip_range: None, gateway: None, aux_addresses: BTreeMap::new() };
            pools.push((*subnet, AddressPool { subnet: Some(subnet.to_string()), ..blank }));
        }
        for gateway in &self.gateway {
            let pool = pools.iter_mut().find(|(subnet, _)| subnet.contains(*gateway));
            let (_, pool) = pool.ok_or_else(|| Failure::usage(format!("no matching subnet for gateway {gateway}")))?;
            pool.gateway = Some(*gateway);
        }
        for range in &self.ip_range {
            let pool = pools.iter_mut().find(|(subnet, _)| subnet.covers(*range));
            let (_, pool) = pool.ok_or_else(|| Failure::usage(format!("no matching subnet for range {range}")))?;
            pool.ip_range = Some(range.to_string());
        }
        Ok(NetworkConfig {
            driver: self.driver.clone(),
            driver_opts: pairs(&self.opts)?,
            labels: pairs(&self.labels)?,
            internal: self.internal,
            attachable: self.attachable,
            enable_ipv6: self.ipv6,
            pools: pools.into_iter().map(|(_, pool)| pool).collect(),
            ..NetworkConfig::bridge(name)
        })
    }
}

/// `KEY=VALUE` texts; a key alone has the empty value.
fn pairs(texts: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let pair = |text: &String| match text.split_once('=').unwrap_or((text, "")) {
        ("", _) => Err(Failure::usage(format!("{text:?} has no key: write KEY=VALUE"))),
        (key, value) => Ok((key.to_owned(), value.to_owned())),
    };
    texts.iter().map(pair).collect()
}
