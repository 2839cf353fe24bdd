//! A loopback address for each project that wants one: the same file is up in many copies at once, its ports unchanged.
//!
//! The address follows from the project's name, so that it is the same every time; where two names meet, the second takes
//! the next free one. It is claimed by the project's first container and given back with its last.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use sha2::{Digest, Sha256};

use crate::engine::PortMapping;
use crate::runtime::network::{NetworkError, Networks, remove_if_there};
use crate::runtime::store::{self, Durability};
use crate::runtime::sys::OrOs;
use crate::values::names::ProjectName;

/// 127.64.0.0/10: out of the way of 127.0.0.1, of resolvers at 127.0.0.53 and of Debian's 127.0.1.1.
const FIRST: u32 = 0x7f40_0000;

/// How many addresses there are.
const COUNT: u32 = 1 << 22;

type Claims = BTreeMap<ProjectName, Ipv4Addr>;

impl Networks {
    /// A project's own loopback address: the one it has, else the one it would get.
    pub fn loopback(&self, project: &ProjectName) -> Result<Ipv4Addr, NetworkError> {
        let claims = self.loopbacks()?;
        choose(&claims, project, self.layout().data().as_os_str().as_encoded_bytes())
    }

    /// Makes the address under which a container of a project publishes the project's own.
    pub fn claim_loopback(&self, project: &ProjectName, ports: &[PortMapping]) -> Result<(), NetworkError> {
        let asked = |address: Ipv4Addr| (FIRST..FIRST + COUNT).contains(&address.to_bits());
        let asked = ports.iter().find_map(|port| match port.host_ip {
            Some(IpAddr::V4(address)) if asked(address) => Some(address),
            _ => None,
        });
        let Some(address) = asked else { return Ok(()) };
        if self.loopbacks()?.get(project) == Some(&address) {
            return Ok(());
        }
        let _lock = self.lock()?;
        let mut claims = self.loopbacks()?;
        if let Some((other, _)) = claims.iter().find(|(other, claimed)| **claimed == address && *other != project) {
            return Err(NetworkError::LoopbackTaken { address, project: other.clone() });
        }
        // One that the user wrote is not the project's own.
        if self.loopback(project)? == address {
            claims.insert(project.clone(), address);
            self.write_loopbacks(&claims)?;
        }
        Ok(())
    }

    /// Gives back a project's address, if it has one.
    pub(super) fn release_loopback(&self, project: &ProjectName) -> Result<(), NetworkError> {
        if !self.loopbacks()?.contains_key(project) {
            return Ok(());
        }
        let _lock = self.lock()?;
        let mut claims = self.loopbacks()?;
        claims.remove(project);
        self.write_loopbacks(&claims)
    }

    fn loopbacks(&self) -> Result<Claims, NetworkError> {
        let path = self.layout().loopbacks();
        match store::read(&path) {
            // Written without waiting for the disk: a power cut may tear it, and all it costs is another address.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Claims::new()),
            claims => Ok(claims.or_os("read", path.display().to_string())?.unwrap_or_default()),
        }
    }

    fn write_loopbacks(&self, claims: &Claims) -> Result<(), NetworkError> {
        let path = self.layout().loopbacks();
        if claims.is_empty() {
            return remove_if_there(fs::remove_file(&path), &path);
        }
        Ok(store::write(&path, claims, Durability::Memory).or_os("write", path.display().to_string())?)
    }
}

/// The address that a project has, else the first free one from where its name leads. `salt` keeps data folders apart.
fn choose(claims: &Claims, project: &ProjectName, salt: &[u8]) -> Result<Ipv4Addr, NetworkError> {
    if let Some(own) = claims.get(project) {
        return Ok(*own);
    }
    let digest = Sha256::new().chain_update(salt).chain_update([0]).chain_update(project.as_str()).finalize();
    let start = digest.iter().take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    let taken: std::collections::BTreeSet<Ipv4Addr> = claims.values().copied().collect();
    (0..COUNT)
        .map(|step| Ipv4Addr::from_bits(FIRST + start.wrapping_add(step) % COUNT))
        // Those that look like a network or its broadcast address puzzle people and some programs.
        .filter(|address| !matches!(address.octets(), [_, _, _, 0 | 255]))
        .find(|address| !taken.contains(address))
        .ok_or(NetworkError::NoLoopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_project_has_one_address_and_where_two_names_meet_the_second_takes_the_next() {
        let project = |name: &str| ProjectName::try_from(name).unwrap();
        let first = choose(&Claims::new(), &project("a"), b"").unwrap();
        assert_eq!(choose(&Claims::new(), &project("a"), b"").unwrap(), first);
        assert_eq!((first.octets()[0], first.octets()[1] & 0xc0), (127, 64));
        // Another project sits where this one's name leads.
        let mut claims: Claims = [(project("b"), first)].into();
        let next = choose(&claims, &project("a"), b"").unwrap();
        assert_ne!(next, first);
        claims.insert(project("a"), next);
        claims.remove(&project("b"));
        assert_eq!(choose(&claims, &project("a"), b"").unwrap(), next, "what it has, it keeps");
        let all: std::collections::BTreeSet<_> =
            (0..500).map(|n| choose(&Claims::new(), &project(&format!("copy{n}")), b"").unwrap()).collect();
        assert!(all.len() > 495, "names spread over the range");
    }
}
