//! Which address a container gets: a slot keeps its own as long as the network lives. Pure but for the question who is
//! connected.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::engine::{Attachment, ContainerId};
use crate::runtime::network::NetworkError;
use crate::runtime::network::record::{Lease, Leases, NetworkRecord};

/// One decision over a network's leases.
pub struct Leasing<'a> {
    /// Of which network.
    pub network: &'a NetworkRecord,
    /// As they stand; leases that have to yield are changed here.
    pub leases: &'a mut Leases,
    /// For whom.
    pub container: &'a ContainerId,
    /// Whether a container is connected now.
    pub connected: &'a dyn Fn(&ContainerId) -> bool,
}

impl Leasing<'_> {
    /// The key and the addresses of a container in this slot.
    pub fn grant(
        &mut self,
        project: &str,
        slot: &str,
        attachment: &Attachment,
    ) -> Result<(String, Lease), NetworkError> {
        let own = self.container.0.clone();
        let shared = format!("{project}/{slot}");
        // While its predecessor runs on, a container of the same slot is one of its own.
        let busy = |lease: &Lease| lease.container != *self.container && (self.connected)(&lease.container);
        let key = if slot.is_empty() || self.leases.leases.get(&shared).is_some_and(busy) { own } else { shared };
        let former = self.leases.leases.get(&key).cloned();
        let former = |ipv4: bool| {
            former
                .as_ref()
                .and_then(|lease| if ipv4 { lease.ipv4.map(IpAddr::from) } else { lease.ipv6.map(IpAddr::from) })
        };
        let ipv4 = self.address(&key, true, attachment.ipv4_address.map(IpAddr::from), former(true))?;
        let ipv6 = self.address(&key, false, attachment.ipv6_address.map(IpAddr::from), former(false))?;
        let ports = self.leases.leases.get(&key).map(|lease| lease.ports.clone()).unwrap_or_default();
        Ok((key, Lease { container: self.container.clone(), ipv4: ipv4.and_then(v4), ipv6: ipv6.and_then(v6), ports }))
    }

    fn address(
        &mut self,
        key: &str,
        ipv4: bool,
        wanted: Option<IpAddr>,
        former: Option<IpAddr>,
    ) -> Result<Option<IpAddr>, NetworkError> {
        if let Some(wanted) = wanted {
            return self.fixed(key, wanted).map(Some);
        }
        let network = self.network;
        let Some(first) = network.subnet(ipv4) else { return Ok(None) };
        let taken = self.taken(key, ipv4);
        let usable = |address: IpAddr| network.subnet_of(address).is_some_and(|subnet| subnet.usable(address));
        if let Some(former) = former.filter(|former| usable(*former) && !taken.contains(former)) {
            return Ok(Some(former));
        }
        if let Some(free) = network.of_family(ipv4).find_map(|subnet| subnet.lowest_free(&taken)) {
            return Ok(Some(free));
        }
        // None is free: the lowest of those that were kept for slots without a running container.
        let idle = self
            .leases
            .leases
            .iter()
            .filter(|(other, lease)| *other != key && !(self.connected)(&lease.container))
            .filter_map(|(other, lease)| Some((address_of(lease, ipv4)?, other.clone())))
            .filter(|(address, _)| {
                network.subnet_of(*address).is_some_and(|subnet| subnet.range.unwrap_or(subnet.cidr).contains(*address))
            })
            .min();
        match idle {
            Some((address, other)) => {
                self.release(&other, ipv4);
                Ok(Some(address))
            }
            None => {
                let family = if ipv4 { "IPv4" } else { "IPv6" };
                let name = &network.config.name;
                Err(self.invalid(format!(
                    "no available {family} addresses on this network's address pools: {name} ({})",
                    first.cidr
                )))
            }
        }
    }

    /// The address that was asked for; whoever had it kept without running has to yield.
    fn fixed(&mut self, key: &str, wanted: IpAddr) -> Result<IpAddr, NetworkError> {
        let family = || self.network.of_family(wanted.is_ipv4());
        if family().next().is_some() && !family().any(|subnet| subnet.configured) {
            return Err(self.invalid(
                "user specified IP address is supported only when connecting to networks with user configured subnets"
                    .to_owned(),
            ));
        }
        let Some(subnet) = self.network.subnet_of(wanted) else {
            return Err(self.invalid(format!("no configured subnet or ip-range contain the IP address {wanted}")));
        };
        if !subnet.usable(wanted) {
            return Err(self.invalid(format!("Address already in use: {wanted} is the network's own")));
        }
        let holder = self
            .leases
            .leases
            .iter()
            .find(|(other, lease)| *other != key && address_of(lease, wanted.is_ipv4()) == Some(wanted));
        if let Some((other, lease)) = holder {
            if (self.connected)(&lease.container) {
                return Err(self.invalid(format!("Address already in use: {wanted} is {other}'s")));
            }
            let other = other.clone();
            self.release(&other, wanted.is_ipv4());
        }
        Ok(wanted)
    }

    fn release(&mut self, key: &str, ipv4: bool) {
        if let Some(lease) = self.leases.leases.get_mut(key) {
            match ipv4 {
                true => lease.ipv4 = None,
                false => lease.ipv6 = None,
            }
        }
    }

    fn taken(&self, key: &str, ipv4: bool) -> BTreeSet<IpAddr> {
        let others = self.leases.leases.iter().filter(|(other, _)| *other != key);
        others.filter_map(|(_, lease)| address_of(lease, ipv4)).collect()
    }

    fn invalid(&self, reason: String) -> NetworkError {
        NetworkError::Invalid { network: self.network.config.name.clone(), reason }
    }
}

fn address_of(lease: &Lease, ipv4: bool) -> Option<IpAddr> {
    if ipv4 { lease.ipv4.map(IpAddr::from) } else { lease.ipv6.map(IpAddr::from) }
}

fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn v6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::engine::{AddressPool, NetworkConfig};
    use crate::runtime::network::ipam;

    fn network(subnet: &str) -> NetworkRecord {
        let pool = AddressPool {
            subnet: Some(subnet.to_owned()),
            ip_range: None,
            gateway: None,
            aux_addresses: BTreeMap::new(),
        };
        NetworkRecord {
            id: "id".to_owned(),
            config: NetworkConfig {
                name: "n".parse().unwrap(),
                labels: BTreeMap::new(),
                driver: "bridge".to_owned(),
                driver_opts: BTreeMap::new(),
                internal: false,
                attachable: false,
                enable_ipv4: true,
                enable_ipv6: false,
                pools: vec![pool.clone()],
            },
            bridge: "b".to_owned(),
            adopted: false,
            subnets: vec![ipam::configured(&pool).unwrap().unwrap()],
        }
    }

    fn attachment(address: Option<&str>) -> Attachment {
        Attachment {
            network: "n".parse().unwrap(),
            aliases: Vec::new(),
            links: BTreeMap::new(),
            ipv4_address: address.map(|address| address.parse().unwrap()),
            ipv6_address: None,
            link_local_ips: Vec::new(),
            mac_address: None,
            interface_name: None,
            gw_priority: 0,
            driver_opts: BTreeMap::new(),
        }
    }

    /// A network whose containers come and go.
    struct Stack {
        network: NetworkRecord,
        leases: Leases,
        running: RefCell<BTreeMap<ContainerId, Ipv4Addr>>,
    }

    impl Stack {
        fn new(subnet: &str) -> Stack {
            Stack { network: network(subnet), leases: Leases::default(), running: RefCell::default() }
        }

        fn start(&mut self, id: &str, slot: &str, address: Option<&str>) -> Result<Ipv4Addr, NetworkError> {
            let container = ContainerId(id.to_owned());
            let running = &self.running;
            let connected = |container: &ContainerId| running.borrow().contains_key(container);
            let mut leasing = Leasing {
                network: &self.network,
                leases: &mut self.leases,
                container: &container,
                connected: &connected,
            };
            let (key, lease) = leasing.grant("p", slot, &attachment(address))?;
            let address = lease.ipv4.unwrap();
            self.leases.leases.insert(key, lease);
            self.running.borrow_mut().insert(container, address);
            Ok(address)
        }

        fn stop(&mut self, id: &str) {
            self.running.borrow_mut().remove(&ContainerId(id.to_owned()));
        }
    }

    #[test]
    fn in_a_full_subnet_a_stopped_slot_yields_and_a_running_one_does_not() {
        let mut stack = Stack::new("10.0.0.0/30");
        let only = stack.start("a", "a/1", None).unwrap();
        let full = stack.start("b", "b/1", None).unwrap_err().to_string();
        assert!(
            full.contains("no available IPv4 addresses on this network's address pools: n (10.0.0.0/30)"),
            "{full}"
        );
        stack.stop("a");
        assert_eq!(stack.start("b", "b/1", None).unwrap(), only);
        assert!(stack.start("a2", "a/1", None).is_err());
    }

    #[test]
    fn an_address_asked_for_is_taken_from_a_stopped_slot_only() {
        let mut stack = Stack::new("10.0.0.0/24");
        let first = stack.start("a", "a/1", None).unwrap().to_string();
        assert!(stack.start("b", "b/1", Some(&first)).is_err());
        stack.stop("a");
        assert_eq!(stack.start("b", "b/1", Some(&first)).unwrap().to_string(), first);
        assert_ne!(stack.start("a2", "a/1", None).unwrap().to_string(), first);
        assert!(stack.start("c", "c/1", Some("10.0.0.1")).unwrap_err().to_string().contains("the network's own"));
    }

    proptest! {
        #[test]
        fn no_two_running_containers_share_an_address_and_slots_keep_theirs_while_there_is_room(
            events in proptest::collection::vec((0..8_u8, any::<bool>()), 0..60),
        ) {
            let mut stack = Stack::new("10.0.0.0/24");
            let mut known: BTreeMap<u8, Ipv4Addr> = BTreeMap::new();
            let mut up: BTreeMap<u8, String> = BTreeMap::new();
            for (at, (slot, start)) in events.into_iter().enumerate() {
                match (start, up.get(&slot).cloned()) {
                    (true, None) => {
                        let id = format!("c{at}");
                        let address = stack.start(&id, &format!("s/{slot}"), None).unwrap();
                        prop_assert_eq!(*known.entry(slot).or_insert(address), address);
                        up.insert(slot, id);
                    }
                    (false, Some(id)) => {
                        stack.stop(&id);
                        up.remove(&slot);
                    }
                    (true, Some(_)) | (false, None) => {}
                }
                let running = stack.running.borrow();
                prop_assert_eq!(running.values().collect::<BTreeSet<_>>().len(), running.len());
            }
        }
    }
}
