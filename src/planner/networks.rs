//! Networks: which are made, made anew, or used as they are (behaviours §1.8).
//!
//! A network that is not as the file says is made anew under its name, in a container's absence: whatever is connected is
//! stopped before and started after, and keeps its identity. A network that somebody else made is used as it is. One whose
//! addresses a route of somebody else's takes away, as that of a VPN, gets others, unless the file has chosen them; and one
//! whose bridge somebody has deleted is made anew.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{AddressPool, NetworkConfig, NetworkTrouble, Observed, ObservedNetwork};
use crate::planner::error::PlanError;
use crate::planner::plan::{Action, Cause, InUse, Plan, StepId, Warning};
use crate::planner::{diff, hash, labels};
use crate::spec::project::Project;
use crate::spec::project::keys::NetworkKey;
use crate::spec::project::network::{Network, NetworkMode};
use crate::spec::project::service::Service;
use crate::values::names::NetworkName;

/// What becomes of a network.
#[derive(Debug)]
pub(super) enum Fate {
    /// It is used as it is.
    Keep,
    /// It is made.
    Create(Box<NetworkConfig>),
    /// It is removed and made.
    Recreate(Box<NetworkConfig>, Cause),
}

/// A network that every engine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Builtin {
    /// One bridge for whoever wants no network of a project.
    Bridge,
    /// The machine's own interfaces.
    Host,
    /// Only loopback.
    None,
}

impl std::fmt::Display for Builtin {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Builtin::Bridge => "the engine's bridge",
            Builtin::Host => "the host's own interfaces",
            Builtin::None => "no interfaces",
        })
    }
}

/// The name of the engine's own bridge.
pub(super) const BRIDGE: &str = "bridge";

/// Which of the engine's own networks an external one is.
pub(super) fn builtin(network: &Network) -> Option<Builtin> {
    match network.name.as_str() {
        _ if !network.external => None,
        BRIDGE => Some(Builtin::Bridge),
        "host" => Some(Builtin::Host),
        "none" => Some(Builtin::None),
        _ => None,
    }
}

/// The networks that a service is connected to, by key.
pub(super) fn of(service: &Service) -> impl Iterator<Item = &NetworkKey> {
    let list = match &service.network {
        NetworkMode::Networks(attachments) => attachments.as_slice(),
        _ => &[],
    };
    list.iter().map(|(key, _)| key)
}

/// What becomes of each of the project's networks with these keys.
pub(super) fn decide(
    project: &Project,
    keys: &BTreeSet<&NetworkKey>,
    observed: &Observed,
    plan: &mut Plan,
) -> Result<BTreeMap<NetworkName, Fate>, PlanError> {
    let mut fates = BTreeMap::new();
    for key in keys {
        let Some(wanted) = project.networks.get(*key) else { continue };
        let there = observed.networks.iter().find(|network| network.config.name == wanted.name);
        if wanted.external {
            if there.is_none() && builtin(wanted).is_none() {
                return Err(PlanError::ExternalNetwork(wanted.name.clone()));
            }
            if let Some(there) = there {
                warn_of_trouble(there, plan);
            }
            fates.insert(wanted.name.clone(), Fate::Keep);
            continue;
        }
        let config = config(project, key, wanted)?;
        let fate = match there {
            None => Fate::Create(Box::new(config)),
            Some(there) => compare(project, config, there, plan),
        };
        fates.insert(wanted.name.clone(), fate);
    }
    Ok(fates)
}

fn compare(project: &Project, wanted: NetworkConfig, there: &ObservedNetwork, plan: &mut Plan) -> Fate {
    let labels = &there.config.labels;
    match labels.get(labels::PROJECT) {
        None => plan.warnings.push(Warning::ForeignNetwork(wanted.name.clone())),
        Some(other) if other != project.name.as_str() => plan
            .warnings
            .push(Warning::OtherProjectsNetwork { name: wanted.name.clone(), project: project.name.to_string() }),
        // One without a hash was made by another tool, which may have meant the same.
        Some(_) => match labels.get(labels::CONFIG_HASH) {
            Some(hash) if wanted.labels.get(labels::CONFIG_HASH) != Some(hash) => {
                let fields = diff::resource_fields(&there.config, &wanted);
                return Fate::Recreate(Box::new(wanted), Cause::ConfigChanged(fields));
            }
            _ => {
                let chosen = wanted.pools.iter().any(|pool| pool.subnet.is_some());
                match there.trouble.clone() {
                    Some(NetworkTrouble::Severed) => return Fate::Recreate(Box::new(wanted), Cause::Severed),
                    Some(NetworkTrouble::Overshadowed(route)) if !chosen => {
                        return Fate::Recreate(Box::new(wanted), Cause::Overshadowed(route));
                    }
                    Some(NetworkTrouble::Overshadowed(_)) | None => {}
                }
            }
        },
    }
    warn_of_trouble(there, plan);
    Fate::Keep
}

/// A network that is not ours to change.
fn warn_of_trouble(there: &ObservedNetwork, plan: &mut Plan) {
    let network = there.config.name.clone();
    let warning = match there.trouble.clone() {
        Some(NetworkTrouble::Severed) => Warning::Severed(network),
        Some(NetworkTrouble::Overshadowed(route)) => {
            Warning::Overshadowed { network, subnets: there.subnets.join(", "), route }
        }
        None => return,
    };
    plan.warnings.push(warning);
}

/// What a network of the project is made from.
fn config(project: &Project, key: &NetworkKey, wanted: &Network) -> Result<NetworkConfig, PlanError> {
    let driver = match wanted.driver.as_deref() {
        // Containers of one machine need no overlay to reach each other.
        None | Some(BRIDGE | "default" | "overlay") => BRIDGE,
        Some(driver) => {
            let (driver, location) = (driver.to_owned(), wanted.location.clone());
            return Err(PlanError::NetworkDriver { network: key.clone(), driver, location });
        }
    };
    let pool = |pool: &crate::spec::project::network::Pool| AddressPool {
        subnet: pool.subnet.map(String::from),
        ip_range: pool.ip_range.map(String::from),
        gateway: pool.gateway,
        aux_addresses: pool.aux_addresses.clone(),
    };
    let mut config = NetworkConfig {
        name: wanted.name.clone(),
        labels: wanted.labels.clone(),
        driver: driver.to_owned(),
        driver_opts: wanted.driver_opts.clone(),
        internal: wanted.internal,
        attachable: wanted.attachable,
        enable_ipv4: wanted.enable_ipv4.unwrap_or(true),
        enable_ipv6: wanted.enable_ipv6.unwrap_or(false),
        pools: wanted.pools.iter().map(pool).collect(),
    };
    let hash = hash::network(&config);
    for (label, value) in [
        (labels::PROJECT, project.name.to_string()),
        (labels::NETWORK, key.to_string()),
        (labels::CONFIG_HASH, hash),
        (labels::VERSION, env!("CARGO_PKG_VERSION").to_owned()),
    ] {
        config.labels.insert(label.to_owned(), value);
    }
    Ok(config)
}

/// Makes the networks; `stopped` are the steps that stop what is connected to the one to be made anew. Returns the step
/// after which each network can be used.
pub(super) fn emit(
    fates: BTreeMap<NetworkName, Fate>,
    plan: &mut Plan,
    mut stopped: impl FnMut(&NetworkName, &mut Plan) -> Vec<StepId>,
) -> BTreeMap<NetworkName, StepId> {
    let mut ready = BTreeMap::new();
    for (name, fate) in fates {
        let step = match fate {
            Fate::Keep => continue,
            Fate::Create(config) => plan.push(Action::CreateNetwork(config), Cause::Missing, Vec::new()),
            Fate::Recreate(config, cause) => {
                let stopped = stopped(&name, plan);
                let remove = Action::RemoveNetwork { name: name.clone(), in_use: InUse::Fail };
                let removed = plan.push(remove, cause, stopped);
                plan.push(Action::CreateNetwork(config), Cause::Replacement, vec![removed])
            }
        };
        ready.insert(name, step);
    }
    ready
}

/// The project's networks that had another name for one of these keys; they go when nothing needs them any more.
pub(super) fn renamed<'a>(
    project: &'a Project,
    keys: &'a BTreeSet<&NetworkKey>,
    observed: &'a Observed,
) -> impl Iterator<Item = &'a NetworkName> {
    observed.networks.iter().filter_map(move |network| {
        let labels = &network.config.labels;
        let ours = labels.get(labels::PROJECT).is_some_and(|name| name == project.name.as_str());
        let key = labels.get(labels::NETWORK).filter(|key| ours && keys.iter().any(|known| known.as_str() == *key))?;
        let now = project.networks.get(key.as_str())?;
        (now.name != network.config.name).then_some(&network.config.name)
    })
}
