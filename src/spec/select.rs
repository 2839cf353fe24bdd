//! Which services count: by profile, then by name with what they depend on; and which resources those still need.

use std::collections::BTreeSet;

use super::check::items;
use super::diagnostic::Diagnostic;
use super::tree::{Mapping, Node, Value};

/// Takes the services out of the model whose profiles are not active, and gives them back. A service that is asked for by
/// name has its profiles activated (compose-spec, "Implicit activation").
pub(in crate::spec) fn by_profile(model: &mut Node, profiles: &[String], asked: &[String]) -> Mapping {
    let mut disabled = Mapping::default();
    let Some(services) = services(model) else { return disabled };
    let mut active: BTreeSet<String> = profiles.iter().cloned().collect();
    // Where none is named, Docker Compose takes that for one with an empty name.
    if profiles.is_empty() {
        active.insert(String::new());
    }
    for (name, entry) in services.iter() {
        if asked.iter().any(|asked| asked == name) && !is_active(&entry.node, &active) {
            active.extend(profiles_of(&entry.node).map(str::to_owned));
        }
    }
    for (name, entry) in std::mem::take(services) {
        let to = if is_active(&entry.node, &active) { &mut *services } else { &mut disabled };
        to.insert(name, entry.key_at, entry.node);
    }
    disabled
}

fn profiles_of(service: &Node) -> impl Iterator<Item = &str> {
    items(service.get("profiles")).filter_map(Node::as_str)
}

fn is_active(service: &Node, active: &BTreeSet<String>) -> bool {
    active.contains("*")
        || profiles_of(service).next().is_none()
        || profiles_of(service).any(|one| active.contains(one))
}

/// Keeps the services asked for (patterns) and all that they depend on; gives back the others.
pub(in crate::spec) fn by_name(model: &mut Node, asked: &[String], found: &mut Vec<Diagnostic>) -> Mapping {
    let mut others = Mapping::default();
    let Some(services) = services(model) else { return others };
    if asked.is_empty() {
        return others;
    }
    let mut wanted: Vec<String> = Vec::new();
    for pattern in asked {
        let matching: Vec<&str> = services.keys().filter(|name| glob(pattern, name)).collect();
        if matching.is_empty() {
            let fault = Diagnostic::error_nowhere(format!("no such service: {pattern}"));
            found.push(fault.did_you_mean(pattern, services.keys()));
        }
        wanted.extend(matching.into_iter().map(str::to_owned));
    }
    let mut kept = BTreeSet::new();
    while let Some(name) = wanted.pop() {
        let Some(service) = services.get(&name).filter(|_| !kept.contains(&name)) else { continue };
        if let Some(dependencies) = service.get("depends_on").and_then(Node::as_mapping) {
            wanted.extend(dependencies.keys().map(str::to_owned));
        }
        kept.insert(name);
    }
    for (name, mut entry) in std::mem::take(services) {
        if !kept.contains(&name) {
            others.insert(name, entry.key_at, entry.node);
            continue;
        }
        if let Some(service) = entry.node.as_mapping_mut()
            && let Some(dependencies) = service.get_mut("depends_on").and_then(Node::as_mapping_mut)
        {
            dependencies.retain(|name, _| kept.contains(name));
        }
        services.insert(name, entry.key_at, entry.node);
    }
    others
}

/// `*` is any text, `?` any letter.
fn glob(pattern: &str, name: &str) -> bool {
    let mut letters = pattern.chars();
    match letters.next() {
        None => name.is_empty(),
        Some('*') => {
            let rest = letters.as_str();
            name.char_indices().map(|(at, _)| &name[at..]).chain([""]).any(|tail| glob(rest, tail))
        }
        Some(letter) => {
            let mut own = name.chars();
            own.next().is_some_and(|own| letter == '?' || own == letter) && glob(letters.as_str(), own.as_str())
        }
    }
}

/// Drops networks, volumes, configs, secrets and models that no service of the model uses.
pub(in crate::spec) fn drop_unused(model: &mut Node) {
    let mut used: [(&str, BTreeSet<String>); 5] =
        ["networks", "volumes", "configs", "secrets", "models"].map(|kind| (kind, BTreeSet::new()));
    for service in services(model).into_iter().flat_map(|map| map.iter()).map(|(_, entry)| &entry.node) {
        for (kind, names) in &mut used {
            names.extend(references(service, kind).map(|(name, _)| name.to_owned()));
        }
    }
    let Some(model) = model.as_mapping_mut() else { return };
    for (kind, names) in used {
        if let Some(resources) = model.get_mut(kind).and_then(Node::as_mapping_mut) {
            resources.retain(|name, _| names.contains(name));
            if resources.is_empty() {
                model.remove(kind);
            }
        }
    }
}

/// The resources of a kind that a service names, each with the place where it does.
pub(in crate::spec) fn references<'a>(
    service: &'a Node,
    kind: &str,
) -> Box<dyn Iterator<Item = (&'a str, &'a Node)> + 'a> {
    let by_key = |key: &str| {
        let map = service.get(key).and_then(Node::as_mapping);
        map.into_iter().flat_map(|map| map.iter().map(|(name, entry)| (name, &entry.node)))
    };
    let source = |item: &'a Node| match item.get("source") {
        Some(source) => (source.as_str().unwrap_or(""), source),
        None => ("", item),
    };
    match kind {
        "networks" | "models" => Box::new(by_key(kind)),
        "volumes" => Box::new(
            items(service.get("volumes"))
                .filter(|mount| mount.get("type").and_then(Node::as_str) == Some("volume"))
                .map(source)
                .filter(|(name, _)| !name.is_empty()),
        ),
        "secrets" => {
            let build = service.get("build").and_then(|build| build.get("secrets"));
            Box::new(items(service.get("secrets")).chain(items(build)).map(source))
        }
        "configs" => Box::new(items(service.get("configs")).map(source)),
        _ => Box::new(std::iter::empty()),
    }
}

fn services(model: &mut Node) -> Option<&mut Mapping> {
    match &mut model.value {
        Value::Mapping(map) => map.get_mut("services")?.as_mapping_mut(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names() {
        for (pattern, name, matches) in [
            ("web", "web", true),
            ("w*", "web", true),
            ("*", "", true),
            ("w?b", "web", true),
            ("w", "web", false),
            ("*b*", "a", false),
        ] {
            assert_eq!(glob(pattern, name), matches, "{pattern} {name}");
        }
    }
}
