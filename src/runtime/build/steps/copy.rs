//! `COPY`, and what `ADD` has in common with it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::runtime::build::cache::Key;
use crate::runtime::build::context::Context;
use crate::runtime::build::copy::{self, Archives, Destination, Manner, Parents};
use crate::runtime::build::fault::Fault;
use crate::runtime::build::ignore::{self, Ignore};
use crate::runtime::build::instruction::Copy;
use crate::runtime::build::mode::Chmod;
use crate::runtime::build::rootfs::{readable, writable};
use crate::runtime::build::source::{Exclude, Origin, Selected};
use crate::runtime::build::stages::{Base, find};
use crate::runtime::build::state::State;
use crate::runtime::build::steps::add::Far;
use crate::runtime::build::steps::{At, Builder};
use crate::runtime::build::wildcard::Wildcards;
use crate::runtime::image::digest::Digest;
use crate::runtime::image::tree::open_directory;
use crate::runtime::start::identity;
use crate::runtime::start::inside::Inside;

/// Where and how files arrive, with all variables replaced.
pub(super) struct Arrival {
    /// As written; a slash at its end says that it is a folder.
    pub(super) destination: String,
    /// Absolute.
    pub(super) path: String,
    pub(super) chown: Option<String>,
    pub(super) chmod: Option<Chmod>,
    pub(super) archives: Archives,
    /// The layers that the new one lies on, as far as its files depend on them.
    pub(super) on: Vec<String>,
    /// Says all of this.
    pub(super) key: Key,
}

/// Files of one place, for one instruction.
pub(super) struct Chosen<'a> {
    pub(super) origin: Origin<'a>,
    pub(super) selected: Vec<Selected>,
    /// Owners are kept, unless the instruction names one.
    pub(super) owners: Owners,
    pub(super) unpack: Archives,
}

/// Where files are taken from.
enum Taken<'a> {
    /// From the outside.
    Context(&'a Context),
    /// From a stage or an image.
    Layers(Vec<String>),
}

/// Whose the copied files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owners {
    /// Root's: what comes from the outside.
    Root,
    /// The same as in the source.
    Kept,
}

impl Builder<'_> {
    pub(super) fn copy(&self, state: &mut State, at: At<'_>, copy: &Copy) -> Result<bool, Fault> {
        let arrival = self.arrival(state, copy, "copy", Archives::Kept)?;
        let sources = state.words(&copy.sources, self.job.file.escape)?;
        self.transfer(state, at, copy, arrival, sources, &[])
    }

    /// Replaces the variables of an instruction.
    pub(super) fn arrival(&self, state: &State, copy: &Copy, kind: &str, archives: Archives) -> Result<Arrival, Fault> {
        let escape = self.job.file.escape;
        let destination = state.word(&copy.destination, escape)?;
        let chown = copy.chown.as_deref().map(|text| state.word(text, escape)).transpose()?;
        let chmod = copy.chmod.as_deref().map(|text| state.word(text, escape)).transpose()?;
        let chmod_text = chmod.clone().unwrap_or_else(|| "none".to_owned());
        let chmod = chmod.map(|text| text.parse().map_err(|error| Fault::at(&text, format!("{error}")))).transpose()?;
        let path = state.absolute(&destination);
        let on = if copy.link { Vec::new() } else { state.document.rootfs.diff_ids.clone() };
        let mut key = Key::new(kind, &on);
        key.add(&path);
        key.add(if destination.ends_with('/') { "folder" } else { "" });
        key.add(chown.as_deref().unwrap_or("none"));
        key.add(chmod_text);
        key.add(if copy.parents { "parents" } else { "" });
        key.add(if archives == Archives::Unpacked { "unpacked" } else { "" });
        key.add_all(&copy.exclude);
        if copy.link && chown.as_ref().is_some_and(|chown| chown.contains(|c: char| c.is_ascii_alphabetic())) {
            // Who is meant by a name is said by the layers below.
            key.add_all(&state.document.rootfs.diff_ids);
        }
        Ok(Arrival { destination, path, chown, chmod, archives, on, key })
    }

    /// Copies what an instruction names: `sources` of the place it takes from, and what comes from the network.
    pub(super) fn transfer(
        &self,
        state: &mut State,
        at: At<'_>,
        copy: &Copy,
        mut arrival: Arrival,
        sources: Vec<String>,
        far: &[Far],
    ) -> Result<bool, Fault> {
        let escape = self.job.file.escape;
        for far in far {
            arrival.key.add(far.identity());
        }
        let mut documents: Vec<(String, String)> = Vec::new();
        for document in &copy.heredocs {
            let content = match document.expand {
                true => state.word_of_document(&document.content, escape)?,
                false => document.content.clone(),
            };
            arrival.key.add(&document.name);
            arrival.key.add(&content);
            documents.push((document.name.clone(), content));
        }
        let taken = self.taken(at.stage, copy.from.as_deref())?;
        // What comes from a stage or an image is known by its layers; only if these are new, its content is looked at.
        let shortcut = match &taken {
            Taken::Context(_) => None,
            Taken::Layers(layers) => {
                let mut shortcut = Key::new("from", layers);
                shortcut.add(arrival.key.digest().hex());
                shortcut.add_all(&sources);
                Some(self.epochal(&shortcut))
            }
        };
        if let Some(shortcut) = &shortcut
            && let Some(made) = self.known(at.stage, shortcut)?
        {
            self.take(state, at, shortcut, made);
            return Ok(true);
        }
        let origin = self.origin(&taken)?;
        let rules = Ignore::parse(&copy.exclude.join("\n")).map_err(|(_, message)| Fault::at("--exclude", message))?;
        let mut exclude = Exclude { rules, from: None };
        let mut selected: Vec<Selected> = Vec::new();
        for source in &sources {
            let (pivot, source_path) = match source.split_once("/./") {
                Some((before, _)) if copy.parents => (ignore::inside(before), source),
                _ => (None, source),
            };
            let below = ignore::inside(source_path)
                .ok_or_else(|| Fault::at(source, format!("the path {source} leads out of the build context")))?;
            let wildcards = Wildcards::parse(&below).map_err(|message| Fault::at(source, message))?;
            // With its folders, a file is called by its path.
            exclude.from = copy.parents.then(|| pivot.clone().unwrap_or_default());
            let mut found = origin.select(&wildcards, &exclude)?;
            // A pattern may match nothing, as an optional file's.
            if found.is_empty() && wildcards.is_plain() {
                return Err(Fault::at(source, missing(source, &below, &origin, copy.from.as_deref())));
            }
            if let Some(pivot) = pivot {
                for one in &mut found {
                    one.parents = one.parents.strip_prefix(&pivot).map(Path::to_owned).unwrap_or_default();
                }
            }
            selected.extend(found);
        }
        let owners = if shortcut.is_some() { Owners::Kept } else { Owners::Root };
        arrival.key.add(origin.digest(&selected)?.hex());
        let count = documents.len() + selected.len() + far.len();
        let near = Chosen { origin, selected, owners, unpack: arrival.archives };
        let folder =
            arrival.destination.ends_with('/') || matches!(arrival.destination.as_str(), "." | "..") || count > 1;
        let layers = self.directories(&arrival.on);
        let below = self.directories(&state.document.rootfs.diff_ids);
        self.layer(state, at, &arrival.key, shortcut, |change| {
            let target = writable(&layers, change)?;
            let owner = match &arrival.chown {
                Some(chown) => {
                    let empty = self.empty()?;
                    Some(owner_of(&readable(&below, &empty)?, chown)?)
                }
                None => None,
            };
            let fetched = far.iter().map(|far| self.fetch(far)).collect::<Result<Vec<_>, _>>()?;
            for (number, one) in [near].iter().chain(&fetched).enumerate() {
                let manner = Manner {
                    owner: owner.or((one.owners == Owners::Root).then_some((0, 0))),
                    archive_owner: owner,
                    mode: arrival.chmod.as_ref(),
                    unpack: one.unpack,
                    parents: if copy.parents { Parents::Made } else { Parents::Dropped },
                };
                let to = Destination { root: &target, path: Path::new(&arrival.path), folder };
                copy::copy(&one.origin, &one.selected, &to, manner)?;
                for (name, content) in documents.iter().filter(|_| number == 0) {
                    copy::write(content.as_bytes(), name, &to, manner)?;
                }
            }
            Ok(())
        })
    }

    /// An empty folder: what an image of nothing consists of.
    fn empty(&self) -> io::Result<PathBuf> {
        let empty = self.job.staging.path().join("empty");
        std::fs::create_dir_all(&empty)?;
        Ok(empty)
    }

    /// Where an instruction takes files from.
    fn taken(&self, stage: usize, from: Option<&str>) -> Result<Taken<'_>, Fault> {
        let Some(from) = from else { return Ok(Taken::Context(self.job.context)) };
        match self.context_named(stage, from)? {
            Some(context) => Ok(Taken::Context(context)),
            None => Ok(Taken::Layers(self.layers_of(stage, from)?)),
        }
    }

    fn origin<'o>(&self, taken: &Taken<'o>) -> Result<Origin<'o>, Fault> {
        Ok(match taken {
            Taken::Context(context) => {
                let root = open_directory(&context.folder).map_err(io::Error::from)?;
                Origin { root, ignore: Some(&context.ignore) }
            }
            Taken::Layers(layers) => {
                Origin { root: readable(&self.directories(layers), &self.empty()?)?, ignore: None }
            }
        })
    }

    /// The named context of files that an instruction of a stage means.
    pub(in crate::runtime::build) fn context_named(&self, stage: usize, from: &str) -> Result<Option<&Context>, Fault> {
        match find(self.job.contexts, &self.job.stages[..stage], from) {
            Base::Context(name) if self.job.contexts.image(&name).is_none() => Ok(Some(self.job.contexts.open(&name)?)),
            _ => Ok(None),
        }
    }

    /// The layers of another stage, or of an image.
    pub(in crate::runtime::build) fn layers_of(&self, stage: usize, from: &str) -> Result<Vec<String>, Fault> {
        let image = |name: &str| Ok(self.image(None, name)?.0.document.rootfs.diff_ids);
        match find(self.job.contexts, &self.job.stages[..stage], from) {
            Base::Stage(number) => Ok(self.earlier(number)?.document.rootfs.diff_ids.clone()),
            Base::Scratch => Ok(Vec::new()),
            Base::Image(name) => image(&name),
            Base::Context(name) => match self.job.contexts.image(&name) {
                Some(named) => Ok(self.named_image(None, named)?.0.document.rootfs.diff_ids),
                None => Err(Fault::at(from, format!("the context {from} is a folder, not an image"))),
            },
        }
    }

    /// A digest of what a path of a context holds.
    pub(in crate::runtime::build) fn context_digest(&self, context: &Context, source: &str) -> Result<Digest, Fault> {
        let root = open_directory(&context.folder).map_err(io::Error::from)?;
        let origin = Origin { root, ignore: Some(&context.ignore) };
        let below = ignore::inside(source)
            .ok_or_else(|| Fault::at(source, format!("the path {source} leads out of the build context")))?;
        let selected = origin.select(&Wildcards::plain(&below), &Exclude::default())?;
        if selected.is_empty() {
            return Err(Fault::at(source, missing(source, &below, &origin, None)));
        }
        Ok(origin.digest(&selected)?)
    }
}

/// Why nothing was found, with what may be the reason.
fn missing(source: &str, below: &Path, origin: &Origin<'_>, from: Option<&str>) -> String {
    match from {
        Some(from) => format!("{source} does not exist in {from}"),
        None if origin.ignore.is_some_and(|ignore| ignore.excludes(below)) => {
            format!("{source} is not part of the build context: .dockerignore leaves it out")
        }
        None => format!("{source} does not exist in the build context"),
    }
}

/// The user of an image as numbers.
pub(super) fn owner(root: &OwnedFd, user: &str) -> Result<(u32, u32), Fault> {
    let identity = identity::look_up(Inside::new(root.as_fd()), user, &[])?;
    Ok((identity.uid, identity.gid))
}

/// `--chown`: a number alone is the group's, too.
fn owner_of(root: &OwnedFd, chown: &str) -> Result<(u32, u32), Fault> {
    let own =
        |user: &str| owner(root, user).map_err(|_| Fault::at(chown, format!("the image has no user or group {chown}")));
    match chown.parse::<u32>() {
        Ok(number) => Ok((number, number)),
        Err(_) => own(chown),
    }
}
