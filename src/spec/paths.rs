//! Relative paths become absolute (compose-spec: "relative to the file's parent folder").
//!
//! An absolute path stays as it is written; a relative one is joined and cleaned, as Go's `filepath.Join` does.

use std::path::Path;

use super::fields::clean_path;
use super::tree::{Mapping, Node, Value};

/// Makes every path of the model absolute that is relative to `base`; `~` is `home`.
pub(in crate::spec) fn resolve(model: &mut Node, base: &Path, home: Option<&str>) {
    let Some(base) = base.to_str() else { return };
    let resolver = Resolver { base, home };
    let Some(model) = model.as_mapping_mut() else { return };
    for service in values(model, "services").filter_map(Node::as_mapping_mut) {
        resolver.service(service);
    }
    for kind in ["configs", "secrets"] {
        for resource in values(model, kind).filter_map(Node::as_mapping_mut) {
            if let Some(file) = resource.get_mut("file") {
                resolver.file(file);
            }
        }
    }
    for volume in values(model, "volumes").filter_map(Node::as_mapping_mut) {
        resolver.driver_options(volume);
    }
}

struct Resolver<'a> {
    base: &'a str,
    home: Option<&'a str>,
}

impl Resolver<'_> {
    fn service(&self, service: &mut Mapping) {
        if let Some(build) = service.get_mut("build").and_then(Node::as_mapping_mut) {
            build.get_mut("context").into_iter().for_each(|node| self.context(node));
            values(build, "additional_contexts").for_each(|node| self.context(node));
            values(build, "ssh").for_each(|node| self.file(node));
        }
        items(service, "env_file").filter_map(Node::as_mapping_mut).for_each(|file| self.under(file, "path"));
        items(service, "label_file").for_each(|node| self.node(node));
        if let Some(develop) = service.get_mut("develop").and_then(Node::as_mapping_mut) {
            for path in items(develop, "watch").filter_map(|rule| rule.as_mapping_mut()?.get_mut("path")) {
                self.node(path);
                follow_links(path);
            }
        }
        for mount in items(service, "volumes").filter_map(Node::as_mapping_mut) {
            if mount.get("type").and_then(Node::as_str) == Some("bind") {
                self.source(mount);
            }
        }
    }

    /// A bind source may be a Windows path, which is left alone.
    fn source(&self, mount: &mut Mapping) {
        if let Some(source) = mount.get_mut("source")
            && !source.as_str().is_some_and(is_windows_absolute)
        {
            self.file(source);
        }
    }

    /// The empty path of a file is `base` itself, as Docker Compose has it.
    fn file(&self, node: &mut Node) {
        self.node(node);
        if let Value::String(text) = &mut node.value
            && text.is_empty()
        {
            *text = clean_path(self.base);
        }
    }

    /// Only a local volume that is nothing but a bind mount has a path for a device.
    fn driver_options(&self, volume: &mut Mapping) {
        if volume.get("driver").and_then(Node::as_str) != Some("local") {
            return;
        }
        if let Some(options) = volume.get_mut("driver_opts").and_then(Node::as_mapping_mut)
            && options.get("o").and_then(Node::as_str) == Some("bind")
            && let Some(device) = options.get_mut("device")
        {
            self.file(device);
        }
    }

    /// What a build is made from need not be a directory.
    fn context(&self, node: &mut Node) {
        const REMOTE: [&str; 3] = ["service:", "github.com/", "git@"];
        let elsewhere = |text: &str| text.contains("://") || REMOTE.iter().any(|prefix| text.starts_with(prefix));
        if !node.as_str().is_some_and(elsewhere) {
            self.node(node);
        }
    }

    fn under(&self, map: &mut Mapping, key: &str) {
        if let Some(node) = map.get_mut(key) {
            self.node(node);
        }
    }

    fn node(&self, node: &mut Node) {
        if let Value::String(text) = &mut node.value {
            *text = absolute(text, self.base, self.home);
        }
    }
}

/// `path` as seen from `base`; the empty path stays empty.
pub(in crate::spec) fn absolute(path: &str, base: &str, home: Option<&str>) -> String {
    let path = match (path.strip_prefix('~'), home) {
        (Some(""), Some(home)) => home.to_owned(),
        (Some(rest), Some(home)) if rest.starts_with('/') => clean_path(&format!("{home}{rest}")),
        _ => path.to_owned(),
    };
    if path.is_empty() || path.starts_with('/') { path } else { clean_path(&format!("{base}/{path}")) }
}

/// `C:\x`, `C:/x` or `\\host\share`.
fn is_windows_absolute(path: &str) -> bool {
    let mut letters = path.chars();
    path.starts_with("\\\\")
        || (letters.next().is_some_and(|c| c.is_ascii_alphabetic())
            && letters.next() == Some(':')
            && matches!(letters.next(), Some('/' | '\\')))
}

/// What is watched is what the path leads to.
fn follow_links(node: &mut Node) {
    if let Value::String(text) = &mut node.value
        && let Ok(real) = std::fs::canonicalize(&*text)
        && let Some(real) = real.to_str()
    {
        *text = real.to_owned();
    }
}

fn values<'a>(map: &'a mut Mapping, key: &str) -> impl Iterator<Item = &'a mut Node> {
    let below = map.get_mut(key).and_then(Node::as_mapping_mut);
    below.into_iter().flat_map(|map| map.iter_mut().map(|(_, entry)| &mut entry.node))
}

fn items<'a>(map: &'a mut Mapping, key: &str) -> impl Iterator<Item = &'a mut Node> {
    map.get_mut(key).and_then(Node::as_sequence_mut).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_relative_paths_are_joined() {
        for (path, resolved) in [
            ("./a", "/base/a"),
            ("../a", "/a"),
            ("a/./b/..", "/base/a"),
            ("/x/../y", "/x/../y"),
            ("~", "/home/u"),
            ("~/a", "/home/u/a"),
            ("~other/a", "/base/~other/a"),
            ("", ""),
        ] {
            assert_eq!(absolute(path, "/base", Some("/home/u")), resolved, "{path}");
        }
    }
}
