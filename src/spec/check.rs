//! What the schema can't say, within single things: values that exclude each other, addresses, blanks.

use std::net::IpAddr;

use super::diagnostic::Diagnostic;
use super::tree::{Mapping, Node};

/// Adds a fault to `found` for each thing that contradicts itself. Runs on long forms, before names are filled in.
pub(in crate::spec) fn values(model: &Node, found: &mut Vec<Diagnostic>) {
    for (name, service) in things(model, "services") {
        check_service(name, service, found);
    }
    for (name, volume) in things(model, "volumes") {
        external_alone(name, volume, found);
    }
    for (name, config) in things(model, "configs") {
        one_origin("configs", name, config, &["file", "environment", "content"], found);
    }
    for (name, secret) in things(model, "secrets") {
        one_origin("secrets", name, secret, &["file", "environment"], found);
    }
}

fn check_service(name: &str, service: &Mapping, found: &mut Vec<Diagnostic>) {
    for port in items(service.get("ports")) {
        if let Some(ip) =
            port.get("host_ip").filter(|ip| ip.as_str().is_some_and(|text| text.parse::<IpAddr>().is_err()))
        {
            let message = format!("services.{name}.ports: invalid ip address: {}", ip.as_str().unwrap_or(""));
            found.push(Diagnostic::error(&ip.at, message));
        }
    }
    for mount in items(service.get("volumes")) {
        if mount.get("type").and_then(Node::as_str) == Some("bind") && mount.get("source").is_none() {
            let message = format!(
                "services.{name}.volumes: invalid mount config for type \"bind\": field Source must not be empty"
            );
            found.push(Diagnostic::error(&mount.at, message));
        }
    }
    for rule in items(service.get("develop").and_then(|develop| develop.get("watch"))) {
        if let Some(path) = rule.get("path").filter(|path| path.as_str().is_some_and(str::is_empty)) {
            found.push(Diagnostic::error(&path.at, format!("services.{name}.develop.watch: path may not be empty")));
        }
    }
    let reserved = ["resources", "reservations", "devices"];
    let reserved = reserved.iter().try_fold(service.get("deploy"), |node, key| Some(node?.get(key)));
    for request in items(service.get("gpus")).chain(items(reserved.flatten())) {
        if let (Some(count), Some(ids)) = (request.get("count"), request.get("device_ids")) {
            let message = format!("services.{name}: \"count\" and \"device_ids\" attributes are exclusive");
            found.push(Diagnostic::error(&count.at, message).note(Some(&ids.at), "`device_ids` is here"));
        }
    }
}

/// An external volume is as it is, so nothing can be said of it but its name.
fn external_alone(name: &str, volume: &Mapping, found: &mut Vec<Diagnostic>) {
    if !is_external(volume) {
        return;
    }
    for (key, entry) in volume.iter() {
        if !matches!(key, "name" | "external") && !key.starts_with("x-") {
            let message = format!("volumes.{name}: conflicting parameters \"external\" and {key:?} specified");
            found.push(Diagnostic::error(&entry.key_at, message));
        }
    }
}

fn one_origin(kind: &str, name: &str, resource: &Mapping, origins: &[&str], found: &mut Vec<Diagnostic>) {
    let mut given = origins.iter().filter_map(|origin| resource.entry(origin));
    let words = origins.join("|");
    match (given.next(), given.next()) {
        (Some(first), Some(second)) => {
            let message = format!("{kind}.{name}: {words} attributes are mutually exclusive");
            found.push(Diagnostic::error(&second.key_at, message).note(Some(&first.key_at), "one of them is here"));
        }
        // `external: false` is enough for Docker Compose.
        (None, _) if !resource.contains("external") && !resource.contains("driver") => {
            let message = format!("{kind}.{name}: one of {words} must be set");
            // A resource that is a map has a place; an empty one is pointed at by its keys, if any.
            let at = resource.iter().next().map(|(_, entry)| entry.key_at.clone());
            found.push(match at {
                Some(at) => Diagnostic::error(&at, message),
                None => Diagnostic::error_nowhere(message),
            });
        }
        (Some(_) | None, _) => {}
    }
}

/// Whether the resource is said to exist already.
pub(in crate::spec) fn is_external(resource: &Mapping) -> bool {
    resource.get("external").and_then(Node::scalar_text).is_some_and(|text| text == "true")
}

/// The maps under a section of the file.
pub(in crate::spec) fn things<'a>(model: &'a Node, section: &str) -> impl Iterator<Item = (&'a str, &'a Mapping)> {
    let below = model.get(section).and_then(Node::as_mapping);
    below.into_iter().flat_map(Mapping::iter).filter_map(|(name, entry)| Some((name, entry.node.as_mapping()?)))
}

/// The items of a list, if it is one.
pub(in crate::spec) fn items(node: Option<&Node>) -> impl Iterator<Item = &Node> {
    node.and_then(Node::as_sequence).unwrap_or_default().iter()
}
