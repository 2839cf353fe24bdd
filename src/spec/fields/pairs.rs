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
        Value::Mapping(entries) => {
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
