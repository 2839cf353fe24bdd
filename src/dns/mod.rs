//! The resolver that every container has at 127.0.0.11.
//!
//! One [`Resolver`] a supervisor. It serves each container on sockets made in the container's network namespace, so who
//! asks is known by the socket. Names come as snapshots swapped whole ([`Resolver::swap`]).

pub mod forward;
pub mod names;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use names::Names;

/// A container's resolver sockets, made in its network namespace: one for UDP, one listening for TCP.
#[derive(Debug)]
pub struct Sockets {
    /// Datagrams.
    pub udp: OwnedFd,
    /// Listening.
    pub tcp: OwnedFd,
}

impl Sockets {
    /// Further descriptors of the same sockets, to be kept by somebody else.
    pub fn try_clone(&self) -> io::Result<Sockets> {
        Ok(Sockets { udp: self.udp.try_clone()?, tcp: self.tcp.try_clone()? })
    }
}

/// Who asks on a container's sockets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asker {
    /// Identities of the networks it is on.
    pub networks: Vec<String>,
    /// Names for this container alone: alias to container names.
    pub links: BTreeMap<String, Vec<String>>,
    /// Who is asked for names that are not ours; empty: nobody, as on internal networks.
    pub upstreams: Vec<IpAddr>,
}

/// Serves the resolvers of a project's containers. Its methods need a tokio runtime.
#[derive(Debug, Default)]
pub struct Resolver {}

impl Resolver {
    /// Serves nobody and knows no names.
    pub fn new() -> Resolver {
        Resolver::default()
    }

    /// Starts to serve a container; replaces its former sockets.
    pub fn serve(&mut self, container: &str, asker: Asker, sockets: Sockets) -> io::Result<()> {
        let _ = (container, asker, sockets);
        Ok(())
    }

    /// Ends serving a container and closes its sockets.
    pub fn stop(&mut self, container: &str) {
        let _ = container;
    }

    /// What resolves from now on.
    pub fn swap(&self, names: Names) {
        let _ = names;
    }
}
