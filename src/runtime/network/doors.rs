//! Ways past the firewalls of others.
//!
//! An accept ends only its own base chain, so where another firewall drops what is forwarded, ours has to let our bridges
//! pass in there. The rules stand first in these chains, with a comment by which they are found again:
//!
//! - `DOCKER-USER`, which Docker leaves to others, where it is;
//! - else `FORWARD` of iptables, whose policy ufw sets to drop;
//! - `filter_FORWARD` and `filter_INPUT` of firewalld, which rejects what comes from interfaces without a zone.
//!
//! What isolates networks from each other is in our own table, where a drop is final whatever these say.

use netlink_bindings::nftables::MetaKeys;
use nix::errno::Errno;

use crate::runtime::network::nft::{Expression, Family, Register, Socket, ifname};
use crate::runtime::sys::OsError;

/// Where a rule is put, and for which directions.
struct Door {
    family: Family,
    table: &'static str,
    chain: &'static str,
    directions: &'static [MetaKeys],
    /// Not where this chain is in the same table.
    unless: Option<&'static str>,
}

const BOTH: &[MetaKeys] = &[MetaKeys::Iifname, MetaKeys::Oifname];
const DOCKER: &str = "DOCKER-USER";

const DOORS: [Door; 6] = [
    Door { family: Family::Ip, table: "filter", chain: DOCKER, directions: BOTH, unless: None },
    Door { family: Family::Ip6, table: "filter", chain: DOCKER, directions: BOTH, unless: None },
    Door { family: Family::Ip, table: "filter", chain: "FORWARD", directions: BOTH, unless: Some(DOCKER) },
    Door { family: Family::Ip6, table: "filter", chain: "FORWARD", directions: BOTH, unless: Some(DOCKER) },
    Door { family: Family::Inet, table: "firewalld", chain: "filter_FORWARD", directions: BOTH, unless: None },
    Door {
        family: Family::Inet,
        table: "firewalld",
        chain: "filter_INPUT",
        directions: &[MetaKeys::Iifname],
        unless: None,
    },
];

/// What bridges are called whose name nobody chose.
pub const PREFIX: &str = "xc-";

/// Which interfaces a rule is for: all of our own names, or a bridge that the user has named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    comment: String,
    /// A whole name with its end, or how names begin.
    name: Vec<u8>,
}

impl Pass {
    /// For a bridge, in the name of our table.
    pub fn of(table: &str, bridge: &str) -> Pass {
        if bridge.starts_with(PREFIX) {
            return Pass::ours(table);
        }
        Pass { comment: format!("{table} {bridge}"), name: ifname(bridge) }
    }

    /// For all bridges of our own names.
    pub fn ours(table: &str) -> Pass {
        Pass { comment: table.to_owned(), name: PREFIX.as_bytes().to_vec() }
    }

    /// Whether it is one that goes with its bridge.
    pub fn is_for_one(&self) -> bool {
        self.name != PREFIX.as_bytes()
    }
}

/// Whether every chain that wants these rules has them.
pub fn are_open(socket: &mut Socket, pass: &Pass) -> Result<bool, OsError> {
    Ok(closed(socket, pass)?.is_empty())
}

/// Puts the rules where they are missing.
pub fn open(socket: &mut Socket, pass: &Pass) -> Result<(), OsError> {
    for door in closed(socket, pass)? {
        let inserted = socket.commit(door.family, door.table, |transaction| {
            for key in door.directions {
                let name = Expression::Equal(Register(0), pass.name.clone());
                let rule = [Expression::Meta(*key, Register(0)), name, Expression::Accept];
                transaction.insert(door.chain, &pass.comment, &rule);
            }
        });
        unless_gone(inserted)?;
    }
    Ok(())
}

/// Takes the rules away, wherever they are.
pub fn close(socket: &mut Socket, pass: &Pass) -> Result<(), OsError> {
    for door in &DOORS {
        if socket.has_chain(door.family, door.table, door.chain)? {
            let handles = socket.rules(door.family, door.table, door.chain, &pass.comment)?;
            if handles.is_empty() {
                continue;
            }
            unless_gone(socket.commit(door.family, door.table, |transaction| {
                for handle in handles {
                    transaction.delete_rule(door.chain, handle);
                }
            }))?;
        }
    }
    Ok(())
}

fn closed(socket: &mut Socket, pass: &Pass) -> Result<Vec<&'static Door>, OsError> {
    let mut closed = Vec::new();
    for door in &DOORS {
        let wanted = socket.has_chain(door.family, door.table, door.chain)?
            && match door.unless {
                Some(other) => !socket.has_chain(door.family, door.table, other)?,
                None => true,
            };
        if wanted && socket.rules(door.family, door.table, door.chain, &pass.comment)?.is_empty() {
            closed.push(door);
        }
    }
    Ok(closed)
}

/// Another firewall is made anew at this moment; its makers' changes are told to us, too.
fn unless_gone(result: Result<(), OsError>) -> Result<(), OsError> {
    match result {
        Err(error) if error.errno == Errno::ENOENT => Ok(()),
        other => other,
    }
}
