//! Addresses: subnets that avoid what is there, and the lowest free address of one. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::engine::AddressPool;
use crate::runtime::network::record::Subnet;

/// A range of addresses that share a prefix; its host bits are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// Not an address range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid CIDR address: {0}")]
pub struct InvalidCidr(String);

impl Cidr {
    /// The range of this size around an address; a prefix that is too long counts as the whole address.
    pub fn new(address: IpAddr, prefix: u8) -> Cidr {
        let prefix = prefix.min(width(address));
        let mask = !tail_mask(width(address), prefix);
        Cidr { address: from_bits(address, to_bits(address) & mask), prefix }
    }

    /// Its first address.
    pub fn first(self) -> IpAddr {
        self.address
    }

    /// Its last address.
    pub fn last(self) -> IpAddr {
        from_bits(self.address, to_bits(self.address) | tail_mask(width(self.address), self.prefix))
    }

    /// How many leading bits are fixed.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Of IPv4.
    pub fn is_ipv4(self) -> bool {
        self.address.is_ipv4()
    }

    /// Whether an address lies in it.
    pub fn contains(self, address: IpAddr) -> bool {
        self.is_ipv4() == address.is_ipv4() && Cidr::new(address, self.prefix) == self
    }

    /// Whether another range lies in it.
    pub fn covers(self, other: Cidr) -> bool {
        self.prefix <= other.prefix && self.contains(other.address)
    }

    /// Whether the two share an address.
    pub fn overlaps(self, other: Cidr) -> bool {
        self.covers(other) || other.covers(self)
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The bits behind a prefix, set.
fn tail_mask(width: u8, prefix: u8) -> u128 {
    1_u128.checked_shl(u32::from(width - prefix)).map_or(u128::MAX, |bit| bit - 1)
}

fn to_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// An address of the same family as `like`; bits above its width are dropped.
fn from_bits(like: IpAddr, bits: u128) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::from_bits((bits & u128::from(u32::MAX)) as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(bits).into(),
    }
}

impl FromStr for Cidr {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Cidr, InvalidCidr> {
        let wrong = || InvalidCidr(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        if prefix > width(address) {
            return Err(wrong());
        }
        Ok(Cidr::new(address, prefix))
    }
}

impl TryFrom<String> for Cidr {
    type Error = InvalidCidr;

    fn try_from(text: String) -> Result<Cidr, InvalidCidr> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> String {
        cidr.to_string()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.prefix)
    }
}

/// Where subnets come from when the user names none: Docker's pools, then many small ones for machines with hundreds of
/// projects.
const POOLS: [(Ipv4Addr, u8, u8); 3] = [
    (Ipv4Addr::new(172, 16, 0, 0), 12, 16),
    (Ipv4Addr::new(192, 168, 0, 0), 16, 20),
    (Ipv4Addr::new(10, 200, 0, 0), 13, 24),
];

/// The first subnet of our pools that overlaps nothing in use; `None` when all are taken.
pub fn choose(used: &[Cidr]) -> Option<Cidr> {
    let fits = |candidate: &Cidr| !used.iter().any(|used| used.overlaps(*candidate));
    POOLS.iter().flat_map(|(base, outer, inner)| parts(*base, *outer, *inner)).find(fits)
}

fn parts(base: Ipv4Addr, outer: u8, inner: u8) -> impl Iterator<Item = Cidr> {
    // Docker leaves out 172.16.0.0/16.
    let skip = usize::from(base == Ipv4Addr::new(172, 16, 0, 0));
    let count = 1_u32 << (inner - outer);
    (0..count)
        .map(move |part| Cidr::new(Ipv4Addr::from_bits(base.to_bits() + (part << (32 - inner))).into(), inner))
        .skip(skip)
}

/// How many subnets the pools have in all.
pub fn pool_count() -> usize {
    POOLS.iter().map(|(base, outer, inner)| parts(*base, *outer, *inner).count()).sum()
}

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
    let point_to_point = cidr.prefix >= width(address) - 1;
    !point_to_point && (address == cidr.first() || (cidr.is_ipv4() && address == cidr.last()))
}

fn lowest(cidr: Cidr, range: Cidr, taken: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    let (first, last) = (to_bits(range.first()), to_bits(range.last()));
    // No more candidates are looked at than there are taken ones, and the two ends.
    (first..=last)
        .take(taken.len() + 3)
        .map(|bits| from_bits(cidr.address, bits))
        .find(|address| !is_end(cidr, *address) && !taken.contains(address))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    fn pool(subnet: &str) -> AddressPool {
        AddressPool {
            subnet: Some(subnet.to_owned()),
            ip_range: None,
            gateway: None,
            aux_addresses: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn subnets_come_in_dockers_order_and_avoid_what_is_in_use() {
        assert_eq!(choose(&[]), Some(cidr("172.17.0.0/16")));
        assert_eq!(choose(&[cidr("172.16.0.0/12")]), Some(cidr("192.168.0.0/20")));
        assert_eq!(choose(&[cidr("172.16.0.0/12"), cidr("192.168.3.7/32")]), Some(cidr("192.168.16.0/20")));
        assert_eq!(choose(&[cidr("172.16.0.0/12"), cidr("192.168.0.0/16")]), Some(cidr("10.200.0.0/24")));
        assert_eq!(choose(&[cidr("0.0.0.0/0")]), None);
        assert!(pool_count() > 2000);
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

        #[test]
        fn overlap_is_symmetric_and_a_parsed_range_prints_as_itself(
            a in any::<u32>(), b in any::<u32>(), p in 0_u8..=32, q in 0_u8..=32,
        ) {
            let (a, b) = (Cidr::new(Ipv4Addr::from_bits(a).into(), p), Cidr::new(Ipv4Addr::from_bits(b).into(), q));
            prop_assert_eq!(a.overlaps(b), b.overlaps(a));
            prop_assert_eq!(a.to_string().parse::<Cidr>().unwrap(), a);
        }
    }
}
