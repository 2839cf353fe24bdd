//! Entries of a list that mean the same thing: the later one counts, in the place of the earlier.

use std::collections::HashMap;

use super::diagnostic::Diagnostic;
use super::tree::{Node, Path, Value};

/// What two entries must have in common to be the same thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    /// The text before the first `=`.
    BeforeEquals,
    /// The mount target; a short form is put in its long form first, so until then only its own text counts.
    Target,
    /// The mount target, or what it is for want of one: this and the source.
    MountIn(&'static str),
    /// Address, published port, target and protocol.
    Port,
    /// The value itself.
    Value,
    /// The file's path.
    Path,
}

/// Path → key (compose-spec, "Merge and override", unique resources).
const KEYS: &[(&str, Key)] = &[
    ("networks.*.labels", Key::BeforeEquals),
    ("networks.*.ipam.options", Key::BeforeEquals),
    ("services.*.annotations", Key::BeforeEquals),
    ("services.*.build.args", Key::BeforeEquals),
    ("services.*.build.additional_contexts", Key::BeforeEquals),
    ("services.*.build.platform", Key::BeforeEquals),
    ("services.*.build.tags", Key::BeforeEquals),
    ("services.*.build.labels", Key::BeforeEquals),
    ("services.*.cap_add", Key::BeforeEquals),
    ("services.*.cap_drop", Key::BeforeEquals),
    ("services.*.configs", Key::MountIn("")),
    ("services.*.deploy.labels", Key::BeforeEquals),
    ("services.*.devices", Key::Target),
    ("services.*.dns", Key::BeforeEquals),
    ("services.*.dns_opt", Key::BeforeEquals),
    ("services.*.dns_search", Key::BeforeEquals),
    ("services.*.environment", Key::BeforeEquals),
    ("services.*.env_file", Key::Path),
    ("services.*.expose", Key::Value),
    ("services.*.labels", Key::BeforeEquals),
    ("services.*.links", Key::BeforeEquals),
    ("services.*.networks.*.aliases", Key::BeforeEquals),
    ("services.*.networks.*.link_local_ips", Key::BeforeEquals),
    ("services.*.ports", Key::Port),
    ("services.*.profiles", Key::BeforeEquals),
    ("services.*.secrets", Key::MountIn("/run/secrets")),
    ("services.*.sysctls", Key::BeforeEquals),
    ("services.*.tmpfs", Key::BeforeEquals),
    ("services.*.volumes", Key::Target),
    ("volumes.*.labels", Key::BeforeEquals),
];

/// Drops what a later entry says anew, in every list of the model that has such a key.
pub(in crate::spec) fn enforce(model: &mut Node, found: &mut Vec<Diagnostic>) {
    for section in ["services", "networks", "volumes"] {
        let Some(things) = model.as_mapping_mut().and_then(|map| map.get_mut(section)) else { continue };
        walk(things, &mut Path::root().key(section), found);
    }
}

fn walk(node: &mut Node, path: &mut Path, found: &mut Vec<Diagnostic>) {
    match &mut node.value {
        Value::Mapping(map) => {
            for (name, entry) in map.iter_mut() {
                path.push_key(name);
                walk(&mut entry.node, path, found);
                path.pop();
            }
        }
        Value::Sequence(items) => {
            if let Some((_, key)) = KEYS.iter().find(|(pattern, _)| path.matches(pattern)) {
                let all = std::mem::take(items);
                *items = without_earlier(all, *key, path, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::String(_) => {}
    }
}

fn without_earlier(all: Vec<Node>, key: Key, path: &Path, found: &mut Vec<Diagnostic>) -> Vec<Node> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut kept: Vec<Node> = Vec::with_capacity(all.len());
    for (n, item) in all.into_iter().enumerate() {
        let Some(same) = key_of(&item, key, &|| path.item(n), found) else {
            kept.push(item);
            continue;
        };
        match places.get(&same).and_then(|place| kept.get_mut(*place)) {
            Some(earlier) => *earlier = item,
            None => {
                places.insert(same, kept.len());
                kept.push(item);
            }
        }
    }
    kept
}

/// `None`: like nothing else.
fn key_of(item: &Node, key: Key, path: &dyn Fn() -> Path, found: &mut Vec<Diagnostic>) -> Option<String> {
    let part = |name: &str| item.get(name).and_then(Node::scalar_text);
    let long = item.as_mapping().is_some();
    match key {
        Key::BeforeEquals => item.as_str().map(|text| text.split('=').next().unwrap_or(text).to_owned()),
        Key::Value => item.scalar_text(),
        Key::Path if long => part("path"),
        Key::MountIn(dir) if long => part("target").or_else(|| part("source").map(|source| format!("{dir}/{source}"))),
        Key::MountIn(dir) => item.as_str().map(|source| format!("{dir}/{source}")),
        Key::Target if long => {
            let target = part("target");
            if target.is_none() {
                found.push(Diagnostic::error(&item.at, format!("{} is missing a mount target", path())));
            }
            target
        }
        Key::Port if long => {
            let Some(target) = part("target") else {
                found.push(Diagnostic::error(&item.at, format!("{} is missing a target port", path())));
                return None;
            };
            let or = |name: &str, silent: &str| part(name).unwrap_or_else(|| silent.to_owned());
            let (host, protocol) = (or("host_ip", "0.0.0.0"), or("protocol", "tcp"));
            // Docker Compose takes `published: 80` and `published: "80"` for two.
            let published = item.get("published").map(|node| (node.kind(), node.scalar_text()));
            Some(format!("{host}:{published:?}:{target}/{protocol}"))
        }
        // A short form's own text; the NUL keeps it apart from what a long form may say.
        Key::Path | Key::Target | Key::Port => item.scalar_text().map(|text| format!("\0{text}")),
    }
}
