//! Settings below `/proc/sys`, of the container's own namespaces alone.

use std::collections::BTreeMap;

use crate::runtime::start::StartError;
use crate::runtime::start::mounts::is_new;
use crate::runtime::start::program::{Step, text};
use crate::runtime::start::request::{Network, Request};

const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// What Docker sets in every network namespace: low ports and ping without rights.
const NETWORK: [(&str, &str); 2] =
    [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")];

/// Steps that write them; done through the host's `/proc`, which nothing in the container can bend.
pub(super) fn steps(request: &Request) -> Result<Vec<Step>, StartError> {
    let own_network = matches!(request.network, Network::Prepared | Network::New);
    let mut settings: BTreeMap<String, &str> = BTreeMap::new();
    // Whoever prepared a network namespace has set these, and what the user wants instead.
    if matches!(request.network, Network::New) {
        settings.extend(NETWORK.map(|(name, value)| (name.to_owned(), value)));
    }
    for (name, value) in &request.sysctls {
        let dotted = dotted(name);
        let fine = (dotted.starts_with("net.") && own_network)
            || ((IPC.contains(&dotted.as_str()) || dotted.starts_with("fs.mqueue.")) && is_new(&request.ipc));
        if !fine || dotted.split('.').any(|part| part.is_empty() || part == "/") || dotted.contains("..") {
            return Err(StartError::Invalid(format!("sysctl {name:?} is not in a separate kernel namespace")));
        }
        settings.insert(dotted, value);
    }
    settings
        .iter()
        .map(|(name, value)| {
            // A slash in a dotted name is a dot in the path: the interface `eth0.1` is written `eth0/1` (sysctl(8)).
            let path: String = name
                .chars()
                .map(|c| match c {
                    '.' => '/',
                    '/' => '.',
                    other => other,
                })
                .collect();
            if path.split('/').any(|part| part == ".." || part == ".") {
                return Err(StartError::Invalid(format!("sysctl {name:?} is not in a separate kernel namespace")));
            }
            Ok(Step::Write { file: text(format!("/proc/sys/{path}"))?, text: text(value)? })
        })
        .collect()
}

/// `net/ipv4/x` is `net.ipv4.x`: the first separator says which one is used.
fn dotted(name: &str) -> String {
    match name.find(['.', '/']).and_then(|at| name.get(at..=at)) {
        Some("/") => name
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => name.to_owned(),
    }
}
