//! Giving a container another name.

use std::fs;

use crate::engine::{ContainerId, EngineError, Subject};
use crate::runtime::container::create::claim;
use crate::runtime::container::find::{self, failed};
use crate::runtime::layout::Layout;
use crate::runtime::store::{self, Durability};
use crate::values::names::{ContainerName, ProjectName};

/// The new name is claimed first and the old one freed last, so that the container has one at any moment.
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
    claim(layout, name, project, id)?;
    let old = std::mem::replace(&mut container.config.name, name.clone());
    let written = store::write(&layout.container_record(project, id), &container, Durability::Disk);
    let free = if written.is_ok() { &old } else { name };
    let freed = fs::remove_file(layout.name(free));
    written.and(freed).map_err(failed("rename", old.as_str()))
}
