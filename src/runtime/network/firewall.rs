//! The firewall: one nftables table of our own, its rules fixed, what they apply to in sets and maps.
//!
//! ```text
//! table inet xcompose {                         # xcompose-HASH for a data folder other than the usual one
//!   set bridges { type ifname }                 # every bridge of ours
//!   set same    { type ifname . ifname }        # BRIDGE . BRIDGE: from and to the same bridge
//!   set talk    { type ifname . ifname }        # the same, where containers may talk to each other
//!   set sealed  { type ifname }                 # internal networks
//!   set nat     { type ifname }                 # whose containers go out under the machine's address
//!   map any4    { type inet_proto . inet_service : ipv4_addr . inet_service }             # published everywhere
//!   map at4     { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service } # published on one address
//!   map any6, at6                               # likewise
//!   map anyof4, atof4, anyof6, atof6            # by a random number, too: published for several replicas
//!
//!   chain localnet    { type filter hook prerouting priority raw
//!                       iifname @bridges ip daddr 127.0.0.0/8 drop }
//!   chain prerouting  { type nat hook prerouting priority dstnat
//!                       fib daddr type local jump published }
//!   chain output      { type nat hook output priority dstnat
//!                       ip6 daddr ::1 accept
//!                       fib daddr type local jump published }
//!   chain published   { dnat ip to ip daddr . meta l4proto . th dport map @at4
//!                       dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 120 map @atof4
//!                       dnat ip to meta l4proto . th dport map @any4
//!                       dnat ip to meta l4proto . th dport . numgen random mod 120 map @anyof4
//!                       dnat ip6 …  }
//!   chain forward     { type filter hook forward priority filter
//!                       ct state established,related accept
//!                       iifname . oifname @same ct status dnat meta mark set 0x78630000
//!                       iifname . oifname @talk accept
//!                       iifname @sealed drop
//!                       oifname @sealed drop
//!                       oifname @bridges ct status dnat accept
//!                       oifname @bridges drop }
//!   chain postrouting { type nat hook postrouting priority srcnat
//!                       ip saddr 127.0.0.0/8 oifname @bridges masquerade
//!                       meta mark 0x78630000 masquerade
//!                       iifname @nat oifname != @bridges masquerade }
//! }
//! ```
//!
//! So a packet costs the same with one network or with hundreds, and every change is a few elements in one transaction.
//! A container that calls itself or a neighbour by a published port is given the bridge's address. It is known by a mark,
//! since with br_netfilter, which Docker switches on, the kernel has forgotten in `postrouting` where a packet came in.
//!
//! `127.0.0.1` is published without a proxy: redirected in `output`, given the bridge's address in `postrouting`; the
//! bridge has `route_localnet` for it, which is why `localnet` must keep containers off the machine's loopback. From `::1`
//! the kernel has no way to elsewhere: it is left to the proxy, also where a port is published everywhere.
//!
//! Docker, ufw and firewalld drop what they do not know, and an accept of ours ends only our chain: [`doors`] are the only
//! rules outside our table.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use netlink_bindings::nftables::{MetaKeys, PayloadBase};
use nix::errno::Errno;
use sha2::{Digest, Sha256};

use crate::runtime::network::doors::{self, Pass};
use crate::runtime::network::nft::{
    CtKey, Expression, Family, Hook, IFNAME, IPV4, IPV6, IpFamily, NUMBER, PORT, PROTOCOL, Register, Socket,
    Transaction, concat, ifname,
};
use crate::runtime::sys::OsError;
use crate::values::protocol::Protocol;

/// Our table's name. Every data folder has its own, so that several can be used on one machine.
pub fn table_name(data: &Path) -> String {
    if data == Path::new("/var/lib/xcompose") {
        return "xcompose".to_owned();
    }
    let digest = Sha256::digest(data.as_os_str().as_encoded_bytes());
    let hash: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("xcompose-{hash}")
}

/// What the rules have to know of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// The bridge.
    pub bridge: String,
    /// Its containers may talk to each other.
    pub talk: bool,
    /// No way in or out.
    pub sealed: bool,
    /// Its containers go out under the machine's address.
    pub masquerade: bool,
}

/// One redirection: what reaches the machine here goes there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Redirect {
    /// On the machine; an unspecified address is every one.
    pub from: SocketAddr,
    /// What it speaks.
    pub protocol: Protocol,
    /// The containers, each taking its share of the connections; of the same family, never empty.
    pub to: Vec<SocketAddr>,
}

/// The mark of the first packet of a connection from a bridge's container to a published port of the same bridge.
const HAIRPIN: u32 = 0x7863_0000;

/// Shares that several containers behind one port have together: a number that many numbers divide.
const SHARES: u32 = 120;

/// The rules of one data folder.
#[derive(Debug)]
pub struct Firewall {
    table: String,
    socket: Socket,
}

/// Of a map of redirections.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Element {
    map: &'static str,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// Every map of redirections.
const MAPS: [&str; 8] = ["at4", "atof4", "any4", "anyof4", "at6", "atof6", "any6", "anyof6"];

impl Firewall {
    /// Nothing is done yet; the first use fixes the network namespace.
    pub fn new(table: String) -> Firewall {
        Firewall { table, socket: Socket::default() }
    }

    /// Whether nothing is missing for a network.
    pub fn is_complete(&mut self, zone: &Zone) -> Result<bool, OsError> {
        Ok(self.has_elements(zone)? && doors::are_open(&mut self.socket, &Pass::of(&self.table, &zone.bridge))?)
    }

    fn has_elements(&mut self, zone: &Zone) -> Result<bool, OsError> {
        self.socket.has_element(Family::Inet, &self.table, "bridges", &ifname(&zone.bridge))
    }

    /// Makes what is missing for a network: the table, its elements, the rules among those of others. To be called by who
    /// holds the lock, or a rule may come twice.
    pub fn ensure(&mut self, zone: &Zone) -> Result<(), OsError> {
        if !self.has_elements(zone)? {
            self.ensure_table()?;
            self.socket.commit(Family::Inet, &self.table, |transaction| {
                for (set, key) in elements_of(zone) {
                    transaction.add_elements(set, &[(key, Vec::new())]);
                }
            })?;
        }
        doors::open(&mut self.socket, &Pass::of(&self.table, &zone.bridge))
    }

    /// Takes a network's elements away. Nothing happens for what is not there.
    pub fn forget(&mut self, zone: &Zone) -> Result<(), OsError> {
        let elements = elements_of(zone);
        let keys: Vec<(&str, &[u8])> = elements.iter().map(|(set, key)| (*set, key.as_slice())).collect();
        self.delete_elements(&keys)?;
        let pass = Pass::of(&self.table, &zone.bridge);
        if pass.is_for_one() { doors::close(&mut self.socket, &pass) } else { Ok(()) }
    }

    /// Takes the whole table away, once there is no network left.
    pub fn remove(&mut self) -> Result<(), OsError> {
        // Asked first, since the kernel takes 10 ms to give up a change that can't be made.
        if !self.socket.has_table(Family::Inet, &self.table)? {
            return Ok(());
        }
        unless_missing(self.socket.commit(Family::Inet, &self.table, |transaction| transaction.delete_table()))?;
        doors::close(&mut self.socket, &Pass::ours(&self.table))
    }

    /// Puts redirections in place of others, all or none at one moment: a port that is in both is never closed.
    pub fn replace(&mut self, before: &[Redirect], after: &[Redirect]) -> Result<(), OsError> {
        if before.is_empty() && after.is_empty() {
            return Ok(());
        }
        let old: Vec<Element> = before.iter().flat_map(redirect_elements).collect();
        let new: Vec<Element> = after.iter().flat_map(redirect_elements).collect();
        match self.commit_redirects(&old, &new) {
            // Somebody who was killed left a redirection behind, or somebody flushed ours.
            Err(error) if matches!(error.errno, Errno::EEXIST | Errno::ENOENT) => {
                let there = self.present(before.iter().chain(after))?;
                self.commit_redirects(&there, &new)
            }
            other => other,
        }
    }

    fn commit_redirects(&mut self, old: &[Element], new: &[Element]) -> Result<(), OsError> {
        self.socket.commit(Family::Inet, &self.table, |transaction| {
            for map in MAPS {
                let of = |elements: &[Element]| -> Vec<(Vec<u8>, Vec<u8>)> {
                    let own = elements.iter().filter(|element| element.map == map);
                    own.map(|element| (element.key.clone(), element.value.clone())).collect()
                };
                let (old, new) = (of(old), of(new));
                if !old.is_empty() {
                    transaction.delete_elements(map, old.iter().map(|(key, _)| key.as_slice()));
                }
                if !new.is_empty() {
                    transaction.add_elements(map, &new);
                }
            }
        })
    }

    /// What there is under the keys of these redirections, whether for one container or for several.
    fn present<'a>(&mut self, redirects: impl Iterator<Item = &'a Redirect>) -> Result<Vec<Element>, OsError> {
        let mut present = Vec::new();
        for redirect in redirects {
            let Some(to) = redirect.to.first() else { continue };
            for to in [vec![*to], vec![*to; 2]] {
                let elements = redirect_elements(&Redirect { to, ..redirect.clone() });
                // All shares of a port come and go together.
                let Some(first) = elements.first() else { continue };
                if !present.contains(first)
                    && self.socket.has_element(Family::Inet, &self.table, first.map, &first.key)?
                {
                    present.extend(elements);
                }
            }
        }
        Ok(present)
    }

    /// Deletes what is there of these elements.
    fn delete_elements(&mut self, elements: &[(&str, &[u8])]) -> Result<(), OsError> {
        let mut delete = |elements: &[(&str, &[u8])]| {
            self.socket.commit(Family::Inet, &self.table, |transaction| {
                for (set, key) in elements {
                    transaction.delete_elements(set, [*key]);
                }
            })
        };
        match delete(elements) {
            // One is gone already; the others go one by one.
            Err(error) if error.errno == Errno::ENOENT => {
                elements.iter().try_for_each(|element| unless_missing(delete(std::slice::from_ref(element))))
            }
            other => other,
        }
    }

    fn ensure_table(&mut self) -> Result<(), OsError> {
        if self.socket.has_table(Family::Inet, &self.table)? {
            return Ok(());
        }
        match self.socket.commit(Family::Inet, &self.table, write_table) {
            // Somebody else was faster.
            Err(error) if error.errno == Errno::EEXIST => Ok(()),
            other => other,
        }
    }
}

fn unless_missing(result: Result<(), OsError>) -> Result<(), OsError> {
    match result {
        Err(error) if error.errno == Errno::ENOENT => Ok(()),
        other => other,
    }
}

fn elements_of(zone: &Zone) -> Vec<(&'static str, Vec<u8>)> {
    let name = ifname(&zone.bridge);
    let pair = concat(&[&name, &name]);
    let mut elements = vec![("same", pair.clone())];
    if zone.talk {
        elements.push(("talk", pair));
    }
    if zone.sealed {
        elements.push(("sealed", name.clone()));
    }
    if zone.masquerade {
        elements.push(("nat", name.clone()));
    }
    // The last to come and the last to go: who finds it finds all.
    elements.push(("bridges", name));
    elements
}

/// One element for one container; for several, one for each share, given out in turn.
fn redirect_elements(redirect: &Redirect) -> Vec<Element> {
    let protocol = [match redirect.protocol {
        Protocol::Tcp => libc::IPPROTO_TCP,
        Protocol::Udp => libc::IPPROTO_UDP,
        Protocol::Sctp => libc::IPPROTO_SCTP,
    } as u8];
    let port = redirect.from.port().to_be_bytes();
    let ([one, several], key) = match redirect.from.ip() {
        IpAddr::V4(address) if address.is_unspecified() => (["any4", "anyof4"], concat(&[&protocol, &port])),
        IpAddr::V6(address) if address.is_unspecified() => (["any6", "anyof6"], concat(&[&protocol, &port])),
        IpAddr::V4(address) => (["at4", "atof4"], concat(&[&address.octets(), &protocol, &port])),
        IpAddr::V6(address) => (["at6", "atof6"], concat(&[&address.octets(), &protocol, &port])),
    };
    let value = |to: &SocketAddr| {
        let port = to.port().to_be_bytes();
        match to.ip() {
            IpAddr::V4(address) => concat(&[&address.octets(), &port]),
            IpAddr::V6(address) => concat(&[&address.octets(), &port]),
        }
    };
    match redirect.to.as_slice() {
        [to] => vec![Element { map: one, key, value: value(to) }],
        to => (0..SHARES)
            .zip(to.iter().cycle())
            .map(|(share, to)| Element { map: several, key: concat(&[&key, &share.to_ne_bytes()]), value: value(to) })
            .collect(),
    }
}

const A: Register = Register(0);

fn write_table(transaction: &mut Transaction<'_>) {
    use Expression::{Accept, AddressType, AnyBit, Ct, Drop, Equal, In, Jump, Load, Masquerade, Meta, NotIn, SetMark};

    transaction.new_table();
    for set in ["bridges", "sealed", "nat"] {
        transaction.new_set(set, &[IFNAME], &[]);
    }
    for set in ["same", "talk"] {
        transaction.new_set(set, &[IFNAME, IFNAME], &[]);
    }
    transaction.new_set("any4", &[PROTOCOL, PORT], &[IPV4, PORT]);
    transaction.new_set("at4", &[IPV4, PROTOCOL, PORT], &[IPV4, PORT]);
    transaction.new_set("any6", &[PROTOCOL, PORT], &[IPV6, PORT]);
    transaction.new_set("at6", &[IPV6, PROTOCOL, PORT], &[IPV6, PORT]);
    transaction.new_set("anyof4", &[PROTOCOL, PORT, NUMBER], &[IPV4, PORT]);
    transaction.new_set("atof4", &[IPV4, PROTOCOL, PORT, NUMBER], &[IPV4, PORT]);
    transaction.new_set("anyof6", &[PROTOCOL, PORT, NUMBER], &[IPV6, PORT]);
    transaction.new_set("atof6", &[IPV6, PROTOCOL, PORT, NUMBER], &[IPV6, PORT]);

    let iifname = || Meta(MetaKeys::Iifname, A);
    let oifname = || Meta(MetaKeys::Oifname, A);
    // An interface's name fills four registers.
    let both = |set| [Meta(MetaKeys::Iifname, A), Meta(MetaKeys::Oifname, Register(4)), In(A, set)];
    let ipv4 = || [Meta(MetaKeys::Nfproto, A), Equal(A, vec![libc::NFPROTO_IPV4 as u8])];
    // The first byte of an address of 127.0.0.0/8, as nft writes it too.
    let loopback = |offset| [Expression::Payload(PayloadBase::NetworkHeader, offset, 1, A), Equal(A, vec![127])];
    let (source, destination) = (12, 16);
    // IPS_DST_NAT
    let redirected = || [Ct(CtKey::Status, A), AnyBit(A, 1 << 5)];
    let hook = |kind, number: i32, priority| Some(Hook { kind, number: number as u32, priority });
    let (prerouting, output) = (libc::NF_INET_PRE_ROUTING, libc::NF_INET_LOCAL_OUT);
    let (forward, postrouting) = (libc::NF_INET_FORWARD, libc::NF_INET_POST_ROUTING);

    transaction.new_chain("localnet", hook("filter", prerouting, libc::NF_IP_PRI_RAW));
    let [nfproto, is_ipv4] = ipv4();
    let [first, is_loopback] = loopback(destination);
    transaction.append("localnet", &[iifname(), In(A, "bridges"), nfproto, is_ipv4, first, is_loopback, Drop]);

    transaction.new_chain("published", None);
    for map in MAPS {
        transaction.append("published", &redirection(map));
    }

    for (chain, number) in [("prerouting", prerouting), ("output", output)] {
        transaction.new_chain(chain, hook("nat", number, libc::NF_IP_PRI_NAT_DST));
        if number == output {
            let address = Expression::Payload(PayloadBase::NetworkHeader, 24, 16, A);
            let loopback = Equal(A, std::net::Ipv6Addr::LOCALHOST.octets().to_vec());
            transaction.append(
                chain,
                &[Meta(MetaKeys::Nfproto, A), Equal(A, vec![libc::NFPROTO_IPV6 as u8]), address, loopback, Accept],
            );
        }
        // RTN_LOCAL
        let local = Equal(A, 2_u32.to_ne_bytes().to_vec());
        transaction.append(chain, &[AddressType(A), local, Jump("published")]);
    }

    transaction.new_chain("forward", hook("filter", forward, libc::NF_IP_PRI_FILTER));
    // NF_CT_STATE_BIT of established and related
    transaction.append("forward", &[Ct(CtKey::State, A), AnyBit(A, 0b110), Accept]);
    let [from, to, same] = both("same");
    let [status, dnat] = redirected();
    let mark = || HAIRPIN.to_ne_bytes().to_vec();
    transaction.append("forward", &[from, to, same, status, dnat, Load(A, mark()), SetMark(A)]);
    let [from, to, talk] = both("talk");
    transaction.append("forward", &[from, to, talk, Accept]);
    transaction.append("forward", &[iifname(), In(A, "sealed"), Drop]);
    transaction.append("forward", &[oifname(), In(A, "sealed"), Drop]);
    let [status, dnat] = redirected();
    transaction.append("forward", &[oifname(), In(A, "bridges"), status, dnat, Accept]);
    transaction.append("forward", &[oifname(), In(A, "bridges"), Drop]);

    transaction.new_chain("postrouting", hook("nat", postrouting, libc::NF_IP_PRI_NAT_SRC));
    let [nfproto, is_ipv4] = ipv4();
    let [first, is_loopback] = loopback(source);
    transaction.append("postrouting", &[nfproto, is_ipv4, first, is_loopback, oifname(), In(A, "bridges"), Masquerade]);
    transaction.append("postrouting", &[Meta(MetaKeys::Mark, A), Equal(A, mark()), Masquerade]);
    let out = [iifname(), In(A, "nat"), oifname(), NotIn(A, "bridges"), Masquerade];
    transaction.append("postrouting", &out);
}

/// `dnat ip to [ip daddr .] meta l4proto . th dport [. numgen random mod 120] map @map`.
fn redirection(map: &'static str) -> Vec<Expression> {
    let family = if map.ends_with('4') { IpFamily::V4 } else { IpFamily::V6 };
    // Of the destination address: the protocol's number, offset and length in the header, registers it fills.
    let (nfproto, offset, length) = match family {
        IpFamily::V4 => (libc::NFPROTO_IPV4, 16, 4),
        IpFamily::V6 => (libc::NFPROTO_IPV6, 24, 16),
    };
    let words = (length / 4) as u8;
    let mut rule = vec![Expression::Meta(MetaKeys::Nfproto, A), Expression::Equal(A, vec![nfproto as u8])];
    let mut next = 0;
    if map.starts_with("at") {
        rule.push(Expression::Payload(PayloadBase::NetworkHeader, offset, length, A));
        next = words;
    }
    rule.push(Expression::Meta(MetaKeys::L4Proto, Register(next)));
    rule.push(Expression::Payload(PayloadBase::TransportHeader, 2, 2, Register(next + 1)));
    if map.contains("of") {
        rule.push(Expression::Random(SHARES, Register(next + 2)));
    }
    rule.push(Expression::Map(A, map, A));
    rule.push(Expression::Dnat(A, Register(words), family));
    rule
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_data_folder_has_the_plain_table_and_others_one_each() {
        assert_eq!(table_name(Path::new("/var/lib/xcompose")), "xcompose");
        assert_ne!(table_name(Path::new("/a")), table_name(Path::new("/b")));
        assert!(table_name(Path::new("/a")).starts_with("xcompose-"));
    }

    #[test]
    fn a_redirection_of_every_address_and_one_of_a_single_address_lie_in_different_maps() {
        let redirect = |from: &str, to: &[&str]| Redirect {
            from: from.parse().unwrap(),
            protocol: Protocol::Tcp,
            to: to.iter().map(|to| to.parse().unwrap()).collect(),
        };
        let one = redirect_elements(&redirect("0.0.0.0:80", &["172.18.0.2:8080"]));
        let key = vec![6, 0, 0, 0, 0, 80, 0, 0];
        assert_eq!(one, [Element { map: "any4", key, value: vec![172, 18, 0, 2, 0x1f, 0x90, 0, 0] }]);
        let one = redirect_elements(&redirect("127.0.0.1:80", &["172.18.0.2:8080"]));
        assert_eq!((one[0].map, &one[0].key), ("at4", &vec![127, 0, 0, 1, 6, 0, 0, 0, 0, 80, 0, 0]));
        assert_eq!(redirect_elements(&redirect("[::]:80", &["[fd00::2]:80"]))[0].map, "any6");
        assert_eq!(redirect_elements(&redirect("[::1]:80", &["[fd00::2]:80"]))[0].map, "at6");
    }

    #[test]
    fn several_containers_have_equal_shares_of_a_port() {
        let to: Vec<SocketAddr> = (2..7).map(|host| SocketAddr::from(([172, 18, 0, host], 80))).collect();
        let redirect = Redirect { from: "0.0.0.0:80".parse().unwrap(), protocol: Protocol::Tcp, to };
        let elements = redirect_elements(&redirect);
        assert_eq!((elements.len(), elements[0].map), (SHARES as usize, "anyof4"));
        for host in 2..7 {
            assert_eq!(elements.iter().filter(|element| element.value[3] == host).count(), SHARES as usize / 5);
        }
    }
}
