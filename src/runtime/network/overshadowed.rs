//! Networks whose addresses somebody else has a route to, as a VPN that came after them: what their containers send is
//! answered to there.

use std::collections::BTreeMap;

use crate::runtime::network::netlink::{Route, Socket};
use crate::runtime::network::record::NetworkRecord;
use crate::runtime::network::{NetworkError, Networks};
use crate::values::cidr::Cidr;

impl Networks {
    /// The route that takes addresses of a network away, by the network's id.
    pub fn overshadowed(&self, networks: &[NetworkRecord]) -> Result<BTreeMap<String, Cidr>, NetworkError> {
        let mut found = BTreeMap::new();
        if networks.is_empty() {
            return Ok(found);
        }
        let mut socket = Socket::open()?;
        let routes = socket.routes()?;
        for network in networks.iter().filter(|network| !network.config.internal) {
            let within: Vec<&Route> = routes
                .iter()
                // One that is wider loses to ours, as it should.
                .filter(|route| network.subnets.iter().any(|subnet| subnet.cidr.covers(route.to)))
                .collect();
            // The bridge itself has one for each subnet; only where there are more it has to be asked for.
            if within.len() > network.subnets.len() {
                let bridge = socket.index(&network.bridge)?;
                let other = within.iter().find(|route| route.interface != bridge);
                found.extend(other.map(|route| (network.id.clone(), route.to)));
            }
        }
        Ok(found)
    }
}
