//! Service + replica number → [`ContainerConfig`].
//!
//! In two steps, because most containers of most plans stay as they are. A [`Template`] holds what all replicas share in a
//! neutral form, from which the configuration hash is made. [`Template::replica`] adds what belongs to one container: its
//! name and number, Compose's labels, the contents of files, the names of the containers it refers to.

mod files;
mod mounts;
mod networks;
mod one_off;
mod security;

use std::collections::BTreeMap;

use crate::engine::{ContainerConfig, Logging, MountSource, NamespaceMode, NetworkMode, ObservedImage, Resources};
use crate::planner::error::PlanError;
use crate::planner::hash;
use crate::planner::labels;
use crate::planner::request::Run;
use crate::spec::project::Project;
use crate::spec::project::service::{Namespace, Service};
use crate::values::image_ref::ImageRef;
use crate::values::names::{ContainerName, ServiceName};
use crate::values::restart::Restart;

/// The images that are present.
type Images = BTreeMap<ImageRef, ObservedImage>;

/// What a reference to a service's container looks like before it is known which container that is.
const SERVICE_REFERENCE: &str = "service:";

/// What all replicas of a service are made from.
#[derive(Debug, Clone)]
pub struct Template<'a> {
    project: &'a Project,
    service: &'a Service,
    config: ContainerConfig,
    /// Tells whether a container is as the file says: the `config-hash` label.
    pub hash: String,
}

/// Finds the containers that a service refers to: its namespace and volume donors, and link targets.
pub trait Siblings {
    /// The container whose namespace is shared.
    fn donor(&self, what: &'static str, service: &ServiceName) -> Result<ContainerName, PlanError>;
    /// All containers of a service.
    fn replicas(&self, service: &ServiceName) -> Vec<ContainerName>;
    /// What the first container of a service is called at the moment when those are made that take its mounts over.
    fn donor_now(&self, service: &ServiceName) -> Result<ContainerName, PlanError>;
}

impl<'a> Template<'a> {
    /// From a service of a project.
    pub fn new(project: &'a Project, service: &'a Service) -> Result<Template<'a>, PlanError> {
        let config = neutral(project, service)?;
        let hash = hash::service(service, &config);
        Ok(Template { project, service, config, hash })
    }

    /// The project it is of.
    pub fn project(&self) -> &'a Project {
        self.project
    }

    /// The service it is for.
    pub fn service(&self) -> &'a Service {
        self.service
    }

    /// What one replica is made from.
    pub fn replica(&self, number: u32, images: &Images, siblings: &dyn Siblings) -> Result<ContainerConfig, PlanError> {
        let mut config = self.config.clone();
        config.name = replica_name(self.project, self.service, number)?;
        config.slot = format!("{}/{number}", self.service.name);
        self.complete(&mut config, images, siblings)?;
        self.label(&mut config, images);
        config.labels.insert(labels::NUMBER.to_owned(), number.to_string());
        config.labels.insert(labels::ONE_OFF.to_owned(), "False".to_owned());
        Ok(config)
    }

    /// What a container for one command is made from.
    pub fn one_off(&self, run: &Run, images: &Images, siblings: &dyn Siblings) -> Result<ContainerConfig, PlanError> {
        let mut config = self.config.clone();
        let slug = run.slug.get(..12).unwrap_or(&run.slug);
        config.name = match &run.name {
            Some(name) => name.clone(),
            None => [self.project.name.as_str(), self.service.name.as_str(), "run", slug]
                .join(&self.project.separator.to_string())
                .try_into()
                .map_err(PlanError::Name)?,
        };
        config.slot = format!("{}/run-{slug}", self.service.name);
        one_off::apply(run, &mut config);
        self.complete(&mut config, images, siblings)?;
        self.label(&mut config, images);
        config.labels.insert(labels::SLUG.to_owned(), run.slug.clone());
        config.labels.insert(labels::ONE_OFF.to_owned(), "True".to_owned());
        Ok(config)
    }

    /// What the container of a `pre_start` hook is made from, which sees the volumes of the service's first container.
    ///
    /// It has no configuration hash: it is none of the service's replicas.
    pub fn pre_start(
        &self,
        index: usize,
        first: &ContainerName,
        images: &Images,
        siblings: &dyn Siblings,
    ) -> Result<ContainerConfig, PlanError> {
        let wrong = |reason: String| PlanError::Invalid { service: self.service.name.clone(), reason };
        let Some(pre_start) = self.service.pre_start.get(index) else {
            return Err(wrong(format!("pre_start[{index}] does not exist")));
        };
        if pre_start.per_replica {
            return Err(wrong(format!("pre_start[{index}]: `per_replica: true` is not supported")));
        }
        let hook = &pre_start.hook;
        let mut config = self.config.clone();
        let (project, service) = (&self.project.name, &self.service.name);
        config.name = format!("{project}-{service}-pre_start-{index}").try_into().map_err(PlanError::Name)?;
        config.slot = format!("{service}/pre_start-{index}");
        self.complete(&mut config, images, siblings)?;
        for mount in &mut config.mounts {
            if mount.source == MountSource::Anonymous {
                mount.source = MountSource::Of { container: first.to_string() };
            }
        }
        if let Some(image) = &pre_start.image {
            config.image = image.clone();
        }
        if !hook.command.is_empty() {
            config.entrypoint = Some(hook.command.clone());
            config.command = None;
        }
        config.environment.extend(hook.environment.clone());
        config.user = hook.user.clone().or(config.user);
        config.working_dir = hook.working_dir.clone().or(config.working_dir);
        config.security.privileged |= hook.privileged;
        config.restart = Restart::No;
        (config.tty, config.stdin_open, config.healthcheck) = (false, false, None);
        (config.ports, config.files) = (Vec::new(), Vec::new());
        for (label, value) in [
            (labels::PROJECT, project.to_string()),
            (labels::SERVICE, service.to_string()),
            (labels::ONE_OFF, "True".to_owned()),
            (labels::HOOK, "pre_start".to_owned()),
            (labels::VERSION, env!("CARGO_PKG_VERSION").to_owned()),
        ] {
            config.labels.insert(label.to_owned(), value);
        }
        Ok(config)
    }

    fn complete(
        &self,
        config: &mut ContainerConfig,
        images: &Images,
        siblings: &dyn Siblings,
    ) -> Result<(), PlanError> {
        config.files = files::injected(self.project, self.service)?;
        mounts::share(config, self.project, self.service, images, siblings)?;
        networks::link(config, self.service, siblings)?;
        if let NetworkMode::Container(reference) = &mut config.network {
            resolve(reference, "network namespace", siblings)?;
        }
        for (namespace, what) in [(&mut config.ipc, "ipc namespace"), (&mut config.pid, "pid namespace")] {
            if let NamespaceMode::Container(reference) = namespace {
                resolve(reference, what, siblings)?;
            }
        }
        Ok(())
    }

    fn label(&self, config: &mut ContainerConfig, images: &Images) {
        let Project { name, working_dir, files, .. } = self.project;
        let dependencies = self.service.depends_on.iter().map(|(name, to)| (name, to.condition, to.restart));
        let files: Vec<_> = files.iter().map(|file| file.to_string_lossy()).collect();
        let mut labels = vec![
            (labels::PROJECT, name.to_string()),
            (labels::SERVICE, self.service.name.to_string()),
            (labels::CONFIG_HASH, self.hash.clone()),
            (labels::DEPENDS_ON, labels::print_dependencies(dependencies)),
            (labels::CONFIG_FILES, files.join(",")),
            (labels::WORKING_DIR, working_dir.to_string_lossy().into_owned()),
            (labels::VERSION, env!("CARGO_PKG_VERSION").to_owned()),
        ];
        if let Some(image) = images.get(&config.image) {
            labels.push((labels::IMAGE, image.id.0.clone()));
        }
        if let Some(digests) = self.image_volumes(images) {
            labels.push((labels::IMAGE_VOLUMES, digests));
        }
        config.labels.extend(labels.into_iter().map(|(key, value)| (key.to_owned(), value)));
    }

    /// The identities of the images it mounts: the `image-volume-digest` label.
    pub(super) fn image_volumes(&self, images: &Images) -> Option<String> {
        let mut digests = Vec::new();
        for mount in &self.config.mounts {
            if let MountSource::Image { image, .. } = &mount.source
                && let Some(image) = images.get(image)
            {
                digests.push(format!("{}={}", mount.target, image.id.0));
            }
        }
        (!digests.is_empty()).then(|| digests.join(","))
    }

    /// What all replicas share.
    pub(super) fn config(&self) -> &ContainerConfig {
        &self.config
    }
}

/// The configuration hash of each active service: the value of its containers' label (`config --hash`).
pub fn hashes(project: &Project) -> Result<Vec<(ServiceName, String)>, PlanError> {
    let hash = |service: &Service| Ok((service.name.clone(), Template::new(project, service)?.hash));
    project.services.values().map(hash).collect()
}

/// `<project>-<service>-<number>`, or what the file says.
pub fn replica_name(project: &Project, service: &Service, number: u32) -> Result<ContainerName, PlanError> {
    match &service.container_name {
        Some(name) => Ok(name.clone()),
        None => [project.name.as_str(), service.name.as_str(), &number.to_string()]
            .join(&project.separator.to_string())
            .try_into()
            .map_err(PlanError::Name),
    }
}

fn resolve(reference: &mut String, what: &'static str, siblings: &dyn Siblings) -> Result<(), PlanError> {
    if let Some(service) = reference.strip_prefix(SERVICE_REFERENCE).and_then(|name| name.parse().ok()) {
        *reference = siblings.donor(what, &service)?.to_string();
    }
    Ok(())
}

/// What the configuration hash is made from: everything of the service that a container is made from, and nothing that
/// differs between replicas or may change while the container stays (contents of secrets, scale of link targets).
fn neutral(project: &Project, service: &Service) -> Result<ContainerConfig, PlanError> {
    let network = networks::mode(project, service)?;
    Ok(ContainerConfig {
        name: replica_name(project, service, 1)?,
        project: project.name.clone(),
        slot: String::new(),
        labels: labels::users(&service.labels).map(|(key, value)| (key.clone(), value.clone())).collect(),
        image: service.image.clone(),
        command: service.command.clone(),
        entrypoint: service.entrypoint.clone(),
        environment: service.environment.clone(),
        working_dir: service.working_dir.clone(),
        user: service.user.clone(),
        group_add: service.group_add.clone(),
        hostname: service.hostname.clone(),
        domainname: service.domainname.clone(),
        init: service.init.unwrap_or(false),
        tty: service.tty,
        stdin_open: service.stdin_open,
        stop_signal: service.stop_signal,
        stop_grace_period: service.stop_grace_period,
        restart: service.restart,
        auto_remove: false,
        healthcheck: service.healthcheck.clone(),
        mounts: mounts::own(project, service)?,
        read_only: service.read_only,
        ports: networks::ports(service, &network),
        network,
        expose: service.expose.iter().flat_map(|all| (all.first..=all.last).map(|port| (port, all.protocol))).collect(),
        extra_hosts: service.extra_hosts.clone(),
        dns: networks::resolver(service),
        security: security::security(service)?,
        resources: resources(service),
        sysctls: service.sysctls.clone(),
        ulimits: service.ulimits.clone(),
        devices: security::devices(service),
        device_cgroup_rules: service.device_cgroup_rules.clone(),
        ipc: namespace(&service.ipc),
        pid: namespace(&service.pid),
        uts: namespace(&service.uts),
        cgroup: service.cgroup.as_ref().map(namespace).unwrap_or_default(),
        cgroup_parent: service.cgroup_parent.clone(),
        logging: Logging { driver: service.logging.driver.clone(), options: service.logging.options.clone() },
        files: Vec::new(),
    })
}

fn namespace(namespace: &Namespace) -> NamespaceMode {
    match namespace {
        Namespace::Private => NamespaceMode::Private,
        Namespace::Shareable => NamespaceMode::Shareable,
        Namespace::Host => NamespaceMode::Host,
        Namespace::None => NamespaceMode::None,
        Namespace::Service(service) => NamespaceMode::Container(format!("{SERVICE_REFERENCE}{service}")),
        Namespace::Container(container) => NamespaceMode::Container(container.clone()),
    }
}

fn resources(service: &Service) -> Resources {
    let wanted = &service.resources;
    Resources {
        memory: wanted.memory,
        memory_swap: wanted.memory_swap,
        memory_reservation: wanted.memory_reservation,
        memory_swappiness: wanted.memory_swappiness,
        oom_kill_disable: wanted.oom_kill_disable,
        oom_score_adj: wanted.oom_score_adj,
        nano_cpus: wanted.nano_cpus,
        cpu_shares: wanted.cpu_shares,
        cpu_quota: wanted.cpu_quota,
        cpu_period: wanted.cpu_period,
        cpuset: wanted.cpuset.clone(),
        // -1 and 0 are no limit.
        pids: wanted.pids.and_then(|pids| u64::try_from(pids).ok()).filter(|pids| *pids > 0),
        shm_size: service.shm_size,
        blkio_weight: wanted.blkio.weight,
    }
}
