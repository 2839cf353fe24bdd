//! Makes our part of the firewall again when somebody took it away, or another firewall has come.

use std::collections::BTreeSet;

use crate::runtime::network::NetworkError;
use crate::runtime::supervisor::Supervisor;

impl Supervisor {
    /// Looks after the rules of the networks that running containers are on, and of their ports.
    pub(super) fn repair_firewall(&self) {
        let endpoints = self.containers.values().flat_map(|active| &active.standing.endpoints);
        let networks: BTreeSet<_> = endpoints.map(|endpoint| &endpoint.network).collect();
        if networks.is_empty() {
            return;
        }
        let repair = || -> Result<(), NetworkError> {
            for name in networks {
                self.networks.repair(&self.networks.find(name)?)?;
            }
            Ok(self.published.restore(&self.networks)?)
        };
        // What fails now is tried again at the next change, and by the next start, which tells of it.
        let _ = repair();
    }
}
