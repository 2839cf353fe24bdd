//! What `config` lists instead of printing the whole: names of services, networks, …, images, profiles, variables.

use std::collections::{BTreeMap, BTreeSet};

use super::diagnostic::{Location, SpecError};
use super::interpolate;
use super::interpolate::template::{self, Kind};
use super::model::Model;
use super::print::{self, Format};
use super::tree::{Mapping, Node, Path, Value};

/// A variable that the files name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Variable {
    /// It must have a value somewhere.
    pub required: bool,
    /// What stands in for a missing value.
    pub default: String,
    /// What stands instead of a value.
    pub alternate: String,
    /// Each place that names it, with the way to the value there.
    pub places: Vec<(Path, Location)>,
}

impl Model {
    /// As it is in the files, merged, keys sorted: what `--no-interpolate` prints.
    pub fn print_raw(&self, format: Format) -> Result<String, SpecError> {
        Ok(print::raw(&self.tree, format)?)
    }

    /// The active services, each after those that it depends on; otherwise by name.
    pub fn service_names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        let Some(services) = self.section("services") else { return names };
        let mut seen = BTreeSet::new();
        // Depth first without recursion, since a chain of dependencies may be as long as the file.
        let mut stack: Vec<(&str, bool)> = sorted(services).into_iter().rev().map(|name| (name, false)).collect();
        while let Some((name, visited)) = stack.pop() {
            if visited {
                names.push(name);
            } else if seen.insert(name) {
                stack.push((name, true));
                let needs = services.get(name).and_then(|service| service.get("depends_on")).and_then(Node::as_mapping);
                let needs = needs.map(sorted).unwrap_or_default();
                let known = needs.into_iter().rev().filter(|need| services.entry(need).is_some());
                stack.extend(known.map(|need| (need, false)));
            }
        }
        names
    }

    /// The keys of `networks`, `volumes` or another top-level section.
    pub fn keys(&self, section: &str) -> Vec<&str> {
        self.section(section).map(sorted).unwrap_or_default()
    }

    /// The profiles of all services, active or not.
    pub fn profiles(&self) -> Vec<String> {
        let active = self.section("services").into_iter().flat_map(Mapping::iter);
        let services = active.chain(self.disabled.iter()).map(|(_, entry)| &entry.node);
        let lists = services.filter_map(|service| service.get("profiles")).filter_map(Node::as_sequence);
        let all: BTreeSet<String> = lists.flatten().filter_map(Node::scalar_text).collect();
        all.into_iter().collect()
    }

    /// The image of each active service, by the service's name; those without one get `<project>-<service>`.
    pub fn image_names(&self) -> Vec<String> {
        let Some(services) = self.section("services") else { return Vec::new() };
        let image = |name: &str| {
            let named = services.get(name).and_then(|service| service.get("image")).and_then(Node::scalar_text);
            named.unwrap_or_else(|| format!("{}-{name}", self.name))
        };
        sorted(services).into_iter().map(image).collect()
    }

    /// Every variable that a model which was not interpolated names, by name.
    pub fn variables(&self) -> BTreeMap<String, Variable> {
        let mut found = BTreeMap::new();
        gather(&self.tree, &mut Path::root(), &mut found);
        found
    }

    fn section(&self, name: &str) -> Option<&Mapping> {
        self.tree.get(name).and_then(Node::as_mapping)
    }
}

fn gather(node: &Node, path: &mut Path, found: &mut BTreeMap<String, Variable>) {
    match &node.value {
        Value::String(text) => note(text, &node.at, path, found),
        Value::Sequence(items) => {
            for (n, item) in items.iter().enumerate() {
                path.push_item(n);
                gather(item, path, found);
                path.pop();
            }
        }
        Value::Mapping(map) => {
            for (key, entry) in map.iter() {
                path.push_key(key);
                gather(&entry.node, path, found);
                path.pop();
            }
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {}
    }
}

/// Of several uses of a variable, the first that says something counts.
fn note(text: &str, at: &Location, path: &Path, found: &mut BTreeMap<String, Variable>) {
    for used in template::variables(text) {
        let variable = found.entry(used.name).or_default();
        variable.places.push((path.clone(), interpolate::pinpoint(at, text, used.at.start, used.at.len())));
        let take = |place: &mut String| {
            if place.is_empty() {
                place.clone_from(&used.word);
            }
        };
        match used.operator.map(|operator| operator.kind) {
            Some(Kind::Required) => variable.required = true,
            Some(Kind::Default) => take(&mut variable.default),
            Some(Kind::Instead) => take(&mut variable.alternate),
            None => {}
        }
    }
}

fn sorted(map: &Mapping) -> Vec<&str> {
    let mut keys: Vec<&str> = map.keys().collect();
    keys.sort_unstable();
    keys
}
