//! `extra_hosts`: `host=address` or `host:address`, addresses possibly several with commas; or a map of host to address or list.

use crate::spec::diagnostic::Diagnostic;
use crate::spec::tree::{Node, Value};

/// As a sorted list of `host=address`.
pub(in crate::spec) fn to_list(node: &mut Node, found: &mut Vec<Diagnostic>) {
    let mut lines: Vec<Node> = Vec::new();
    match &node.value {
        Value::Mapping(map) => {
            for (host, entry) in map.iter() {
                let addresses = entry.node.as_sequence().unwrap_or(std::slice::from_ref(&entry.node));
                for address in addresses {
                    push(&mut lines, host, &address.scalar_text().unwrap_or_default(), address, found);
                }
            }
        }
        Value::Sequence(list) => {
            for item in list {
                let text = item.scalar_text().unwrap_or_default();
                match text.split_once('=').or_else(|| text.split_once(':')) {
                    Some((host, addresses)) => {
                        addresses.split(',').for_each(|address| push(&mut lines, host, address, item, found));
                    }
                    None => {
                        let message = format!("extra_hosts: {text:?} has no address");
                        found.push(Diagnostic::error(&item.at, message).help("write host=address"));
                    }
                }
            }
        }
        _ => {}
    }
    lines.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    node.value = Value::Sequence(lines);
}

fn push(lines: &mut Vec<Node>, host: &str, address: &str, from: &Node, found: &mut Vec<Diagnostic>) {
    if host.is_empty() || host.contains([':', '=']) {
        found.push(Diagnostic::error(&from.at, format!("extra_hosts: bad host name {host:?}")));
        return;
    }
    let inner = address.strip_prefix('[').and_then(|address| address.strip_suffix(']'));
    let address = inner.filter(|inner| !inner.is_empty()).unwrap_or(address);
    lines.push(Node::string(&from.at, format!("{host}={address}")));
}
