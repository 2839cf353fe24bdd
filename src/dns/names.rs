//! Who sees whom, by which names. Pure.
//!
//! A name is looked up only on the networks the asker is on; what is not there does not exist for it. Every name also
//! stands with its network's name behind it (`db.shop_default`). A link's alias exists for the linking container alone
//! and leads to containers by name, again only on the asker's networks. Addresses lead back to `CONTAINER.NETWORK`. The
//! machine has names, too, unless a container has taken them.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::dns::Asker;

/// What Docker Desktop calls the machine.
pub const MACHINE: [&str; 2] = ["host.docker.internal", "gateway.docker.internal"];

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
pub struct Names {
    networks: BTreeMap<String, Network>,
}

#[derive(Debug, Clone, Default)]
struct Network {
    /// In lower case.
    name: String,
    /// Names in lower case, each with the addresses of all who answer to it.
    addresses: HashMap<String, Vec<IpAddr>>,
    /// Addresses, each with the container's name.
    containers: HashMap<IpAddr, String>,
}

/// Which addresses are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `A`.
    V4,
    /// `AAAA`.
    V6,
}

impl Names {
    /// From all members of all networks that any asker is on.
    pub fn new<'a>(members: impl IntoIterator<Item = &'a Member>) -> Names {
        let mut names = Names::default();
        for member in members {
            let network = names.networks.entry(member.network.clone()).or_default();
            network.name = member.network_name.to_ascii_lowercase();
            for name in member.names.iter().chain([&member.container]) {
                let addresses = network.addresses.entry(name.to_ascii_lowercase()).or_default();
                for address in &member.addresses {
                    if !addresses.contains(address) {
                        addresses.push(*address);
                    }
                }
            }
            for address in &member.addresses {
                network.containers.insert(*address, member.container.clone());
            }
        }
        names
    }

    /// The addresses of a name for an asker: `None` if the name does not exist for it, an empty list if it exists without
    /// an address of this family. The name is in lower case, without a final dot.
    pub fn lookup(&self, asker: &Asker, name: &str, family: Family) -> Option<Vec<IpAddr>> {
        let mut found: Option<Vec<IpAddr>> = None;
        let mut add = |addresses: &[IpAddr]| {
            let found = found.get_or_insert_default();
            for address in addresses {
                if address.is_ipv4() == (family == Family::V4) && !found.contains(address) {
                    found.push(*address);
                }
            }
        };
        for network in self.seen_by(asker) {
            let bare = name.strip_suffix(network.name.as_str()).and_then(|bare| bare.strip_suffix('.'));
            for name in [Some(name), bare].into_iter().flatten() {
                if let Some(addresses) = network.addresses.get(name) {
                    add(addresses);
                }
                let linked = asker.links.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name));
                for container in linked.into_iter().flat_map(|(_, containers)| containers) {
                    if let Some(addresses) = network.addresses.get(&container.to_ascii_lowercase()) {
                        add(addresses);
                    }
                }
            }
        }
        if found.is_none() && !asker.machine.is_empty() && MACHINE.contains(&name) {
            let of_family = |address: &&IpAddr| address.is_ipv4() == (family == Family::V4);
            return Some(asker.machine.iter().filter(of_family).copied().collect());
        }
        found
    }

    /// Every name that an asker is answered, without those that have their network's name behind them.
    pub fn all(&self, asker: &Asker) -> BTreeMap<String, Vec<IpAddr>> {
        let own = self.seen_by(asker).flat_map(|network| network.addresses.keys().cloned());
        let links = asker.links.keys().map(|alias| alias.to_ascii_lowercase());
        let names = own.chain(links).chain(MACHINE.map(str::to_owned));
        let answered = names.filter_map(|name| {
            let both = [Family::V4, Family::V6].map(|family| self.lookup(asker, &name, family));
            let mut addresses: Vec<IpAddr> = both.into_iter().flatten().flatten().collect();
            addresses.sort();
            (!addresses.is_empty()).then_some((name, addresses))
        });
        answered.collect()
    }

    /// The name behind an address, as `CONTAINER.NETWORK`, if the asker is on that network.
    pub fn reverse(&self, asker: &Asker, address: IpAddr) -> Option<String> {
        self.seen_by(asker).find_map(|network| {
            network.containers.get(&address).map(|container| format!("{container}.{}", network.name))
        })
    }

    fn seen_by<'a>(&'a self, asker: &'a Asker) -> impl Iterator<Item = &'a Network> {
        asker.networks.iter().filter_map(|network| self.networks.get(network))
    }
}

/// The address that a reverse name such as `5.0.18.172.in-addr.arpa` asks for (RFC 1035 §3.5, RFC 3596 §2.5).
pub fn reversed_address(name: &str) -> Option<IpAddr> {
    if let Some(digits) = name.strip_suffix(".in-addr.arpa") {
        let mut octets = [0; 4];
        let mut labels = digits.split('.');
        for octet in octets.iter_mut().rev() {
            *octet = labels.next()?.parse().ok()?;
        }
        return labels.next().is_none().then(|| Ipv4Addr::from(octets).into());
    }
    let mut bits = 0_u128;
    let mut count = 0;
    for (place, label) in name.strip_suffix(".ip6.arpa")?.split('.').enumerate() {
        let digit = u128::from_str_radix(label, 16).ok().filter(|_| label.len() == 1)?;
        bits |= digit.checked_shl(u32::try_from(place).ok()? * 4)?;
        count += 1;
    }
    (count == 32).then(|| Ipv6Addr::from(bits).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(network: &str, container: &str, names: &[&str], addresses: &[&str]) -> Member {
        Member {
            network: format!("{network}-id"),
            network_name: network.to_owned(),
            container: container.to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        }
    }

    fn on(networks: &[&str]) -> Asker {
        Asker { networks: networks.iter().map(|name| format!("{name}-id")).collect(), ..Asker::default() }
    }

    fn names() -> Names {
        Names::new(&[
            member("shop_front", "shop-web-1", &["web", "Www"], &["10.0.0.2", "fd00::2"]),
            member("shop_front", "shop-web-2", &["web"], &["10.0.0.3"]),
            member("shop_back", "shop-db-1", &["db"], &["10.1.0.2"]),
        ])
    }

    fn v4(asker: &Asker, name: &str) -> Option<Vec<String>> {
        let found = names().lookup(asker, name, Family::V4)?;
        Some(found.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_name_exists_only_on_the_askers_networks() {
        assert_eq!(v4(&on(&["shop_front"]), "web"), Some(vec!["10.0.0.2".to_owned(), "10.0.0.3".to_owned()]));
        assert_eq!(v4(&on(&["shop_back"]), "web"), None);
        assert_eq!(v4(&on(&["shop_front"]), "db"), None);
        assert!(v4(&on(&["shop_front", "shop_back"]), "db").is_some());
    }

    #[test]
    fn names_are_found_whatever_their_case_and_with_their_network_behind_them() {
        assert!(v4(&on(&["shop_front"]), "www").is_some());
        assert!(v4(&on(&["shop_front"]), "shop-web-2.shop_front").is_some());
        assert!(v4(&on(&["shop_front"]), "web.shop_back").is_none());
        assert!(v4(&on(&["shop_front"]), ".shop_front").is_none());
    }

    #[test]
    fn a_name_without_an_address_of_the_family_exists_nevertheless() {
        let asker = on(&["shop_back"]);
        assert_eq!(names().lookup(&asker, "db", Family::V6), Some(vec![]));
        assert_eq!(names().lookup(&asker, "nope", Family::V6), None);
    }

    #[test]
    fn a_link_is_seen_by_the_linking_container_alone() {
        let mut asker = on(&["shop_front"]);
        assert_eq!(v4(&asker, "server"), None);
        asker.links.insert("Server".to_owned(), vec!["shop-web-2".to_owned()]);
        assert_eq!(v4(&asker, "server"), Some(vec!["10.0.0.3".to_owned()]));
        asker.links.insert("store".to_owned(), vec!["shop-db-1".to_owned()]);
        assert_eq!(v4(&asker, "store"), None, "a link does not open a network");
    }

    #[test]
    fn the_machine_has_names_unless_a_container_has_taken_them() {
        let mut asker = on(&["shop_front"]);
        assert_eq!(v4(&asker, "host.docker.internal"), None);
        asker.machine = vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        assert_eq!(v4(&asker, "host.docker.internal"), Some(vec!["10.0.0.1".to_owned()]));
        assert_eq!(names().all(&asker)["gateway.docker.internal"].len(), 2);
        asker.links.insert("host.docker.internal".to_owned(), vec!["shop-web-2".to_owned()]);
        assert_eq!(v4(&asker, "host.docker.internal"), Some(vec!["10.0.0.3".to_owned()]));
    }

    #[test]
    fn an_address_leads_back_to_its_container_and_network() {
        let names = names();
        let address = reversed_address("2.0.0.10.in-addr.arpa").unwrap();
        assert_eq!(names.reverse(&on(&["shop_front"]), address).as_deref(), Some("shop-web-1.shop_front"));
        assert_eq!(names.reverse(&on(&["shop_back"]), address), None);
        let six = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
        assert_eq!(reversed_address(six), Some("fd00::2".parse().unwrap()));
        for wrong in
            ["in-addr.arpa", "1.2.3.in-addr.arpa", "1.2.3.4.5.in-addr.arpa", "300.0.0.1.in-addr.arpa", "2.0.ip6.arpa"]
        {
            assert_eq!(reversed_address(wrong), None, "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_asker_is_told_an_address_of_a_network_it_is_not_on(
            members in proptest::collection::vec((0..4_u8, 0..6_u8, 1..250_u8), 0..20),
            mine in proptest::collection::vec(0..4_u8, 0..3),
            asked in 0..6_u8,
        ) {
            let members: Vec<_> = members
                .iter()
                .map(|(network, name, host)| {
                    member(&format!("n{network}"), &format!("c{host}"), &[&format!("s{name}")], &[&format!("10.{network}.0.{host}")])
                })
                .collect();
            let asker = on(&mine.iter().map(|network| format!("n{network}")).collect::<Vec<_>>().iter().map(String::as_str).collect::<Vec<_>>());
            let found = Names::new(&members).lookup(&asker, &format!("s{asked}"), Family::V4).unwrap_or_default();
            let expected = members.iter().filter(|member| asker.networks.contains(&member.network) && member.names.contains(&format!("s{asked}")));
            let mut expected: Vec<_> = expected.flat_map(|member| member.addresses.clone()).collect();
            expected.sort();
            expected.dedup();
            let mut found = found;
            found.sort();
            proptest::prop_assert_eq!(found, expected);
        }
    }
}
