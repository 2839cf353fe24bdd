//! `ADD`: what `COPY` does, and archives, addresses and repositories.

use std::path::Path;

use crate::runtime::build::copy::Archives;
use crate::runtime::build::fault::Fault;
use crate::runtime::build::instruction::Copy;
use crate::runtime::build::remote::{self, Fetched};
use crate::runtime::build::source::{Exclude, Origin};
use crate::runtime::build::state::State;
use crate::runtime::build::steps::copy::{Chosen, Owners};
use crate::runtime::build::steps::{At, Builder};
use crate::runtime::build::wildcard::Wildcards;
use crate::runtime::git::{self, Keep, Repository};
use crate::runtime::image::digest::Digest;
use crate::runtime::image::tree::open_directory;

/// A source from the network. What it is now is known before it is fetched.
pub(super) enum Far {
    /// At one commit.
    Repository { source: String, repository: Repository, keep: Keep },
    /// With this content; one whose digest was told is fetched only when it is needed.
    File { source: String, name: String, expected: Option<String>, fetched: Option<Fetched>, unpack: Archives },
}

impl Builder<'_> {
    pub(super) fn add(&self, state: &mut State, at: At<'_>, add: &Copy) -> Result<bool, Fault> {
        let sources = state.words(&add.sources, self.job.file.escape)?;
        let remote = |source: &String| Repository::parse(source).is_some() || remote::is_web(source);
        let (far, near): (Vec<String>, Vec<String>) = sources.into_iter().partition(remote);
        if let (Some(checksum), true) = (&add.checksum, far.is_empty()) {
            return Err(Fault::at(checksum, "--checksum is for sources from the network"));
        }
        let archives = if add.unpack == Some(false) { Archives::Kept } else { Archives::Unpacked };
        let arrival = self.arrival(state, add, "add", archives)?;
        let far = far.iter().map(|source| self.far(source, add)).collect::<Result<Vec<_>, _>>()?;
        self.transfer(state, at, add, arrival, near, &far)
    }

    /// Finds out what a source from the network is.
    fn far(&self, source: &str, add: &Copy) -> Result<Far, Fault> {
        let Some(repository) = Repository::parse(source) else {
            return self.web(source, add);
        };
        let wrong = |error: git::GitError| Fault::at(source, format!("{source}: {error}"));
        let mut repository = repository.map_err(|reason| Fault::at(source, reason))?;
        if let Some(checksum) = &add.checksum {
            repository.checksum = Some(checksum.clone());
        }
        repository.reference = Some(git::commit(&repository, &|| self.is_over()).map_err(wrong)?);
        let keep = if add.keep_git_dir { Keep::History } else { Keep::Nothing };
        Ok(Far::Repository { source: source.to_owned(), repository, keep })
    }

    /// Fetches a source from the network.
    pub(super) fn fetch(&self, far: &Far) -> Result<Chosen<'static>, Fault> {
        let (source, repository, keep) = match far {
            Far::Repository { source, repository, keep } => (source, repository, keep),
            Far::File { source, name, expected, fetched, unpack } => {
                let late = match fetched {
                    Some(_) => None,
                    None => Some(self.download(source, name, expected.as_deref())?),
                };
                let folder = fetched.as_ref().or(late.as_ref()).map(|fetched| fetched.folder.as_path());
                let root = open_directory(folder.unwrap_or(Path::new(""))).map_err(std::io::Error::from)?;
                let origin = Origin { root, ignore: None };
                let selected = vec![origin.single(Path::new(name))?];
                return Ok(Chosen { origin, selected, owners: Owners::Root, unpack: *unpack });
            }
        };
        let folder = git::fetch(repository, &self.scratch("repository"), *keep, &|| self.is_over())
            .map_err(|error| Fault::at(source, format!("{source}: {error}")))?;
        let root = open_directory(&folder).map_err(std::io::Error::from)?;
        let origin = Origin { root, ignore: None };
        let selected = origin.select(&Wildcards::plain(Path::new("")), &Exclude::default())?;
        Ok(Chosen { origin, selected, owners: Owners::Root, unpack: Archives::Kept })
    }

    /// A file of the web.
    fn web(&self, source: &str, add: &Copy) -> Result<Far, Fault> {
        let wrong = |message: &str| Fault::at(source, message);
        let name = match remote::file_name(source) {
            Some(name) => name,
            None if add.destination.ends_with('/') => {
                return Err(wrong("the address names no file: give the destination a name"));
            }
            None => "download".to_owned(),
        };
        let expected = add.checksum.clone();
        if expected.as_ref().is_some_and(|text| Digest::try_from(text.as_str()).is_err()) {
            return Err(Fault::at("--checksum", "the checksum of a file is sha256: and 64 hexadecimal digits"));
        }
        let fetched = if expected.is_some() { None } else { Some(self.download(source, &name, None)?) };
        let unpack = if add.unpack == Some(true) { Archives::Unpacked } else { Archives::Kept };
        Ok(Far::File { source: source.to_owned(), name, expected, fetched, unpack })
    }

    fn download(&self, source: &str, name: &str, expected: Option<&str>) -> Result<Fetched, Fault> {
        remote::fetch(source, name, expected, self.scratch("download"), &|| self.is_over())
            .map_err(|error| Fault::at(source, format!("{source}: {error}")))
    }
}

impl Far {
    /// Says what it is: the same text, the same files.
    pub(super) fn identity(&self) -> String {
        match self {
            Far::Repository { source, repository, keep } => format!("{source} {repository:?} {keep:?}"),
            Far::File { source, name, expected, fetched, unpack } => {
                let fetched = fetched.as_ref().map(|fetched| (fetched.digest.to_string(), fetched.modified));
                format!("{source} {name} {expected:?} {fetched:?} {unpack:?}")
            }
        }
    }
}
