//! The last stages of a load, once for the whole: names, types, profiles, consistency, selection, env files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::diagnostic::Diagnostic;
use super::model::Model;
use super::tree::Node;
use crate::values::names::ProjectName;

/// What the last stages need to know besides the tree.
#[derive(Debug, Clone)]
pub(in crate::spec) struct Frame {
    /// The project's name.
    pub name: ProjectName,
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
pub(in crate::spec) fn finish(_tree: Node, _frame: Frame, _found: &mut Vec<Diagnostic>) -> Option<Model> {
    None
}
