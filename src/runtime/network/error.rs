//! What can go wrong with networks and ports.

use std::net::{IpAddr, Ipv4Addr};

use crate::engine::{EngineError, Subject};
use crate::runtime::network::pools::InvalidPool;
use crate::runtime::sys::OsError;
use crate::values::names::{NetworkName, ProjectName};
use crate::values::protocol::Protocol;

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
    /// Tell the user: the machine's own address pools are wrong.
    #[error("{place}: {error}")]
    Pools {
        /// The file or variable.
        place: String,
        /// What is wrong.
        error: InvalidPool,
    },
    /// Tell the user who has the port, and which is free.
    #[error("Bind for {address} ({protocol}) failed: port is already allocated: {holder} has it{}", free.map_or(String::new(), |free| format!("; {free} is free")))]
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
    /// Tell the user: a kind of port that can't be published.
    #[error("cannot publish {target}/sctp: only tcp and udp ports can be published")]
    Sctp {
        /// Which.
        target: u16,
    },
    /// Tell the user: this address of the host can't be published on.
    #[error("cannot publish on {address}: no interface of this machine has that address")]
    NoSuchAddress {
        /// Which.
        address: IpAddr,
    },
    /// Tell the user: another project has this loopback address.
    #[error("the loopback address {address} is that of project {project}")]
    LoopbackTaken {
        /// Which.
        address: Ipv4Addr,
        /// Whose.
        project: ProjectName,
    },
    /// Tell the user: every loopback address is some project's.
    #[error("there is no free loopback address")]
    NoLoopback,
    /// A container's record can't be read.
    #[error(transparent)]
    Records(#[from] Box<EngineError>),
    /// A kernel call failed.
    #[error(transparent)]
    Os(#[from] OsError),
}

impl NetworkError {
    /// As callers of the engine see it, of a network that something was to be done with.
    pub(in crate::runtime) fn told(self, verb: &'static str, name: &NetworkName) -> EngineError {
        let subject = Subject::Network(name.to_string());
        match self {
            NetworkError::NotFound(name) => EngineError::NotFound(Subject::Network(name.to_string())),
            NetworkError::Exists(name) => EngineError::Exists(Subject::Network(name.to_string())),
            NetworkError::InUse { holder, .. } => EngineError::InUse { subject, holder },
            NetworkError::Invalid { reason, .. } => EngineError::Invalid { subject, reason },
            error => EngineError::Failed { verb, subject, source: Box::new(error) },
        }
    }
}
