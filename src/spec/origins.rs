//! Where each value of a model was written (`config --origins`): the place that won the merge.

use super::diagnostic::Location;
use super::model::Model;
use super::tree::{Node, Path, Value};

/// A value that is no list or map, or an empty one, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// `services.web.ports.[0].target`
    pub path: Path,
    /// As it came out of the merge.
    pub value: String,
    /// Where it was written, or what it came of.
    pub at: Location,
}

impl Model {
    /// Every value with its place, in the order of the files.
    pub fn origins(&self) -> Vec<Origin> {
        let mut all = Vec::new();
        gather(&self.tree, &mut Path::root(), &mut all);
        all
    }
}

fn gather(node: &Node, path: &mut Path, all: &mut Vec<Origin>) {
    match &node.value {
        Value::Mapping(map) if !map.is_empty() => {
            for (key, entry) in map.iter() {
                path.push_key(key);
                gather(&entry.node, path, all);
                path.pop();
            }
        }
        Value::Sequence(items) if !items.is_empty() => {
            for (n, item) in items.iter().enumerate() {
                path.push_item(n);
                gather(item, path, all);
                path.pop();
            }
        }
        value => {
            let value = match value {
                Value::Mapping(_) => "{}".to_owned(),
                Value::Sequence(_) => "[]".to_owned(),
                Value::Null => "null".to_owned(),
                Value::String(text) => format!("{text:?}"),
                Value::Bool(_) | Value::Int(_) | Value::Float(_) => node.scalar_text().unwrap_or_default(),
            };
            all.push(Origin { path: path.clone(), value, at: node.at.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::fuzz::loaded;

    #[test]
    fn each_value_knows_the_file_that_won() {
        let base = b"services:\n  a:\n    image: x\n    user: u\n";
        let over = b"services:\n  a:\n    user: v\n";
        let model = loaded(&[("a.yaml", base), ("b.yaml", over)]).unwrap().model;
        let places: Vec<String> =
            model.origins().iter().map(|origin| format!("{} {} {}", origin.path, origin.at, origin.value)).collect();
        assert!(places.contains(&"services.a.image a.yaml:3:12 \"x\"".to_owned()), "{places:?}");
        assert!(places.contains(&"services.a.user b.yaml:3:11 \"v\"".to_owned()), "{places:?}");
    }
}
