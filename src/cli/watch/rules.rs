//! Which change concerns which rule of which service.

use std::path::{Path, PathBuf};

use crate::cli::failure::Failure;
use crate::runtime::build::ignore::Ignore;
use crate::spec::project::build::{BuildContext, Dockerfile};
use crate::spec::project::hooks::{WatchAction, WatchRule};
use crate::spec::project::mounts::MountSource;
use crate::spec::project::service::Service;

/// What editors write beside the files that are meant, and what versions are kept in.
const NEVER: &str = "**/.git
**/*___jb_old___
**/*___jb_tmp___
**/.idea/**
**/.#*
**/#*#
**/4913
**/*~
**/.*.swp
**/.*.swx
**/.*.swo
**/.*.swn
**/.*.kate-swp
**/*-go-tmp-umask";

/// One rule of one service, ready to be asked.
#[derive(Debug)]
pub struct Rule {
    /// Whose.
    pub service: Service,
    /// What it says.
    pub rule: WatchRule,
    /// What does not count, each with the folder that its patterns are relative to.
    ignored: Vec<(PathBuf, Ignore)>,
    include: Option<Ignore>,
}

impl Rule {
    /// From a service's file and the `.dockerignore` of its build.
    pub fn new(service: &Service, rule: &WatchRule) -> Result<Rule, Failure> {
        let patterns = |key: &str, all: &[String]| {
            Ignore::parse(&all.join("\n")).map_err(|(line, reason)| {
                let pattern = all.get(line - 1).map_or("", String::as_str);
                Failure::usage(format!("{}: invalid pattern {pattern:?} in {key}: {reason}", rule.location))
            })
        };
        let mut ignored = vec![(rule.path.clone(), patterns("ignore", &rule.ignore)?)];
        ignored.extend(Ignore::parse(NEVER).ok().map(|never| (rule.path.clone(), never)));
        ignored.extend(of_build(service)?);
        let include = if rule.include.is_empty() { None } else { Some(patterns("include", &rule.include)?) };
        Ok(Rule { service: service.clone(), rule: rule.clone(), ignored, include })
    }

    /// Whether a change of this path counts; then, where it lies below the rule's own path.
    pub fn concerns<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        let below = path.strip_prefix(&self.rule.path).ok()?;
        let is_ignored = self.ignored.iter().any(|(folder, ignore)| {
            path.strip_prefix(folder)
                .is_ok_and(|relative| !relative.as_os_str().is_empty() && ignore.excludes(relative))
        });
        let is_included = self.include.as_ref().is_none_or(|include| include.excludes(below));
        (!is_ignored && is_included).then_some(below)
    }

    /// Where a changed path lies in the container.
    pub fn target(&self, below: &Path) -> String {
        let target = self.rule.target.as_deref().unwrap_or_default();
        if below.as_os_str().is_empty() {
            return target.to_owned();
        }
        format!("{}/{}", target.trim_end_matches('/'), below.display())
    }

    /// Whether files go into containers.
    pub fn syncs(&self) -> bool {
        matches!(self.rule.action, WatchAction::Sync | WatchAction::SyncRestart | WatchAction::SyncExec)
    }

    /// Whether the container sees the path itself, so that there is nothing to copy.
    pub fn is_mounted(&self) -> bool {
        let binds = self.service.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Bind { source, .. } => Some(source),
            _ => None,
        });
        self.syncs() && binds.into_iter().any(|source| self.rule.path.starts_with(source))
    }

    /// Every file that counts, at and below a path.
    pub fn files(&self, path: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![path.to_owned()];
        while let Some(path) = folders.pop() {
            let Ok(status) = path.symlink_metadata() else { continue };
            if !status.is_dir() {
                found.extend(self.concerns(&path).map(|_| path.clone()));
                continue;
            }
            // A folder that has just gone has nothing to tell.
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
            folders.extend(entries.map(|entry| entry.path()));
        }
        found.sort();
        found
    }
}

/// What a build of the service would not see.
fn of_build(service: &Service) -> Result<Option<(PathBuf, Ignore)>, Failure> {
    let Some(build) = &service.build else { return Ok(None) };
    let BuildContext::Directory(context) = &build.context else { return Ok(None) };
    let own = match &build.dockerfile {
        Dockerfile::Path(path) => Some(context.join(format!("{}.dockerignore", path.display()))),
        _ => None,
    };
    let files = own.into_iter().chain([context.join(".dockerignore")]);
    for file in files {
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Failure::file("read", &file)(error)),
        };
        let ignore = Ignore::parse(&text);
        let ignore = ignore.map_err(|(line, reason)| Failure::usage(format!("{}:{line}: {reason}", file.display())))?;
        return Ok(Some((context.clone(), ignore)));
    }
    Ok(None)
}
