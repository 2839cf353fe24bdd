//! The last stages of a load, once for the whole: names, types, profiles, consistency, selection, env files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::diagnostic::{Diagnostic, Severity};
use super::model::Model;
use super::tree::{Mapping, Node};
use super::{consistency, env_files, normalise, select, settle};
use crate::values::names::ProjectName;

/// What the last stages need to know besides the tree.
#[derive(Debug, Clone)]
pub(in crate::spec) struct Frame {
    /// The project's name.
    pub name: ProjectName,
    /// It was said outside the files.
    pub name_given: bool,
    /// What relative paths are resolved against.
    pub working_dir: PathBuf,
    /// The files read.
    pub files: Vec<PathBuf>,
    /// The environment of the project.
    pub environment: BTreeMap<String, String>,
    /// Active profiles (`*`: all).
    pub profiles: Vec<String>,
    /// Services asked for (patterns); empty: all.
    pub services: Vec<String>,
    /// The services asked for only activate their profiles.
    pub keep_others: bool,
    /// Variables are substituted; without that, texts mean nothing yet and the model stays as it is.
    pub interpolate: bool,
    /// Fill in names and implied dependencies (`--no-normalize` does not).
    pub normalize: bool,
    /// Check names and cycles (`--no-consistency` does not).
    pub consistency: bool,
    /// Read env files (`--no-env-resolution` does not).
    pub env_files: bool,
    /// Keep networks, volumes, … that no active service uses.
    pub all_resources: bool,
}

/// From the merged tree, defaults filled in and paths resolved, to the model. Faults and warnings go to `found`; `None` if a fault is among them.
pub(in crate::spec) fn finish(mut tree: Node, frame: Frame, found: &mut Vec<Diagnostic>) -> Option<Model> {
    let fine = |found: &[Diagnostic]| found.iter().all(|one| one.severity != Severity::Error);
    if frame.normalize || frame.name_given {
        let (at, name) = (tree.at.clone(), frame.name.as_str());
        if let Some(map) = tree.as_mapping_mut() {
            map.insert("name", at.clone(), Node::string(&at, name));
        }
    }
    if frame.normalize {
        // Without substitution, keys without value are not looked up either.
        let nothing = BTreeMap::new();
        let environment = if frame.interpolate { &frame.environment } else { &nothing };
        normalise::normalise(&mut tree, frame.name.as_str(), environment);
    }
    if !frame.interpolate {
        let Frame { name, working_dir, files, environment, .. } = frame;
        return Some(Model { name, working_dir, files, environment, tree, disabled: Mapping::default() });
    }
    settle::settle(&mut tree, found);
    if !fine(found) {
        return None;
    }
    let mut disabled = select::by_profile(&mut tree, &frame.profiles, &frame.services);
    if frame.consistency {
        consistency::check(&mut tree, &disabled, found);
    }
    if !fine(found) {
        return None;
    }
    let named: &[String] = if frame.keep_others { &[] } else { &frame.services };
    for (name, entry) in select::by_name(&mut tree, named, found) {
        disabled.insert(name, entry.key_at, entry.node);
    }
    if frame.consistency && !frame.keep_others {
        consistency::container_names(&tree, found);
    }
    if !frame.all_resources {
        select::drop_unused(&mut tree);
    }
    if frame.env_files {
        env_files::read(&mut tree, &frame.environment, found);
    }
    env_files::read_labels(&mut tree, found);
    let Frame { name, working_dir, files, environment, .. } = frame;
    fine(found).then_some(Model { name, working_dir, files, environment, tree, disabled })
}
