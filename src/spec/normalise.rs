//! Says what Compose implies: names of resources, the default network, dependencies that come of links and namespaces.

use std::collections::BTreeMap;

use super::diagnostic::Location;
use super::fields::{clean_path, map_at};
use super::tree::{Mapping, Node, Value};

/// Fills in what is implied; `name` is the project's.
pub(in crate::spec) fn normalise(model: &mut Node, name: &str, environment: &BTreeMap<String, String>) {
    let at = model.at.clone();
    let Some(model) = model.as_mapping_mut() else { return };
    default_network(model, &at);
    let services = model.get_mut("services").and_then(Node::as_mapping_mut);
    for (_, entry) in services.into_iter().flat_map(Mapping::iter_mut) {
        let at = entry.key_at.clone();
        if let Some(service) = entry.node.as_mapping_mut() {
            normalise_service(service, &at, environment);
        }
    }
    for kind in ["networks", "volumes", "configs", "secrets"] {
        let resources = model.get_mut(kind).and_then(Node::as_mapping_mut);
        for (key, entry) in resources.into_iter().flat_map(Mapping::iter_mut) {
            resource_name(key, &entry.key_at.clone(), &mut entry.node, name);
        }
    }
}

/// A service that says nothing of networks is in `default`, which is there if any service is in it.
fn default_network(model: &mut Mapping, at: &Location) {
    let mut used: Option<Location> = None;
    let services = model.get_mut("services").and_then(Node::as_mapping_mut);
    for (_, entry) in services.into_iter().flat_map(Mapping::iter_mut) {
        let at = entry.key_at.clone();
        let Some(service) = entry.node.as_mapping_mut() else { continue };
        if service.contains("provider") || service.contains("network_mode") {
            continue;
        }
        let named = service.get("networks").and_then(Node::as_mapping).filter(|map| !map.is_empty());
        match named {
            Some(map) if map.contains("default") => used = used.or(Some(at)),
            Some(_) => {}
            None => {
                service.insert("networks", at.clone(), map_at(&at, [("default", Value::Null)]));
                used = used.or(Some(at));
            }
        }
    }
    let Some(used) = used else { return };
    if model.get("networks").is_none_or(Node::is_null) {
        model.insert("networks", at.clone(), map_at(at, []));
    }
    if let Some(networks) = model.get_mut("networks").and_then(Node::as_mapping_mut)
        && !networks.contains("default")
    {
        networks.insert("default", used.clone(), Node::new(&used, Value::Null));
    }
}

fn normalise_service(service: &mut Mapping, at: &Location, environment: &BTreeMap<String, String>) {
    if let Some(policy) = service.get_mut("pull_policy").filter(|policy| policy.as_str() == Some("if_not_present")) {
        policy.value = Value::String("missing".to_owned());
    }
    if let Some(build) = service.get_mut("build") {
        normalise_build(build, environment);
    }
    if let Some(environment_node) = service.get_mut("environment") {
        look_up(environment_node, environment, Unset::Kept);
    }
    for target in service
        .get_mut("volumes")
        .and_then(Node::as_sequence_mut)
        .into_iter()
        .flatten()
        .filter_map(|mount| mount.as_mapping_mut()?.get_mut("target"))
    {
        if let Value::String(text) = &mut target.value {
            *text = clean_path(text);
        }
    }
    let implied = implied_dependencies(service);
    if implied.is_empty() {
        return;
    }
    if service.get("depends_on").and_then(Node::as_mapping).is_none() {
        service.insert("depends_on", at.clone(), map_at(at, []));
    }
    let Some(depends_on) = service.get_mut("depends_on").and_then(Node::as_mapping_mut) else { return };
    for (name, at, restart) in implied {
        if !depends_on.contains(&name) {
            let entries = [
                ("condition", Value::String("service_started".to_owned())),
                ("restart", Value::Bool(restart)),
                ("required", Value::Bool(true)),
            ];
            depends_on.insert(name, at.clone(), map_at(&at, entries));
        }
    }
}

/// Services that this one can't be without: name, where that is said, and whether a restart of one restarts the other.
fn implied_dependencies(service: &Mapping) -> Vec<(String, Location, bool)> {
    let mut implied = Vec::new();
    let texts = |key| {
        let list = service.get(key).and_then(Node::as_sequence).unwrap_or_default();
        list.iter().filter_map(|item| Some((item.as_str()?, &item.at)))
    };
    for (link, at) in texts("links") {
        let name = match link.split_once(':') {
            Some((name, alias)) if !alias.contains(':') => name,
            _ => link,
        };
        implied.push((name.to_owned(), at.clone(), true));
    }
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        if let Some(node) = service.get(key)
            && let Some(name) = node.as_str().and_then(|text| text.strip_prefix("service:"))
        {
            implied.push((name.to_owned(), node.at.clone(), true));
        }
    }
    for (from, at) in texts("volumes_from") {
        if !from.starts_with("container:") {
            let name = from.split(':').next().unwrap_or(from);
            implied.push((name.to_owned(), at.clone(), false));
        }
    }
    implied
}

fn normalise_build(node: &mut Node, environment: &BTreeMap<String, String>) {
    let at = node.at.clone();
    let Some(build) = node.as_mapping_mut() else { return };
    if !build.contains("dockerfile") && !build.contains("dockerfile_inline") {
        build.insert("dockerfile", at.clone(), Node::string(&at, "Dockerfile"));
    }
    if let Some(args) = build.get_mut("args") {
        look_up(args, environment, Unset::Dropped);
    }
}

/// What becomes of a key that has no value and is in no environment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unset {
    Kept,
    Dropped,
}

/// Gives keys without value the value that the environment has for them.
fn look_up(node: &mut Node, environment: &BTreeMap<String, String>, unset: Unset) {
    match &mut node.value {
        Value::Mapping(map) => map.retain(|key, entry| {
            if !entry.node.is_null() {
                return true;
            }
            match environment.get(key) {
                Some(value) => entry.node.value = Value::String(value.clone()),
                None => return unset == Unset::Kept,
            }
            true
        }),
        Value::Sequence(list) => list.retain_mut(|item| {
            let Value::String(text) = &mut item.value else { return true };
            if text.contains('=') {
                return true;
            }
            match environment.get(text.as_str()) {
                Some(value) => *text = format!("{text}={value}"),
                None => return unset == Unset::Kept,
            }
            true
        }),
        _ => {}
    }
}

/// What the engine calls a resource: an external one has its key for a name, any other the project's name before it.
fn resource_name(key: &str, at: &Location, node: &mut Node, project: &str) {
    if node.is_null() {
        *node = map_at(at, []);
    }
    let Some(resource) = node.as_mapping_mut() else { return };
    if resource.get("name").is_some_and(|name| !name.is_null()) {
        return;
    }
    let external = resource.get("external").and_then(Node::scalar_text).is_some_and(|text| text == "true");
    let name = if external { key.to_owned() } else { format!("{project}_{key}") };
    resource.insert("name", at.clone(), Node::string(at, name));
}
