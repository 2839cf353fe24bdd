//! How a service is connected.

use super::reader::Reader;
use crate::spec::fields::ports::range;
use crate::spec::project::keys::NetworkKey;
use crate::spec::project::network::{Attachment, Expose, ExternalLink, Link, NetworkMode, Port};
use crate::spec::tree::Node;
use crate::values::names::{NetworkName, ServiceName};
use crate::values::protocol::Protocol;

/// `network_mode`, or else `networks`, the one of highest priority first.
pub(super) fn mode(service: &Reader<'_>) -> NetworkMode {
    let Some(node) = service.node("network_mode") else { return NetworkMode::Networks(networks(service)) };
    let text = node.as_str().unwrap_or("");
    match text.split_once(':') {
        Some(("service", name)) => match ServiceName::try_from(name) {
            Ok(name) => NetworkMode::Service(name),
            Err(why) => {
                service.fault(&node.at, format!("network_mode: {why}"));
                NetworkMode::None
            }
        },
        Some(("container", name)) if !name.is_empty() => NetworkMode::Container(name.to_owned()),
        _ => match text {
            "none" => NetworkMode::None,
            "host" => NetworkMode::Host,
            "" | "bridge" | "default" => NetworkMode::Bridge,
            other => match NetworkName::try_from(other) {
                Ok(name) => NetworkMode::Named(name),
                Err(why) => {
                    service.fault(&node.at, format!("network_mode: {why}"));
                    NetworkMode::None
                }
            },
        },
    }
}

fn networks(service: &Reader<'_>) -> Vec<(NetworkKey, Attachment)> {
    let mut networks: Vec<(i64, NetworkKey, Attachment)> = service
        .children("networks")
        .into_iter()
        .map(|(key, reader)| {
            let priority = reader.as_ref().and_then(|reader| reader.number("priority")).unwrap_or(0);
            let attachment = reader.as_ref().map(attachment).unwrap_or_default();
            (priority, NetworkKey(key.to_owned()), attachment)
        })
        .collect();
    networks.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    networks.into_iter().map(|(_, key, attachment)| (key, attachment)).collect()
}

fn attachment(reader: &Reader<'_>) -> Attachment {
    Attachment {
        aliases: reader.texts("aliases"),
        ipv4_address: reader.parse("ipv4_address"),
        ipv6_address: reader.parse("ipv6_address"),
        link_local_ips: reader.parse_all("link_local_ips"),
        mac_address: reader.parse("mac_address"),
        driver_opts: reader.map("driver_opts"),
        gw_priority: reader.number("gw_priority").unwrap_or(0),
        interface_name: reader.parse("interface_name"),
    }
}

/// Published ports.
pub(super) fn ports(service: &Reader<'_>) -> Vec<Port> {
    service.objects("ports").iter().filter_map(port).collect()
}

fn port(reader: &Reader<'_>) -> Option<Port> {
    let target: u16 = reader.count("target")?;
    if target == 0 {
        reader.fault(&reader.at(), "target: 0 is no port");
    }
    let published = match reader.text("published").as_deref() {
        None | Some("0") => None,
        Some(text) => match range(text) {
            Some(range) => Some(range),
            None => {
                let at = reader.node("published").map_or_else(|| reader.at(), |node| node.at.clone());
                reader.fault(&at, format!("published: {text:?} is no port nor range of ports"));
                None
            }
        },
    };
    Some(Port {
        target,
        published,
        host_ip: reader.parse("host_ip"),
        protocol: reader.parse::<Protocol>("protocol").unwrap_or_default(),
        location: reader.at(),
    })
}

/// `PORT[-PORT][/PROTOCOL]`.
pub(super) fn expose(service: &Reader<'_>) -> Vec<Expose> {
    let one = |item: &Node| {
        let text = item.as_str()?;
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        match (range(ports), protocol.parse()) {
            (Some((first, last)), Ok(protocol)) => Some(Expose { first, last, protocol }),
            _ => {
                service.fault(&item.at, format!("expose: {text:?} is no port"));
                None
            }
        }
    };
    service.items("expose").filter_map(one).collect()
}

/// `SERVICE[:ALIAS]`.
pub(super) fn links(service: &Reader<'_>) -> Vec<Link> {
    let one = |item: &Node| {
        let text = item.as_str()?;
        let (name, alias) = text.split_once(':').unwrap_or((text, text));
        Some(Link { service: ServiceName::try_from(name).ok()?, alias: alias.to_owned() })
    };
    service.items("links").filter_map(one).collect()
}

/// `CONTAINER[:ALIAS]`.
pub(super) fn external_links(service: &Reader<'_>) -> Vec<ExternalLink> {
    let one = |text: String| {
        let (name, alias) = text.split_once(':').unwrap_or((&text, &text));
        ExternalLink { container: name.to_owned(), alias: alias.to_owned() }
    };
    service.texts("external_links").into_iter().map(one).collect()
}

/// `host=address` lines.
pub(super) fn hosts(reader: &Reader<'_>) -> Vec<(String, String)> {
    let texts = reader.texts("extra_hosts").into_iter();
    texts.filter_map(|line| line.split_once('=').map(|(host, address)| (host.to_owned(), address.to_owned()))).collect()
}
