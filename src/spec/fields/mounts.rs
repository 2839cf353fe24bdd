//! `volumes: "./data:/var/lib:ro"`: `[SOURCE:]TARGET[:OPTION,…]`.
//!
//! Docker Compose reads it letter by letter, and takes one letter before a colon for a Windows drive wherever it stands:
//! `n:/x:ro` binds `n:/x` to `ro`. The same is done here, since files mean what Docker Compose makes of them.

use super::{clean_path, map_at};
use crate::spec::diagnostic::{Diagnostic, Location};
use crate::spec::tree::{Node, Value};

/// Replaces a short form by its long form, and cleans the target of either.
pub(in crate::spec) fn expand(node: &mut Node, found: &mut Vec<Diagnostic>) {
    if let Value::String(text) = &node.value {
        match short_form(text, &node.at) {
            Ok(long) => *node = long,
            Err(message) => found.push(Diagnostic::error(&node.at, format!("volumes: {message}"))),
        }
    }
    if let Some(target) = node.as_mapping_mut().and_then(|map| map.get_mut("target"))
        && let Value::String(text) = &mut target.value
        && !text.is_empty()
    {
        *text = clean_path(text);
    }
}

fn short_form(text: &str, at: &Location) -> Result<Node, String> {
    let string = |text: &str| Value::String(text.to_owned());
    if text.is_empty() {
        return Err("an empty text is no mount".to_owned());
    }
    if text.len() <= 2 {
        return Ok(map_at(at, [("type", string("volume")), ("target", string(text))]));
    }
    let sections = sections(text);
    if sections.iter().any(String::is_empty) {
        return Err(format!("invalid mount {text:?}: empty section between colons"));
    }
    let (source, target, options) = match &sections[..] {
        [target] => ("", target.as_str(), ""),
        [source, target] => (source.as_str(), target.as_str(), ""),
        [source, target, options] => (source.as_str(), target.as_str(), options.as_str()),
        _ => return Err(format!("invalid mount {text:?}: too many colons")),
    };
    let (mut read_only, mut no_copy, mut bind) = (false, false, Vec::new());
    for option in options.split(',') {
        match option {
            "ro" => read_only = true,
            "rw" => read_only = false,
            "nocopy" => no_copy = true,
            "z" | "Z" => set(&mut bind, "selinux", option),
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => set(&mut bind, "propagation", option),
            // Docker Compose passes over what it does not know (`cached`, `delegated`, …).
            _ => {}
        }
    }
    let is_bind = is_path(source);
    if is_bind {
        bind.push(("create_host_path", Value::Bool(true)));
    }
    let mut entries = vec![("type", string(if is_bind { "bind" } else { "volume" }))];
    if !source.is_empty() {
        entries.push(("source", string(source)));
    }
    entries.push(("target", string(target)));
    if read_only {
        entries.push(("read_only", Value::Bool(true)));
    }
    if !bind.is_empty() {
        entries.push(("bind", map_at(at, bind).value));
    }
    if !is_bind || no_copy {
        let volume = no_copy.then_some(("nocopy", Value::Bool(true)));
        entries.push(("volume", map_at(at, volume).value));
    }
    Ok(map_at(at, entries))
}

fn set(options: &mut Vec<(&'static str, Value)>, key: &'static str, value: &str) {
    options.retain(|(known, _)| *known != key);
    options.push((key, Value::String(value.to_owned())));
}

/// The parts between colons; one letter before a colon is a drive, a colon in `${…}` is not looked at.
fn sections(text: &str) -> Vec<String> {
    let mut sections = vec![String::new()];
    let (mut depth, mut letters) = (0_u32, text.chars().peekable());
    while let Some(letter) = letters.next() {
        // There is always a last section: the list begins with one and only grows.
        let Some(section) = sections.last_mut() else { break };
        let drive = section.len() == 1 && section.bytes().all(|c| c.is_ascii_alphabetic());
        match letter {
            '$' if letters.peek() == Some(&'{') => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ':' if depth == 0 && !drive => {
                sections.push(String::new());
                continue;
            }
            _ => {}
        }
        section.push(letter);
    }
    sections
}

/// Whether a source is a path of the host and not a volume's name.
fn is_path(source: &str) -> bool {
    let mut letters = source.chars();
    match letters.next() {
        None => false,
        Some('.' | '/' | '~') => true,
        Some(first) => source.starts_with("\\\\") || (first.is_alphabetic() && letters.next() == Some(':')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::fields::tests_support::{at, show};

    fn long(text: &str) -> String {
        let (mut node, mut found) = (Node::string(&at(), text), Vec::new());
        expand(&mut node, &mut found);
        found.first().map_or_else(|| show(&node), |fault| fault.message.clone())
    }

    #[test]
    fn short_forms_are_named_volumes_paths_or_anonymous() {
        assert_eq!(long("data:/d"), "type=volume source=data target=/d volume={}");
        assert_eq!(
            long("./x:/y/:ro,z"),
            "type=bind source=./x target=/y read_only=true bind={selinux=z create_host_path=true}"
        );
        assert_eq!(long("/data"), "type=volume target=/data volume={}");
        assert_eq!(long("d"), "type=volume target=d");
        assert_eq!(long("data:/d:nocopy,cached"), "type=volume source=data target=/d volume={nocopy=true}");
    }

    #[test]
    fn one_letter_before_a_colon_is_a_drive_everywhere() {
        assert_eq!(long("v:/x"), "type=volume target=v:/x volume={}");
        assert_eq!(long("n:/x:ro"), "type=bind source=n:/x target=ro bind={create_host_path=true}");
        assert_eq!(long("a:b:c:d"), "type=bind source=a:b target=c:d bind={create_host_path=true}");
    }

    #[test]
    fn what_is_no_mount_is_named() {
        for wrong in ["", ":/x", "/x:", "/aa:/bb:ro:rw"] {
            assert!(long(wrong).starts_with("volumes: "), "{wrong}");
        }
    }
}
