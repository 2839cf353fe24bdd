//! Files into a container and out of it, as `docker cp` does it: a folder that is there is copied into, what is not there
//! gets the name, `folder/.` is what the folder has.
//!
//! Either side is one opened directory with a path below it that can't leave it. In a container that is its root; on the
//! host the folder that the user named, so that a link which was copied there before leads nowhere else.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, readlinkat};
use nix::sys::stat::{FileStat, SFlag, fstat};

use crate::engine::{CopyOptions, CopyOwner, EngineError, Outside, Parents, SourceLink, Subject};
use crate::runtime::build::copy::{self, CopyError, Manner, copy_folder, copy_one, relative};
use crate::runtime::build::source::{Item, Origin};
use crate::runtime::container::record::Container;
use crate::runtime::container::view::with_root;
use crate::runtime::image::compression::{Limit, decompress};
use crate::runtime::image::pack::pack_one;
use crate::runtime::image::tree::{kind, open_directory, open_directory_in, open_in, remove_in, status};
use crate::runtime::image::unpack::{Owner, Whiteouts, unpack};
use crate::runtime::layout::Layout;
use crate::runtime::sys::OrOs;

/// One side: a path below an opened directory.
struct Side {
    root: OwnedFd,
    path: PathBuf,
    /// As it was written, for people.
    shown: String,
}

/// What was written after a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Plain,
    /// A slash: it has to be a folder.
    Slash,
    /// `/.`: what the folder has.
    Content,
}

impl Ending {
    fn of(text: &str) -> Ending {
        match text {
            text if text == "." || text.ends_with("/.") => Ending::Content,
            text if text.ends_with('/') => Ending::Slash,
            _ => Ending::Plain,
        }
    }
}

/// Copies into a container.
pub fn into(
    layout: &Layout,
    container: &Container,
    source: Outside,
    target: &str,
    options: CopyOptions,
) -> Result<(), EngineError> {
    with_root(layout, container, |root| {
        let to = inside(root, target).map_err(|error| failed(container, "copy to", error))?;
        let done = match source {
            Outside::Path(path) => {
                let (from, ending) = on_host(&path, options.link)?;
                transfer(from, ending, to, Ending::of(target), options, (0, 0))
            }
            Outside::Archive(archive) => extract(archive, &to, target, container, options.owner),
        };
        done.map_err(|error| failed(container, "copy to", error))
    })
}

/// Copies out of a container.
pub fn from(
    layout: &Layout,
    container: &Container,
    source: &str,
    target: Outside,
    options: CopyOptions,
) -> Result<(), EngineError> {
    with_root(layout, container, |root| {
        let copied = (|| -> Result<(), CopyError> {
            let from = inside(root, source)?;
            if from.found(options.link)?.is_none() {
                return Err(CopyError::Invalid(format!("could not find the file {source}")));
            }
            match target {
                Outside::Path(path) => {
                    let text = path.to_string_lossy();
                    let to = host_target(&path)?;
                    let user = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
                    transfer(from, Ending::of(source), to, Ending::of(&text), options, user)
                }
                Outside::Archive(archive) => {
                    let from = from.followed(options.link)?;
                    let mut output = BufWriter::new(File::from(archive));
                    pack_one(&from.root, &from.path, &mut output).map_err(|error| match error {
                        crate::runtime::image::pack::PackError::Write(error) => {
                            CopyError::Invalid(format!("the archive cannot be written: {error}"))
                        }
                        error => CopyError::Invalid(error.to_string()),
                    })?;
                    output.flush().or_os("write", "the archive").map_err(CopyError::from)
                }
            }
        })();
        copied.map_err(|error| failed(container, "copy from", error))
    })
}

/// Removes paths of a container with everything below them.
pub fn remove(layout: &Layout, container: &Container, paths: &[String]) -> Result<(), EngineError> {
    with_root(layout, container, |root| {
        for path in paths {
            let path = relative(Path::new(path));
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
            let removed = match open_directory_in(root, parent) {
                Ok(parent) => remove_in(parent, name),
                Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(()),
                Err(errno) => Err(errno),
            };
            let removed = removed.or_os("unlink", path.display().to_string());
            removed.map_err(|error| failed(container, "remove files of", error.into()))?;
        }
        Ok(())
    })
}

fn failed(container: &Container, verb: &'static str, error: CopyError) -> EngineError {
    let subject = Subject::Container(container.config.name.to_string());
    match error {
        CopyError::Invalid(reason) => EngineError::Invalid { subject, reason },
        CopyError::Os(error) if error.errno == Errno::EROFS => {
            EngineError::Invalid { subject, reason: "the file system there is read-only".into() }
        }
        error => EngineError::Failed { verb, subject, source: Box::new(error) },
    }
}

/// A path in a container.
fn inside(root: &OwnedFd, path: &str) -> Result<Side, CopyError> {
    let root = root.try_clone().or_os("dup", "/")?;
    Ok(Side { root, path: relative(Path::new(path)), shown: path.to_owned() })
}

/// A source on the host, with what was written after its name.
fn on_host(path: &Path, link: SourceLink) -> Result<(Side, Ending), EngineError> {
    let shown = path.display().to_string();
    let ending = Ending::of(&shown);
    let missing = |error: std::io::Error| EngineError::Invalid {
        subject: Subject::Path(shown.clone()),
        reason: match error.kind() {
            std::io::ErrorKind::NotFound => "no such file or directory".into(),
            _ => error.to_string(),
        },
    };
    // A slash after a link means the folder that it leads to.
    let follow = link == SourceLink::Followed || ending != Ending::Plain;
    let found = if follow { std::fs::canonicalize(path) } else { std::path::absolute(path) };
    let found = found.map_err(missing)?;
    found.symlink_metadata().map_err(missing)?;
    let (folder, name) = match (found.parent(), found.file_name()) {
        (Some(parent), Some(name)) => (parent, PathBuf::from(name)),
        _ => (found.as_path(), PathBuf::new()),
    };
    let root = open_directory(folder).map_err(|errno| missing(errno.into()))?;
    Ok((Side { root, path: name, shown: path.display().to_string() }, ending))
}

/// A target on the host: the folder itself if it is there, else a name in the folder above.
fn host_target(path: &Path) -> Result<Side, CopyError> {
    let shown = path.display().to_string();
    if path.is_dir() {
        let root = open_directory(path).or_os("open", shown.as_str())?;
        return Ok(Side { root, path: PathBuf::new(), shown });
    }
    let path = std::path::absolute(path).or_os("open", shown.as_str())?;
    let parent = path.parent().unwrap_or(Path::new("/"));
    let root = open_directory(parent).map_err(|_| {
        CopyError::Invalid(format!("invalid output path: directory {} does not exist", parent.display()))
    })?;
    Ok(Side { root, path: path.file_name().map(PathBuf::from).unwrap_or_default(), shown })
}

impl Side {
    /// What is there, links being followed or not.
    fn found(&self, link: SourceLink) -> Result<Option<FileStat>, CopyError> {
        let found = match (link, self.path.parent(), self.path.file_name()) {
            (SourceLink::Itself, Some(parent), Some(name)) => {
                open_directory_in(&self.root, parent).and_then(|folder| status(folder, name))
            }
            _ => open_in(&self.root, &self.path, OFlag::O_PATH).and_then(fstat).map(Some),
        };
        match found {
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
            other => Ok(other.or_os("stat", self.shown.as_str())?),
        }
    }

    /// The same side by the plain path of what its last link leads to.
    fn followed(self, link: SourceLink) -> Result<Side, CopyError> {
        let Side { root, mut path, shown } = self;
        let mut links = 0;
        while link == SourceLink::Followed
            && let (Some(parent), Some(name)) = (path.parent(), path.file_name())
        {
            let folder = open_directory_in(&root, parent).or_os("open", shown.as_str())?;
            match readlinkat(&folder, name) {
                Ok(target) if links < 40 => path = relative(&parent.join(target)),
                Ok(_) => return Err(CopyError::Invalid(format!("{shown}: too many symbolic links"))),
                Err(_) => break,
            }
            links += 1;
        }
        Ok(Side { root, path, shown })
    }
}

/// Copies from one side to the other.
fn transfer(
    from: Side,
    from_ending: Ending,
    mut to: Side,
    to_ending: Ending,
    options: CopyOptions,
    receiver: (u32, u32),
) -> Result<(), CopyError> {
    let name = from.path.file_name().map(OsStr::to_owned);
    let link = if from_ending == Ending::Plain { options.link } else { SourceLink::Followed };
    let from = from.followed(link)?;
    let Some(source) = from.found(SourceLink::Itself)? else {
        return Err(CopyError::Invalid(format!("could not find the file {}", from.shown)));
    };
    let folder = kind(&source) == SFlag::S_IFDIR;
    if !folder && from_ending != Ending::Plain {
        return Err(CopyError::Invalid(format!("{} is not a directory", from.shown)));
    }
    if matches!(kind(&source), SFlag::S_IFCHR | SFlag::S_IFBLK | SFlag::S_IFSOCK) {
        let reason = "is a device or a socket, of which there is nothing to copy";
        return Err(CopyError::Invalid(format!("{} {reason}", from.shown)));
    }
    match to.found(SourceLink::Followed)?.map(|status| kind(&status)) {
        Some(SFlag::S_IFDIR) => {
            if let (true, Some(name)) = (!folder || from_ending != Ending::Content, &name) {
                to.path.push(name);
            }
        }
        Some(_) if folder => {
            return Err(CopyError::Invalid(format!("cannot copy a directory to the file {}", to.shown)));
        }
        Some(_) if to_ending != Ending::Plain => {
            return Err(CopyError::Invalid(format!("{} is not a directory", to.shown)));
        }
        None if !folder && to_ending != Ending::Plain && options.parents == Parents::Needed => {
            return Err(CopyError::Invalid(format!("the destination directory {} must exist", to.shown)));
        }
        Some(_) | None => {}
    }
    let parent = to.path.parent().unwrap_or(Path::new("")).to_owned();
    if options.parents == Parents::Needed && open_directory_in(&to.root, &parent).is_err() {
        return Err(CopyError::Invalid(format!("could not find the directory /{}", parent.display())));
    }
    let manner = Manner::plain((options.owner == CopyOwner::Receiver).then_some(receiver));
    let Side { root, path, .. } = from;
    let origin = Origin::all(root);
    if folder {
        return copy_folder(&origin, &origin.folder(&path)?, &to.root, &to.path, manner);
    }
    let item = item(&origin, path, source)?;
    let above = copy::directory(&to.root, &parent, manner)?;
    let last = to.path.file_name().map(OsStr::to_owned).or(name).unwrap_or_default();
    copy_one(&origin, &item, &above, &last, manner)
}

/// A single file that is no folder.
fn item(origin: &Origin<'_>, path: PathBuf, status: FileStat) -> Result<Item, CopyError> {
    let target = if kind(&status) == SFlag::S_IFLNK {
        let (parent, name) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
        let folder = open_directory_in(&origin.root, parent).or_os("open", path.display().to_string())?;
        Some(readlinkat(&folder, name).or_os("readlink", path.display().to_string())?)
    } else {
        None
    };
    Ok(Item { path, below: PathBuf::new(), status, target })
}

/// Unpacks an archive into a folder of the container.
fn extract(
    archive: OwnedFd,
    to: &Side,
    target: &str,
    container: &Container,
    owner: CopyOwner,
) -> Result<(), CopyError> {
    if to.found(SourceLink::Followed)?.is_none_or(|status| kind(&status) != SFlag::S_IFDIR) {
        let id = container.id.short();
        return Err(CopyError::Invalid(format!("destination \"{id}:{target}\" must be a directory")));
    }
    let owner = match owner {
        CopyOwner::Receiver => Owner::Fixed(0, 0),
        CopyOwner::Source => Owner::Archive,
    };
    let (_, input) = decompress(File::from(archive), Limit::default())
        .map_err(crate::runtime::image::unpack::UnpackError::Archive)?;
    unpack(input, &to.root, &to.path, Whiteouts::Plain, owner)?;
    Ok(())
}
