//! What a command line puts over one service of a model: `run --volume`, `--publish` and `--entrypoint`.
//!
//! The texts are those of a compose file, so they go the way of a file: a model of one service is made of them and passes
//! the same stages, and what comes out is put into the whole.

use std::path::Path;

use super::diagnostic::{Location, Severity, SourceFile, SpecError};
use super::expand::{self, Texts};
use super::fields::map_at;
use super::model::Model;
use super::tree::{Mapping, Node, Value};
use super::{defaults, paths, settle};

/// Over a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adjustment {
    /// More mounts; each takes the place of one with the same target.
    pub volumes: Vec<String>,
    /// These ports instead of its own; empty: its own.
    pub ports: Vec<String>,
    /// Instead of its own; an empty text clears it.
    pub entrypoint: Option<String>,
}

impl Model {
    /// Puts an adjustment over a service; relative paths are below `current_dir`.
    pub fn adjust(&mut self, service: &str, adjustment: &Adjustment, current_dir: &Path) -> Result<(), SpecError> {
        let mut found = Vec::new();
        let mut small = small(adjustment);
        expand::expand(&mut small, Texts::Final, &mut found);
        defaults::fill(&mut small);
        paths::resolve(&mut small, current_dir, self.environment.get("HOME").map(String::as_str));
        settle::settle(&mut small, &mut found);
        if found.iter().any(|one| one.severity == Severity::Error) {
            return Err(SpecError(found));
        }
        let given = small.get("services").and_then(|services| services.get("service")).cloned();
        let given = given.as_ref().and_then(Node::as_mapping).cloned().unwrap_or_default();
        let Some(services) = self.tree.as_mapping_mut().and_then(|tree| tree.get_mut("services")) else {
            return Ok(());
        };
        let Some(service) = services.as_mapping_mut().and_then(|services| services.get_mut(service)) else {
            return Ok(());
        };
        let Some(service) = service.as_mapping_mut() else { return Ok(()) };
        let mut undeclared = Vec::new();
        for (key, entry) in given.iter() {
            match (key, service.get_mut(key).and_then(Node::as_sequence_mut), entry.node.as_sequence()) {
                ("volumes", Some(own), Some(more)) => {
                    own.retain(|mount| !more.iter().any(|other| text(other, "target") == text(mount, "target")));
                    own.extend_from_slice(more);
                }
                _ => drop(service.insert(key, entry.key_at.clone(), entry.node.clone())),
            }
            if key == "volumes" {
                undeclared.extend(entry.node.as_sequence().into_iter().flatten().filter_map(volume));
            }
        }
        self.declare(&undeclared);
        Ok(())
    }

    /// A volume that the files do not have, or that no active service has used so far, goes by the name given.
    fn declare(&mut self, names: &[Node]) {
        let Some(tree) = self.tree.as_mapping_mut() else { return };
        let Some(at) = names.first().map(|name| name.at.clone()) else { return };
        if !tree.contains("volumes") {
            tree.insert("volumes", at.clone(), Node::new(&at, Value::Mapping(Mapping::default())));
        }
        let Some(volumes) = tree.get_mut("volumes").and_then(Node::as_mapping_mut) else { return };
        for name in names {
            if let Some(key) = name.as_str().filter(|key| !volumes.contains(key)) {
                volumes.insert(key, at.clone(), map_at(&at, [("name", Value::String(key.to_owned()))]));
            }
        }
    }
}

fn text(node: &Node, key: &str) -> Option<String> {
    node.get(key).and_then(Node::scalar_text)
}

/// The name of a mount's volume.
fn volume(mount: &Node) -> Option<Node> {
    (text(mount, "type").as_deref() == Some("volume")).then(|| mount.get("source").cloned()).flatten()
}

/// A model with nothing but the adjustment, each text being a file of its own, named after the flag.
fn small(adjustment: &Adjustment) -> Node {
    let place = |flag: &str, text: &str| Location {
        file: SourceFile::new(flag, text),
        line: 1,
        column: 1,
        width: u32::try_from(text.chars().count()).unwrap_or(1),
    };
    let list = |flag: &str, texts: &[String]| {
        let items = texts.iter().map(|text| Node::string(&place(flag, text), text.clone())).collect();
        Node::new(&place(flag, ""), Value::Sequence(items))
    };
    let mut service = Mapping::default();
    let mut put = |key: &str, node: Node| drop(service.insert(key, node.at.clone(), node));
    if !adjustment.volumes.is_empty() {
        put("volumes", list("--volume", &adjustment.volumes));
    }
    if !adjustment.ports.is_empty() {
        put("ports", list("--publish", &adjustment.ports));
    }
    if let Some(text) = &adjustment.entrypoint {
        put("entrypoint", Node::string(&place("--entrypoint", text), text.clone()));
    }
    let at = place("command line", "");
    let service = map_at(&at, [("service", Value::Mapping(service))]);
    map_at(&at, [("services", service.value)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::project::Project;
    use crate::spec::project::mounts::MountSource;
    use crate::spec::source::Source;

    fn adjusted(adjustment: &Adjustment) -> Result<Project, SpecError> {
        let dir = tempfile::tempdir().unwrap();
        let file = "name: p\nservices: {web: {image: x, volumes: ['/a:/a', '/b:/b'], ports: ['1:1'], entrypoint: e}}\n";
        std::fs::write(dir.path().join("compose.yaml"), file).unwrap();
        let source = Source { current_dir: dir.path().to_owned(), ..Source::default() };
        let mut model = super::super::load(&source, &super::super::Options::default()).unwrap().model;
        model.adjust("web", adjustment, Path::new("/here"))?;
        model.project()
    }

    fn web(project: &Project) -> &crate::spec::project::service::Service {
        project.services.values().next().unwrap()
    }

    #[test]
    fn mounts_are_added_and_take_the_place_of_those_with_their_target() {
        let volumes = vec!["./x:/b:ro".to_owned(), "data:/data".to_owned()];
        let project = adjusted(&Adjustment { volumes, ..Adjustment::default() }).unwrap();
        let mounts: Vec<_> =
            web(&project).mounts.iter().map(|mount| (mount.target.as_str(), mount.read_only)).collect();
        assert_eq!(mounts, [("/a", false), ("/b", true), ("/data", false)]);
        let bind = &web(&project).mounts[1].source;
        assert!(matches!(bind, MountSource::Bind { source, .. } if source == Path::new("/here/x")), "{bind:?}");
        assert_eq!(project.volumes.values().next().unwrap().name.as_str(), "data");
    }

    #[test]
    fn ports_and_entrypoint_take_the_place_of_the_services_own() {
        let ports = vec!["8081:80".to_owned()];
        let entrypoint = Some("sh -c 'a b'".to_owned());
        let project = adjusted(&Adjustment { ports, entrypoint, ..Adjustment::default() }).unwrap();
        assert_eq!(web(&project).ports.iter().map(|port| port.target).collect::<Vec<_>>(), [80]);
        assert_eq!(web(&project).entrypoint.as_deref().unwrap(), ["sh", "-c", "a b"]);
        let cleared = Adjustment { entrypoint: Some(String::new()), ..Adjustment::default() };
        assert_eq!(web(&adjusted(&cleared).unwrap()).entrypoint.as_deref(), Some(&[][..]));
    }

    #[test]
    fn a_text_that_cannot_be_read_is_shown_with_its_flag() {
        let ports = vec!["eighty".to_owned()];
        let fault = adjusted(&Adjustment { ports, ..Adjustment::default() }).unwrap_err().to_string();
        assert!(fault.starts_with("--publish:1:1") && fault.contains("eighty"), "{fault}");
    }
}
