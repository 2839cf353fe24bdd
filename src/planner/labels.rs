//! The labels by which Compose finds its things again (compose-cli §10), and what they say of a container.

use std::collections::BTreeMap;

use crate::engine::{Labels, Observed, ObservedContainer};
use crate::planner::graph::Edge;
use crate::spec::project::service::Condition;
use crate::values::names::{ProjectName, ServiceName};

/// What all of Compose's own labels begin with.
pub const PREFIX: &str = "com.docker.compose.";
/// The project's name.
pub const PROJECT: &str = "com.docker.compose.project";
/// The service's name.
pub const SERVICE: &str = "com.docker.compose.service";
/// A replica's number, from 1; not on one-off containers.
pub const NUMBER: &str = "com.docker.compose.container-number";
/// `True` on a one-off container, else `False`.
pub const ONE_OFF: &str = "com.docker.compose.oneoff";
/// 64 hexadecimal digits of a one-off container.
pub const SLUG: &str = "com.docker.compose.slug";
/// Tells whether a thing is as the file says.
pub const CONFIG_HASH: &str = "com.docker.compose.config-hash";
/// The image's identity.
pub const IMAGE: &str = "com.docker.compose.image";
/// The images of `type: image` volumes: `target=digest,…`.
pub const IMAGE_VOLUMES: &str = "com.docker.compose.image-volume-digest";
/// `service:condition:restart,…`.
pub const DEPENDS_ON: &str = "com.docker.compose.depends_on";
/// The project's files, separated by commas.
pub const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
/// The project's directory.
pub const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
/// The version of the program that made it.
pub const VERSION: &str = "com.docker.compose.version";
/// A network's key in the file.
pub const NETWORK: &str = "com.docker.compose.network";
/// A volume's key in the file.
pub const VOLUME: &str = "com.docker.compose.volume";
/// The service and number that a recreated container replaced.
pub const REPLACE: &str = "com.docker.compose.replace";

/// On a container that a hook runs in: which kind of hook.
pub const HOOK: &str = "com.docker.compose.hook";

/// Labels without Compose's own.
pub fn users(labels: &Labels) -> impl Iterator<Item = (&String, &String)> {
    labels.iter().filter(|(key, _)| !key.starts_with(PREFIX))
}

/// The dependencies of a service in the form of the [`DEPENDS_ON`] label.
pub fn print_dependencies<'a>(dependencies: impl IntoIterator<Item = (&'a ServiceName, Condition, bool)>) -> String {
    let mut parts = Vec::new();
    for (service, condition, restart) in dependencies {
        let condition = match condition {
            Condition::Started => "service_started",
            Condition::Healthy => "service_healthy",
            Condition::Completed => "service_completed_successfully",
        };
        parts.push(format!("{service}:{condition}:{restart}"));
    }
    parts.join(",")
}

/// The dependencies that a [`DEPENDS_ON`] label tells; whatever is malformed is left out.
pub fn parse_dependencies(label: &str) -> BTreeMap<ServiceName, Edge> {
    let mut found = BTreeMap::new();
    for part in label.split(',') {
        let mut words = part.split(':');
        let Some(Ok(service)) = words.next().map(ServiceName::try_from) else { continue };
        let condition = match words.next() {
            Some("service_healthy") => Condition::Healthy,
            Some("service_completed_successfully") => Condition::Completed,
            _ => Condition::Started,
        };
        let restart = words.next() == Some("true");
        found.insert(service, Edge { condition, restart, required: true });
    }
    found
}

/// A project's containers by what their labels say.
#[derive(Debug, Default)]
pub struct Inventory<'a> {
    /// Replicas by service, by number.
    pub services: BTreeMap<ServiceName, Vec<Member<'a>>>,
    /// Containers that `run` made, by service.
    pub one_offs: BTreeMap<ServiceName, Vec<&'a ObservedContainer>>,
}

/// A replica of a service.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// The container.
    pub container: &'a ObservedContainer,
    /// Its number, from 1; 0 if the label is missing.
    pub number: u32,
}

impl<'a> Inventory<'a> {
    /// Containers of the project that Compose manages: those with its label and a configuration hash.
    pub fn new(project: &ProjectName, observed: &'a Observed) -> Inventory<'a> {
        let mut inventory = Inventory::default();
        for container in &observed.containers {
            let labels = &container.config.labels;
            let ours = labels.get(PROJECT).is_some_and(|label| label == project.as_str());
            let service = labels.get(SERVICE).and_then(|label| ServiceName::try_from(label.as_str()).ok());
            let Some(service) = service.filter(|_| ours && labels.contains_key(CONFIG_HASH)) else { continue };
            if labels.get(ONE_OFF).is_some_and(|label| label == "True") {
                inventory.one_offs.entry(service).or_default().push(container);
            } else {
                let number = labels.get(NUMBER).and_then(|label| label.parse().ok()).unwrap_or(0);
                inventory.services.entry(service).or_default().push(Member { container, number });
            }
        }
        for members in inventory.services.values_mut() {
            members.sort_by(|a, b| (a.number, &a.container.config.name).cmp(&(b.number, &b.container.config.name)));
        }
        inventory
    }

    /// The replicas of a service.
    pub fn of(&self, service: &ServiceName) -> &[Member<'a>] {
        self.services.get(service).map_or(&[], Vec::as_slice)
    }

    /// Whether there is no container at all.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.one_offs.is_empty()
    }
}
