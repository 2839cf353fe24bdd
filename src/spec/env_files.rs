//! `env_file` and `label_file`: what they hold goes under `environment` and `labels`, which have the last word.

use std::collections::BTreeMap;
use std::path::Path;

use super::check::items;
use super::diagnostic::Diagnostic;
use super::dotenv::{self, Format};
use super::read;
use super::tree::{Entry, Mapping, Node, Value};

/// Reads the env files of every service and drops the key.
pub(in crate::spec) fn read(model: &mut Node, environment: &BTreeMap<String, String>, found: &mut Vec<Diagnostic>) {
    for service in services(model) {
        read_env_files(service, environment, found);
    }
}

/// Reads the label files of every service and drops the key. Unlike env files they are always read, and their values
/// see no variable but those above them, as in Docker Compose.
pub(in crate::spec) fn read_labels(model: &mut Node, found: &mut Vec<Diagnostic>) {
    for service in services(model) {
        read_label_files(service, found);
    }
}

fn services(model: &mut Node) -> impl Iterator<Item = &mut Mapping> {
    let services = model.as_mapping_mut().and_then(|map| map.get_mut("services")).and_then(Node::as_mapping_mut);
    services.into_iter().flat_map(Mapping::iter_mut).filter_map(|(_, entry)| entry.node.as_mapping_mut())
}

fn read_env_files(service: &mut Mapping, environment: &BTreeMap<String, String>, found: &mut Vec<Diagnostic>) {
    if let Some(own) = service.get_mut("environment").and_then(Node::as_mapping_mut) {
        for (name, entry) in own.iter_mut().filter(|(_, entry)| entry.node.is_null()) {
            if let Some(value) = environment.get(name) {
                entry.node.value = Value::String(value.clone());
            }
        }
    }
    let Some(files) = service.remove("env_file") else { return };
    let own = service.get("environment").and_then(Node::as_mapping).cloned().unwrap_or_default();
    let lookup = |name: &str| {
        let own = || own.get(name).and_then(Node::as_str).map(str::to_owned);
        environment.get(name).cloned().or_else(own)
    };
    let mut known: BTreeMap<String, String> =
        own.iter().filter_map(|(name, entry)| Some((name.to_owned(), entry.node.as_str()?.to_owned()))).collect();
    let mut assigned = Mapping::default();
    for file in items(Some(&files.node)) {
        let required = !matches!(file.get("required"), Some(Node { value: Value::Bool(false), .. }));
        let format = match file.get("format") {
            None => Format::Compose,
            Some(format) => match format.as_str() {
                Some("raw") => Format::Raw,
                Some("") => Format::Compose,
                other => {
                    let other = other.unwrap_or("");
                    let message = format!("unsupported env_file format {other:?}");
                    found.push(Diagnostic::error(&format.at, message).help("the only format to name is `raw`"));
                    continue;
                }
            },
        };
        let Some(path) = file.get("path") else { continue };
        if !required && !Path::new(path.as_str().unwrap_or("")).exists() {
            continue;
        }
        assign(path, "env file", format, &lookup, &mut known, &mut assigned, found);
    }
    merge_under(service, "environment", assigned, files);
}

fn read_label_files(service: &mut Mapping, found: &mut Vec<Diagnostic>) {
    let Some(files) = service.remove("label_file") else { return };
    let (mut known, mut assigned) = (BTreeMap::new(), Mapping::default());
    for path in items(Some(&files.node)) {
        assign(path, "label file", Format::Compose, &|_| None, &mut known, &mut assigned, found);
    }
    merge_under(service, "labels", assigned, files);
}

/// Reads one file; the later assignment counts.
fn assign(
    path: &Node,
    kind: &str,
    format: Format,
    lookup: &dyn Fn(&str) -> Option<String>,
    known: &mut BTreeMap<String, String>,
    assigned: &mut Mapping,
    found: &mut Vec<Diagnostic>,
) {
    let text = path.as_str().unwrap_or("");
    let file = match read::file(Path::new(text), text, None) {
        Ok(file) => file,
        Err(fault) => {
            found.push(Diagnostic::error(&path.at, format!("{kind}: {}", fault.message)));
            return;
        }
    };
    match dotenv::parse(&file, format, lookup, known, found) {
        Ok(assignments) => {
            for one in assignments {
                let value = Node::string(&one.at, one.value);
                assigned.insert(one.name, one.at, value);
            }
        }
        Err(fault) => found.push(fault.note(Some(&path.at), "read for this")),
    }
}

/// Puts `assigned` under `key`, below what is there.
fn merge_under(service: &mut Mapping, key: &str, mut assigned: Mapping, files: Entry) {
    if let Some(Entry { node: Node { value: Value::Mapping(own), .. }, .. }) = service.remove(key) {
        for (name, Entry { key_at, node }) in own {
            assigned.insert(name, key_at, node);
        }
    }
    if !assigned.is_empty() {
        let node = Node::new(&files.node.at, Value::Mapping(assigned));
        service.insert(key, files.key_at, node);
    }
}
