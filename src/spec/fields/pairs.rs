//! What may be a map or a list of `KEY=VALUE`: `environment`, `labels`, `args`, `sysctls`, …

use crate::spec::tree::{Entry, Mapping, Node, Value};

/// What a key without a value holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::spec) enum Bare {
    /// Null, to be looked up later.
    Null,
    /// The empty text.
    Empty,
}

/// As a map of texts. Of two entries with one key the later counts.
pub(in crate::spec) fn to_map(node: &mut Node, bare: Bare) {
    let without = |at: &crate::spec::diagnostic::Location| match bare {
        Bare::Null => Node::new(at, Value::Null),
        Bare::Empty => Node::string(at, ""),
    };
    let mut map = Mapping::default();
    match std::mem::replace(&mut node.value, Value::Null) {
        Value::Mapping(mut entries) => {
            gather_extensions(&mut entries);
            for (key, Entry { key_at, node: value }) in entries {
                let value = match value.value {
                    Value::Null => without(&value.at),
                    Value::String(_) => value,
                    _ => Node::string(&value.at, value.scalar_text().unwrap_or_default()),
                };
                map.insert(key, key_at, value);
            }
        }
        Value::Sequence(list) => {
            for item in list {
                let text = item.scalar_text().unwrap_or_default();
                let (key, value) = match text.split_once('=') {
                    Some((key, value)) => (key, Node::string(&item.at, value)),
                    None => (text.as_str(), without(&item.at)),
                };
                map.insert(key, item.at.clone(), value);
            }
        }
        // Null, or what the schema has refused.
        _ => {}
    }
    node.value = Value::Mapping(map);
}

/// Docker Compose takes `x-…` for an extension wherever a map has it, even where the keys are the user's own, and then
/// writes all of them as one value. That loses variables of that name, in the map form only; what is meant is what it does.
pub(in crate::spec) fn gather_extensions(entries: &mut Mapping) {
    if !entries.keys().any(|key| key.starts_with("x-")) {
        return;
    }
    let mut taken = Vec::new();
    entries.retain(|key, entry| {
        let extension = key.starts_with("x-");
        if extension {
            let text = if entry.node.is_null() { Some("<nil>".to_owned()) } else { entry.node.scalar_text() };
            taken.push((format!("{key}:{}", text.unwrap_or_default()), entry.key_at.clone()));
        }
        !extension
    });
    taken.sort_by(|a, b| a.0.cmp(&b.0));
    let Some(at) = taken.first().map(|(_, at)| at.clone()) else { return };
    let texts: Vec<String> = taken.into_iter().map(|(text, _)| text).collect();
    let map = format!("map[{}]", texts.join(" "));
    entries.insert("#extensions", at.clone(), Node::string(&at, map));
}

/// The same where values are maps: all of them become one that says nothing.
pub(in crate::spec) fn drop_extensions(entries: &mut Mapping) {
    let first = entries.iter().find(|(key, _)| key.starts_with("x-")).map(|(_, entry)| entry.key_at.clone());
    let Some(at) = first else { return };
    entries.retain(|key, _| !key.starts_with("x-"));
    entries.insert("#extensions", at.clone(), Node::new(&at, Value::Mapping(Mapping::default())));
}
