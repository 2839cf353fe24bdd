//! Small projects for tests, as data: what the loader would make of a few lines of YAML.

use std::collections::BTreeMap;
use std::time::Duration;

use xcompose::spec::diagnostic::{Location, SourceFile};
use xcompose::spec::project::Project;
use xcompose::spec::project::build::{Build, BuildContext, Dockerfile};
use xcompose::spec::project::mounts::{Mount, MountSource, Volume};
use xcompose::spec::project::network::{Attachment, Network, NetworkMode, Port};
use xcompose::spec::project::resources::Resources;
use xcompose::spec::project::service::{Condition, Dependency, Logging, Namespace, Service};
use xcompose::values::health::{HealthCheck, Probe};
use xcompose::values::names::ServiceName;
use xcompose::values::restart::Restart;

/// Some place in some file.
pub fn somewhere() -> Location {
    Location { file: SourceFile::new("compose.yaml", ""), line: 1, column: 1, width: 1 }
}

pub fn name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

pub fn names(texts: &[&str]) -> Vec<ServiceName> {
    texts.iter().map(|text| name(text)).collect()
}

/// A project `p` of these services, with every network and volume that they name.
pub fn project(services: impl IntoIterator<Item = Service>) -> Project {
    let mut project = Project {
        separator: '-',
        name: "p".parse().unwrap(),
        working_dir: "/home/me/p".into(),
        files: vec!["/home/me/p/compose.yaml".into()],
        environment: BTreeMap::new(),
        services: services.into_iter().map(|service| (service.name.clone(), service)).collect(),
        disabled: BTreeMap::new(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        configs: BTreeMap::new(),
        secrets: BTreeMap::new(),
        loopback: false,
        models: BTreeMap::new(),
    };
    for service in project.services.values() {
        if let NetworkMode::Networks(attachments) = &service.network {
            for (key, _) in attachments {
                project.networks.entry(key.clone()).or_insert_with(|| network(&format!("p_{key}")));
            }
        }
        for mount in &service.mounts {
            if let MountSource::Volume { key, .. } = &mount.source {
                project.volumes.entry(key.clone()).or_insert_with(|| volume(&format!("p_{key}")));
            }
        }
    }
    project
}

pub fn network(name: &str) -> Network {
    Network {
        name: name.parse().unwrap(),
        external: false,
        driver: None,
        driver_opts: BTreeMap::new(),
        pools: Vec::new(),
        internal: false,
        attachable: false,
        enable_ipv4: None,
        enable_ipv6: None,
        labels: BTreeMap::new(),
        location: somewhere(),
    }
}

pub fn volume(name: &str) -> Volume {
    Volume {
        name: name.parse().unwrap(),
        external: false,
        driver: None,
        driver_opts: BTreeMap::new(),
        labels: BTreeMap::new(),
        location: somewhere(),
    }
}

/// `image: busybox` on the default network.
pub fn service(text: &str) -> Service {
    Service {
        name: name(text),
        location: somewhere(),
        image: "busybox".parse().unwrap(),
        image_named: true,
        build: None,
        pull_policy: None,
        platform: None,
        provider: None,
        container_name: None,
        scale: 1,
        depends_on: BTreeMap::new(),
        profiles: Vec::new(),
        command: None,
        entrypoint: None,
        environment: BTreeMap::new(),
        working_dir: None,
        user: None,
        group_add: Vec::new(),
        hostname: None,
        domainname: None,
        init: None,
        tty: false,
        stdin_open: false,
        stop_signal: None,
        stop_grace_period: None,
        restart: Restart::No,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        attach: true,
        healthcheck: None,
        ready: None,
        logging: Logging::default(),
        post_start: Vec::new(),
        pre_start: Vec::new(),
        pre_stop: Vec::new(),
        watch: Vec::new(),
        network: NetworkMode::Networks(vec![("default".into(), Attachment::default())]),
        ports: Vec::new(),
        expose: Vec::new(),
        links: Vec::new(),
        external_links: Vec::new(),
        extra_hosts: Vec::new(),
        dns: Vec::new(),
        dns_search: None,
        dns_opt: Vec::new(),
        mac_address: None,
        mounts: Vec::new(),
        volumes_from: Vec::new(),
        configs: Vec::new(),
        secrets: Vec::new(),
        read_only: false,
        shm_size: None,
        storage_opt: BTreeMap::new(),
        privileged: false,
        cap_add: Vec::new(),
        cap_drop: Vec::new(),
        security_opt: Vec::new(),
        sysctls: BTreeMap::new(),
        ulimits: BTreeMap::new(),
        devices: Vec::new(),
        device_cgroup_rules: Vec::new(),
        device_requests: Vec::new(),
        ipc: Namespace::Private,
        pid: Namespace::Private,
        uts: Namespace::Private,
        userns: Namespace::Private,
        cgroup: None,
        cgroup_parent: None,
        runtime: None,
        use_api_socket: false,
        credential_spec: None,
        resources: Resources::default(),
        models: BTreeMap::new(),
    }
}

/// What tests say of a service, beside its fields.
pub trait With: Sized {
    fn with(self, change: impl FnOnce(&mut Service)) -> Service;
    /// `depends_on`, short form.
    fn after(self, other: &str) -> Service;
    /// `depends_on` with a condition.
    fn needs(self, other: &str, condition: Condition) -> Service;
    /// `depends_on` with a condition, `required: false`.
    fn likes(self, other: &str, condition: Condition) -> Service;
    /// `depends_on` with `restart: true`.
    fn restarts_with(self, other: &str) -> Service;
    fn env(self, name: &str, value: &str) -> Service;
    /// With a health check.
    fn probed(self) -> Service;
    fn scaled(self, scale: u32) -> Service;
    /// Mounts a named volume.
    fn mounts(self, key: &str, target: &str) -> Service;
    /// Mounts an anonymous volume.
    fn anonymous(self, target: &str) -> Service;
    /// Publishes a fixed port.
    fn publishes(self, port: u16) -> Service;
    /// Has an image of this name, built from a directory.
    fn built(self, image: &str) -> Service;
    /// On this network alone.
    fn on(self, key: &str) -> Service;
}

impl With for Service {
    fn with(mut self, change: impl FnOnce(&mut Service)) -> Service {
        change(&mut self);
        self
    }

    fn after(self, other: &str) -> Service {
        self.needs(other, Condition::Started)
    }

    fn needs(mut self, other: &str, condition: Condition) -> Service {
        let dependency = Dependency { condition, restart: false, required: true, location: somewhere() };
        self.depends_on.insert(name(other), dependency);
        self
    }

    fn likes(mut self, other: &str, condition: Condition) -> Service {
        let dependency = Dependency { condition, restart: false, required: false, location: somewhere() };
        self.depends_on.insert(name(other), dependency);
        self
    }

    fn restarts_with(mut self, other: &str) -> Service {
        let condition = Condition::Started;
        let dependency = Dependency { condition, restart: true, required: true, location: somewhere() };
        self.depends_on.insert(name(other), dependency);
        self
    }

    fn env(mut self, name: &str, value: &str) -> Service {
        self.environment.insert(name.to_owned(), Some(value.to_owned()));
        self
    }

    fn probed(mut self) -> Service {
        self.healthcheck = Some(HealthCheck {
            probe: Probe::Exec(vec!["true".to_owned()]),
            interval: Some(Duration::from_secs(1)),
            timeout: None,
            start_period: None,
            start_interval: None,
            retries: None,
        });
        self
    }

    fn scaled(mut self, scale: u32) -> Service {
        self.scale = scale;
        self
    }

    fn mounts(mut self, key: &str, target: &str) -> Service {
        let source = MountSource::Volume { key: key.into(), no_copy: false, subpath: None };
        self.mounts.push(Mount { target: target.to_owned(), source, read_only: false, location: somewhere() });
        self
    }

    fn anonymous(mut self, target: &str) -> Service {
        let source = MountSource::Anonymous { no_copy: false };
        self.mounts.push(Mount { target: target.to_owned(), source, read_only: false, location: somewhere() });
        self
    }

    fn publishes(mut self, port: u16) -> Service {
        self.ports.push(Port {
            target: port,
            published: Some((port, port)),
            host_ip: None,
            protocol: Default::default(),
            location: somewhere(),
        });
        self
    }

    fn built(mut self, image: &str) -> Service {
        self.image = image.parse().unwrap();
        self.build = Some(Build {
            location: somewhere(),
            context: BuildContext::Directory("/src".into()),
            dockerfile: Dockerfile::Path("Dockerfile".into()),
            args: BTreeMap::from([("A".to_owned(), "1".to_owned())]),
            additional_contexts: BTreeMap::new(),
            tags: Vec::new(),
            labels: BTreeMap::new(),
            target: None,
            no_cache: false,
            pull: false,
            cache_from: Vec::new(),
            cache_to: Vec::new(),
            entitlements: Vec::new(),
            network: None,
            extra_hosts: Vec::new(),
            shm_size: None,
            ulimits: BTreeMap::new(),
            privileged: false,
            secrets: Vec::new(),
            ssh: BTreeMap::new(),
            platforms: Vec::new(),
        });
        self
    }

    fn on(mut self, key: &str) -> Service {
        self.network = NetworkMode::Networks(vec![(key.into(), Attachment::default())]);
        self
    }
}
