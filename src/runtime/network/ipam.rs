//! Addresses: subnets that avoid what is there, and the lowest free address of one. Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use crate::engine::AddressPool;
use crate::runtime::network::record::Subnet;
use crate::values::cidr::{Cidr, InvalidCidr};

/// A unique local IPv6 subnet (RFC 4193) out of random bits.
pub fn unique_local(random: u64) -> Cidr {
    let bits = (0xfd_u128 << 120) | (u128::from(random & 0x00ff_ffff_ffff_ffff) << 64);
    Cidr::new(Ipv6Addr::from_bits(bits).into(), 64)
}

/// What is wrong with an address pool, in Docker's words where it has some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// Not a subnet.
    #[error("invalid subnet {0}: {1}")]
    Subnet(String, InvalidCidr),
    /// Host bits are set.
    #[error("invalid subnet {0}: it should be {1}")]
    HostBits(String, Cidr),
    /// The range of dynamic addresses is outside.
    #[error("invalid ip-range {0}: it is not part of subnet {1}")]
    Range(String, Cidr),
    /// The gateway is outside.
    #[error("no matching subnet for gateway {0}")]
    Gateway(IpAddr),
    /// An auxiliary address is outside.
    #[error("no matching subnet for aux-address {0}")]
    Auxiliary(IpAddr),
    /// There is no room for a gateway and a container.
    #[error("subnet {0} is too small")]
    Small(Cidr),
}

/// The subnet that a user's pool describes; `None` if it leaves the subnet to us.
pub fn configured(pool: &AddressPool) -> Result<Option<Subnet>, PoolError> {
    let Some(text) = &pool.subnet else { return Ok(None) };
    let cidr: Cidr = text.parse().map_err(|error| PoolError::Subnet(text.clone(), error))?;
    if text.split_once('/').and_then(|(address, _)| address.parse().ok()) != Some(cidr.first()) {
        return Err(PoolError::HostBits(text.clone(), cidr));
    }
    complete(cidr, pool, true).map(Some)
}

/// A subnet with the rest of what its pool says filled in.
pub fn complete(cidr: Cidr, pool: &AddressPool, configured: bool) -> Result<Subnet, PoolError> {
    let range = pool
        .ip_range
        .as_ref()
        .map(|text| {
            let range: Cidr = text.parse().map_err(|_| PoolError::Range(text.clone(), cidr))?;
            if cidr.covers(range) { Ok(range) } else { Err(PoolError::Range(text.clone(), cidr)) }
        })
        .transpose()?;
    if let Some(gateway) = pool.gateway
        && !cidr.contains(gateway)
    {
        return Err(PoolError::Gateway(gateway));
    }
    let reserved: Vec<IpAddr> = pool.aux_addresses.values().copied().collect();
    if let Some(outside) = reserved.iter().find(|address| !cidr.contains(**address)) {
        return Err(PoolError::Auxiliary(*outside));
    }
    let taken: BTreeSet<IpAddr> = reserved.iter().copied().collect();
    let gateway = pool.gateway.or_else(|| lowest(cidr, cidr, &taken)).ok_or(PoolError::Small(cidr))?;
    Ok(Subnet { cidr, range, gateway, reserved, configured })
}

impl Subnet {
    /// The lowest address for a container that is not in `taken`.
    pub fn lowest_free(&self, taken: &BTreeSet<IpAddr>) -> Option<IpAddr> {
        let mut taken = taken.clone();
        taken.insert(self.gateway);
        taken.extend(&self.reserved);
        lowest(self.cidr, self.range.unwrap_or(self.cidr), &taken)
    }

    /// Whether an address may be a container's: in the subnet, and neither the bridge's nor an end of the range.
    pub fn usable(&self, address: IpAddr) -> bool {
        self.cidr.contains(address) && address != self.gateway && !is_end(self.cidr, address)
    }
}

/// Network and broadcast address, where a subnet has them.
fn is_end(cidr: Cidr, address: IpAddr) -> bool {
    let point_to_point = cidr.host_bits() <= 1;
    !point_to_point && (address == cidr.first() || (cidr.is_ipv4() && address == cidr.last()))
}

fn lowest(cidr: Cidr, range: Cidr, taken: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    // No more candidates are looked at than there are taken ones, and the two ends.
    let candidates = range.addresses().take(taken.len() + 3);
    candidates.into_iter().find(|address| !is_end(cidr, *address) && !taken.contains(address))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn pool(subnet: &str) -> AddressPool {
        AddressPool {
            subnet: Some(subnet.to_owned()),
            ip_range: None,
            gateway: None,
            aux_addresses: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn addresses_begin_after_the_gateway_and_fill_gaps() {
        let subnet = configured(&pool("10.1.0.0/29")).unwrap().unwrap();
        assert_eq!(subnet.gateway, "10.1.0.1".parse::<IpAddr>().unwrap());
        let mut taken = BTreeSet::new();
        let all: Vec<String> = std::iter::from_fn(|| {
            let next = subnet.lowest_free(&taken)?;
            taken.insert(next);
            Some(next.to_string())
        })
        .collect();
        assert_eq!(all, ["10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6"]);
        taken.remove(&"10.1.0.4".parse::<IpAddr>().unwrap());
        assert_eq!(subnet.lowest_free(&taken).unwrap().to_string(), "10.1.0.4");
    }

    #[test]
    fn dynamic_addresses_stay_in_the_range_and_off_auxiliary_ones() {
        let mut pool = pool("10.1.0.0/16");
        pool.ip_range = Some("10.1.5.0/30".to_owned());
        pool.aux_addresses.insert("router".to_owned(), "10.1.5.0".parse().unwrap());
        let subnet = configured(&pool).unwrap().unwrap();
        assert_eq!(subnet.gateway.to_string(), "10.1.0.1");
        assert_eq!(subnet.lowest_free(&BTreeSet::new()).unwrap().to_string(), "10.1.5.1");
    }

    #[test]
    fn a_pool_that_contradicts_itself_is_refused() {
        assert!(matches!(configured(&pool("10.1.0.1/16")), Err(PoolError::HostBits(..))));
        assert!(matches!(configured(&pool("10.1.0.0")), Err(PoolError::Subnet(..))));
        assert!(matches!(configured(&pool("10.1.0.0/33")), Err(PoolError::Subnet(..))));
        let mut outside = pool("10.1.0.0/16");
        outside.gateway = Some("10.2.0.1".parse().unwrap());
        assert!(matches!(configured(&outside), Err(PoolError::Gateway(_))));
        let mut outside = pool("10.1.0.0/16");
        outside.ip_range = Some("10.2.0.0/24".to_owned());
        assert!(matches!(configured(&outside), Err(PoolError::Range(..))));
    }

    #[test]
    fn a_unique_local_subnet_is_one() {
        let subnet = unique_local(u64::MAX);
        assert_eq!(subnet.to_string(), "fdff:ffff:ffff:ffff::/64");
        assert_eq!(unique_local(0).to_string(), "fd00::/64");
    }

    proptest! {
        #[test]
        fn an_address_given_out_is_free_usable_and_in_its_subnet(
            base in any::<u32>(), prefix in 8_u8..=30, given in 0_usize..40,
        ) {
            let cidr = Cidr::new(Ipv4Addr::from_bits(base).into(), prefix);
            let subnet = configured(&pool(&cidr.to_string())).unwrap().unwrap();
            let mut taken = BTreeSet::new();
            for _ in 0..given {
                let Some(address) = subnet.lowest_free(&taken) else {
                    prop_assert!(taken.len() + 3 >= 1 << (32 - prefix));
                    break;
                };
                prop_assert!(subnet.usable(address));
                prop_assert!(taken.insert(address));
            }
        }
    }
}
