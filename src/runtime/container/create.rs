//! Making a container: its configuration and its image become one record.
//!
//! The record is written last: without it there is no container, and what a creation that was killed has left is swept
//! away by the next one. A creation that fails leaves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use crate::engine::{ContainerConfig, ContainerId, EngineError, MountSource, NetworkMode, Subject};
use crate::runtime::cgroup::{self, CgroupError};
use crate::runtime::container::find::{self, failed};
use crate::runtime::container::record::{Container, HealthProbe, Standing};
use crate::runtime::container::remove::sweep;
use crate::runtime::image::config::ImageConfig;
use crate::runtime::image::digest::hex;
use crate::runtime::image::store::Store;
use crate::runtime::layout::Layout;
use crate::runtime::network::{NetworkError, Networks};
use crate::runtime::start::rootfs;
use crate::runtime::store::{self, Durability, now};
use crate::runtime::volume::Volumes;
use crate::values::health::{HealthCheck, Probe};
use crate::values::names::{ContainerName, ProjectName, VolumeName};
use crate::values::protocol::Protocol;

/// Makes a container; anonymous volumes at the same targets are taken over from `inherit`.
pub fn create(
    layout: &Layout,
    config: &ContainerConfig,
    inherit: Option<&ContainerId>,
) -> Result<Container, EngineError> {
    let subject = || Subject::Container(config.name.to_string());
    let images = Store::open(layout)?;
    // Nothing is collected until our record names the layers.
    let _hold = images.hold()?;
    let image = images
        .resolve(&config.image)?
        .ok_or_else(|| EngineError::NotFound(Subject::Image(config.image.to_string())))?;
    check(layout, config)?;
    // Its files may be looked at before anything has ever been started here.
    rootfs::make_init_layer(&layout.init_layer()).map_err(failed("create", config.name.as_str()))?;
    let inherited = match inherit {
        Some(id) => match find::by_id(layout, id)? {
            Some(project) => find::load(layout, &project, id)?.map(|(container, _)| container),
            None => None,
        },
        None => None,
    };

    let id = new_id().map_err(failed("create", config.name.as_str()))?;
    let mut container =
        merge(config, image.config(), id).map_err(|reason| EngineError::Invalid { subject: subject(), reason })?;
    container.image = image.id.clone();
    container.layers = image.layers.clone();

    let mut undo =
        Undo { layout, project: &config.project, id: container.id.clone(), volumes: Vec::new(), armed: true };
    let _lock = folder(layout, &container).map_err(failed("create", config.name.as_str()))?;
    claim(layout, &config.name, &config.project, &container.id)?;
    Networks::new(layout.clone()).claim_loopback(&config.project, &config.ports).map_err(|error| {
        EngineError::Invalid { subject: Subject::Container(config.name.to_string()), reason: error.to_string() }
    })?;
    for target in wanted_volumes(config, image.config()) {
        let named = match config.mounts.iter().find(|mount| mount.target == target).map(|mount| &mount.source) {
            Some(MountSource::Volume { name, .. }) => Some(name.clone()),
            Some(MountSource::Of { container }) => Some(volume_of(layout, container, &target)?),
            _ => None,
        };
        if let Some(name) = named {
            container.volumes.insert(target, name);
            continue;
        }
        let old = inherited
            .as_ref()
            .and_then(|old| old.volumes.get(&target).filter(|name| old.anonymous_volumes.contains(name)).cloned());
        let name = match old {
            Some(name) => name,
            None => {
                let name = Volumes::open(layout).create_anonymous(BTreeMap::new())?;
                undo.volumes.push(name.clone());
                name
            }
        };
        container.anonymous_volumes.push(name.clone());
        container.volumes.insert(target, name);
    }
    for (target, name) in &container.volumes {
        if !keeps_empty(config, target) {
            Volumes::open(layout).populate(name, &image.layers, target)?;
        }
    }
    let write = || -> io::Result<()> {
        store::write(&layout.standing(&config.project, &container.id), &Standing::new(), Durability::Memory)?;
        // The supervisor puts it on disk when it has started.
        store::write(&layout.container_record(&config.project, &container.id), &container, Durability::Memory)
    };
    write().map_err(failed("create", config.name.as_str()))?;
    undo.armed = false;
    Ok(container)
}

/// The volume that a container has at a target.
fn volume_of(layout: &Layout, container: &str, target: &str) -> Result<VolumeName, EngineError> {
    let (project, id) = find::resolve(layout, container)?;
    let found = find::load(layout, &project, &id)?.and_then(|(donor, _)| donor.volumes.get(target).cloned());
    found.ok_or_else(|| EngineError::Invalid {
        subject: Subject::Container(container.to_owned()),
        reason: format!("it has no volume at {target}"),
    })
}

/// What can be known to fail before anything is made.
fn check(layout: &Layout, config: &ContainerConfig) -> Result<(), EngineError> {
    let invalid =
        |reason: String| EngineError::Invalid { subject: Subject::Container(config.name.to_string()), reason };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    cgroup::check(&config.resources, processors).map(drop).map_err(|error| match error {
        CgroupError::Invalid(reason) => invalid(reason),
        error => EngineError::Failed {
            verb: "create",
            subject: Subject::Container(config.name.to_string()),
            source: Box::new(error),
        },
    })?;
    if let NetworkMode::Networks(attachments) = &config.network {
        let networks = Networks::new(layout.clone());
        for attachment in attachments {
            networks.find_or_make(&attachment.network).map_err(|error| match error {
                NetworkError::NotFound(name) => EngineError::NotFound(Subject::Network(name.to_string())),
                error => EngineError::Failed {
                    verb: "read",
                    subject: Subject::Network(attachment.network.to_string()),
                    source: Box::new(error),
                },
            })?;
        }
    }
    for mount in &config.mounts {
        if !mount.target.starts_with('/') {
            return Err(invalid(format!("invalid mount target {:?}: it has to be an absolute path", mount.target)));
        }
        match &mount.source {
            MountSource::Bind { source, create, .. } => {
                bind_source(source, *create).map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => {
                        invalid(format!("invalid mount config: bind source path does not exist: {}", source.display()))
                    }
                    _ => failed("create", &source.display().to_string())(error),
                })?
            }
            MountSource::Volume { name, .. } => {
                let found = Volumes::open(layout).find(name)?;
                found.ok_or_else(|| EngineError::NotFound(Subject::Volume(name.to_string())))?;
            }
            MountSource::Anonymous | MountSource::Of { .. } | MountSource::Tmpfs { .. } | MountSource::Image { .. } => {
            }
        }
    }
    Ok(())
}

fn bind_source(source: &Path, create: bool) -> io::Result<()> {
    match fs::metadata(source) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && create => fs::create_dir_all(source),
        found => found.map(drop),
    }
}

/// Whether the image's content is not wanted in an empty volume there, or has no place in it (`nocopy`, a subpath).
fn keeps_empty(config: &ContainerConfig, target: &str) -> bool {
    config.mounts.iter().any(|mount| {
        let kept = match &mount.source {
            MountSource::Volume { no_copy, subpath, .. } => *no_copy || subpath.is_some(),
            MountSource::Of { .. } => true,
            _ => false,
        };
        mount.target == target && kept
    })
}

/// Where the container has volumes: as configured, and where the image wants one and nothing else is mounted.
fn wanted_volumes(config: &ContainerConfig, image: &ImageConfig) -> BTreeSet<String> {
    let own = config.mounts.iter().filter(|mount| {
        matches!(mount.source, MountSource::Volume { .. } | MountSource::Anonymous | MountSource::Of { .. })
    });
    let mounted = |target: &str| config.mounts.iter().any(|mount| mount.target.trim_end_matches('/') == target);
    let of_image = image.volumes.keys().map(|target| target.trim_end_matches('/'));
    let of_image = of_image.filter(|target| !target.is_empty() && !mounted(target));
    own.map(|mount| mount.target.clone()).chain(of_image.map(str::to_owned)).collect()
}

/// Configuration over image, by the rules of Docker's `daemon/commit.go` (merge). Pure.
fn merge(config: &ContainerConfig, image: &ImageConfig, id: ContainerId) -> Result<Container, String> {
    let command = config.command.clone().unwrap_or_default();
    let own = config.entrypoint.as_deref().unwrap_or_default();
    let (entrypoint, command) = match (own, &config.entrypoint) {
        ([], None) if command.is_empty() => (image.entrypoint.clone(), image.cmd.clone()),
        ([], None) => (image.entrypoint.clone(), command),
        ([], Some(_)) if command.is_empty() => (Vec::new(), image.cmd.clone()),
        (own, _) => (own.to_vec(), command),
    };
    let argv: Vec<String> = entrypoint.into_iter().chain(command).collect();
    if argv.is_empty() {
        return Err("no command specified".into());
    }

    let mut environment: Vec<(String, String)> = Vec::new();
    let mut set =
        |name: &str, value: Option<&str>| match (environment.iter().position(|(known, _)| known == name), value) {
            (Some(place), Some(value)) => environment[place].1 = value.to_owned(),
            (Some(place), None) => drop(environment.remove(place)),
            (None, Some(value)) => environment.push((name.to_owned(), value.to_owned())),
            (None, None) => {}
        };
    for variable in &image.env {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        set(name, Some(value));
    }
    for (name, value) in &config.environment {
        set(name, value.as_deref());
    }

    let working_dir = match config.working_dir.as_deref() {
        None | Some("") if image.working_dir.is_empty() => "/",
        None | Some("") => &image.working_dir,
        Some(own) => own,
    };
    if !working_dir.starts_with('/') {
        return Err(format!("the working directory '{working_dir}' is invalid, it needs to be an absolute path"));
    }
    let of_image = Some(image.stop_signal.as_str()).filter(|signal| !signal.is_empty());
    let of_image = of_image.map(|signal| signal.parse().map_err(|error| format!("{error}"))).transpose();
    let stop_signal = match config.stop_signal {
        Some(signal) => Some(signal),
        None => of_image?,
    };
    let mut exposed: BTreeSet<(u16, Protocol)> = config.expose.iter().copied().collect();
    exposed.extend(config.ports.iter().map(|port| (port.target, port.protocol)));
    exposed.extend(image.exposed_ports.keys().filter_map(|port| {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        Some((number.parse().ok()?, protocol.parse().ok()?))
    }));
    Ok(Container {
        hostname: config.hostname.clone().unwrap_or_else(|| id.short().to_owned()),
        id,
        config: config.clone(),
        image: crate::engine::ImageId(String::new()),
        layers: Vec::new(),
        created: now(),
        argv,
        environment,
        working_dir: working_dir.to_owned(),
        user: config.user.clone().unwrap_or_else(|| image.user.clone()),
        stop_signal,
        health: health(config.healthcheck.as_ref(), image.health().as_ref(), &image.shell),
        exposed: exposed.into_iter().collect(),
        volumes: BTreeMap::new(),
        anonymous_volumes: Vec::new(),
    })
}

/// The health check with its defaults (compose-behaviours §4), each value the container's, else the image's.
fn health(own: Option<&HealthCheck>, image: Option<&HealthCheck>, shell: &[String]) -> Option<HealthProbe> {
    let probe = match (own.map(|own| &own.probe), image.map(|image| &image.probe)) {
        (None | Some(Probe::Inherit), probe) => probe?,
        (Some(probe), _) => probe,
    };
    let argv = match probe {
        Probe::None | Probe::Inherit => return None,
        Probe::Exec(argv) => argv.clone(),
        Probe::Shell(line) if shell.is_empty() => vec!["/bin/sh".into(), "-c".into(), line.clone()],
        Probe::Shell(line) => shell.iter().chain([line]).cloned().collect(),
    };
    let time = |field: fn(&HealthCheck) -> Option<Duration>, default| {
        let set = |check: Option<&HealthCheck>| check.and_then(field).filter(|time| !time.is_zero());
        set(own).or(set(image)).unwrap_or(default)
    };
    let retries = |check: Option<&HealthCheck>| check.and_then(|check| check.retries).filter(|retries| *retries > 0);
    (!argv.is_empty()).then(|| HealthProbe {
        argv,
        interval: time(|check| check.interval, Duration::from_secs(30)),
        timeout: time(|check| check.timeout, Duration::from_secs(30)),
        start_period: time(|check| check.start_period, Duration::ZERO),
        start_interval: time(|check| check.start_interval, Duration::from_secs(5)),
        retries: retries(own).or(retries(image)).unwrap_or(3),
    })
}

fn new_id() -> io::Result<ContainerId> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(ContainerId(hex(&bytes)))
}

/// Makes the container's folder and holds it, so that nobody takes it for a dead creation's.
fn folder(layout: &Layout, container: &Container) -> io::Result<Flock<File>> {
    let project = &container.config.project;
    DirBuilder::new().recursive(true).mode(0o711).create(layout.containers(project))?;
    let folder = layout.container(project, &container.id);
    DirBuilder::new().mode(0o710).create(&folder)?;
    let lock = Flock::lock(File::open(&folder)?, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno)?;
    for (name, mode) in [("upper", 0o755), ("work", 0o700), ("etc", 0o755), ("log", 0o700)] {
        DirBuilder::new().mode(mode).create(folder.join(name))?;
    }
    Ok(lock)
}

/// Takes a name that nobody has; one that a dead creation has left is free.
pub(super) fn claim(
    layout: &Layout,
    name: &ContainerName,
    project: &ProjectName,
    id: &ContainerId,
) -> Result<(), EngineError> {
    let taken = |by: &str| EngineError::State {
        subject: Subject::ContainerName(name.to_string()),
        state: format!("already in use{by}"),
    };
    let take = || -> io::Result<bool> {
        DirBuilder::new().recursive(true).mode(0o711).create(layout.names())?;
        let temporary = layout.claim(id);
        fs::write(&temporary, format!("{project}/{}\n", id.0))?;
        // Written elsewhere and linked: a claim says from its first moment whose it is.
        let taken = fs::hard_link(&temporary, layout.name(name));
        fs::remove_file(&temporary)?;
        match taken {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    };
    for _ in 0..2 {
        if take().map_err(failed("create", name.as_str()))? {
            return Ok(());
        }
        let Some((project, id)) = find::owner(layout, name).map_err(failed("read", name.as_str()))? else { continue };
        if find::is_made(layout, &project, &id).map_err(failed("read", name.as_str()))?
            || !sweep(layout, &project, &id)?
        {
            return Err(taken(&format!(" by container {} (project {project})", id.short())));
        }
        // The folder is gone, so the claim is nobody's.
        let _ = fs::remove_file(layout.name(name));
    }
    Err(taken(""))
}

/// Takes back what a creation has made, unless it came to its end.
struct Undo<'a> {
    layout: &'a Layout,
    project: &'a ProjectName,
    id: ContainerId,
    volumes: Vec<VolumeName>,
    armed: bool,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        // The failure that led here is the one to tell; what stays is swept by the next creation.
        for volume in &self.volumes {
            let _ = Volumes::open(self.layout).remove(volume);
        }
        super::remove::unclaim(self.layout, self.project, &self.id);
        let _ = super::remove::folder(self.layout, self.project, &self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_health_check_takes_each_missing_value_from_the_image_and_then_from_docker() {
        let check = |probe, interval| HealthCheck {
            probe,
            interval: Some(Duration::from_secs(interval)),
            timeout: None,
            start_period: None,
            start_interval: None,
            retries: None,
        };
        let own = check(Probe::Inherit, 0);
        let image = check(Probe::Shell("ok".into()), 7);
        let probe = health(Some(&own), Some(&image), &[]).unwrap();
        assert_eq!(probe.argv, ["/bin/sh", "-c", "ok"]);
        assert_eq!((probe.interval, probe.retries), (Duration::from_secs(7), 3));
        assert_eq!(health(Some(&check(Probe::None, 1)), Some(&image), &[]), None);
        assert_eq!(health(Some(&own), None, &[]), None);
    }
}
