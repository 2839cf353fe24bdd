//! `RUN --mount`: what a command sees that is not part of its layer (Dockerfile reference, "RUN --mount").
//!
//! First each mount is read and says what the command's result depends on; only for a command that does run it is prepared.

mod options;
pub(super) mod prepare;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::runtime::build::copy::relative;
use crate::runtime::build::fault::Fault;
use crate::runtime::build::mounts::options::Options;
use crate::runtime::build::state::State;
use crate::runtime::build::steps::Builder;
use crate::runtime::image::tree::{kind, open_directory, open_directory_in, open_in, status};
use crate::runtime::start::request::Mount;

/// A mount that a command asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// As written.
    text: String,
    /// Absolute; `None` where none was named.
    target: Option<String>,
    what: What,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// Files of the context, a stage, an image.
    Bind { from: Option<String>, source: String, access: Access },
    /// A folder that lasts from one build to the next.
    Cache { id: Option<String>, from: Option<String>, source: String, access: Access, sharing: Sharing, owner: Owner },
    /// Memory.
    Tmpfs { size: Option<u64> },
    /// A file that no layer has.
    Secret { id: String, variable: Option<String>, need: Need, owner: Owner },
    /// The caller's keys.
    Ssh { id: String, need: Need, owner: Owner },
}

/// What a command may do there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    ReadOnly,
    /// What is written to a bind mount is thrown away.
    Writable,
}

/// What happens if two commands want one cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    /// Both have it.
    Shared,
    /// The second gets another.
    Private,
    /// The second waits.
    Locked,
}

/// What happens if the caller gives no such secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Required,
    Optional,
}

/// Whose it is, where that is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Owner {
    uid: Option<u32>,
    gid: Option<u32>,
    mode: Option<u32>,
}

/// Reads the mounts of a command.
pub(super) fn read(texts: &[String], state: &State, escape: char) -> Result<Vec<Wanted>, Fault> {
    texts.iter().map(|text| one(text, state, escape)).collect()
}

fn one(text: &str, state: &State, escape: char) -> Result<Wanted, Fault> {
    let wrong = |message: String| Fault::at(text, message);
    let mut options = Options::parse(text, state, escape).map_err(wrong)?;
    let wrong = |message: String| Fault::at(text, message);
    let what = match options.kind() {
        "bind" => What::Bind {
            from: options.text(&["from"]),
            source: options.text(&["source", "src"]).unwrap_or_default(),
            access: options.access(Access::ReadOnly).map_err(wrong)?,
        },
        "cache" => What::Cache {
            id: options.text(&["id"]),
            from: options.text(&["from"]),
            source: options.text(&["source", "src"]).unwrap_or_default(),
            access: options.access(Access::Writable).map_err(wrong)?,
            sharing: match options.text(&["sharing"]).as_deref() {
                None | Some("shared") => Sharing::Shared,
                Some("private") => Sharing::Private,
                Some("locked") => Sharing::Locked,
                Some(other) => return Err(wrong(format!("sharing is shared, private or locked, not {other:?}"))),
            },
            owner: options.owner().map_err(wrong)?,
        },
        "tmpfs" => What::Tmpfs { size: options.size().map_err(wrong)? },
        "secret" => {
            let (id, file) = (options.text(&["id"]), options.peek(&["target", "dst", "destination"]));
            let last = file.as_deref().and_then(|file| file.rsplit('/').next()).map(str::to_owned);
            let id = id.or(last).filter(|id| !id.is_empty());
            What::Secret {
                id: id.ok_or_else(|| wrong("a secret is told by its id or its target".to_owned()))?,
                variable: options.text(&["env"]),
                need: options.need().map_err(wrong)?,
                owner: options.owner().map_err(wrong)?,
            }
        }
        "ssh" => What::Ssh {
            id: options.text(&["id"]).unwrap_or_else(|| "default".to_owned()),
            need: options.need().map_err(wrong)?,
            owner: options.owner().map_err(wrong)?,
        },
        other => return Err(wrong(format!("a mount is of type bind, cache, tmpfs, secret or ssh, not {other:?}"))),
    };
    let target = options.text(&["target", "dst", "destination"]).map(|target| state.absolute(&target));
    options.finish().map_err(wrong)?;
    if target.is_none() && matches!(what, What::Bind { .. } | What::Cache { .. } | What::Tmpfs { .. }) {
        return Err(wrong("the mount has no target".to_owned()));
    }
    Ok(Wanted { text: text.to_owned(), target, what })
}

impl Wanted {
    /// What a command's result depends on: layers, or a digest of files.
    pub(super) fn depends_on(&self, builder: &Builder<'_>, stage: usize) -> Result<Vec<String>, Fault> {
        let (from, source) = match &self.what {
            What::Bind { from, source, .. } => (from, source),
            // What is kept from build to build, and what the caller gives, makes no difference by definition.
            What::Cache { .. } | What::Tmpfs { .. } | What::Secret { .. } | What::Ssh { .. } => return Ok(Vec::new()),
        };
        let context = match from {
            None => Some(builder.job.context),
            Some(from) => builder.context_named(stage, from)?,
        };
        match (context, from) {
            (Some(context), _) => Ok(vec![builder.context_digest(context, source)?.to_string()]),
            (None, from) => builder.layers_of(stage, from.as_deref().unwrap_or_default()),
        }
    }
}

/// The places of mounts that the stage's file system does not have, and folders above them, the deepest last.
pub(super) fn missing(root: &OwnedFd, mounts: &[Mount]) -> Vec<PathBuf> {
    let mut missing = Vec::new();
    for mount in mounts {
        let path = relative(Path::new(&mount.target));
        let above = path.ancestors().filter(|path| !path.as_os_str().is_empty());
        missing.extend(above.filter(|path| open_in(root, path, OFlag::O_PATH).is_err()).map(Path::to_owned));
    }
    missing.sort();
    missing.dedup();
    missing
}

/// Takes the places that were made for mounts out of the layer again, unless the command put something there.
pub(super) fn clear(places: &[PathBuf], upper: &Path) -> io::Result<()> {
    let root = open_directory(upper)?;
    for place in places.iter().rev() {
        let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else { continue };
        let Ok(folder) = open_directory_in(&root, parent) else { continue };
        let flag = match status(&folder, name)? {
            Some(found) if kind(&found) == SFlag::S_IFDIR => UnlinkatFlags::RemoveDir,
            Some(found) if kind(&found) == SFlag::S_IFREG && found.st_size == 0 => UnlinkatFlags::NoRemoveDir,
            _ => continue,
        };
        match unlinkat(&folder, name, flag) {
            Ok(()) | Err(Errno::ENOTEMPTY) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
