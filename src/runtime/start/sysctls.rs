//! Settings below `/proc/sys`, of the container's own namespaces alone.

use std::collections::BTreeMap;

use crate::runtime::start::StartError;
use crate::runtime::start::mounts::is_new;
use crate::runtime::start::program::{Step, text};
use crate::runtime::start::request::{Network, Request};

const IPC: [&str; 8] = [
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
];

/// What Docker sets in every network namespace: low ports and ping without rights.
const NETWORK: [(&str, &str); 2] =
    [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")];

/// Steps that write them; done through the host's `/proc`, which nothing in the container can bend.
pub(super) fn steps(request: &Request) -> Result<Vec<Step>, StartError> {
    let own_network = matches!(request.network, Network::Prepared | Network::New);
    // By path below /proc/sys.
    let mut settings: BTreeMap<String, &str> = BTreeMap::new();
    // Whoever prepared a network namespace has set these, and what the user wants instead.
    if matches!(request.network, Network::New) {
        settings.extend(NETWORK.map(|(name, value)| (path(name), value)));
    }
    for (name, value) in &request.sysctls {
        let path = path(name);
        let network = path.starts_with("net/") && own_network;
        let ipc = (IPC.contains(&path.as_str()) || path.starts_with("fs/mqueue/")) && is_new(&request.ipc);
        let leads_elsewhere = path.split('/').any(|part| ["", ".", ".."].contains(&part));
        if !(network || ipc) || leads_elsewhere {
            return Err(StartError::Invalid(format!("sysctl {name:?} is not in a separate kernel namespace")));
        }
        settings.insert(path, value);
    }
    settings
        .iter()
        .map(|(path, value)| Ok(Step::Write { file: text(format!("/proc/sys/{path}"))?, text: text(value)? }))
        .collect()
}

/// `net.ipv4.conf.eth0/1.forwarding` is `net/ipv4/conf/eth0.1/forwarding`, unless it is written so already: the first
/// separator says (sysctl(8)).
fn path(name: &str) -> String {
    match name.find(['.', '/']).and_then(|at| name.get(at..=at)) {
        Some(".") => name
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
