//! What containers share: networks and volumes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::engine::Labels;
use crate::values::names::{NetworkName, VolumeName};

/// A network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkConfig {
    /// Unique on the machine.
    pub name: NetworkName,
    /// Found again by these.
    pub labels: Labels,
    /// `bridge`.
    pub driver: String,
    /// Options of the driver, by Docker's names.
    pub driver_opts: BTreeMap<String, String>,
    /// No way out.
    pub internal: bool,
    /// Containers of other projects may join by hand.
    pub attachable: bool,
    /// Default true.
    pub enable_ipv4: bool,
    /// Default false.
    pub enable_ipv6: bool,
    /// Address pools; empty: the engine chooses.
    pub pools: Vec<AddressPool>,
}

impl NetworkConfig {
    /// A bridge of which nothing else is said.
    pub fn bridge(name: NetworkName) -> NetworkConfig {
        NetworkConfig {
            name,
            labels: Labels::new(),
            driver: "bridge".to_owned(),
            driver_opts: BTreeMap::new(),
            internal: false,
            attachable: false,
            enable_ipv4: true,
            enable_ipv6: false,
            pools: Vec::new(),
        }
    }
}

/// Addresses of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressPool {
    /// In CIDR form.
    pub subnet: Option<String>,
    /// Where dynamic addresses come from, in CIDR form.
    pub ip_range: Option<String>,
    /// The bridge's own address.
    pub gateway: Option<IpAddr>,
    /// Addresses that are never handed out.
    pub aux_addresses: BTreeMap<String, IpAddr>,
}

/// A named volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeConfig {
    /// Unique on the machine.
    pub name: VolumeName,
    /// Found again by these.
    pub labels: Labels,
    /// `local`.
    pub driver: String,
    /// `type`, `o`, `device`.
    pub driver_opts: BTreeMap<String, String>,
}
