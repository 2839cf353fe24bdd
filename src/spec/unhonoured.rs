//! Which keys of a model are read but come to nothing when it is run: the fields that the table of `schema` marks so.

use super::diagnostic::Diagnostic;
use super::schema::{Becomes, FILE, Object};
use super::tree::{Mapping, Node, Path};

/// A warning for each such key, at its place.
pub(in crate::spec) fn warnings(model: &Node) -> Vec<Diagnostic> {
    let mut walk = Walk { path: Path::root(), found: Vec::new() };
    walk.object(model, &FILE);
    walk.found
}

struct Walk {
    path: Path,
    found: Vec<Diagnostic>,
}

impl Walk {
    fn object(&mut self, node: &Node, object: &'static Object) {
        for (key, entry) in node.as_mapping().into_iter().flat_map(Mapping::iter) {
            let Some(field) = object.field(key) else { continue };
            self.path.push_key(key);
            if field.honoured {
                self.value(&entry.node, &field.becomes);
            } else if !entry.node.is_null() {
                let message = format!("{}: `{key}` is not supported yet and has no effect", self.path);
                self.found.push(Diagnostic::warning(&entry.key_at, message));
            }
            self.path.pop();
        }
    }

    fn value(&mut self, node: &Node, becomes: &'static Becomes) {
        match becomes {
            Becomes::Object(object) => self.object(node, object),
            Becomes::List(items) => {
                for (n, item) in node.as_sequence().into_iter().flatten().enumerate() {
                    self.path.push_item(n);
                    self.value(item, items);
                    self.path.pop();
                }
            }
            Becomes::Named(values) | Becomes::Map(values) => {
                for (key, entry) in node.as_mapping().into_iter().flat_map(Mapping::iter) {
                    self.path.push_key(key);
                    self.value(&entry.node, values);
                    self.path.pop();
                }
            }
            _ => {}
        }
    }
}
