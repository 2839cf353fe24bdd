//! `RUN --mount`: what a command sees that is not part of its layer (Dockerfile reference, "RUN --mount").

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::runtime::build::copy::relative;
use crate::runtime::build::state::State;
use crate::runtime::build::steps::{Builder, Fault};
use crate::runtime::image::digest::Digest;
use crate::runtime::image::tree::{kind, open_directory, open_directory_in, open_in, status};
use crate::runtime::start::request::{Mount, MountSource, Propagation};

/// The mounts of a command.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    pub(super) mounts: Vec<Mount>,
    /// Layers that the command's result depends on.
    pub(super) depends_on: Vec<Vec<String>>,
}

/// Reads and prepares the mounts of one command.
pub(super) fn prepare(
    builder: &Builder<'_>,
    stage: usize,
    mounts: &[String],
    state: &State,
) -> Result<Prepared, Fault> {
    let mut prepared = Prepared::default();
    for text in mounts {
        let wrong = |message: String| Fault::Wrong { word: text.clone(), message };
        let text_expanded = state.word(text, builder.file.escape)?;
        let fields: Vec<(&str, &str)> =
            text_expanded.split(',').map(|field| field.split_once('=').unwrap_or((field, "true"))).collect();
        let get = |names: &[&str]| fields.iter().find(|(name, _)| names.contains(name)).map(|(_, value)| *value);
        let target = get(&["target", "dst", "destination"]).map(|target| state.absolute(target));
        let target = || target.clone().ok_or_else(|| wrong("the mount has no target".to_owned()));
        let read_only = match (get(&["ro", "readonly"]), get(&["rw", "readwrite"])) {
            (Some(value), _) => value != "false",
            (None, Some(value)) => value == "false",
            (None, None) => false,
        };
        let source = get(&["source", "src"]).unwrap_or("");
        let mount = match get(&["type"]).unwrap_or("bind") {
            "tmpfs" => {
                let size = get(&["size"])
                    .map(|size| crate::values::byte_size::parse(size).map_err(|error| wrong(error.to_string())));
                let size = size.transpose()?.and_then(|size| u64::try_from(size).ok());
                Mount {
                    target: target()?,
                    read_only: false,
                    source: MountSource::Tmpfs { size, mode: None, options: Vec::new() },
                }
            }
            "cache" => {
                let target = target()?;
                let id = get(&["id"]).unwrap_or(&target).to_owned();
                let folder = builder.store.cache_folder(&Digest::of(id.as_bytes()))?;
                let mode = get(&["mode"]).map_or(Some(0o755), |mode| u32::from_str_radix(mode, 8).ok());
                let mode = mode.ok_or_else(|| wrong("the mode of a mount is an octal number".to_owned()))?;
                let owner = |names: &[&str]| get(names).map(str::parse::<u32>).transpose();
                let (uid, gid) = (owner(&["uid"]), owner(&["gid"]));
                let (Ok(uid), Ok(gid)) = (uid, gid) else {
                    return Err(wrong("uid and gid of a mount are numbers".to_owned()));
                };
                use std::os::unix::fs::PermissionsExt;
                fs::set_permissions(&folder, fs::Permissions::from_mode(mode))?;
                std::os::unix::fs::chown(&folder, Some(uid.unwrap_or(0)), Some(gid.unwrap_or(0)))?;
                Mount { target, read_only, source: bind(folder, None) }
            }
            "bind" => {
                let subpath = Some(relative(Path::new(source))).filter(|path| !path.as_os_str().is_empty());
                let subpath = subpath.map(|path| path.display().to_string());
                // Nothing that a command writes here is kept, so nothing can be written.
                match get(&["from"]) {
                    None => Mount {
                        target: target()?,
                        read_only: true,
                        source: bind(builder.config.context.clone(), subpath),
                    },
                    Some(from) => {
                        let layers = builder.layers_of(stage, from)?;
                        let ids = layers.iter().rev().filter_map(|id| Digest::try_from(id.as_str()).ok());
                        let lower: Vec<PathBuf> = ids.map(|id| builder.store.layer_files(&id)).collect();
                        prepared.depends_on.push(layers);
                        if lower.is_empty() {
                            return Err(wrong(format!("{from} is empty: there is nothing to mount")));
                        }
                        Mount { target: target()?, read_only: true, source: MountSource::Layers { lower, subpath } }
                    }
                }
            }
            kind @ ("secret" | "ssh") => return Err(wrong(format!("a mount of type {kind} is not supported yet"))),
            other => return Err(wrong(format!("a mount is of type bind, cache or tmpfs, not {other:?}"))),
        };
        if mount.read_only && get(&["from"]).is_none() && matches!(get(&["type"]), None | Some("bind")) {
            prepared.depends_on.push(vec![builder.context_digest(source)?.to_string()]);
        }
        prepared.mounts.push(mount);
    }
    Ok(prepared)
}

fn bind(source: PathBuf, subpath: Option<String>) -> MountSource {
    MountSource::Bind { source, subpath, propagation: Propagation::Private, recursive: false }
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

/// A script's interpreter and the script itself, as `sh` would run it.
pub(super) fn script(text: &str) -> Vec<String> {
    let (first, body) = text.split_once('\n').unwrap_or((text, ""));
    let mut argv: Vec<String> = first.trim_start_matches("#!").split_whitespace().map(str::to_owned).collect();
    argv.extend(["-c".to_owned(), body.to_owned()]);
    argv
}
