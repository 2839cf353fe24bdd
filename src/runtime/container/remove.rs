//! Removing a container, in steps that a next command can finish: first its record says that it is dead, then everything
//! goes, the record last but one and the folder last.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use crate::engine::{ContainerId, ContainerState, EngineError, Subject};
use crate::runtime::cgroup::CgroupError;
use crate::runtime::container::find::{self, failed};
use crate::runtime::container::record::Container;
use crate::runtime::container::sandbox;
use crate::runtime::image::tree::remove_tree;
use crate::runtime::layout::Layout;
use crate::runtime::network::Networks;
use crate::runtime::store;
use crate::runtime::volume::Volumes;
use crate::values::names::ProjectName;

/// How many milliseconds a container that is held is waited for.
const PATIENCE: usize = 50;

/// Removes a container that does not run, and its anonymous volumes if `volumes` says so. Returns what it was.
pub fn remove(
    layout: &Layout,
    project: &ProjectName,
    id: &ContainerId,
    volumes: Volume,
) -> Result<Container, EngineError> {
    let missing = || EngineError::NotFound(Subject::Container(id.short().to_owned()));
    let _lock = match hold(&layout.container(project, id)) {
        Ok(Some(lock)) => lock,
        Ok(None) => {
            let subject = Subject::Container(id.short().to_owned());
            return Err(EngineError::State { subject, state: "running".into() });
        }
        // Whoever else removes it, as its supervisor after its only run, was done just now.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
        Err(error) => return Err(failed("remove", id.short())(error)),
    };
    let (container, mut standing) = find::load(layout, project, id)?.ok_or_else(missing)?;
    let name = container.config.name.as_str();
    standing.state = ContainerState::Dead;
    store::rewrite(&layout.standing(project, id), &standing).map_err(failed("remove", name))?;
    if volumes == Volume::Remove {
        for volume in &container.anonymous_volumes {
            match Volumes::open(layout).remove(volume) {
                // Removed by a removal that was killed after this, or by hand.
                Ok(()) | Err(EngineError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }
    unclaim(layout, project, id);
    // Gone with its last run, unless a supervisor was killed in that moment.
    clear(&container).map_err(|error| {
        let subject = Subject::Container(name.to_owned());
        EngineError::Failed { verb: "remove", subject, source: Box::new(error) }
    })?;
    folder(layout, project, id).map_err(failed("remove", name))?;
    Networks::new(layout.clone()).forget_container(&container.config).map_err(|error| {
        let subject = Subject::Container(name.to_owned());
        EngineError::Failed { verb: "remove", subject, source: Box::new(error) }
    })?;
    Ok(container)
}

/// Removes what is left of a container's cgroup, with whoever is left in it.
fn clear(container: &Container) -> Result<(), CgroupError> {
    let cgroup = sandbox::cgroup(container)?;
    if !cgroup.processes()?.is_empty() {
        cgroup.kill()?;
    }
    cgroup.remove()
}

/// What becomes of a container's anonymous volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volume {
    /// They stay.
    Keep,
    /// They go with it.
    Remove,
}

/// Frees the name that a container has claimed: its own, or the other one if a renaming was killed half-way.
pub(super) fn unclaim(layout: &Layout, project: &ProjectName, id: &ContainerId) {
    let claim = format!("{project}/{}\n", id.0);
    let named = find::load(layout, project, id).ok().flatten().map(|(container, _)| container.config.name);
    let ours = |path: &Path| fs::read_to_string(path).is_ok_and(|text| text == claim);
    let own = named.map(|name| layout.name(&name)).filter(|path| ours(path));
    let others = || fs::read_dir(layout.names()).into_iter().flatten().flatten().map(|entry| entry.path());
    // Two, if it was killed while it claimed one.
    let claims = own.map_or_else(|| others().filter(|path| ours(path)).collect(), |path| vec![path]);
    for path in claims {
        // What stays is free, too, as soon as the folder is gone.
        let _ = fs::remove_file(path);
    }
}

/// Removes a container's folder, its record at the end, so that it is known until nothing else is left.
pub(super) fn folder(layout: &Layout, project: &ProjectName, id: &ContainerId) -> io::Result<()> {
    let folder = layout.container(project, id);
    for name in ["upper", "work", "etc", "log"] {
        remove_tree(&folder.join(name))?;
    }
    let standing = layout.standing(project, id);
    for path in [layout.container_record(project, id), store::spare(&standing), standing, layout.claim(id)] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    remove_tree(&folder)?;
    // The project's folders go with its last container; while there is another one they are not empty.
    let _ = fs::remove_dir(layout.containers(project)).and_then(|()| fs::remove_dir(layout.project(project)));
    Ok(())
}

/// Removes what killed commands and power cuts have left of a project's containers that were never wholly made.
pub fn sweep_project(layout: &Layout, project: &ProjectName) -> Result<(), EngineError> {
    for id in find::containers(layout, project)? {
        if !find::is_made(layout, project, &id).map_err(find::failed("read", id.short()))? {
            sweep(layout, project, &id)?;
        }
    }
    Ok(())
}

/// Removes what a creation or a removal that was killed has left of a container without a record; whether it is gone.
pub fn sweep(layout: &Layout, project: &ProjectName, id: &ContainerId) -> Result<bool, EngineError> {
    let _lock = match hold(&layout.container(project, id)) {
        Ok(Some(lock)) => lock,
        Ok(None) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(failed("remove", id.short())(error)),
    };
    if find::is_made(layout, project, id).map_err(failed("read", id.short()))? {
        return Ok(false);
    }
    unclaim(layout, project, id);
    folder(layout, project, id).map_err(failed("remove", id.short()))?;
    Ok(true)
}

/// Holds a container's folder; `None` if it is active, or somebody else is at it.
fn hold(folder: &Path) -> io::Result<Option<Flock<File>>> {
    let file = File::open(folder)?;
    let mut file = file;
    // A supervisor that is asked about a container at rest holds it for a moment, too.
    for _ in 0..PATIENCE {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(Some(lock)),
            Err((file, nix::errno::Errno::EWOULDBLOCK)) => file,
            Err((_, errno)) => return Err(errno.into()),
        };
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(None)
}
