//! The model: everything the files say, merged, interpolated, in long form, as a tree that still knows where each value stands.
//!
//! It is what `config` prints, and what a [`Project`] is made from. The two are apart because Docker Compose prints what it
//! would never run: `restart: sometimes` is a fine model, and only [`Model::project`] says why no container comes of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::decode;
use super::diagnostic::{Diagnostic, SpecError};
use super::print::{self, Format};
use super::project::Project;
use super::tree::{Mapping, Node};
use super::unhonoured;
use crate::values::names::ProjectName;

/// A loaded set of compose files. Only `spec::load` makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// The project's name.
    pub name: ProjectName,
    /// What relative paths were resolved against.
    pub working_dir: PathBuf,
    /// The files it was read from, in order.
    pub files: Vec<PathBuf>,
    /// What interpolation looked names up in.
    pub environment: BTreeMap<String, String>,
    /// The whole, with the active services only.
    pub(in crate::spec) tree: Node,
    /// The services whose profiles are not active.
    pub(in crate::spec) disabled: Mapping,
}

impl Model {
    /// The project that this model describes; fails on what no engine would take, all faults at once.
    pub fn project(&self) -> Result<Project, SpecError> {
        decode::project(self)
    }

    /// As `config` prints it; fails on what the format can't say.
    pub fn print(&self, format: Format) -> Result<String, SpecError> {
        Ok(print::model(&self.tree, self.name.as_str(), format)?)
    }

    /// A warning, with its place, for each key that is read but not honoured. Commands that run things show them.
    pub fn unhonoured(&self) -> Vec<Diagnostic> {
        unhonoured::warnings(&self.tree)
    }
}
