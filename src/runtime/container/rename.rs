//! Giving a container another name.

use std::fs;
use std::io;

use crate::engine::{ContainerId, EngineError, Subject};
use crate::runtime::container::create::claim;
use crate::runtime::container::find::{self, failed};
use crate::runtime::layout::Layout;
use crate::runtime::store::{self, Durability};
use crate::values::names::{ContainerName, ProjectName};

/// The claim is moved first, in one step, and the record follows: whoever finds that this was broken off in between does it
/// again, and the container has one claim at any moment.
pub fn rename(
    layout: &Layout,
    project: &ProjectName,
    id: &ContainerId,
    name: &ContainerName,
) -> Result<(), EngineError> {
    let missing = || EngineError::NotFound(Subject::Container(id.short().to_owned()));
    let (mut container, _) = find::load(layout, project, id)?.ok_or_else(missing)?;
    if container.config.name == *name {
        return Ok(());
    }
    let old = std::mem::replace(&mut container.config.name, name.clone());
    match find::owner(layout, name).map_err(failed("rename", old.as_str()))? {
        // Moved already by somebody who was killed then.
        Some((_, owner)) if owner == *id => {}
        None if moved(layout, &old, name).map_err(failed("rename", old.as_str()))? => {}
        // Somebody's, or left by somebody who is gone: then it is claimed, and given up for the one that is moved there.
        _ => {
            claim(layout, name, project, id)?;
            fs::rename(layout.name(&old), layout.name(name)).map_err(failed("rename", old.as_str()))?;
        }
    }
    let written = store::write(&layout.container_record(project, id), &container, Durability::Disk);
    if written.is_err() {
        // The first failure is the one to tell; a claim that stays moved is found by the next renaming or removal.
        let _ = fs::rename(layout.name(name), layout.name(&old));
    }
    written.map_err(failed("rename", old.as_str()))
}

/// Moves a claim to a name that is free; `false` if it is free no more.
fn moved(layout: &Layout, old: &ContainerName, new: &ContainerName) -> io::Result<bool> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, layout.name(old), CWD, layout.name(new), RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
