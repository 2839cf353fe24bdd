//! Documents to one tree: what happens to each document, in order, and what is known while it happens.

use std::path::{Path as FilePath, PathBuf};

use super::diagnostic::{Diagnostic, Note, Severity, SpecError};
use super::environment::Environment;
use super::expand::Texts;
use super::extends::{self, Bases};
use super::interpolate::{self, Unset};
use super::merge::{self, Resets};
use super::remote::Fetch;
use super::source::shown;
use super::tree::{self, Mapping, Node, Value};
use super::{Options, check, defaults, expand, include, paths, read, schema, unique};

/// The stage found faults, which lie in [`Loader::found`]; no later stage runs.
#[derive(Debug, Clone, Copy)]
pub(in crate::spec) struct Stopped;

/// What a stage gives.
pub(in crate::spec) type Stage<T> = Result<T, Stopped>;

/// What one load knows and finds.
#[derive(Debug)]
pub(in crate::spec) struct Loader<'a> {
    /// Which stages are wanted.
    pub options: &'a Options,
    /// Who fetches files that lie elsewhere.
    pub remote: &'a dyn Fetch,
    /// Where the command was run.
    pub current_dir: PathBuf,
    /// `~`.
    pub home: Option<String>,
    /// Faults and warnings.
    pub found: Vec<Diagnostic>,
    /// Variables used without being set.
    pub unset: Unset,
    /// Files read for `extends`.
    pub bases: Bases,
}

/// What holds for one project of those that are being put together: the main one, or an included one.
#[derive(Debug, Clone)]
pub(in crate::spec) struct Scope {
    /// What relative paths become relative to. Of the main project none when paths are not to be resolved; of an included
    /// one then a path that is relative to the main project.
    pub base: Option<PathBuf>,
    /// Where relative file names are looked for; absolute.
    pub dir: PathBuf,
    /// What variables stand for.
    pub environment: Environment,
    /// The files that led here, for cycles.
    pub included: Vec<PathBuf>,
}

impl Scope {
    /// What relative paths in a file of `dir` become relative to.
    pub(in crate::spec) fn base_of(&self, dir: &FilePath) -> PathBuf {
        match &self.base {
            Some(base) if base.is_absolute() => dir.to_path_buf(),
            Some(base) => base.join(relative(dir, &self.dir)),
            None => relative(dir, &self.dir),
        }
    }
}

/// `to` as seen from `from`; both absolute and clean.
fn relative(to: &FilePath, from: &FilePath) -> PathBuf {
    let common = to.components().zip(from.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(common).map(|_| FilePath::new("..").as_os_str());
    let path: PathBuf = up.chain(to.components().skip(common).map(|part| part.as_os_str())).collect();
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path }
}

impl Loader<'_> {
    /// Stops if there are faults so far.
    pub(in crate::spec) fn go_on(&self) -> Stage<()> {
        if self.found.iter().any(|one| one.severity == Severity::Error) { Err(Stopped) } else { Ok(()) }
    }

    /// Runs a stage that fails with its own faults.
    pub(in crate::spec) fn gather<T>(
        &mut self,
        stage: impl FnOnce(&mut Vec<Diagnostic>) -> Result<T, SpecError>,
    ) -> Stage<T> {
        stage(&mut self.found).map_err(|SpecError(faults)| {
            self.found.extend(faults);
            Stopped
        })
    }

    /// The files of one project, merged; defaults filled in, paths resolved.
    pub(in crate::spec) fn model(&mut self, scope: &Scope, files: &[PathBuf], because: Option<&Note>) -> Stage<Node> {
        let mut documents = Vec::new();
        for file in files {
            documents.extend(self.documents(file, because)?.into_iter().map(|document| (file.clone(), document)));
        }
        if let (true, Some(at)) = (documents.is_empty(), because.and_then(|because| because.at.as_ref())) {
            self.found.push(Diagnostic::warning(at, "include: what is included is empty"));
            return Ok(Node::new(at, Value::Mapping(Mapping::default())));
        }
        self.merged(scope, files, documents)
    }

    /// The documents of a file.
    pub(in crate::spec) fn documents(&mut self, file: &FilePath, because: Option<&Note>) -> Stage<Vec<Node>> {
        let shown = shown(file, &self.current_dir);
        self.gather(|_| {
            let text = read::file(file, &shown, because)?;
            tree::parse(&text)
        })
    }

    /// Documents of the files of one project, each with its own, merged; defaults filled in, paths resolved.
    pub(in crate::spec) fn merged(
        &mut self,
        scope: &Scope,
        files: &[PathBuf],
        documents: Vec<(PathBuf, Node)>,
    ) -> Stage<Node> {
        let Some((_, first)) = documents.first() else {
            let files: Vec<String> = files.iter().map(|file| shown(file, &self.current_dir)).collect();
            self.found.push(Diagnostic::error_nowhere(format!("{}: empty compose file", files.join(", "))));
            return Err(Stopped);
        };
        let mut model = Node::new(&first.at, Value::Mapping(Mapping::default()));
        for (file, document) in documents {
            self.layer(scope, &mut model, document, &file)?;
        }
        defaults::fill(&mut model);
        check::values(&model, &mut self.found);
        self.go_on()?;
        if let Some(base) = &scope.base {
            paths::resolve(&mut model, base, self.home.as_deref());
        }
        Ok(model)
    }

    /// Puts one document over what came before.
    fn layer(&mut self, scope: &Scope, model: &mut Node, mut document: Node, file: &FilePath) -> Stage<()> {
        self.prepare(scope, &mut document)?;
        let resets = Resets::take(&mut document);
        extends::apply(self, scope, &mut document, &resets, file)?;
        resets.apply(model);
        let mut inside = scope.clone();
        inside.included.push(file.to_path_buf());
        include::apply(self, &inside, &mut document)?;
        merge::document(model, document, &mut self.found);
        unique::enforce(model, &mut self.found);
        self.go_on()?;
        schema::check(model, &mut self.found);
        self.go_on()?;
        self.drop_version(model, file);
        self.canonical(model)
    }

    /// Checks that a document is a map, and interpolates it.
    fn prepare(&mut self, scope: &Scope, document: &mut Node) -> Stage<()> {
        if document.is_null() {
            self.found.push(Diagnostic::error(&document.at, "empty compose file"));
        } else if document.as_mapping().is_none() {
            self.found.push(Diagnostic::error(&document.at, "top-level object must be a mapping"));
        }
        self.go_on()?;
        if self.options.interpolate {
            interpolate::apply(document, &scope.environment, &mut self.unset, &mut self.found);
        }
        self.go_on()
    }

    fn drop_version(&mut self, model: &mut Node, file: &FilePath) {
        if let Some(version) = model.as_mapping_mut().and_then(|map| map.remove("version")) {
            let file = file.display();
            let message = format!(
                "{file}: the attribute `version` is obsolete, it will be ignored, please remove it to avoid potential confusion"
            );
            self.found.push(Diagnostic::warning(&version.key_at, message));
        }
    }

    /// Long forms; the same thing twice shows only in these.
    fn canonical(&mut self, model: &mut Node) -> Stage<()> {
        let texts = if self.options.interpolate { Texts::Final } else { Texts::Templates };
        expand::expand(model, texts, &mut self.found);
        self.go_on()?;
        unique::enforce(model, &mut self.found);
        self.go_on()
    }

    /// A file that a service extends: merged, but neither checked nor resolved, and with its own `extends` left in.
    pub(in crate::spec) fn base_file(
        &mut self,
        scope: &Scope,
        file: &FilePath,
        because: Note,
    ) -> Stage<(Node, Resets)> {
        let documents = self.documents(file, Some(&because))?;
        let Some(first) = documents.first() else {
            self.found.push(Diagnostic::error_nowhere(format!("{}: empty compose file", file.display())));
            return Err(Stopped);
        };
        let mut model = Node::new(&first.at, Value::Mapping(Mapping::default()));
        let mut resets = Resets::default();
        for mut document in documents {
            self.prepare(scope, &mut document)?;
            resets = Resets::take(&mut document);
            resets.apply(&mut model);
            merge::document(&mut model, document, &mut self.found);
            unique::enforce(&mut model, &mut self.found);
            self.go_on()?;
            self.canonical(&mut model)?;
        }
        Ok((model, resets))
    }
}

/// For tests of the stages: files in a directory of their own, loaded up to one tree, shown on one line.
#[cfg(test)]
pub(in crate::spec) mod testing {
    use super::*;
    use crate::spec::environment::Origin;
    use std::collections::HashMap;

    /// The tree at `path` (`services.a`) of the project whose files are `files`; the first of them is the main one and
    /// its overrides are named in `more`. The directory's name reads `DIR`.
    pub(in crate::spec) fn shown(files: &[(&str, &str)], more: &[&str], path: &str) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = dir.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        let options = Options::default();
        let mut loader = Loader {
            options: &options,
            remote: &super::super::remote::Nowhere,
            current_dir: dir.path().to_path_buf(),
            home: None,
            found: Vec::new(),
            unset: Unset::default(),
            bases: HashMap::new(),
        };
        let mut environment = Environment::default();
        environment.fall_back("V", "value".into(), Origin::Process);
        let scope = Scope {
            base: Some(dir.path().to_path_buf()),
            dir: dir.path().to_path_buf(),
            environment,
            included: Vec::new(),
        };
        let names = files.first().map(|(name, _)| *name).into_iter().chain(more.iter().copied());
        let paths: Vec<PathBuf> = names.map(|name| dir.path().join(name)).collect();
        let result = loader.model(&scope, &paths, None);
        let here = |text: String| text.replace(&dir.path().display().to_string(), "DIR");
        match result {
            Ok(tree) => {
                let mut node = Some(&tree);
                for key in path.split('.').filter(|key| !key.is_empty()) {
                    node = node.and_then(|node| node.get(key));
                }
                Ok(node.map_or_else(|| "absent".to_owned(), |node| here(flow(node))))
            }
            Err(Stopped) => {
                let all: Vec<String> = loader.found.iter().map(ToString::to_string).collect();
                Err(here(all.join("\n")))
            }
        }
    }

    fn flow(node: &Node) -> String {
        match &node.value {
            Value::Null => "null".to_owned(),
            Value::Sequence(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
            Value::Mapping(map) => {
                let mut entries: Vec<String> =
                    map.iter().map(|(key, entry)| format!("{key}: {}", flow(&entry.node))).collect();
                entries.sort();
                format!("{{{}}}", entries.join(", "))
            }
            _ => node.scalar_text().unwrap_or_default(),
        }
    }
}
