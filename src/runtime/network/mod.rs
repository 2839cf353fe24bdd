//! Networks: a bridge each, with addresses that stay with their slot, names, published ports and a way out.
//!
//! [`Networks`] keeps the records and does what needs no thread of its own; a [`connect::Connector`] belongs to one start thread
//! and makes a container's network namespace. Everything is synchronous.

pub mod bridge;
pub mod changes;
pub mod connect;
pub mod conntrack;
mod doors;
mod error;
pub mod files;
pub mod firewall;
pub mod ipam;
pub mod lease;
pub mod listening;
mod loopback;
pub mod netlink;
pub mod nft;
mod occupant;
pub mod pools;
pub mod ports;
pub mod proxy;
pub mod published;
pub mod record;
pub mod resolver;
pub mod servers;
mod shared;
mod sharing;
mod sockets;
pub mod subnets;
mod trouble;
pub mod veth;

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::fcntl::{Flock, FlockArg};

use crate::engine::{ContainerId, Endpoint, NetworkConfig, PublishedPort};
use crate::runtime::layout::Layout;
use crate::runtime::store::{self, Durability};
use crate::runtime::sys::{OrOs, OsError};
use crate::values::cidr::Cidr;
use crate::values::names::{InterfaceName, NetworkName};

pub use error::NetworkError;
use firewall::{Firewall, Zone};
use pools::Pools;
use record::{EndpointRecord, Leases, NetworkRecord};
use subnets::Surroundings;

/// The networks of one data folder. Cheap to clone; to be used from threads that are in the machine's own network
/// namespace.
#[derive(Debug, Clone)]
pub struct Networks {
    layout: Layout,
    firewall: Arc<Mutex<Firewall>>,
}

impl Networks {
    /// Nothing is opened or made.
    pub fn new(layout: Layout) -> Networks {
        let firewall = Firewall::new(firewall::table_name(layout.data()));
        Networks { layout, firewall: Arc::new(Mutex::new(firewall)) }
    }

    /// Where records lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Chooses subnets, makes the bridge and its rules, and writes the record.
    pub fn create(&self, config: &NetworkConfig) -> Result<NetworkRecord, NetworkError> {
        let invalid = |reason: String| NetworkError::Invalid { network: config.name.clone(), reason };
        if config.driver != "bridge" {
            return Err(invalid(format!("driver {:?} is not supported: only bridge is", config.driver)));
        }
        let folder = self.layout.networks();
        fs::create_dir_all(&folder).or_os("mkdir", folder.display().to_string())?;
        let lock = self.lock()?;
        let others = self.list()?;
        if others.iter().any(|other| other.config.name == config.name) {
            return Err(NetworkError::Exists(config.name.clone()));
        }
        // Networks of other data folders are seen by their bridges' routes, so nobody may choose meanwhile.
        let _machine = lock_folder(Layout::machine())?;
        let mut socket = netlink::Socket::open()?;
        let mut taken: Vec<Cidr> = socket.routes()?.into_iter().map(|route| route.to).collect();
        taken.extend(resolvers().into_iter().map(|address| Cidr::new(address, 128)));
        let random = u64::from_ne_bytes(random_bytes::<8>()?);
        let around = Surroundings { others: &others, taken: &taken, pools: &Pools::of_machine()?, random };
        let subnets = subnets::choose(config, &around).map_err(&invalid)?;
        let id = random_hex::<32>()?;
        let named = config.driver_opts.get("com.docker.network.bridge.name").filter(|name| !name.is_empty());
        let bridge = named.cloned().unwrap_or_else(|| format!("{}{}", doors::PREFIX, &id[..12]));
        let bridge: String = InterfaceName::try_from(bridge).map_err(|error| invalid(error.to_string()))?.into();
        if let Some(other) = others.iter().find(|other| other.bridge == bridge) {
            return Err(invalid(format!("bridge name {bridge} is used by network {}", other.config.name)));
        }
        let adopted = socket.link(&bridge)?.is_some();
        let network = NetworkRecord { id, config: config.clone(), bridge, adopted, subnets };
        // Those of a network of this name whose removal was killed at its very end.
        let leases = self.layout.leases(&config.name);
        remove_if_there(fs::remove_file(&leases), &leases)?;
        // The record first: what is made after it can be found and removed, whenever this process dies.
        let path = self.layout.network(&config.name);
        store::write(&path, &network, Durability::Disk).or_os("write", path.display().to_string())?;
        let made = self.firewall().ensure(&zone(&network)).and_then(|()| bridge::ensure(&mut socket, &network));
        made.inspect_err(|_| {
            // The first failure is the one to tell.
            let _ = self
                .close(&network, &lock)
                .and_then(|()| Ok(bridge::remove(&mut socket, &network)?))
                .and_then(|()| self.forget(&network, &lock));
        })?;
        Ok(network)
    }

    /// Removes record, bridge and rules; refused while a container is connected. Deleting a bridge waits for the kernel
    /// for some 30 ms: several networks are best removed on several threads at once.
    pub fn remove(&self, name: &NetworkName) -> Result<(), NetworkError> {
        let network = self.find(name)?;
        let _busy = self.lock_network(name, &network.id)?;
        let endpoints = self.endpoints(&network.id)?;
        let mut holders: Vec<&str> = endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
        if holders.is_empty() && self.is_being_joined(&network.id)? {
            holders.push("a container that is starting");
        }
        if !holders.is_empty() {
            return Err(NetworkError::InUse { network: name.clone(), holder: holders.join(", ") });
        }
        // In this order: rules that were deleted are freed while the kernel deletes the bridge; right before the end of
        // this process it would be waited for.
        self.close(&network, &self.lock()?)?;
        bridge::remove(&mut netlink::Socket::open()?, &network)?;
        self.forget(&network, &self.lock()?)
    }

    /// Takes a network's part of the firewall away, all of it if there is no other network. The lock keeps others from
    /// making one meanwhile.
    fn close(&self, network: &NetworkRecord, _lock: &Flock<File>) -> Result<(), NetworkError> {
        let last = self.list()?.iter().all(|other| other.id == network.id);
        let mut firewall = self.firewall();
        firewall.forget(&zone(network))?;
        if last {
            firewall.remove()?;
        }
        Ok(())
    }

    /// Deletes a network's files. The record stays until what it tells of is gone, so that this can end half-way; who waits
    /// for the folder's lock must find it gone. Of several that were removed at once the last one to come here takes the
    /// firewall's table along.
    fn forget(&self, network: &NetworkRecord, _lock: &Flock<File>) -> Result<(), NetworkError> {
        let record = self.layout.network(&network.config.name);
        remove_if_there(fs::remove_file(&record), &record)?;
        let run = self.layout.endpoints(&network.id);
        remove_if_there(fs::remove_dir_all(&run), &run)?;
        let leases = self.layout.leases(&network.config.name);
        remove_if_there(fs::remove_file(&leases), &leases)?;
        // Whoever writes this record holds the lock, too.
        store::sweep(&record).or_os("remove", record.display().to_string())?;
        store::sweep(&leases).or_os("remove", leases.display().to_string())?;
        if self.list()?.is_empty() {
            self.firewall().remove()?;
        }
        Ok(())
    }

    /// Removes the folders of networks that are no more: a removal was killed behind the record, or somebody came who had
    /// not heard of it and was killed before he knew.
    pub fn sweep(&self) -> Result<(), NetworkError> {
        let all = self.layout.all_endpoints();
        let folders = match fs::read_dir(&all) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.or_os("list", all.display().to_string())?,
        };
        let mut folders: Vec<_> = folders.flatten().map(|entry| entry.file_name()).collect();
        // Only now: no folder is made before its network's record.
        for network in self.list()? {
            folders.retain(|folder| *folder != network.id.as_str());
        }
        for folder in folders {
            let folder = all.join(folder);
            remove_if_there(fs::remove_dir_all(&folder), &folder)?;
        }
        Ok(())
    }

    /// Every network, by name.
    pub fn list(&self) -> Result<Vec<NetworkRecord>, NetworkError> {
        let mut networks: Vec<NetworkRecord> = read_records(&self.layout.networks())?;
        networks.sort_by(|a, b| a.config.name.cmp(&b.config.name));
        Ok(networks)
    }

    /// The network of this name.
    pub fn find(&self, name: &NetworkName) -> Result<NetworkRecord, NetworkError> {
        let path = self.layout.network(name);
        let record = store::read(&path).or_os("read", path.display().to_string())?;
        record.ok_or_else(|| NetworkError::NotFound(name.clone()))
    }

    /// Makes what is missing of a network's bridge and rules, as after a reboot.
    pub fn ensure(&self, network: &NetworkRecord) -> Result<(), NetworkError> {
        self.ensure_with(network, &mut netlink::Socket::open()?)
    }

    fn ensure_with(&self, network: &NetworkRecord, socket: &mut netlink::Socket) -> Result<(), NetworkError> {
        // The rules first: a bridge is never open to what they forbid.
        self.repair(network)?;
        Ok(bridge::ensure(socket, network)?)
    }

    /// Makes what is missing of a network's rules: somebody may have flushed them, or another firewall has come.
    pub fn repair(&self, network: &NetworkRecord) -> Result<(), NetworkError> {
        let zone = zone(network);
        if !self.firewall().is_complete(&zone)? {
            let _lock = self.lock()?;
            self.firewall().ensure(&zone)?;
        }
        Ok(())
    }

    /// Who is connected to a network now, by container.
    pub fn endpoints(&self, network: &str) -> Result<Vec<EndpointRecord>, NetworkError> {
        let mut endpoints: Vec<EndpointRecord> = read_records(&self.layout.endpoints(network))?;
        endpoints.sort_by(|a, b| a.container.cmp(&b.container));
        Ok(endpoints)
    }

    /// Takes a container off its networks: its names are false when this returns. Its interfaces go with its network
    /// namespace, its ports are closed by [`published::Published`]. Nothing happens for what is gone already; goes on after
    /// a failure and returns the first.
    pub fn disconnect(&self, container: &ContainerId, endpoints: &[Endpoint]) -> Result<(), NetworkError> {
        let mut result = Ok(());
        for endpoint in endpoints {
            result = result.and(self.disconnect_one(container, &endpoint.network, &endpoint.network_id));
        }
        result
    }

    /// Takes a container that never ran off a network; the ports that were opened for it there.
    pub fn forget_endpoint(
        &self,
        network: &NetworkRecord,
        container: &ContainerId,
    ) -> Result<Vec<PublishedPort>, NetworkError> {
        let path = self.endpoint(&network.id, container);
        let record: Option<EndpointRecord> = store::read(&path).or_os("read", path.display().to_string())?;
        self.disconnect_one(container, &network.config.name, &network.id)?;
        Ok(record.map(|record| record.published).unwrap_or_default())
    }

    fn disconnect_one(&self, container: &ContainerId, name: &NetworkName, network: &str) -> Result<(), NetworkError> {
        let path = self.endpoint(network, container);
        let record: Option<EndpointRecord> = store::read(&path).or_os("read", path.display().to_string())?;
        let Some(record) = record else { return Ok(()) };
        remove_if_there(fs::remove_file(&path), &path)?;
        self.cut_off(&record)?;
        if record.slot.is_empty() {
            // Nobody comes back to these addresses.
            self.end_leases(name, network, |key| key == container.0)?;
        }
        Ok(())
    }

    fn endpoint(&self, network: &str, container: &ContainerId) -> std::path::PathBuf {
        self.layout.endpoints(network).join(format!("{}.json", container.0))
    }

    fn leases(&self, name: &NetworkName) -> Result<Leases, NetworkError> {
        let path = self.layout.leases(name);
        match store::read(&path) {
            Ok(leases) => Ok(leases.unwrap_or_default()),
            // Written without waiting for the disk: a power cut may tear it, and all it costs is new addresses.
            Err(error) if store::is_damaged(&error) => Ok(Leases::default()),
            Err(error) => Err(error).or_os("read", path.display().to_string()).map_err(Into::into),
        }
    }

    fn write_leases(&self, name: &NetworkName, leases: &Leases) -> Result<(), NetworkError> {
        let path = self.layout.leases(name);
        Ok(store::rewrite(&path, leases).or_os("write", path.display().to_string())?)
    }

    fn firewall(&self) -> MutexGuard<'_, Firewall> {
        // It holds no state that a panic could leave half-changed: the kernel has it.
        self.firewall.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> Result<Flock<File>, NetworkError> {
        let path = self.layout.networks().join("lock");
        Ok(store::lock(&path).or_os("lock", path.display().to_string())?)
    }

    /// Held while a network's addresses are given out or it is removed; `NotFound` if it has been removed, or made anew,
    /// meanwhile.
    fn lock_network(&self, name: &NetworkName, id: &str) -> Result<Flock<File>, NetworkError> {
        let folder = self.layout.endpoints(id);
        fs::create_dir_all(&folder).or_os("mkdir", folder.display().to_string())?;
        let lock = lock_folder(&folder)?;
        match self.find(name) {
            Ok(network) if network.id == id => Ok(lock),
            Ok(_) | Err(NetworkError::NotFound(_)) => {
                // Whoever removed it may have done so before the folder was made again; others may wait for it, too.
                let _ = fs::remove_dir(&folder);
                Err(NetworkError::NotFound(name.clone()))
            }
            Err(error) => Err(error),
        }
    }
}

/// Holds a lock on a folder itself, so that no file is needed for it.
fn lock_folder(folder: &Path) -> Result<Flock<File>, NetworkError> {
    let subject = || folder.display().to_string();
    let file = File::open(folder).or_os("open", subject())?;
    Ok(Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).or_os("flock", subject())?)
}

/// Every record below a folder; names that begin with a dot are being written.
fn read_records<T: serde::de::DeserializeOwned>(folder: &Path) -> Result<Vec<T>, NetworkError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).or_os("list", folder.display().to_string()).map_err(Into::into),
    };
    let mut records = Vec::new();
    for entry in entries {
        let path = entry.or_os("list", folder.display().to_string())?.path();
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if name.ends_with(b".json") && !name.starts_with(b".") {
            // One that went away meanwhile is none.
            records.extend(store::read(&path).or_os("read", path.display().to_string())?);
        }
    }
    Ok(records)
}

fn remove_if_there(removed: io::Result<()>, path: &Path) -> Result<(), NetworkError> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => Ok(other.or_os("remove", path.display().to_string())?),
    }
}

fn random_bytes<const BYTES: usize>() -> Result<[u8; BYTES], OsError> {
    let mut bytes = [0; BYTES];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).or_os("read", "/dev/urandom")?;
    Ok(bytes)
}

fn random_hex<const BYTES: usize>() -> Result<String, OsError> {
    Ok(random_bytes::<BYTES>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The machine's own name servers: a subnet over one of them would cut it off.
fn resolvers() -> Vec<IpAddr> {
    // Without the file there is nothing to avoid.
    files::name_servers(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
}

fn zone(network: &NetworkRecord) -> Zone {
    let internal = network.config.internal;
    Zone {
        bridge: network.bridge.clone(),
        talk: network.flag("bridge.enable_icc", true),
        sealed: internal,
        masquerade: !internal && network.flag("bridge.enable_ip_masquerade", true),
    }
}
