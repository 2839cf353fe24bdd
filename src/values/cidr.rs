//! A range of IP addresses in CIDR form.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

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

    /// How many bits are left for hosts.
    pub fn host_bits(self) -> u8 {
        width(self.address) - self.prefix
    }

    /// Its addresses, the lowest first.
    pub fn addresses(self) -> impl Iterator<Item = IpAddr> {
        (to_bits(self.first())..=to_bits(self.last())).map(move |bits| from_bits(self.address, bits))
    }

    /// The ranges of that prefix that it consists of, the lowest first; none if it is smaller.
    pub fn parts(self, prefix: u8) -> impl Iterator<Item = Cidr> {
        // None: the one part is everything.
        let step = 1_u128.checked_shl(u32::from(width(self.address).saturating_sub(prefix)));
        let within = prefix >= self.prefix && prefix <= width(self.address);
        let (first, last) = (to_bits(self.first()), to_bits(self.last()));
        let starts = std::iter::successors(within.then_some(first), move |at| at.checked_add(step?));
        starts.take_while(move |at| *at <= last).map(move |at| Cidr { address: from_bits(self.address, at), prefix })
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_range_is_cut_into_parts_of_a_size_and_into_nothing_larger() {
        let parts = |text: &str, prefix| {
            text.parse::<Cidr>().unwrap().parts(prefix).take(3).map(|part| part.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(parts("10.0.0.0/23", 24), ["10.0.0.0/24", "10.0.1.0/24"]);
        assert_eq!(parts("255.255.255.0/24", 25), ["255.255.255.0/25", "255.255.255.128/25"]);
        assert_eq!(parts("fd00::/16", 64), ["fd00::/64", "fd00:0:0:1::/64", "fd00:0:0:2::/64"]);
        assert!(parts("10.0.0.0/24", 23).is_empty());
        assert!(parts("10.0.0.0/24", 33).is_empty());
        assert_eq!(parts("::/0", 0), ["::/0"]);
    }

    proptest! {
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
