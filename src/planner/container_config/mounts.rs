//! A service's mounts as the engine takes them, those of `volumes_from` and of files of the host among them.

use crate::engine::{ContainerConfig, Mount, MountSource};
use crate::planner::container_config::{Images, Siblings, files};
use crate::planner::error::PlanError;
use crate::spec::project::Project;
use crate::spec::project::files::FileOrigin;
use crate::spec::project::mounts::{Mount as Wanted, MountSource as Source};
use crate::spec::project::mounts::{MountsOf, Recursive};
use crate::spec::project::service::Service;
use crate::values::names::ServiceName;

/// What the service itself declares.
pub(super) fn own(project: &Project, service: &Service) -> Result<Vec<Mount>, PlanError> {
    let mut mounts = Vec::with_capacity(service.mounts.len());
    for wanted in &service.mounts {
        mounts.push(mount(project, service, wanted)?);
    }
    for file in files::given(project, service) {
        if let FileOrigin::File(source) = &file.object.origin {
            mounts.push(Mount {
                target: file.target.to_owned(),
                source: MountSource::Bind { source: source.clone(), create: false, propagation: None, recursive: true },
                read_only: true,
            });
        }
    }
    Ok(mounts)
}

/// Adds the mounts of other services' first containers (`volumes_from`), where no mount of its own has the place.
pub(super) fn share(
    config: &mut ContainerConfig,
    project: &Project,
    service: &Service,
    images: &Images,
    siblings: &dyn Siblings,
) -> Result<(), PlanError> {
    for from in &service.volumes_from {
        let donor = match &from.source {
            MountsOf::Service(donor) => donor,
            MountsOf::Container(name) => {
                return Err(PlanError::Invalid {
                    service: service.name.clone(),
                    reason: format!("volumes_from of a container of no service ({name}) is not supported"),
                });
            }
        };
        siblings.donor("volume", donor)?;
        for mut mount in shared(project, donor, images, siblings)? {
            mount.read_only |= from.read_only;
            if !config.mounts.iter().any(|other| other.target == mount.target) {
                config.mounts.push(mount);
            }
        }
    }
    Ok(())
}

/// What the first container of a service shows to those who take its mounts over: binds and volumes, those without a name
/// and those that it took over itself too.
fn shared(
    project: &Project,
    donor: &ServiceName,
    images: &Images,
    siblings: &dyn Siblings,
) -> Result<Vec<Mount>, PlanError> {
    let Some(service) = project.services.get(donor) else { return Ok(Vec::new()) };
    let container = siblings.donor_now(donor)?.to_string();
    let of = |target: &str| Mount {
        target: target.to_owned(),
        source: MountSource::Of { container: container.clone() },
        read_only: false,
    };
    let mut mounts = Vec::new();
    for wanted in &service.mounts {
        match &wanted.source {
            Source::Bind { .. } | Source::Volume { .. } => mounts.push(mount(project, service, wanted)?),
            Source::Anonymous { .. } => mounts.push(Mount { read_only: wanted.read_only, ..of(&wanted.target) }),
            Source::Tmpfs { .. } | Source::Image { .. } => {}
        }
    }
    for target in images.get(&service.image).map(|image| image.volumes.as_slice()).unwrap_or_default() {
        if !service.mounts.iter().any(|mount| mount.target == *target) {
            mounts.push(of(target));
        }
    }
    for from in &service.volumes_from {
        let MountsOf::Service(next) = &from.source else { continue };
        for mut mount in shared(project, next, images, siblings)? {
            mount.read_only |= from.read_only;
            if !mounts.iter().any(|other| other.target == mount.target) {
                mounts.push(mount);
            }
        }
    }
    Ok(mounts)
}

fn mount(project: &Project, service: &Service, wanted: &Wanted) -> Result<Mount, PlanError> {
    let source = match &wanted.source {
        Source::Bind { source, create, propagation, recursive } => MountSource::Bind {
            source: source.clone(),
            create: *create,
            propagation: propagation.clone(),
            recursive: *recursive != Some(Recursive::Disabled),
        },
        Source::Volume { key, no_copy, subpath } => {
            let volume = project.volumes.get(key).ok_or_else(|| PlanError::Invalid {
                service: service.name.clone(),
                reason: format!("refers to undefined volume {key}"),
            })?;
            MountSource::Volume { name: volume.name.clone(), no_copy: *no_copy, subpath: subpath.clone() }
        }
        Source::Anonymous { .. } => MountSource::Anonymous,
        Source::Tmpfs { size, mode, options } => {
            MountSource::Tmpfs { size: *size, mode: *mode, options: options.clone() }
        }
        Source::Image { image, subpath } => MountSource::Image { image: image.clone(), subpath: subpath.clone() },
    };
    Ok(Mount { target: wanted.target.clone(), source, read_only: wanted.read_only })
}
