//! Published ports: finding one that is free, and holding it so that it looks taken.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use crate::engine::PublishedPort;

/// A bound socket of the host that makes a published port look taken, and serves what no firewall rule redirects.
#[derive(Debug)]
pub struct Holder {
    /// What it holds.
    pub port: PublishedPort,
    /// Where its traffic goes.
    pub target: SocketAddr,
    /// Bound; listening if it is TCP. A duplicate kept elsewhere keeps the port.
    pub socket: OwnedFd,
}
