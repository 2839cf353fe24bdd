//! What outlives a project: the bridge for whoever wants no network of a project's own, and leases on networks that are
//! shared with others. Both go when the last container that has to do with them is removed.

use std::fs;
use std::io;

use crate::engine::{ContainerConfig, NetworkConfig, NetworkMode};
use crate::runtime::container::find;
use crate::runtime::network::record::NetworkRecord;
use crate::runtime::network::{NetworkError, Networks};
use crate::runtime::sys::OrOs;
use crate::values::names::{NetworkName, ProjectName};

/// Docker has a network of this name on every machine.
const BRIDGE: &str = "bridge";

/// What a one-off container's slot has between service and number.
const ONE_OFF: &str = "/run-";

impl Networks {
    /// The network of this name; the common bridge is made when it is first wanted.
    pub fn find_or_make(&self, name: &NetworkName) -> Result<NetworkRecord, NetworkError> {
        match self.find(name) {
            Err(NetworkError::NotFound(_)) if name.as_str() == BRIDGE => {
                match self.create(&NetworkConfig::bridge(name.clone())) {
                    // Another container was faster.
                    Err(NetworkError::Exists(_)) => self.find(name),
                    made => made,
                }
            }
            found => found,
        }
    }

    /// Gives back what nobody comes back to now that this container is gone: the addresses of a one-off, all of a project
    /// without containers, the common bridge.
    pub fn forget_container(&self, config: &ContainerConfig) -> Result<(), NetworkError> {
        let project_ends = !self.layout().containers(&config.project).exists();
        let own = format!("{}/{}", config.project, config.slot);
        let all = format!("{}/", config.project);
        let ended = |key: &str| if project_ends { key.starts_with(&all) } else { key == own };
        let attached: Vec<&NetworkName> = match &config.network {
            NetworkMode::Networks(attachments) => attachments.iter().map(|attachment| &attachment.network).collect(),
            NetworkMode::None | NetworkMode::Host | NetworkMode::Container(_) => Vec::new(),
        };
        if project_ends {
            for name in self.with_leases()? {
                self.end_leases_on(&name, ended)?;
            }
            self.release_loopback(&config.project)?;
        } else if config.slot.contains(ONE_OFF) {
            for name in &attached {
                self.end_leases_on(name, ended)?;
            }
        }
        match attached.into_iter().find(|name| name.as_str() == BRIDGE) {
            Some(bridge) if !self.is_wanted(bridge)? => match self.remove(bridge) {
                Err(NetworkError::NotFound(_) | NetworkError::InUse { .. }) => Ok(()),
                removed => removed,
            },
            _ => Ok(()),
        }
    }

    /// The names of networks on which somebody has ever had an address.
    fn with_leases(&self) -> Result<Vec<NetworkName>, NetworkError> {
        let folder = self.layout().networks();
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.or_os("list", folder.display().to_string())?,
        };
        let names = entries.filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            NetworkName::try_from(name.strip_suffix(".leases")?).ok()
        });
        Ok(names.collect())
    }

    fn end_leases_on(&self, name: &NetworkName, ended: impl Fn(&str) -> bool) -> Result<(), NetworkError> {
        if !self.leases(name)?.leases.keys().any(|key| ended(key)) {
            return Ok(());
        }
        match self.find(name) {
            // Its leases go with it.
            Err(NetworkError::NotFound(_)) => Ok(()),
            found => self.end_leases(name, &found?.id, ended),
        }
    }

    /// Takes leases off a network, if it is still there.
    pub(super) fn end_leases(
        &self,
        name: &NetworkName,
        network: &str,
        ended: impl Fn(&str) -> bool,
    ) -> Result<(), NetworkError> {
        let _busy = match self.lock_network(name, network) {
            Err(NetworkError::NotFound(_)) => return Ok(()),
            locked => locked?,
        };
        let mut leases = self.leases(name)?;
        let before = leases.leases.len();
        leases.leases.retain(|key, _| !ended(key));
        if leases.leases.len() == before { Ok(()) } else { self.write_leases(name, &leases) }
    }

    /// Whether a container of any project is made for this network.
    fn is_wanted(&self, network: &NetworkName) -> Result<bool, NetworkError> {
        let wants = |project: &ProjectName| -> Result<bool, crate::engine::EngineError> {
            for id in find::containers(self.layout(), project)? {
                if let Some((container, _)) = find::load(self.layout(), project, &id)?
                    && let NetworkMode::Networks(attachments) = &container.config.network
                    && attachments.iter().any(|attachment| attachment.network == *network)
                {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        for project in find::projects(self.layout()).map_err(Box::new)? {
            if wants(&project).map_err(Box::new)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
