//! The files of `/etc` that a container gets from us (compose-behaviours §19), made anew by each start.

use std::io;
use std::net::IpAddr;

use crate::engine::{EngineError, NetworkMode};
use crate::runtime::container::find;
use crate::runtime::container::record::Container;
use crate::runtime::layout::Layout;
use crate::runtime::network::connect::Connection;
use crate::runtime::network::{Networks, files};
use crate::runtime::start::request::EtcFiles;
use crate::runtime::supervisor::starter::{failed, network_error, subject};

/// Writes the container's `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`.
pub(super) fn write(
    layout: &Layout,
    networks: &Networks,
    container: &Container,
    connection: Option<&Connection>,
) -> Result<EtcFiles, EngineError> {
    let config = &container.config;
    if let NetworkMode::Container(other) = &config.network {
        let (project, id) = find::resolve(layout, other)?;
        let [hosts, hostname, resolv_conf] = layout.etc(&project, &id).map(Some);
        return Ok(EtcFiles { hosts, hostname, resolv_conf });
    }
    let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let endpoints = connection.map(|connection| connection.endpoints.as_slice()).unwrap_or_default();
    let resolv_conf = match &config.network {
        NetworkMode::Networks(_) => files::resolv_conf(&config.dns, &host),
        _ => files::resolv_conf_of_host(&config.dns, &host),
    };
    let mut extra = Vec::new();
    for (name, address) in &config.extra_hosts {
        let address = if address == "host-gateway" {
            host_gateway(networks, container)?
        } else {
            address.trim_matches(['[', ']']).parse().map_err(|_| EngineError::Invalid {
                subject: subject(container),
                reason: format!("invalid address of the extra host {name}: {address:?}"),
            })?
        };
        extra.push((name.clone(), address));
    }
    let hosts = files::hosts(&container.hostname, config.domainname.as_deref(), &extra, endpoints);
    let hostname = format!("{}\n", container.hostname);
    let paths = layout.etc(&config.project, &container.id);
    let write = || -> io::Result<EtcFiles> {
        for (path, text) in paths.iter().zip([&hosts, &hostname, &resolv_conf]) {
            std::fs::write(path, text)?;
        }
        let [hosts, hostname, resolv_conf] = paths.clone().map(Some);
        Ok(EtcFiles { hosts, hostname, resolv_conf })
    };
    write().map_err(|error| failed(container, error))
}

/// The host as the container sees it: the gateway of its first network, or itself if it shares the host's interfaces.
fn host_gateway(networks: &Networks, container: &Container) -> Result<IpAddr, EngineError> {
    let NetworkMode::Networks(attachments) = &container.config.network else {
        return Ok(IpAddr::from([127, 0, 0, 1]));
    };
    let Some(first) = attachments.first() else { return Ok(IpAddr::from([127, 0, 0, 1])) };
    let network = networks.find(&first.network).map_err(|error| network_error(container, error))?;
    network.subnets.first().map(|subnet| subnet.gateway).ok_or_else(|| EngineError::Invalid {
        subject: subject(container),
        reason: format!("network {} has no gateway for host-gateway", first.network),
    })
}
