//! How a service is connected, as the engine takes it.

use std::collections::BTreeMap;

use crate::engine::{Attachment, ContainerConfig, DnsConfig, NetworkMode, PortMapping};
use crate::planner::container_config::{SERVICE_REFERENCE, Siblings};
use crate::planner::error::PlanError;
use crate::planner::networks::{self, Builtin};
use crate::spec::project::Project;
use crate::spec::project::network::{Attachment as Wanted, NetworkMode as Mode};
use crate::spec::project::service::Service;
use crate::values::names::{ContainerName, NetworkName};

/// Which networks, or whose.
pub(super) fn mode(project: &Project, service: &Service) -> Result<NetworkMode, PlanError> {
    Ok(match &service.network {
        Mode::None => NetworkMode::None,
        Mode::Host => NetworkMode::Host,
        Mode::Bridge => {
            NetworkMode::Networks(vec![plain(networks::BRIDGE.try_into().map_err(PlanError::Name)?, service)])
        }
        Mode::Named(name) => NetworkMode::Networks(vec![plain(name.clone(), service)]),
        Mode::Service(other) => NetworkMode::Container(format!("{SERVICE_REFERENCE}{other}")),
        Mode::Container(container) => NetworkMode::Container(container.clone()),
        Mode::Networks(wanted) => {
            let mut attachments = Vec::with_capacity(wanted.len());
            for (key, attachment) in wanted {
                let invalid = |reason| PlanError::Invalid { service: service.name.clone(), reason };
                let network =
                    project.networks.get(key).ok_or_else(|| invalid(format!("refers to undefined network {key}")))?;
                let mut attachment = attach(network.name.clone(), service, attachment);
                match networks::builtin(network) {
                    None => {}
                    Some(Builtin::Bridge) => attachment.aliases.clear(),
                    Some(builtin) if wanted.len() > 1 => {
                        let name = &network.name;
                        return Err(invalid(format!("cannot be on network {name} ({builtin}) and on others at once")));
                    }
                    Some(Builtin::Host) => return Ok(NetworkMode::Host),
                    Some(Builtin::None) => return Ok(NetworkMode::None),
                }
                attachments.push(attachment);
            }
            if let Some(first) = attachments.first_mut()
                && first.mac_address.is_none()
            {
                first.mac_address = service.mac_address;
            }
            NetworkMode::Networks(attachments)
        }
    })
}

/// On networks outside the project a service has no name of its own.
fn plain(network: NetworkName, service: &Service) -> Attachment {
    let mut attachment = attach(network, service, &Wanted::default());
    attachment.aliases.clear();
    attachment.mac_address = service.mac_address;
    attachment
}

fn attach(network: NetworkName, service: &Service, wanted: &Wanted) -> Attachment {
    let mut aliases = vec![service.name.to_string()];
    for alias in &wanted.aliases {
        if !aliases.contains(alias) {
            aliases.push(alias.clone());
        }
    }
    Attachment {
        network,
        aliases,
        // The key alone belongs to the service's own configuration; the targets are filled in for each container.
        links: service
            .links
            .iter()
            .map(|link| (link.alias.clone(), Vec::new()))
            .chain(service.external_links.iter().map(|link| (link.alias.clone(), Vec::new())))
            .collect(),
        ipv4_address: wanted.ipv4_address,
        ipv6_address: wanted.ipv6_address,
        link_local_ips: wanted.link_local_ips.clone(),
        mac_address: wanted.mac_address,
        interface_name: wanted.interface_name.clone(),
        gw_priority: wanted.gw_priority,
        driver_opts: wanted.driver_opts.clone(),
    }
}

/// Fills in the targets of links.
pub(super) fn link(config: &mut ContainerConfig, service: &Service, siblings: &dyn Siblings) -> Result<(), PlanError> {
    let NetworkMode::Networks(attachments) = &mut config.network else { return Ok(()) };
    if service.links.is_empty() && service.external_links.is_empty() {
        return Ok(());
    }
    let mut links: BTreeMap<String, Vec<ContainerName>> = BTreeMap::new();
    for link in &service.links {
        links.entry(link.alias.clone()).or_default().extend(siblings.replicas(&link.service));
    }
    for link in &service.external_links {
        let name = link.container.as_str().try_into().map_err(PlanError::Name)?;
        links.entry(link.alias.clone()).or_default().push(name);
    }
    for attachment in attachments {
        attachment.links.clone_from(&links);
    }
    Ok(())
}

/// Published ports; on the host's own interfaces they mean nothing.
pub(super) fn ports(service: &Service, network: &NetworkMode) -> Vec<PortMapping> {
    if *network == NetworkMode::Host {
        return Vec::new();
    }
    let mapping = |port: &crate::spec::project::network::Port| PortMapping {
        host_ip: port.host_ip,
        published: port.published,
        target: port.target,
        protocol: port.protocol,
    };
    service.ports.iter().map(mapping).collect()
}

/// Name servers and what belongs to them.
pub(super) fn resolver(service: &Service) -> DnsConfig {
    DnsConfig { servers: service.dns.clone(), search: service.dns_search.clone(), options: service.dns_opt.clone() }
}
