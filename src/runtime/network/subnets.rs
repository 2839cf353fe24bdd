//! Which subnets a new network gets: those the user wrote, and for the rest ours. Pure.

use std::collections::BTreeMap;

use crate::engine::{AddressPool, NetworkConfig};
use crate::runtime::network::ipam::{self, Cidr};
use crate::runtime::network::record::{NetworkRecord, Subnet};

/// The subnets of a new network, IPv4 first, or why it can't have them. `taken` are the machine's routes and name servers,
/// `random` fills a unique local IPv6 subnet.
pub fn choose(
    config: &NetworkConfig,
    others: &[NetworkRecord],
    taken: &[Cidr],
    random: u64,
) -> Result<Vec<Subnet>, String> {
    let mut subnets: Vec<Subnet> = Vec::new();
    let mut open: Option<&AddressPool> = None;
    for pool in &config.pools {
        match ipam::configured(pool).map_err(|error| error.to_string())? {
            Some(subnet) => subnets.push(subnet),
            None => open = Some(pool),
        }
    }
    subnets.retain(|subnet| if subnet.cidr.is_ipv4() { config.enable_ipv4 } else { config.enable_ipv6 });
    for subnet in &subnets {
        no_overlap(subnet.cidr, others, taken)?;
    }
    let blank = AddressPool { subnet: None, ip_range: None, gateway: None, aux_addresses: BTreeMap::new() };
    let open = open.unwrap_or(&blank);
    if config.enable_ipv4 && !subnets.iter().any(|subnet| subnet.cidr.is_ipv4()) {
        let mut used = taken.to_vec();
        used.extend(others.iter().flat_map(|other| other.subnets.iter().map(|subnet| subnet.cidr)));
        let cidr = ipam::choose(&used).ok_or_else(|| exhausted(others, taken))?;
        subnets.push(ipam::complete(cidr, open, false).map_err(|error| error.to_string())?);
    }
    if config.enable_ipv6 && !subnets.iter().any(|subnet| !subnet.cidr.is_ipv4()) {
        let pool = if config.enable_ipv4 { &blank } else { open };
        let subnet = ipam::complete(ipam::unique_local(random), pool, false).map_err(|error| error.to_string())?;
        subnets.push(subnet);
    }
    if subnets.is_empty() {
        return Err("neither IPv4 nor IPv6 is enabled".to_owned());
    }
    subnets.sort_by_key(|subnet| !subnet.cidr.is_ipv4());
    Ok(subnets)
}

fn no_overlap(cidr: Cidr, others: &[NetworkRecord], taken: &[Cidr]) -> Result<(), String> {
    let overlaps = "Pool overlaps with other one on this address space";
    for other in others {
        if let Some(subnet) = other.subnets.iter().find(|subnet| subnet.cidr.overlaps(cidr)) {
            let name = &other.config.name;
            return Err(format!("{overlaps}: {cidr} overlaps {} of network {name}", subnet.cidr));
        }
    }
    // A route to a part of it would take that part away; one that is wider loses to it, as it should.
    match taken.iter().find(|route| cidr.covers(**route)) {
        Some(route) => Err(format!("{overlaps}: this machine has a route to {route}, which lies in {cidr}")),
        None => Ok(()),
    }
}

fn exhausted(others: &[NetworkRecord], taken: &[Cidr]) -> String {
    let networks: Vec<String> = others.iter().map(|other| other.config.name.to_string()).collect();
    format!(
        "could not find an available, non-overlapping IPv4 address pool among the {} defaults to assign to the network; \
         in use are networks {} and {} routes of this machine",
        ipam::pool_count(),
        networks.join(", "),
        taken.len()
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

    fn print(subnets: &[Subnet]) -> Vec<String> {
        subnets.iter().map(|subnet| format!("{} {}", subnet.cidr, subnet.gateway)).collect()
    }

    fn cidrs(texts: &[&str]) -> Vec<Cidr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn what_the_user_left_open_is_filled_in_and_a_family_switched_off_is_left_out() {
        let mut both = config(&["fd12::/64"]);
        both.enable_ipv6 = true;
        let chosen = choose(&both, &[], &cidrs(&["172.17.0.0/16"]), 7).unwrap();
        assert_eq!(print(&chosen), ["172.18.0.0/16 172.18.0.1", "fd12::/64 fd12::1"]);
        both.pools.clear();
        assert_eq!(print(&choose(&both, &[], &[], 7).unwrap())[1], "fd00:0:0:7::/64 fd00:0:0:7::1");
        both.enable_ipv4 = false;
        assert_eq!(choose(&both, &[], &[], 7).unwrap().len(), 1);
        both.enable_ipv6 = false;
        assert_eq!(choose(&both, &[], &[], 7).unwrap_err(), "neither IPv4 nor IPv6 is enabled");
    }

    #[test]
    fn a_subnet_yields_to_routes_within_it_and_may_lie_within_wider_ones() {
        let own = config(&["10.5.0.0/16"]);
        assert!(choose(&own, &[], &cidrs(&["10.0.0.0/8"]), 0).is_ok());
        let refused = choose(&own, &[], &cidrs(&["10.5.7.0/24"]), 0).unwrap_err();
        assert_eq!(
            refused,
            "Pool overlaps with other one on this address space: this machine has a route to 10.5.7.0/24, which lies in \
             10.5.0.0/16"
        );
    }

    #[test]
    fn when_all_pools_are_taken_the_message_says_by_whom() {
        let refused = choose(&config(&[]), &[], &cidrs(&["0.0.0.0/1", "128.0.0.0/1"]), 0).unwrap_err();
        assert!(refused.starts_with("could not find an available, non-overlapping IPv4 address pool among the "));
        assert!(refused.ends_with("and 2 routes of this machine"), "{refused}");
    }
}
