//! Short forms become long forms: the stage that Docker Compose calls canonical.
//!
//! It runs once a document, after the merge, so what it leaves short (`environment`, `labels`, `command`, sizes, …) is what
//! the merge of a later document still tells apart; `settle` makes those into their last form.

use super::diagnostic::Diagnostic;
use super::fields::{devices, map_at, mounts, ports};
use super::tree::{Mapping, Node, Value};

/// What texts are at this stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::spec) enum Texts {
    /// Variables have been substituted: a short form that can't be read is a fault.
    Final,
    /// They have not: it stays as it is.
    Templates,
}

/// Puts each thing of a checked model (one document merged over what came before) into its long form.
/// Twice does no more than once. Faults and warnings go to `found`.
pub(in crate::spec) fn expand(model: &mut Node, texts: Texts, found: &mut Vec<Diagnostic>) {
    let Some(model) = model.as_mapping_mut() else { return };
    for (name, service) in children(model, "services") {
        if let Some(service) = service.as_mapping_mut() {
            let mut faults = Vec::new();
            expand_service(name, service, &mut faults);
            if texts == Texts::Final {
                found.append(&mut faults);
            }
        }
    }
    for kind in ["networks", "volumes", "secrets", "configs"] {
        for (name, resource) in children(model, kind) {
            expand_external(kind, name, resource, found);
        }
    }
}

fn expand_service(name: &str, service: &mut Mapping, found: &mut Vec<Diagnostic>) {
    for (key, entry) in service.iter_mut() {
        let node = &mut entry.node;
        match key {
            "build" => expand_build(name, node, found),
            "configs" | "secrets" => items(node).for_each(|item| wrap(item, "source")),
            "depends_on" => expand_depends_on(node),
            "devices" => items(node).for_each(|item| devices::expand(item, found)),
            "dns" => drop_empty(node),
            "env_file" => expand_env_file(node),
            "extends" => wrap(node, "service"),
            "gpus" => expand_gpus(node),
            "label_file" => listed(node),
            "models" | "networks" => keyed(node),
            "ports" => ports::expand(node, found),
            "volumes" => items(node).for_each(|item| mounts::expand(item, found)),
            _ => {}
        }
    }
}

fn expand_build(service: &str, node: &mut Node, found: &mut Vec<Diagnostic>) {
    wrap(node, "context");
    let Some(build) = node.as_mapping_mut() else { return };
    for (key, entry) in build.iter_mut() {
        let node = &mut entry.node;
        match key {
            "secrets" => items(node).for_each(|item| wrap(item, "source")),
            "provenance" | "sbom" => {
                if let Value::Bool(yes) = node.value {
                    node.value = Value::String(yes.to_string());
                }
            }
            "additional_contexts" => expand_contexts(service, node, found),
            "ssh" => expand_ssh(service, node, found),
            _ => {}
        }
    }
}

/// `[name=value]` becomes a map.
fn expand_contexts(service: &str, node: &mut Node, found: &mut Vec<Diagnostic>) {
    let Some(list) = node.as_sequence() else { return };
    let mut map = Mapping::default();
    for item in list {
        let text = item.as_str().unwrap_or("");
        match text.split_once('=') {
            Some((key, value)) => {
                map.insert(key, item.at.clone(), Node::string(&item.at, value));
            }
            None => {
                let message = format!("services.{service}.build.additional_contexts: {text:?} has no value");
                found.push(Diagnostic::error(&item.at, message).help("write name=context"));
            }
        }
    }
    node.value = Value::Mapping(map);
}

/// `[default, name=path]` becomes a map of name to path or null.
fn expand_ssh(service: &str, node: &mut Node, found: &mut Vec<Diagnostic>) {
    let Some(list) = node.as_sequence() else { return };
    let mut map = Mapping::default();
    for item in list {
        let text = item.as_str().unwrap_or("");
        match text.split_once('=') {
            Some((key, value)) => {
                map.insert(key, item.at.clone(), Node::string(&item.at, value));
            }
            None if text == "default" => {
                map.insert(text, item.at.clone(), Node::new(&item.at, Value::Null));
            }
            None => {
                let message = format!("services.{service}.build.ssh: invalid ssh key {text:?}");
                found.push(Diagnostic::error(&item.at, message).help("write `default` or name=path"));
            }
        }
    }
    node.value = Value::Mapping(map);
}

fn expand_depends_on(node: &mut Node) {
    keyed(node);
    let Some(map) = node.as_mapping_mut() else { return };
    for (_, entry) in map.iter_mut() {
        let node = &mut entry.node;
        if node.is_null() {
            node.value = map_at(&node.at, [("condition", Value::String("service_started".to_owned()))]).value;
        }
        let at = node.at.clone();
        if let Some(dependency) = node.as_mapping_mut()
            && !dependency.contains("required")
        {
            dependency.insert("required", at.clone(), Node::new(&at, Value::Bool(true)));
        }
    }
}

fn expand_env_file(node: &mut Node) {
    listed(node);
    for item in items(node) {
        wrap(item, "path");
        let at = item.at.clone();
        if let Some(file) = item.as_mapping_mut()
            && !file.contains("required")
        {
            file.insert("required", at.clone(), Node::new(&at, Value::Bool(true)));
        }
    }
}

/// `all` is one request for all.
fn expand_gpus(node: &mut Node) {
    if let Some("all") = node.as_str() {
        let all = map_at(&node.at, [("count", Value::String("all".to_owned()))]);
        node.value = Value::Sequence(vec![all]);
    }
}

/// Empty entries come of variables that are not set.
fn drop_empty(node: &mut Node) {
    if node.as_str() == Some("") {
        node.value = Value::Null;
    } else if let Some(list) = node.as_sequence_mut() {
        list.retain(|item| item.as_str() != Some(""));
    }
}

/// `external: {name: X}` is `external: true` and `name: X`.
fn expand_external(kind: &str, name: &str, node: &mut Node, found: &mut Vec<Diagnostic>) {
    let Some(resource) = node.as_mapping_mut() else { return };
    let Some(external) = resource.get_mut("external").filter(|external| external.as_mapping().is_some()) else {
        return;
    };
    let at = external.at.clone();
    let named = external.as_mapping_mut().and_then(|map| map.remove("name"));
    external.value = Value::Bool(true);
    let Some(named) = named else { return };
    let message = format!("{kind}.{name}: external.name is deprecated. Please set name and external: true");
    found.push(Diagnostic::warning(&at, message));
    match resource.get("name") {
        Some(own) if own.value != named.node.value => {
            let message = format!("{kind}.{name}: name and external.name conflict; only use name");
            found.push(Diagnostic::error(&named.node.at, message).note(Some(&own.at), "name is here"));
        }
        Some(_) => {}
        None => {
            resource.insert("name", named.key_at, named.node);
        }
    }
}

/// What is below `key`, if it is a map.
fn children<'a>(map: &'a mut Mapping, key: &str) -> impl Iterator<Item = (&'a str, &'a mut Node)> {
    let below = map.get_mut(key).and_then(Node::as_mapping_mut);
    below.into_iter().flat_map(|map| map.iter_mut().map(|(key, entry)| (key, &mut entry.node)))
}

fn items(node: &mut Node) -> impl Iterator<Item = &mut Node> {
    node.as_sequence_mut().into_iter().flatten()
}

/// A text becomes a map that has it under `key`.
fn wrap(node: &mut Node, key: &str) {
    if let Value::String(text) = &mut node.value {
        let text = std::mem::take(text);
        node.value = map_at(&node.at, [(key, Value::String(text))]).value;
    }
}

/// A text becomes a list of one.
fn listed(node: &mut Node) {
    if let Value::String(_) = &node.value {
        let one = Node { tag: None, ..node.clone() };
        node.value = Value::Sequence(vec![one]);
    }
}

/// A list of names becomes a map of names to nothing.
fn keyed(node: &mut Node) {
    if let Value::Sequence(list) = &mut node.value {
        let names = std::mem::take(list);
        let mut map = Mapping::default();
        for name in names {
            if let Value::String(text) = name.value {
                map.insert(text, name.at.clone(), Node::new(&name.at, Value::Null));
            }
        }
        node.value = Value::Mapping(map);
    }
}
