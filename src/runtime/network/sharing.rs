//! Containers in another container's network namespace (`network_mode: service:…`). They keep it alive when that container
//! ends, and with it the interfaces: somebody would be met there under an address that is another's by then, its own next
//! run's for one. So the end takes the interfaces away, which costs the kernel 20 ms each, where somebody has joined.

use std::fs;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::engine::{ContainerId, Endpoint};
use crate::runtime::network::netlink::{Request, Socket};
use crate::runtime::network::record::EndpointRecord;
use crate::runtime::network::{NetworkError, Networks, remove_if_there};
use crate::runtime::sys::OrOs;

impl Networks {
    /// Somebody is about to join a running container's network namespace.
    pub fn share(&self, container: &ContainerId, endpoints: &[Endpoint]) -> Result<(), NetworkError> {
        for endpoint in endpoints {
            let path = self.shared(&endpoint.network_id, container);
            fs::write(&path, "").or_os("write", path.display().to_string())?;
        }
        Ok(())
    }

    /// Takes the interface of a container that has ended away, if others are in its network namespace.
    pub(super) fn cut_off(&self, ended: &EndpointRecord) -> Result<(), NetworkError> {
        let path = self.shared(&ended.network_id, &ended.container);
        if ended.interface.is_empty() || !path.exists() {
            return Ok(());
        }
        match Socket::open()?.run(vec![Request::delete(&ended.interface)]) {
            // They have ended, too.
            Err(error) if error.errno == Errno::ENODEV => {}
            deleted => deleted?,
        }
        remove_if_there(fs::remove_file(&path), &path)
    }

    /// There if somebody has joined a container's network namespace.
    fn shared(&self, network: &str, container: &ContainerId) -> PathBuf {
        self.layout().endpoints(network).join(format!("{}.shared", container.0))
    }
}
