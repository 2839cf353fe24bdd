//! Attributes with a syntax of their own, one file each.

pub(super) mod command;
pub(super) mod devices;
pub(super) mod hosts;
pub(super) mod mounts;
pub(super) mod pairs;
pub(super) mod ports;

use super::diagnostic::Location;
use super::tree::{Mapping, Node, Value};

/// A map of these entries, all written at one place.
pub(super) fn map_at<'a>(at: &Location, entries: impl IntoIterator<Item = (&'a str, Value)>) -> Node {
    let mut map = Mapping::default();
    for (key, value) in entries {
        map.insert(key, at.clone(), Node::new(at, value));
    }
    Node::new(at, Value::Mapping(map))
}

/// Cleans a path of a container as Go's `path.Clean` does: no `.` nor `..` that could be left out, no double or last `/`.
pub(super) fn clean_path(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cleaned_path_has_nothing_left_to_leave_out() {
        for (path, clean) in [
            ("/a/../b/", "/b"),
            ("./x", "x"),
            ("", "."),
            ("/..", "/"),
            ("../../x", "../../x"),
            ("a//b/.", "a/b"),
            ("/", "/"),
        ] {
            assert_eq!(clean_path(path), clean, "{path}");
        }
    }
}

#[cfg(test)]
pub(in crate::spec) mod tests_support {

    use super::*;
    use crate::spec::diagnostic::SourceFile;

    /// A place somewhere.
    pub(in crate::spec) fn at() -> Location {
        let file = SourceFile::new("compose.yaml", "");
        Location { file, line: 1, column: 1, width: 1 }
    }

    /// A map on one line: `key=value key={…}`.
    pub(in crate::spec) fn show(node: &Node) -> String {
        match &node.value {
            Value::Mapping(map) => {
                let entry = |(key, entry): (&str, &crate::spec::tree::Entry)| match &entry.node.value {
                    Value::Mapping(_) | Value::Sequence(_) => format!("{key}={{{}}}", show(&entry.node)),
                    _ => format!("{key}={}", show(&entry.node)),
                };
                map.iter().map(entry).collect::<Vec<_>>().join(" ")
            }
            Value::Sequence(list) => list.iter().map(show).collect::<Vec<_>>().join(", "),
            _ => node.scalar_text().unwrap_or_default(),
        }
    }
}
