//! Who sees whom, by which names. Pure.

use std::net::IpAddr;

/// A running container on one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Identity of the network.
    pub network: String,
    /// Its name.
    pub network_name: String,
    /// The container's name; what its addresses resolve back to.
    pub container: String,
    /// Every name it answers to on this network, its own among them.
    pub names: Vec<String>,
    /// Its addresses on this network.
    pub addresses: Vec<IpAddr>,
}

/// Everything that resolves at one moment.
#[derive(Debug, Clone, Default)]
pub struct Names {}

impl Names {
    /// From all members of all networks that any asker is on.
    pub fn new(members: &[Member]) -> Names {
        let _ = members;
        Names {}
    }
}
