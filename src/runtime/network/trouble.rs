//! Networks whose containers may be out of reach: somebody else has a route to their addresses, as a VPN that came after
//! them, so that what they send is answered to there; or their bridge is gone.

use std::collections::BTreeMap;

use crate::engine::NetworkTrouble;
use crate::runtime::network::netlink::{Route, Socket};
use crate::runtime::network::record::NetworkRecord;
use crate::runtime::network::{NetworkError, Networks};

impl Networks {
    /// What is wrong, by the network's id.
    pub fn troubles(&self, networks: &[NetworkRecord]) -> Result<BTreeMap<String, NetworkTrouble>, NetworkError> {
        let mut found = BTreeMap::new();
        if networks.is_empty() {
            return Ok(found);
        }
        let mut socket = Socket::open()?;
        let routes = socket.routes()?;
        for network in networks {
            let within: Vec<&Route> = routes
                .iter()
                // One that is wider loses to ours, as it should.
                .filter(|route| network.subnets.iter().any(|subnet| subnet.cidr.covers(route.to)))
                .collect();
            // The bridge itself has one for each subnet: only where there are more or fewer it has to be asked for.
            if within.len() == network.subnets.len() {
                continue;
            }
            let bridge = socket.index(&network.bridge)?;
            let other = within.iter().find(|route| bridge.is_none() || route.interface != bridge);
            // After a reboot there is no bridge, and nobody to miss it.
            if (bridge.is_none() || within.is_empty()) && !self.endpoints(&network.id)?.is_empty() {
                found.insert(network.id.clone(), NetworkTrouble::Severed);
            } else if let Some(route) = other.filter(|_| !network.config.internal) {
                found.insert(network.id.clone(), NetworkTrouble::Overshadowed(route.to.to_string()));
            }
        }
        Ok(found)
    }
}
