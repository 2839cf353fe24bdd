//! `devices: "/dev/snd:/dev/snd:rw"`: `SOURCE[:TARGET[:PERMISSIONS]]`.

use super::map_at;
use crate::spec::diagnostic::Diagnostic;
use crate::spec::tree::{Node, Value};

/// Replaces a short form by its long form.
pub(in crate::spec) fn expand(node: &mut Node, found: &mut Vec<Diagnostic>) {
    let Value::String(text) = &node.value else { return };
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, permissions) = match parts[..] {
        [source] => (source, "", "rwm"),
        [source, target] => (source, target, "rwm"),
        [source, target, permissions] => (source, target, permissions),
        _ => {
            let message = format!("devices: confusing device mapping {text:?}");
            found.push(Diagnostic::error(&node.at, message).help("use the long form: source, target, permissions"));
            return;
        }
    };
    let target = if target.is_empty() { source } else { target };
    let string = |text: &str| Value::String(text.to_owned());
    *node = map_at(
        &node.at,
        [("source", string(source)), ("target", string(target)), ("permissions", string(permissions))],
    );
}
