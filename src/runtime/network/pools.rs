//! Where subnets come from when the user names none.
//!
//! By default Docker's pools, then many small ones for machines with hundreds of projects. A machine's own take their
//! place: `base=10.50.0.0/16,size=24`, as Docker writes them, one a line in `/etc/xcompose/address-pools` or separated by
//! spaces in `XCOMPOSE_ADDRESS_POOLS`.

use std::fs;
use std::io;
use std::path::Path;
use std::str::FromStr;

use crate::runtime::network::NetworkError;
use crate::runtime::sys::OrOs;
use crate::values::cidr::{Cidr, InvalidCidr};

/// A range that is given out in parts of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    base: Cidr,
    size: u8,
}

/// The pools of a machine, in the order in which they are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pools(Vec<Pool>);

/// Why a text is no pool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPool {
    /// It has another form.
    #[error("{0:?} is no address pool: it should look like base=10.50.0.0/16,size=24")]
    Form(String),
    /// Its base is no range.
    #[error("{0:?} is no address pool: {1}")]
    Base(String, InvalidCidr),
    /// There is no subnet of that size in it.
    #[error("{0:?} is no address pool: a subnet of size {1} is not a part of {2} with room for containers")]
    Size(String, u8, Cidr),
}

impl FromStr for Pool {
    type Err = InvalidPool;

    fn from_str(text: &str) -> Result<Pool, InvalidPool> {
        let form = || InvalidPool::Form(text.to_owned());
        let (base, size) = text.split_once(',').ok_or_else(form)?;
        let base = base.trim().strip_prefix("base=").ok_or_else(form)?;
        let size: u8 = size.trim().strip_prefix("size=").and_then(|size| size.parse().ok()).ok_or_else(form)?;
        let base: Cidr = base.parse().map_err(|error| InvalidPool::Base(text.to_owned(), error))?;
        // Two addresses at least: the bridge's and a container's.
        let most = base.prefix() + base.host_bits().saturating_sub(2);
        if size < base.prefix() || size > most {
            return Err(InvalidPool::Size(text.to_owned(), size, base));
        }
        Ok(Pool { base, size })
    }
}

impl Default for Pools {
    fn default() -> Pools {
        let pool = |base: [u8; 4], prefix, size| Pool { base: Cidr::new(base.into(), prefix), size };
        Pools(vec![
            // Docker leaves out 172.16.0.0/16.
            pool([172, 17, 0, 0], 16, 16),
            pool([172, 18, 0, 0], 15, 16),
            pool([172, 20, 0, 0], 14, 16),
            pool([172, 24, 0, 0], 13, 16),
            pool([192, 168, 0, 0], 16, 20),
            pool([10, 200, 0, 0], 13, 24),
        ])
    }
}

impl Pools {
    /// The pools that a text lists, one a line or between spaces; what follows `#` on a line is a remark. None: `None`.
    pub fn parse(text: &str) -> Result<Option<Pools>, InvalidPool> {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        let pools = lines.flat_map(str::split_whitespace).map(str::parse).collect::<Result<Vec<Pool>, _>>()?;
        Ok((!pools.is_empty()).then_some(Pools(pools)))
    }

    /// This machine's.
    pub fn of_machine() -> Result<Pools, NetworkError> {
        let named = |place: &str| {
            let place = place.to_owned();
            move |error| NetworkError::Pools { place, error }
        };
        if let Ok(text) = std::env::var(VARIABLE)
            && let Some(pools) = Pools::parse(&text).map_err(named(VARIABLE))?
        {
            return Ok(pools);
        }
        let text = match fs::read_to_string(Path::new(FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.or_os("read", FILE)?,
        };
        Ok(Pools::parse(&text).map_err(named(FILE))?.unwrap_or_default())
    }

    /// The first subnet of a family that overlaps nothing in use; `None` when all are taken.
    pub fn choose(&self, ipv4: bool, used: &[Cidr]) -> Option<Cidr> {
        let fits = |candidate: &Cidr| !used.iter().any(|used| used.overlaps(*candidate));
        self.of(ipv4).flat_map(|pool| pool.base.parts(pool.size)).find(fits)
    }

    /// Whether there is one of a family.
    pub fn has(&self, ipv4: bool) -> bool {
        self.of(ipv4).next().is_some()
    }

    /// How many subnets of a family they have in all.
    pub fn count(&self, ipv4: bool) -> u128 {
        self.of(ipv4).map(|pool| 1_u128 << (pool.size - pool.base.prefix())).sum()
    }

    fn of(&self, ipv4: bool) -> impl Iterator<Item = &Pool> {
        self.0.iter().filter(move |pool| pool.base.is_ipv4() == ipv4)
    }
}

const VARIABLE: &str = "XCOMPOSE_ADDRESS_POOLS";
const FILE: &str = "/etc/xcompose/address-pools";

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn subnets_come_in_dockers_order_and_avoid_what_is_in_use() {
        let choose = |used: &[&str]| {
            let used: Vec<Cidr> = used.iter().map(|used| cidr(used)).collect();
            Pools::default().choose(true, &used).map(|chosen| chosen.to_string())
        };
        assert_eq!(choose(&[]).unwrap(), "172.17.0.0/16");
        assert_eq!(choose(&["172.17.0.0/16"]).unwrap(), "172.18.0.0/16");
        assert_eq!(choose(&["172.16.0.0/12"]).unwrap(), "192.168.0.0/20");
        assert_eq!(choose(&["172.16.0.0/12", "192.168.3.7/32"]).unwrap(), "192.168.16.0/20");
        assert_eq!(choose(&["172.16.0.0/12", "192.168.0.0/16"]).unwrap(), "10.200.0.0/24");
        assert_eq!(choose(&["0.0.0.0/0"]), None);
        assert!(Pools::default().count(true) > 2000);
        assert!(!Pools::default().has(false));
    }

    #[test]
    fn a_machine_has_pools_of_its_own() {
        let text = "# ours\nbase=10.50.0.0/23,size=24 # office\n\nbase=fd12::/48,size=64\n";
        let pools = Pools::parse(text).unwrap().unwrap();
        assert_eq!(pools.choose(true, &[]), Some(cidr("10.50.0.0/24")));
        assert_eq!(pools.choose(true, &[cidr("10.50.0.0/25")]), Some(cidr("10.50.1.0/24")));
        assert_eq!(pools.choose(true, &[cidr("10.50.0.0/16")]), None);
        assert_eq!(pools.choose(false, &[cidr("fd12::/64")]), Some(cidr("fd12:0:0:1::/64")));
        assert_eq!((pools.count(true), pools.count(false)), (2, 65536));
        assert_eq!(Pools::parse(" \n# nothing\n").unwrap(), None);
    }

    #[test]
    fn what_is_no_pool_is_named() {
        let refusal = |text: &str| Pools::parse(text).unwrap_err().to_string();
        assert_eq!(
            refusal("10.50.0.0/16"),
            "\"10.50.0.0/16\" is no address pool: it should look like base=10.50.0.0/16,size=24"
        );
        assert!(refusal("base=10.50.0/16,size=24").ends_with("invalid CIDR address: 10.50.0/16"));
        for size in ["15", "31", "200"] {
            assert!(refusal(&format!("base=10.50.0.0/16,size={size}")).contains(&format!("a subnet of size {size} ")));
        }
        assert!(refusal("base=10.50.0.0/16,size=300").contains("should look like"));
    }
}
