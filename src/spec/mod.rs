//! Compose files to a [`model::Model`], and that to a [`project::Project`].
//!
//! ```text
//! Source ─ locate ─▶ files, directory, environment
//!        ─ parse ──▶ documents: trees that know where each value stands
//! each document: interpolate → reset tags → extends → include → merge over the last → unique
//!                → schema → long forms → unique
//! the whole:     defaults → values → paths → names, types, profiles, consistency, selection, env files ─▶ Model
//! ```
//!
//! Each stage gathers all its faults; the first stage that has any ends the load ([`diagnostic::SpecError`]).

pub mod adjust;
pub mod bundle;
mod check;
mod consistency;
mod decode;
mod defaults;
pub mod diagnostic;
mod digests;
mod dotenv;
mod env_files;
pub mod environment;
mod expand;
mod extends;
mod fields;
mod finish;
#[cfg(test)]
mod fuzz;
mod include;
mod interpolate;
pub mod lists;
mod load;
mod merge;
pub mod model;
mod normalise;
pub mod origins;
mod paths;
pub mod print;
pub mod project;
mod read;
pub mod remote;
mod schema;
mod select;
mod settle;
pub mod source;
pub mod tree;
mod unhonoured;
mod unique;

use std::collections::HashMap;
use std::path::PathBuf;

use diagnostic::{Diagnostic, Severity, SpecError};
use environment::{Environment, Origin};
use finish::Frame;
use interpolate::Unset;
use load::{Loader, Scope, Stage};
use model::Model;
use remote::{Fetch, Nowhere};
use source::{Located, Source};
use tree::Node;

/// Which stages are wanted; `Default` is all of them, for the whole project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Substitute variables (`config --no-interpolate` does not).
    pub interpolate: bool,
    /// Fill in names and implied dependencies (`--no-normalize` does not).
    pub normalize: bool,
    /// Make paths absolute (`--no-path-resolution` does not).
    pub resolve_paths: bool,
    /// Check names and cycles (`--no-consistency` does not).
    pub consistency: bool,
    /// Read the services' env files (`--no-env-resolution` does not).
    pub env_files: bool,
    /// Keep networks, volumes, … that no active service uses (`--all-resources`).
    pub all_resources: bool,
    /// Only these services (patterns) and what they depend on; empty: all. Their profiles are activated.
    pub services: Vec<String>,
    /// Keep the other active services too: commands on what is there (`stop web`) are about some services of the whole.
    pub keep_others: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            interpolate: true,
            normalize: true,
            resolve_paths: true,
            consistency: true,
            env_files: true,
            all_resources: false,
            services: Vec::new(),
            keep_others: false,
        }
    }
}

impl Options {
    /// The files as they are written: nothing is substituted, filled in or read beside them, and names may lead nowhere.
    pub fn as_written() -> Options {
        Options { interpolate: false, normalize: false, consistency: false, env_files: false, ..Options::default() }
    }
}

/// What a load gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What the files say.
    pub model: Model,
    /// What the user should know of.
    pub warnings: Vec<Diagnostic>,
}

/// Reads a project that lies on this machine. The error has all faults of the stage that failed, after the warnings so far.
pub fn load(source: &Source, options: &Options) -> Result<Loaded, SpecError> {
    load_with(source, options, &Nowhere)
}

/// Reads a project of which files may lie elsewhere.
pub fn load_with(source: &Source, options: &Options, remote: &dyn Fetch) -> Result<Loaded, SpecError> {
    let mut loader = Loader {
        options,
        remote,
        current_dir: source.current_dir.clone(),
        home: source.environment.get("HOME").cloned(),
        found: Vec::new(),
        unset: Unset::default(),
        bases: HashMap::new(),
    };
    let model = run(source, &mut loader);
    let mut found = loader.unset.warnings();
    found.append(&mut loader.found);
    found.sort_by_key(|one| one.severity == Severity::Error);
    match model {
        Ok(Some(model)) => Ok(Loaded { model, warnings: found }),
        Ok(None) | Err(_) => Err(SpecError(found)),
    }
}

fn run(source: &Source, loader: &mut Loader<'_>) -> Stage<Option<Model>> {
    let mut located = {
        let remote = loader.remote;
        loader.gather(|found| source.locate(remote, found))?
    };
    let mut documents = Vec::new();
    for file in &located.files {
        documents.extend(loader.documents(file, None)?.into_iter().map(|document| (file.clone(), document)));
    }
    let name = name(&documents, &located, loader)?;
    let name_given = source.given_name(&located.environment).is_some();
    let name = loader.gather(|_| source.name(&located, name.as_ref()))?;
    located.environment.overrule("COMPOSE_PROJECT_NAME", name.as_str().to_owned(), Origin::Compose);
    let options = loader.options;
    let scope = Scope {
        base: options.resolve_paths.then(|| located.working_dir.clone()),
        dir: located.working_dir.clone(),
        environment: located.environment,
        included: Vec::new(),
    };
    let tree = loader.merged(&scope, &located.files, documents)?;
    if tree.as_mapping().is_some_and(tree::Mapping::is_empty) {
        loader.found.push(Diagnostic::error(&tree.at, "empty compose file"));
        loader.go_on()?;
    }
    let frame = Frame {
        name,
        name_given,
        working_dir: located.working_dir,
        files: located.files,
        environment: scope.environment.values(),
        profiles: located.profiles,
        services: options.services.clone(),
        keep_others: options.keep_others,
        interpolate: options.interpolate,
        normalize: options.normalize,
        consistency: options.consistency,
        env_files: options.env_files,
        all_resources: options.all_resources,
    };
    let model = finish::finish(tree, frame, &mut loader.found);
    loader.go_on()?;
    Ok(model)
}

/// The last `name:` of the documents, interpolated: it is needed before anything else is.
fn name(documents: &[(PathBuf, Node)], located: &Located, loader: &mut Loader<'_>) -> Stage<Option<Node>> {
    let names = documents.iter().filter_map(|(_, document)| document.get("name"));
    let mut named = names.filter(|name| name.scalar_text().is_some_and(|text| !text.is_empty()));
    let Some(mut name) = named.next_back().cloned() else { return Ok(None) };
    if loader.options.interpolate {
        let environment: &Environment = &located.environment;
        interpolate::apply(&mut name, environment, &mut loader.unset, &mut loader.found);
        loader.go_on()?;
    }
    // A name of which nothing is left is passed over, unless a file begins with one (as Docker Compose has it).
    let blank = name.scalar_text().is_some_and(|text| source::made_valid(&text).is_empty());
    let mut last = None;
    let begins = documents.iter().any(|(file, document)| {
        let first = last.replace(file) != Some(file);
        first && document.get("name").and_then(Node::scalar_text).is_some_and(|text| !text.is_empty())
    });
    Ok((!blank || begins && loader.options.normalize).then_some(name))
}
