//! The compose files of a project made ready to travel: files beside them that they name are called by a hash of their path,
//! so that all lie in one folder elsewhere (Compose CLI reference, §14).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::diagnostic::{Diagnostic, Location, SourceFile, SpecError};
use super::read;
use super::remote::Fetch;
use super::source::{clean, shown};
use super::tree::{self, Node, Value};

/// What travels.
#[derive(Debug, Clone, Default)]
pub struct Bundle {
    /// The compose files, in order.
    pub files: Vec<BundledFile>,
    /// Files that they extend, and those that these extend.
    pub extended: Vec<BundledFile>,
    /// Env files: what they are called elsewhere, and where they are here.
    pub env_files: BTreeMap<String, PathBuf>,
    /// What the user should think of before others read it.
    pub doubts: Doubts,
}

/// A compose file as it travels.
#[derive(Debug, Clone)]
pub struct BundledFile {
    /// What it is called.
    pub name: String,
    /// With the paths it has elsewhere.
    pub text: String,
}

/// What may not be meant for others, by the service or config that has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doubts {
    /// Folders and files of this machine that services mount.
    pub binds: BTreeMap<String, Vec<String>>,
    /// Variables with a value in the file whose name says that it is a secret, and services with env files.
    pub variables: BTreeMap<String, Vec<String>>,
    /// Configs whose content stands in the file.
    pub contents: BTreeSet<String>,
}

/// Words in the name of a variable that is nobody's business.
const SECRETS: [&str; 9] =
    ["PASSWORD", "PASSWD", "SECRET", "TOKEN", "CREDENTIAL", "API_KEY", "APIKEY", "PRIVATE_KEY", "ACCESS_KEY"];

/// Makes the files of a project, of which `dir` is the working directory, ready to travel.
pub fn bundle(
    files: &[PathBuf],
    dir: &FilePath,
    current_dir: &FilePath,
    remote: &dyn Fetch,
) -> Result<Bundle, SpecError> {
    let mut packer =
        Packer { current_dir, remote, bundle: Bundle::default(), faults: Vec::new(), extended: BTreeSet::new() };
    for file in files {
        let name =
            file.file_name().map_or_else(|| "compose.yaml".to_owned(), |name| name.to_string_lossy().into_owned());
        let text = packer.file(file, dir)?;
        packer.bundle.files.push(BundledFile { name, text });
    }
    if packer.faults.is_empty() { Ok(packer.bundle) } else { Err(SpecError(packer.faults)) }
}

struct Packer<'a> {
    current_dir: &'a FilePath,
    remote: &'a dyn Fetch,
    bundle: Bundle,
    faults: Vec<Diagnostic>,
    extended: BTreeSet<PathBuf>,
}

impl Packer<'_> {
    /// The text of a file with other paths; what it names goes into the bundle.
    fn file(&mut self, file: &FilePath, dir: &FilePath) -> Result<String, SpecError> {
        let source = read::file(file, &shown(file, self.current_dir), None)?;
        let mut paths = Vec::new();
        for document in tree::parse(&source)? {
            self.includes(&document);
            let sections =
                |name: &str| document.get(name).and_then(Node::as_mapping).into_iter().flat_map(|map| map.iter());
            for (name, entry) in sections("configs") {
                let content = entry.node.get("content").and_then(Node::as_str);
                if content.is_some_and(|content| !content.contains('$')) {
                    self.bundle.doubts.contents.insert(name.to_owned());
                }
            }
            for (name, entry) in sections("services") {
                self.service(name, &entry.node, dir, &mut paths)?;
            }
        }
        Ok(self.rewritten(&source, paths))
    }

    /// What is included does not travel, so it must be had from elsewhere there, too.
    fn includes(&mut self, document: &Node) {
        let Some(entries) = document.get("include").and_then(Node::as_sequence) else { return };
        for entry in entries {
            let path = entry.get("path").unwrap_or(entry);
            let all = path.as_sequence().unwrap_or(std::slice::from_ref(path));
            for one in all.iter().filter(|one| one.as_str().is_some_and(|path| self.remote.fetch(path).is_none())) {
                self.faults.push(Diagnostic::error(&one.at, "cannot publish compose file with local includes"));
            }
        }
    }

    fn service(
        &mut self,
        name: &str,
        service: &Node,
        dir: &FilePath,
        paths: &mut Vec<(Location, String, String)>,
    ) -> Result<(), SpecError> {
        for node in env_files(service) {
            let Some(path) = node.as_str() else { continue };
            let doubts = self.bundle.doubts.variables.entry(name.to_owned()).or_default();
            doubts.push(format!("env_file {path}"));
            if path.contains('$') {
                self.faults.push(Diagnostic::error(&node.at, "an env file that a variable names can't be published"));
                continue;
            }
            let file = clean(&dir.join(path));
            let called = format!("{}.env", hash(&file));
            self.bundle.env_files.insert(called.clone(), file);
            paths.push((node.at.clone(), path.to_owned(), called));
        }
        for (variable, value) in variables(service) {
            let secret = SECRETS.iter().any(|word| variable.to_ascii_uppercase().contains(word));
            if secret && !value.is_empty() && !value.contains('$') {
                self.bundle.doubts.variables.entry(name.to_owned()).or_default().push(variable);
            }
        }
        for bind in binds(service) {
            self.bundle.doubts.binds.entry(name.to_owned()).or_default().push(bind);
        }
        let extended = service.get("extends").and_then(|extends| extends.get("file"));
        if let Some((node, path)) = extended.and_then(|node| Some((node, node.as_str()?)))
            && self.remote.fetch(path).is_none()
        {
            let file = clean(&dir.join(path));
            let called = format!("{}.yaml", hash(&file));
            paths.push((node.at.clone(), path.to_owned(), called.clone()));
            if self.extended.insert(file.clone()) {
                let text = self.file(&file, file.parent().unwrap_or(dir))?;
                self.bundle.extended.push(BundledFile { name: called, text });
            }
        }
        Ok(())
    }

    /// The text with each path, which stands at its place, replaced.
    fn rewritten(&mut self, source: &Arc<SourceFile>, mut paths: Vec<(Location, String, String)>) -> String {
        let mut lines: Vec<String> = source.text().split_inclusive('\n').map(str::to_owned).collect();
        paths.sort_by_key(|(at, ..)| std::cmp::Reverse((at.line, at.column)));
        // What an alias repeats stands there once.
        paths.dedup_by_key(|(at, ..)| (at.line, at.column));
        for (at, old, new) in paths {
            let done = lines.get_mut(at.line as usize - 1).is_some_and(|line| replace(line, at.column, &old, &new));
            if !done {
                let fault = Diagnostic::error(&at, "this path can't be replaced in the published file");
                self.faults.push(fault.help("write it on a line of its own, without escapes"));
            }
        }
        lines.concat()
    }
}

/// Replaces what stands at a column of a line (from 1, in characters), with or without quotes.
fn replace(line: &mut String, column: u32, old: &str, new: &str) -> bool {
    let begin: usize = line.chars().take(column as usize - 1).map(char::len_utf8).sum();
    let written = [old.to_owned(), format!("{old:?}"), format!("'{old}'")];
    let Some(found) = written.iter().find(|written| line[begin..].starts_with(written.as_str())) else { return false };
    line.replace_range(begin..begin + found.len(), new);
    true
}

fn hash(path: &FilePath) -> String {
    Sha256::digest(path.as_os_str().as_encoded_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn env_files(service: &Node) -> Vec<&Node> {
    let Some(listed) = service.get("env_file") else { return Vec::new() };
    let all = listed.as_sequence().unwrap_or(std::slice::from_ref(listed));
    all.iter().map(|one| one.get("path").unwrap_or(one)).filter(|one| one.as_str().is_some()).collect()
}

fn variables(service: &Node) -> Vec<(String, String)> {
    match service.get("environment").map(|node| &node.value) {
        Some(Value::Mapping(map)) => {
            map.iter().filter_map(|(name, entry)| Some((name.to_owned(), entry.node.scalar_text()?))).collect()
        }
        Some(Value::Sequence(items)) => {
            let pair =
                |item: &Node| item.as_str()?.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
            items.iter().filter_map(pair).collect()
        }
        _ => Vec::new(),
    }
}

/// The sources of bind mounts, as they are written.
fn binds(service: &Node) -> Vec<String> {
    let volumes = service.get("volumes").and_then(Node::as_sequence).unwrap_or_default();
    let source = |volume: &Node| match volume.as_str() {
        Some(short) => short
            .split_once(':')
            .map(|(source, _)| source.to_owned())
            .filter(|source| source.starts_with(['.', '/', '~'])),
        None => (volume.get("type").and_then(Node::as_str) == Some("bind"))
            .then(|| volume.get("source").and_then(Node::scalar_text))
            .flatten(),
    };
    volumes.iter().filter_map(source).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::remote::Nowhere;

    fn bundled(files: &[(&str, &str)]) -> Result<Bundle, String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let first = dir.path().join(files[0].0);
        bundle(&[first], dir.path(), dir.path(), &Nowhere).map_err(|error| error.to_string())
    }

    #[test]
    fn files_beside_it_get_names_that_can_lie_in_one_folder() {
        let main =
            "services:\n  a:\n    extends: {file: 'sub/base.yaml', service: b} # why\n    env_file:\n      - a.env\n";
        let base = "services: {b: {image: x, env_file: [{path: \"b.env\", required: false}]}}\n";
        let bundle = bundled(&[("compose.yaml", main), ("sub/base.yaml", base)]).unwrap();
        let (env, extended) = (bundle.env_files.keys().collect::<Vec<_>>(), &bundle.extended[0]);
        let ends = |end: &str| env.iter().find(|name| bundle.env_files[**name].ends_with(end)).unwrap().as_str();
        let expected = format!(
            "services:\n  a:\n    extends: {{file: {}, service: b}} # why\n    env_file:\n      - {}\n",
            extended.name,
            ends("a.env")
        );
        assert_eq!(bundle.files[0].text, expected);
        assert_eq!(extended.text, base.replace("\"b.env\"", ends("sub/b.env")));
    }

    #[test]
    fn what_may_not_be_meant_for_others_is_found() {
        let text = "services:\n  a:\n    image: x\n    environment: {DB_PASSWORD: x, MODE: y, TOKEN: '${T}'}\n    \
                    volumes: ['./d:/d', 'v:/v', {type: bind, source: /etc, target: /e}]\n  \
                    b: {image: x, environment: [API_KEY=1, OTHER]}\nconfigs: {c: {content: text}, d: {content: '${X}'}}\n";
        let doubts = bundled(&[("compose.yaml", text)]).unwrap().doubts;
        assert_eq!(doubts.binds["a"], ["./d", "/etc"]);
        assert_eq!(doubts.variables["a"], ["DB_PASSWORD"]);
        assert_eq!(doubts.variables["b"], ["API_KEY"]);
        assert_eq!(doubts.contents.iter().collect::<Vec<_>>(), ["c"]);
        let included = bundled(&[("compose.yaml", "include: [other.yaml]\n")]).unwrap_err();
        assert!(included.contains("compose.yaml:1:11") && included.contains("local includes"), "{included}");
    }
}
