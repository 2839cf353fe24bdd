//! Which subnets a new network gets: those the user wrote, and for the rest ours. Pure.

use std::collections::BTreeMap;

use crate::engine::{AddressPool, NetworkConfig};
use crate::runtime::network::ipam;
use crate::runtime::network::pools::Pools;
use crate::runtime::network::record::{NetworkRecord, Subnet};
use crate::values::cidr::Cidr;

/// What subnets must not overlap, and where they come from.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// Networks of ours.
    pub others: &'a [NetworkRecord],
    /// The machine's routes and name servers.
    pub taken: &'a [Cidr],
    /// For what the user left open.
    pub pools: &'a Pools,
    /// Fills a unique local IPv6 subnet.
    pub random: u64,
}

/// The subnets of a new network, IPv4 first, or why it can't have them.
pub fn choose(config: &NetworkConfig, around: &Surroundings<'_>) -> Result<Vec<Subnet>, String> {
    let mut subnets: Vec<Subnet> = Vec::new();
    let mut open: Option<&AddressPool> = None;
    for pool in &config.pools {
        match ipam::configured(pool).map_err(|error| error.to_string())? {
            Some(subnet) => subnets.push(subnet),
            None => open = Some(pool),
        }
    }
    subnets.retain(|subnet| if subnet.cidr.is_ipv4() { config.enable_ipv4 } else { config.enable_ipv6 });
    for (n, subnet) in subnets.iter().enumerate() {
        no_overlap(subnet.cidr, around)?;
        let before = subnets.iter().take(n).map(|other| other.cidr);
        if let Some(other) = before.into_iter().find(|other| other.overlaps(subnet.cidr)) {
            return Err(format!("{OVERLAPS}: its own subnets {other} and {} overlap", subnet.cidr));
        }
    }
    let blank = AddressPool { subnet: None, ip_range: None, gateway: None, aux_addresses: BTreeMap::new() };
    let mut open = open.unwrap_or(&blank);
    for (ipv4, enabled) in [(true, config.enable_ipv4), (false, config.enable_ipv6)] {
        if enabled && !subnets.iter().any(|subnet| subnet.cidr.is_ipv4() == ipv4) {
            let cidr = if ipv4 || around.pools.has(false) {
                let used = |other: &NetworkRecord| other.subnets.iter().map(|subnet| subnet.cidr).collect::<Vec<_>>();
                let routes = around.taken.iter().copied().filter(|route| !is_default(*route));
                let used: Vec<Cidr> = routes.chain(around.others.iter().flat_map(used)).collect();
                around.pools.choose(ipv4, &used).ok_or_else(|| exhausted(ipv4, around))?
            } else {
                ipam::unique_local(around.random)
            };
            subnets.push(ipam::complete(cidr, open, false).map_err(|error| error.to_string())?);
            // A pool without a subnet is of one family.
            open = &blank;
        }
    }
    if subnets.is_empty() {
        return Err("neither IPv4 nor IPv6 is enabled".to_owned());
    }
    subnets.sort_by_key(|subnet| !subnet.cidr.is_ipv4());
    Ok(subnets)
}

/// A VPN that takes all traffic has two routes to one half of all addresses each, which are no place of their own.
fn is_default(route: Cidr) -> bool {
    route.prefix() < if route.is_ipv4() { 8 } else { 7 }
}

const OVERLAPS: &str = "Pool overlaps with other one on this address space";

fn no_overlap(cidr: Cidr, around: &Surroundings<'_>) -> Result<(), String> {
    for other in around.others {
        if let Some(subnet) = other.subnets.iter().find(|subnet| subnet.cidr.overlaps(cidr)) {
            let name = &other.config.name;
            return Err(format!("{OVERLAPS}: {cidr} overlaps {} of network {name}", subnet.cidr));
        }
    }
    // A route to a part of it would take that part away; one that is wider loses to it, as it should.
    match around.taken.iter().find(|route| cidr.covers(**route)) {
        Some(route) => Err(format!("{OVERLAPS}: this machine has a route to {route}, which lies in {cidr}")),
        None => Ok(()),
    }
}

fn exhausted(ipv4: bool, around: &Surroundings<'_>) -> String {
    let (mut networks, mut own) = (Vec::new(), Vec::new());
    for other in around.others {
        for subnet in other.subnets.iter().filter(|subnet| subnet.cidr.is_ipv4() == ipv4) {
            networks.push(format!("{} ({})", other.config.name, subnet.cidr));
            own.push(subnet.cidr);
        }
    }
    let routes = around.taken.iter().filter(|route| route.is_ipv4() == ipv4 && !own.contains(route));
    let routes: Vec<String> = routes.map(Cidr::to_string).collect();
    let list = |what: &str, all: &[String]| match all {
        [] => format!("no {what}"),
        all => format!("{what} {}", all.join(", ")),
    };
    format!(
        "could not find an available, non-overlapping {} address pool among the {} defaults to assign to the network; \
         in use are {}, and {} of this machine. Remove networks that are not needed, or name more pools in \
         XCOMPOSE_ADDRESS_POOLS or /etc/xcompose/address-pools",
        if ipv4 { "IPv4" } else { "IPv6" },
        around.pools.count(ipv4),
        list("networks", &networks),
        list("routes", &routes),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pools: &[&str]) -> NetworkConfig {
        let pool = |subnet: &&str| AddressPool {
            subnet: Some((*subnet).to_owned()),
            ip_range: None,
            gateway: None,
            aux_addresses: BTreeMap::new(),
        };
        NetworkConfig {
            name: "n".parse().unwrap(),
            labels: BTreeMap::new(),
            driver: "bridge".to_owned(),
            driver_opts: BTreeMap::new(),
            internal: false,
            attachable: false,
            enable_ipv4: true,
            enable_ipv6: false,
            pools: pools.iter().map(pool).collect(),
        }
    }

    fn choose(config: &NetworkConfig, taken: &[&str], pools: &str, random: u64) -> Result<Vec<String>, String> {
        let taken: Vec<Cidr> = taken.iter().map(|text| text.parse().unwrap()).collect();
        let pools = Pools::parse(pools).unwrap().unwrap_or_default();
        let around = Surroundings { others: &[], taken: &taken, pools: &pools, random };
        let chosen = super::choose(config, &around)?;
        Ok(chosen.iter().map(|subnet| format!("{} {}", subnet.cidr, subnet.gateway)).collect())
    }

    #[test]
    fn what_the_user_left_open_is_filled_in_and_a_family_switched_off_is_left_out() {
        let mut both = config(&["fd12::/64"]);
        both.enable_ipv6 = true;
        let chosen = choose(&both, &["172.17.0.0/16"], "", 7).unwrap();
        assert_eq!(chosen, ["172.18.0.0/16 172.18.0.1", "fd12::/64 fd12::1"]);
        both.pools.clear();
        assert_eq!(choose(&both, &[], "", 7).unwrap()[1], "fd00:0:0:7::/64 fd00:0:0:7::1");
        let pools = "base=fd99::/48,size=64 base=10.9.0.0/16,size=24";
        assert_eq!(choose(&both, &[], pools, 7).unwrap(), ["10.9.0.0/24 10.9.0.1", "fd99::/64 fd99::1"]);
        both.enable_ipv4 = false;
        assert_eq!(choose(&both, &[], "", 7).unwrap().len(), 1);
        both.enable_ipv6 = false;
        assert_eq!(choose(&both, &[], "", 7).unwrap_err(), "neither IPv4 nor IPv6 is enabled");
    }

    #[test]
    fn a_subnet_yields_to_routes_within_it_and_may_lie_within_wider_ones() {
        let own = config(&["10.5.0.0/16"]);
        assert!(choose(&own, &["10.0.0.0/8"], "", 0).is_ok());
        let refused = choose(&own, &["10.5.7.0/24"], "", 0).unwrap_err();
        assert_eq!(
            refused,
            "Pool overlaps with other one on this address space: this machine has a route to 10.5.7.0/24, which lies in \
             10.5.0.0/16"
        );
    }

    #[test]
    fn a_vpn_for_all_traffic_leaves_room() {
        let chosen = choose(&config(&[]), &["0.0.0.0/1", "128.0.0.0/1"], "", 0).unwrap();
        assert_eq!(chosen, ["172.17.0.0/16 172.17.0.1"]);
    }

    #[test]
    fn a_network_has_several_subnets_unless_they_overlap_each_other() {
        let several = config(&["10.5.0.0/24", "10.5.1.0/24"]);
        assert_eq!(choose(&several, &[], "", 0).unwrap(), ["10.5.0.0/24 10.5.0.1", "10.5.1.0/24 10.5.1.1"]);
        let refused = choose(&config(&["10.5.0.0/16", "10.5.1.0/24"]), &[], "", 0).unwrap_err();
        assert!(refused.ends_with("its own subnets 10.5.0.0/16 and 10.5.1.0/24 overlap"), "{refused}");
    }

    #[test]
    fn when_all_pools_are_taken_the_message_says_by_whom() {
        let refused = choose(&config(&[]), &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"], "", 0).unwrap_err();
        assert!(refused.starts_with("could not find an available, non-overlapping IPv4 address pool among the "));
        assert!(
            refused.contains("in use are no networks, and routes 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 of"),
            "{refused}"
        );
    }
}
