//! A container's file system seen from outside: what the processes of a running one see; of one at rest its layers and
//! volumes, mounted for the moment in a mount namespace that only the thread at work is in.
//!
//! Whoever works in it resolves every path with the opened root as the root directory (see `image::tree`).

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, openat};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, fstat};

use crate::engine::{EngineError, Subject};
use crate::runtime::container::find;
use crate::runtime::container::record::Container;
use crate::runtime::container::sandbox;
use crate::runtime::image::tree::{kind, open_directory};
use crate::runtime::layout::Layout;
use crate::runtime::start::inside::Inside;
use crate::runtime::start::mounts::{depth, tree};
use crate::runtime::start::program::text;
use crate::runtime::start::request::MountSource;
use crate::runtime::start::{StartError, rootfs};
use crate::runtime::sys;
use crate::runtime::sys::OrOs;
use crate::runtime::sys::mount::{Place, READ_ONLY, Reach, place, set_attributes};

/// Does something with a container's root directory.
pub fn with_root<T: Send>(
    layout: &Layout,
    container: &Container,
    work: impl FnOnce(&OwnedFd) -> Result<T, EngineError> + Send,
) -> Result<T, EngineError> {
    let subject = || Subject::Container(container.config.name.to_string());
    if let Some(process) = find::running(layout, &container.id.0)? {
        let root = open_directory(format!("/proc/{}/root", process.pid).as_ref());
        // Only now is it known that the number was this process's all the time.
        if let (Ok(root), Ok(())) = (root, sys::pidfd_signal(&process.pidfd, 0)) {
            return work(&root);
        }
    }
    let _rests = at_rest(layout, container)?;
    let mounted = || -> Result<T, EngineError> {
        let root = assemble(layout, container, sandbox::mounts(layout, container)?);
        work(&root.map_err(|error| error.told(subject()))?)
    };
    // A thread of its own, since the mount namespace it leaves for is its own for ever.
    let done = std::thread::scope(|scope| scope.spawn(mounted).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Keeps a container from being started or removed meanwhile.
fn at_rest(layout: &Layout, container: &Container) -> Result<Flock<std::fs::File>, EngineError> {
    let folder = layout.container(&container.config.project, &container.id);
    let folder = std::fs::File::open(folder).map_err(find::failed("open", container.config.name.as_str()))?;
    Flock::lock(folder, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => EngineError::State {
            subject: Subject::Container(container.config.name.to_string()),
            state: "between two runs, or being made or removed; try again".into(),
        },
        errno => find::failed("lock", container.config.name.as_str())(io::Error::from(errno)),
    })
}

/// The layers and what is mounted over them, in a mount namespace that ends with the calling thread.
fn assemble(
    layout: &Layout,
    container: &Container,
    mut mounts: Vec<crate::runtime::start::request::Mount>,
) -> Result<OwnedFd, StartError> {
    unshare(CloneFlags::CLONE_NEWNS).or_os("unshare", "mount namespace")?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).or_os("mount", "/")?;
    let layers = sandbox::rootfs(layout, container);
    let overlay = rootfs::overlay(&layers)?;
    let at = text(&layers.upper)?;
    place(overlay.as_fd(), Place::Path(&at)).or_os("move_mount", layers.upper.display().to_string())?;
    let root = open_directory(&layers.upper).or_os("open", layers.upper.display().to_string())?;
    let inside = Inside::new(root.as_fd());
    mounts.sort_by_key(|mount| depth(&mount.target));
    for mount in &mounts {
        // Memory is empty in a container that does not run.
        if matches!(mount.source, MountSource::Tmpfs { .. }) {
            continue;
        }
        let (name, tree) = tree(mount, inside)?;
        let at = match kind(&fstat(&tree).or_os("stat", name.as_str())?) {
            SFlag::S_IFDIR => inside.folder(&mount.target)?,
            _ => file(inside, &mount.target)?,
        };
        place(tree.as_fd(), Place::Descriptor(at.as_fd())).or_os("move_mount", mount.target.as_str())?;
    }
    if layers.read_only {
        set_attributes(root.as_fd(), Reach::Top, READ_ONLY, 0).or_os("mount_setattr", "/")?;
    }
    // Opened again: the first one shows what lies below the mounts.
    Ok(open_directory(&layers.upper).or_os("open", layers.upper.display().to_string())?)
}

/// The file at a path, made empty where there is none.
fn file(inside: Inside<'_>, path: &str) -> Result<OwnedFd, StartError> {
    match inside.open(path, OFlag::O_PATH) {
        Err(Errno::ENOENT) => {
            let (folder, name) = path.trim_end_matches('/').rsplit_once('/').unwrap_or(("/", path));
            let folder = inside.folder(folder)?;
            let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
            openat(&folder, name, flags, Mode::from_bits_truncate(0o644)).or_os("open", path)?;
            Ok(inside.open(path, OFlag::O_PATH).or_os("open", path)?)
        }
        other => Ok(other.or_os("open", path)?),
    }
}
