//! `extends`: a service over another one, of the same file or of another.
//!
//! The base is resolved first (it may extend in turn); nothing is left out of it. Paths in a base of another file are
//! relative to that file's directory. Chains that lead back are a fault that names each step.

use std::collections::HashMap;
use std::path::{Path as FilePath, PathBuf};
use std::rc::Rc;

use super::diagnostic::{Diagnostic, Location, Note};
use super::load::{Loader, Scope, Stage, Stopped};
use super::merge::{self, Resets};
use super::remote;
use super::source::shown;
use super::tree::{Mapping, Node, Value};

/// A service that extends one that extends … more often than this is refused.
const CHAIN: usize = 200;

/// A file that services of other files extend.
#[derive(Debug)]
pub(in crate::spec) struct Base {
    /// What its own `extends.file` are relative to.
    dir: PathBuf,
    services: Mapping,
    resets: Resets,
}

/// The files read so far for the sake of their services.
pub(in crate::spec) type Bases = HashMap<(PathBuf, PathBuf), Rc<Base>>;

/// Replaces every service of a document that extends another by the merged one. All faults go to the loader.
pub(in crate::spec) fn apply(
    loader: &mut Loader<'_>,
    scope: &Scope,
    document: &mut Node,
    resets: &Resets,
    file: &FilePath,
) -> Stage<()> {
    let Some(services) = document.as_mapping_mut().and_then(|map| map.get_mut("services")) else { return Ok(()) };
    let Some(map) = services.as_mapping() else {
        if !services.is_null() {
            loader.found.push(Diagnostic::error(&services.at, "services: must be a mapping"));
        }
        return loader.go_on();
    };
    if !map.iter().any(|(_, entry)| entry.node.get("extends").is_some()) {
        return Ok(());
    }
    let here = Rc::new(Base { dir: scope.dir.clone(), services: map.clone(), resets: resets.clone() });
    let names: Vec<String> = map.keys().map(str::to_owned).collect();
    let mut chain = Chain { loader, scope, trail: Vec::new(), done: HashMap::new() };
    let mut merged = Vec::new();
    for name in names {
        if let Ok(Some(node)) = chain.resolve(&here, file, &name) {
            merged.push((name, node));
        }
    }
    if let Some(map) = services.as_mapping_mut() {
        for (name, node) in merged {
            if let Some(service) = map.get_mut(&name) {
                *service = node;
            }
        }
    }
    loader.go_on()
}

struct Chain<'l, 'a> {
    loader: &'l mut Loader<'a>,
    scope: &'l Scope,
    /// From the service asked for to the one being resolved.
    trail: Vec<(PathBuf, String, Location)>,
    /// Services resolved, or found faulty.
    done: HashMap<(PathBuf, String), Option<Node>>,
}

/// What `extends` says.
struct Reference {
    service: String,
    file: Option<String>,
    at: Location,
}

impl Chain<'_, '_> {
    /// The service with all that it extends; `None` if it is null.
    fn resolve(&mut self, base: &Rc<Base>, file: &FilePath, name: &str) -> Stage<Option<Node>> {
        let id = (file.to_path_buf(), name.to_owned());
        if let Some(done) = self.done.get(&id) {
            return done.clone().map(Some).ok_or(Stopped);
        }
        let Some(entry) = base.services.entry(name) else { return Ok(None) };
        let service = match &entry.node.value {
            Value::Null => return Ok(None),
            Value::Mapping(_) => entry.node.clone(),
            _ => return self.fault(Diagnostic::error(&entry.node.at, format!("services.{name} must be a mapping"))),
        };
        if service.get("extends").is_none() {
            return Ok(Some(service));
        }
        if let Some(begin) = self.trail.iter().position(|(path, service, _)| (path, service) == (&id.0, &id.1)) {
            return self.cycle(begin);
        }
        self.trail.push((id.0.clone(), id.1.clone(), entry.key_at.clone()));
        let merged = if self.trail.len() > CHAIN {
            self.fault(Diagnostic::error(&entry.key_at, format!("{name} extends through more than {CHAIN} services")))
        } else {
            self.merged(base, file, name, service)
        };
        self.trail.pop();
        self.done.insert(id, merged.as_ref().ok().cloned());
        merged.map(Some)
    }

    fn merged(&mut self, here: &Rc<Base>, file: &FilePath, name: &str, mut service: Node) -> Stage<Node> {
        let extends = service.as_mapping_mut().and_then(|map| map.remove("extends"));
        let Some(reference) = extends.map(|entry| self.reference(&entry.node, name)) else { return Ok(service) };
        let reference = reference?;
        let (base, file) = match &reference.file {
            None => (Rc::clone(here), file.to_path_buf()),
            Some(path) => {
                let path = match remote::file(self.loader.remote, &here.dir, path) {
                    Ok(path) => path,
                    Err(why) => return self.fault(Diagnostic::error(&reference.at, why)),
                };
                (self.file(&path, name, &reference)?, path)
            }
        };
        if !base.services.contains(&reference.service) {
            let place = shown(&file, &self.loader.current_dir);
            let message =
                format!("cannot extend service {name:?}: service {:?} not found in {place}", reference.service);
            return self.fault(
                Diagnostic::error(&reference.at, message).did_you_mean(&reference.service, base.services.keys()),
            );
        }
        let Some(mut below) = self.resolve(&base, &file, &reference.service)? else { return Ok(service) };
        base.resets.apply_to_service(name, &mut below);
        here.resets.apply_to_service(name, &mut below);
        merge::service(&mut below, service, name, &mut self.loader.found);
        Ok(below)
    }

    fn reference(&mut self, extends: &Node, name: &str) -> Stage<Reference> {
        let text = |node: &Node| node.as_str().map(str::to_owned);
        match &extends.value {
            Value::String(service) => Ok(Reference { service: service.clone(), file: None, at: extends.at.clone() }),
            Value::Mapping(map) => {
                let Some(service) = map.get("service").and_then(text) else {
                    return self.fault(Diagnostic::error(&extends.at, format!("extends.{name}.service is required")));
                };
                for (key, entry) in map.iter().filter(|(key, _)| !["service", "file"].contains(key)) {
                    // Docker Compose ignores it without a word.
                    let warning = format!("services.{name}.extends: unknown key `{key}` is ignored");
                    let warning = Diagnostic::warning(&entry.key_at, warning).did_you_mean(key, ["service", "file"]);
                    self.loader.found.push(warning);
                }
                let at = map.get("service").map_or(&extends.at, |node| &node.at).clone();
                let file = match map.get("file") {
                    None => None,
                    Some(node) if node.is_null() => None,
                    Some(node) => match text(node) {
                        Some(file) => Some(file),
                        None => {
                            let message = format!("services.{name}.extends.file must be a string");
                            return self.fault(Diagnostic::error(&node.at, message));
                        }
                    },
                };
                Ok(Reference { service, file, at })
            }
            _ => {
                let message = format!("services.{name}.extends must be the name of a service, or a mapping");
                self.fault(Diagnostic::error(&extends.at, message))
            }
        }
    }

    fn file(&mut self, path: &FilePath, name: &str, reference: &Reference) -> Stage<Rc<Base>> {
        let dir = path.parent().unwrap_or(path);
        let relative_to = self.scope.base_of(dir);
        let key = (path.to_path_buf(), relative_to.clone());
        if let Some(base) = self.loader.bases.get(&key) {
            return Ok(Rc::clone(base));
        }
        let because = Note { message: format!("extended by service {name}"), at: Some(reference.at.clone()) };
        let (mut model, resets) = self.loader.base_file(self.scope, path, because)?;
        super::paths::resolve(&mut model, &relative_to, self.loader.home.as_deref());
        let place = shown(path, &self.loader.current_dir);
        let services = model.as_mapping_mut().and_then(|map| map.remove("services")).map(|entry| entry.node.value);
        let services = match services {
            Some(Value::Mapping(services)) => services,
            Some(_) => {
                let message = format!("cannot extend service {name:?} in {place}: services must be a mapping");
                return self.fault(Diagnostic::error(&reference.at, message));
            }
            None => {
                let message = format!("cannot extend service {name:?} in {place}: no services section");
                return self.fault(Diagnostic::error(&reference.at, message));
            }
        };
        let base = Rc::new(Base { dir: dir.to_path_buf(), services, resets });
        self.loader.bases.insert(key, Rc::clone(&base));
        Ok(base)
    }

    fn cycle<T>(&mut self, begin: usize) -> Stage<T> {
        let steps = &self.trail[begin..];
        let name = |(path, service, _): &(PathBuf, String, Location)| {
            format!("{service} in {}", shown(path, &self.loader.current_dir))
        };
        let Some(first) = steps.first() else { return Err(Stopped) };
        let mut message = format!("Circular reference:\n  {}", name(first));
        for step in steps.iter().skip(1).chain([first]) {
            message += &format!("\n  extends {}", name(step));
        }
        self.fault(Diagnostic::error(&first.2, message))
    }

    fn fault<T>(&mut self, fault: Diagnostic) -> Stage<T> {
        // A base that several services extend is faulty once.
        if !self.loader.found.contains(&fault) {
            self.loader.found.push(fault);
        }
        Err(Stopped)
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::load::testing::shown;

    #[test]
    fn a_service_extends_one_that_extends_another_in_any_order() {
        let text = "services:
  a: {extends: b, user: a}
  b: {extends: {service: c}, working_dir: b}
  c: {image: c, user: c, working_dir: c}
";
        let a = shown(&[("c.yaml", text)], &[], "services.a").unwrap();
        assert_eq!(a, "{image: c, user: a, working_dir: b}");
    }

    #[test]
    fn paths_of_a_base_in_another_file_belong_to_that_files_directory() {
        let files = [
            ("c.yaml", "services: {a: {extends: {file: sub/base.yaml, service: b}, build: {target: t}}}"),
            ("sub/base.yaml", "services: {b: {extends: {file: deep/base.yaml, service: c}, env_file: x.env}}"),
            ("sub/deep/base.yaml", "services: {c: {build: {context: ctx}, environment: {V: '${V}'}}}"),
        ];
        let a = shown(&files, &[], "services.a").unwrap();
        assert_eq!(
            a,
            "{build: {context: DIR/sub/deep/ctx, target: t}, env_file: [{path: DIR/sub/x.env, required: true}], environment: {V: value}}"
        );
    }

    #[test]
    fn reset_reaches_what_is_inherited() {
        let files = [
            (
                "c.yaml",
                "services: {a: {extends: {file: b.yaml, service: b}, ports: !reset null, cap_add: !override [Y]}}",
            ),
            ("b.yaml", "services: {b: {image: x, ports: ['1:1'], cap_add: [X]}}"),
        ];
        assert_eq!(shown(&files, &[], "services.a").unwrap(), "{cap_add: [Y], image: x}");
    }

    #[test]
    fn a_chain_that_leads_back_names_its_steps() {
        let files = [
            ("c.yaml", "services:\n  a: {extends: {file: d.yaml, service: b}}\n"),
            ("d.yaml", "services:\n  b: {extends: {file: c.yaml, service: a}}\n"),
        ];
        insta::assert_snapshot!(shown(&files, &[], "").unwrap_err(), @r"
        c.yaml:2:3: error: Circular reference:
          a in c.yaml
          extends b in d.yaml
          extends a in c.yaml
         2 |   a: {extends: {file: d.yaml, service: b}}
           |   ^
        ");
    }

    #[test]
    fn all_missing_bases_are_told_with_what_may_have_been_meant() {
        let files = [(
            "c.yaml",
            "services:\n  web: {image: x}\n  a: {extends: wep}\n  b: {extends: {file: no.yaml, service: x}}\n  d: {extends: {}}\n",
        )];
        insta::assert_snapshot!(shown(&files, &[], "").unwrap_err(), @r#"
        c.yaml:3:16: error: cannot extend service "a": service "wep" not found in c.yaml
         3 |   a: {extends: wep}
           |                ^^^
          = help: did you mean `web`?
        error: open DIR/no.yaml: no such file or directory
          = note: extended by service b (c.yaml:4:41)
         4 |   b: {extends: {file: no.yaml, service: x}}
           |                                         ^
        c.yaml:5:16: error: extends.d.service is required
         5 |   d: {extends: {}}
           |                ^^
        "#);
    }

    #[test]
    fn a_fault_in_a_base_says_who_extends_it() {
        let files = [
            ("c.yaml", "services:\n  a: {extends: {file: b.yaml, service: b}}\n"),
            ("b.yaml", "services:\n  b: {image: '${}'}\n"),
        ];
        insta::assert_snapshot!(shown(&files, &[], "").unwrap_err(), @r"
        b.yaml:2:15: error: invalid interpolation format for services.b.image
         2 |   b: {image: '${}'}
           |               ^^^
          = help: escape a $ that is meant as such with another $
          = note: extended by service a (c.yaml:2:40)
         2 |   a: {extends: {file: b.yaml, service: b}}
           |                                        ^
        ");
    }

    #[test]
    fn five_hundred_services_may_extend_one_and_a_chain_as_long_is_refused() {
        let mut many = "services:\n  base: {image: x}\n".to_owned();
        let mut chain = "services:\n".to_owned();
        for n in 0..500 {
            many += &format!("  s{n}: {{extends: base}}\n");
            chain += &format!("  s{n}: {{extends: s{}}}\n", n + 1);
        }
        chain += "  s500: {image: x}\n";
        assert_eq!(shown(&[("c.yaml", &many)], &[], "services.s499").unwrap(), "{image: x}");
        assert!(shown(&[("c.yaml", &chain)], &[], "").unwrap_err().contains("through more than"));
    }
}
