//! `include`: whole projects taken into this one, each resolved against its own directory and environment first.
//!
//! What an included project defines must not be defined here too, unless just so (Compose v2). To change it, give `include`
//! a second file in `path`, which is merged over the first.

use std::path::{Path as FilePath, PathBuf};

use super::diagnostic::{Diagnostic, Location, Note, Severity};
use super::environment::Environment;
use super::load::{Loader, Scope, Stage, Stopped};
use super::remote;
use super::source::{self, clean, shown};
use super::tree::{Mapping, Node, Value};

/// What is taken over.
const SECTIONS: [&str; 6] = ["services", "volumes", "networks", "secrets", "configs", "models"];

/// One entry of `include`.
struct Request {
    at: Location,
    paths: Vec<String>,
    project_directory: Option<String>,
    env_files: Vec<String>,
}

/// Takes `include` out of the document and what it names into it.
pub(in crate::spec) fn apply(loader: &mut Loader<'_>, scope: &Scope, document: &mut Node) -> Stage<()> {
    let Some(include) = document.as_mapping_mut().and_then(|map| map.remove("include")) else { return Ok(()) };
    let requests = requests(&include.node, &mut loader.found);
    loader.go_on()?;
    for request in requests {
        let imported = project(loader, scope, &request)?;
        take_over(document, imported, &request, &mut loader.found);
        loader.go_on()?;
    }
    Ok(())
}

fn requests(include: &Node, found: &mut Vec<Diagnostic>) -> Vec<Request> {
    let items = match &include.value {
        Value::Null => return Vec::new(),
        Value::Sequence(items) => items,
        _ => {
            found.push(Diagnostic::error(&include.at, "`include` must be a list"));
            return Vec::new();
        }
    };
    items.iter().filter_map(|item| request(item, found)).collect()
}

/// Docker Compose takes such an entry without a word.
const NOTHING: &str = "include: an entry without a `path` includes nothing";

fn request(item: &Node, found: &mut Vec<Diagnostic>) -> Option<Request> {
    let mut request =
        Request { at: item.at.clone(), paths: Vec::new(), project_directory: None, env_files: Vec::new() };
    let map = match &item.value {
        Value::String(path) => {
            request.paths.push(path.clone());
            return Some(request);
        }
        Value::Mapping(map) => map,
        Value::Null => {
            found.push(Diagnostic::warning(&item.at, NOTHING));
            return None;
        }
        _ => {
            found.push(Diagnostic::error(&item.at, "an entry of `include` is a path, or a mapping with `path`"));
            return None;
        }
    };
    let errors = |found: &[Diagnostic]| found.iter().filter(|one| one.severity == Severity::Error).count();
    let faults = errors(found);
    for (key, entry) in map.iter() {
        let list = texts(&entry.node);
        match (key, list) {
            ("path", Some(list)) => request.paths = list,
            ("env_file", Some(list)) => request.env_files = list,
            ("project_directory", _) if entry.node.is_null() => {}
            ("project_directory", Some(_)) if entry.node.as_str().is_some() => {
                request.project_directory = entry.node.as_str().filter(|dir| !dir.is_empty()).map(str::to_owned);
            }
            ("project_directory", _) => {
                found.push(Diagnostic::error(&entry.node.at, "include.project_directory must be a string"));
            }
            ("path" | "env_file", None) => {
                let message = format!("include.{key} must be a string or a list of strings");
                found.push(Diagnostic::error(&entry.node.at, message));
            }
            (key, _) if key.starts_with("x-") => {}
            // Docker Compose ignores it without a word.
            (key, _) => found.push(
                Diagnostic::warning(&entry.key_at, format!("include: unknown key `{key}` is ignored"))
                    .did_you_mean(key, ["path", "env_file", "project_directory"]),
            ),
        }
    }
    if errors(found) > faults {
        return None;
    }
    if request.paths.is_empty() {
        found.push(Diagnostic::warning(&item.at, NOTHING));
        return None;
    }
    Some(request)
}

fn texts(node: &Node) -> Option<Vec<String>> {
    match &node.value {
        Value::Null => Some(Vec::new()),
        Value::String(text) => Some(vec![text.clone()]),
        Value::Sequence(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

/// Loads an included project, up to resolved paths and bare environment keys.
fn project(loader: &mut Loader<'_>, scope: &Scope, request: &Request) -> Stage<Node> {
    let files: Result<Vec<PathBuf>, String> =
        request.paths.iter().map(|path| remote::file(loader.remote, &scope.dir, path)).collect();
    let files = files.map_err(|why| {
        loader.found.push(Diagnostic::error(&request.at, why));
        Stopped
    })?;
    let Some(main) = files.first() else { return Ok(Node::new(&request.at, Value::Mapping(Mapping::default()))) };
    if let Some(begin) = scope.included.iter().position(|file| file == main) {
        let steps: Vec<String> =
            scope.included[begin..].iter().chain([main]).map(|file| shown(file, &loader.current_dir)).collect();
        let message = format!("include cycle detected:\n{}", steps.join("\n include "));
        loader.found.push(Diagnostic::error(&request.at, message));
        return Err(Stopped);
    }
    let named = match &request.project_directory {
        Some(dir) => clean(&scope.dir.join(dir)),
        None => main.parent().unwrap_or(main).to_path_buf(),
    };
    let mut environment = scope.environment.clone();
    let env_files = env_files(scope, request, &named);
    // What is no directory is taken for a file in one, as Docker Compose does; an absolute path is what it says.
    let absolute = request.project_directory.as_deref().is_some_and(|dir| FilePath::new(dir).is_absolute());
    let dir = named.parent().filter(|_| !absolute && !named.is_dir()).unwrap_or(&named).to_path_buf();
    for file in &env_files {
        if !file.exists() {
            let message = format!("stat {}: no such file or directory", file.display());
            loader.found.push(Diagnostic::error(&request.at, message));
            return Err(Stopped);
        }
    }
    let current_dir = loader.current_dir.clone();
    loader.gather(|found| source::fall_back_to_files(&mut environment, &env_files, &current_dir, found))?;
    let base = if absolute { dir.clone() } else { scope.base_of(&dir) };
    let inner = Scope { base: Some(base), dir, environment, included: scope.included.clone() };
    let because = Note { message: "included here".to_owned(), at: Some(request.at.clone()) };
    let mut model = loader.model(&inner, &files, Some(&because))?;
    inherit(&mut model, &inner.environment);
    Ok(model)
}

/// `environment: [NAME]` means the included project's `NAME`, which is not known further out. Only the list form:
/// `NAME:` without a value waits for the whole project's environment (Compose v2).
fn inherit(model: &mut Node, environment: &Environment) {
    let Some(services) = model.as_mapping_mut().and_then(|map| map.get_mut("services")) else { return };
    let Some(services) = services.as_mapping_mut() else { return };
    for (_, service) in services.iter_mut() {
        let listed = service.node.as_mapping_mut().and_then(|map| map.get_mut("environment"));
        for item in listed.and_then(Node::as_sequence_mut).into_iter().flatten() {
            if let Some((name, value)) = item.as_str().and_then(|name| Some((name, environment.get(name)?))) {
                item.value = Value::String(format!("{name}={value}"));
            }
        }
    }
}

/// Those named; else `.env` of the included project, if there is one. `/dev/null` is none.
fn env_files(scope: &Scope, request: &Request, dir: &FilePath) -> Vec<PathBuf> {
    if request.env_files.is_empty() {
        let file = dir.join(".env");
        return if file.is_file() { vec![file] } else { Vec::new() };
    }
    request.env_files.iter().map(|file| clean(&scope.dir.join(file))).collect()
}

fn take_over(document: &mut Node, imported: Node, request: &Request, found: &mut Vec<Diagnostic>) {
    let (Some(document), Value::Mapping(imported)) = (document.as_mapping_mut(), imported.value) else { return };
    for (section, entry) in imported {
        let Value::Mapping(things) = entry.node.value else { continue };
        if !SECTIONS.contains(&section.as_str()) {
            continue;
        }
        if document.get(&section).is_none_or(Node::is_null) {
            let empty = Node::new(&entry.node.at, Value::Mapping(Mapping::default()));
            document.insert(section.clone(), entry.key_at, empty);
        }
        // Anything but a map is left for the schema to complain of.
        let Some(own) = document.get_mut(&section).and_then(Node::as_mapping_mut) else { continue };
        for (name, thing) in things {
            match own.entry(&name) {
                Some(old) if old.node.same(&thing.node) => {}
                Some(old) => found.push(
                    Diagnostic::error(&old.key_at, format!("{section}.{name} conflicts with imported resource"))
                        .note(Some(&thing.key_at), "imported from here")
                        .note(Some(&request.at), "by this include"),
                ),
                None => {
                    own.insert(name, thing.key_at, thing.node);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::load::testing::shown;

    #[test]
    fn an_included_project_has_its_own_directory_and_environment() {
        let files = [
            ("c.yaml", "include: [sub/c.yaml]\nservices: {a: {image: a}}\n"),
            ("sub/c.yaml", "services: {b: {build: ., environment: [W, X], user: '$W$V'}}\n"),
            ("sub/.env", "W=sub\nV=sub\n"),
        ];
        let services = shown(&files, &[], "services").unwrap();
        assert_eq!(
            services,
            "{a: {image: a}, b: {build: {context: DIR/sub}, environment: [W=sub, X], user: subvalue}}"
        );
    }

    #[test]
    fn the_long_form_names_directory_env_files_and_overrides() {
        let files = [
            (
                "c.yaml",
                "include:\n  - {path: [sub/c.yaml, over.yaml], project_directory: other, env_file: [one.env, two.env]}\n",
            ),
            ("sub/c.yaml", "services: {b: {build: x, user: '$W'}}\n"),
            ("other/x/Dockerfile", ""),
            ("over.yaml", "services: {b: {working_dir: '$X'}}\n"),
            ("one.env", "W=1\nX=1\n"),
            ("two.env", "W=2\n"),
        ];
        let b = shown(&files, &[], "services.b").unwrap();
        assert_eq!(b, "{build: {context: DIR/other/x}, user: 2, working_dir: 1}");
    }

    #[test]
    fn a_project_directory_that_is_none_stands_for_the_one_around_it() {
        let files = [
            ("c.yaml", "include:\n  - {path: sub/c.yaml, project_directory: sub/none}\n"),
            ("sub/c.yaml", "services: {b: {build: x, user: '${W-unset}'}}\n"),
            ("sub/.env", "W=sub\n"),
        ];
        assert_eq!(shown(&files, &[], "services.b").unwrap(), "{build: {context: DIR/sub/x}, user: unset}");
    }

    #[test]
    fn the_same_file_may_come_by_two_ways() {
        let files = [
            ("c.yaml", "include: [a.yaml, b.yaml]\n"),
            ("a.yaml", "include: [common.yaml]\nservices: {a: {image: a}}\n"),
            ("b.yaml", "include: [common.yaml]\nservices: {b: {image: b}}\n"),
            ("common.yaml", "services: {c: {image: c}}\n"),
        ];
        assert_eq!(shown(&files, &[], "services").unwrap(), "{a: {image: a}, b: {image: b}, c: {image: c}}");
    }

    #[test]
    fn a_service_of_the_same_name_is_a_conflict_that_names_both_places() {
        let files =
            [("c.yaml", "include: [b.yaml]\nservices:\n  a: {image: a}\n"), ("b.yaml", "services:\n  a: {image: b}\n")];
        insta::assert_snapshot!(shown(&files, &[], "").unwrap_err(), @r"
        c.yaml:3:3: error: services.a conflicts with imported resource
         3 |   a: {image: a}
           |   ^
          = note: imported from here (b.yaml:2:3)
         2 |   a: {image: b}
           |   ^
          = note: by this include (c.yaml:1:11)
         1 | include: [b.yaml]
           |           ^^^^^^
        ");
    }

    #[test]
    fn a_cycle_names_its_files_and_a_missing_file_who_includes_it() {
        let cycle = [("c.yaml", "include: [b.yaml]\n"), ("b.yaml", "include: [c.yaml]\n")];
        insta::assert_snapshot!(shown(&cycle, &[], "").unwrap_err(), @r"
        b.yaml:1:11: error: include cycle detected:
        c.yaml
         include b.yaml
         include c.yaml
         1 | include: [c.yaml]
           |           ^^^^^^
          = note: included here (c.yaml:1:11)
         1 | include: [b.yaml]
           |           ^^^^^^
        ");
        insta::assert_snapshot!(shown(&[("c.yaml", "include: [no.yaml]\n")], &[], "").unwrap_err(), @r"
        error: open DIR/no.yaml: no such file or directory
          = note: included here (c.yaml:1:11)
         1 | include: [no.yaml]
           |           ^^^^^^^
        ");
    }

    #[test]
    fn what_include_does_not_know_is_told() {
        let told = |entry: &str| shown(&[("c.yaml", &format!("include: {entry}\n"))], &[], "").unwrap_err();
        assert!(told("x").contains("`include` must be a list"));
        assert!(told("[{pth: x}, 5]").contains("did you mean `path`?"));
        assert!(told("[{path: [1]}]").contains("include.path must be a string or a list of strings"));
        assert!(told("[{env_file: x}, 5]").contains("an entry without a `path` includes nothing"));
        assert!(told("[[x]]").contains("an entry of `include` is a path"));
    }
}
