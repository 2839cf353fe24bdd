//! From a container's record to what its processes get: layers, mounts, command line, cgroup.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::engine::{EngineError, Mount, MountSource, Subject};
use crate::runtime::cgroup::{Cgroup, CgroupError, Tree};
use crate::runtime::container::record::Container;
use crate::runtime::image::store::Store;
use crate::runtime::layout::Layout;
use crate::runtime::start::request::{self, Durability, Propagation, Rootfs};
use crate::runtime::start::rootfs;
use crate::runtime::volume::Volumes;

/// A container's cgroup, whether it exists or not.
pub fn cgroup(container: &Container) -> Result<Cgroup, CgroupError> {
    Ok(Tree::detect()?.cgroup(container.config.cgroup_parent.as_deref(), &container.id.0))
}

/// The image's layers, topmost first, below the one with the places that are mounted over. Where the image has a link in
/// such a place, a folder over it would hide what the link shows: there the start makes what is missing by itself.
fn lower(layout: &Layout, container: &Container) -> Vec<PathBuf> {
    let linked = |layer: &PathBuf| {
        rootfs::INIT_FOLDERS.iter().any(|folder| layer.join(folder).symlink_metadata().is_ok_and(|at| at.is_symlink()))
    };
    let init = Some(layout.init_layer()).filter(|_| !container.layers.iter().any(linked));
    init.into_iter().chain(container.layers.iter().rev().cloned()).collect()
}

/// A container's layers, with the one that it writes to.
pub fn rootfs(layout: &Layout, container: &Container) -> Rootfs {
    let config = &container.config;
    let folder = layout.container(&config.project, &container.id);
    Rootfs {
        lower: lower(layout, container),
        upper: folder.join("upper"),
        work: folder.join("work"),
        durability: if config.auto_remove { Durability::Volatile } else { Durability::Durable },
        read_only: config.read_only,
    }
}

/// What a container's processes have in common; its own command line.
pub fn process(container: &Container) -> request::Process {
    request::Process {
        argv: container.argv.clone(),
        env: container.environment.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        working_dir: container.working_dir.clone(),
        user: Some(container.user.clone()).filter(|user| !user.is_empty()),
        groups: container.config.group_add.clone(),
        security: container.config.security.clone(),
    }
}

/// The configured mounts, and those volumes that only the image names.
pub fn mounts(layout: &Layout, container: &Container) -> Result<Vec<request::Mount>, EngineError> {
    let volumes = Volumes::open(layout);
    let mut mounts: BTreeMap<&str, request::Mount> = BTreeMap::new();
    let volume = |target: &str, subpath: Option<String>, read_only| -> Result<request::Mount, EngineError> {
        let name = container.volumes.get(target).ok_or_else(|| EngineError::Invalid {
            subject: Subject::Container(container.config.name.to_string()),
            reason: format!("its record names no volume for {target}"),
        })?;
        let source = volumes.source(name)?;
        let source = request::MountSource::Bind { source, subpath, propagation: Propagation::Private, recursive: true };
        Ok(request::Mount { target: target.to_owned(), read_only, source })
    };
    for target in container.volumes.keys() {
        mounts.insert(target, volume(target, None, false)?);
    }
    for Mount { target, source, read_only } in &container.config.mounts {
        let mount = match source {
            MountSource::Volume { subpath, .. } => volume(target, subpath.clone(), *read_only)?,
            MountSource::Anonymous | MountSource::Of { .. } => volume(target, None, *read_only)?,
            MountSource::Bind { source, propagation, recursive, .. } => request::Mount {
                target: target.clone(),
                read_only: *read_only,
                source: request::MountSource::Bind {
                    source: source.clone(),
                    subpath: None,
                    propagation: match propagation.as_deref() {
                        Some("shared" | "rshared") => Propagation::Shared,
                        Some("slave" | "rslave") => Propagation::Slave,
                        _ => Propagation::Private,
                    },
                    recursive: *recursive,
                },
            },
            MountSource::Tmpfs { size, mode, options } => request::Mount {
                target: target.clone(),
                read_only: *read_only,
                source: request::MountSource::Tmpfs { size: *size, mode: *mode, options: options.clone() },
            },
            MountSource::Image { image, subpath } => {
                let found = Store::open(layout)?.resolve(image)?;
                let found = found.ok_or_else(|| EngineError::NotFound(Subject::Image(image.to_string())))?;
                request::Mount {
                    target: target.clone(),
                    read_only: true,
                    source: request::MountSource::Layers {
                        lower: found.layers.into_iter().rev().collect(),
                        subpath: subpath.clone(),
                    },
                }
            }
        };
        mounts.insert(target, mount);
    }
    Ok(mounts.into_values().collect())
}
