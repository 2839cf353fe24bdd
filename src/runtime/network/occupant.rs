//! Which process of the machine has a port that we want, as far as it can be seen from here.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use crate::runtime::network::sockets::{LISTENS, UNCONNECTED, sockets};
use crate::values::protocol::Protocol;

/// Who has a port when it can't be found out.
pub(super) const UNKNOWN: &str = "another program";

/// Which process of the machine has a port: `nginx (pid 812)`. `None` if that can't be found out, as of a
/// process in another container.
pub(super) fn process_on(address: SocketAddr, protocol: Protocol) -> Option<String> {
    let inode = inode_on(address, protocol)?;
    let wanted = format!("socket:[{inode}]");
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
        if files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|link| link == Path::new(&wanted))) {
            let command = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            // One of ours whose container is not written down here, or not yet: it is called by its project.
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0);
            let ours = words.nth(1).is_some_and(|role| role == b"--supervisor" || role == b"--keeper");
            let project = words.next().filter(|_| ours).map(String::from_utf8_lossy);
            let command = project.map_or_else(|| command.trim_end().to_owned(), |name| format!("project {name}"));
            return Some(format!("{command} (pid {pid})"));
        }
    }
    None
}

/// The inode of the socket that stands in the way of a bind to this address.
fn inode_on(address: SocketAddr, protocol: Protocol) -> Option<u64> {
    let (tables, state) = match protocol {
        Protocol::Tcp => (["tcp", "tcp6"], LISTENS),
        Protocol::Udp => (["udp", "udp6"], UNCONNECTED),
        Protocol::Sctp => return None,
    };
    let mut bound = tables.into_iter().flat_map(|table| sockets("thread-self", table));
    let in_the_way = bound
        .find(|socket| socket.port == address.port() && socket.state == state && clashes(&socket.host, address.ip()));
    in_the_way.map(|socket| socket.inode)
}

/// Whether a socket bound to an address, as `/proc/net` prints it, is in the way of another.
fn clashes(host: &str, wanted: IpAddr) -> bool {
    let any = host.bytes().all(|digit| digit == b'0');
    match (host.len(), wanted) {
        // A word in the byte order of the machine.
        (8, IpAddr::V4(wanted)) => {
            let bound = u32::from_str_radix(host, 16).map(|word| Ipv4Addr::from(word.to_ne_bytes()));
            any || wanted.is_unspecified() || bound == Ok(wanted)
        }
        // `::` takes IPv4 too, unless it was told not to; who can say.
        (32, IpAddr::V4(_)) => any,
        (32, IpAddr::V6(wanted)) => {
            let words = (0..4).filter_map(|at| u32::from_str_radix(host.get(at * 8..at * 8 + 8)?, 16).ok());
            let bytes: Vec<u8> = words.flat_map(u32::to_ne_bytes).collect();
            any || wanted.is_unspecified() || bytes == wanted.octets()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_proc_net_are_read_in_the_machines_byte_order() {
        let word = u32::from_ne_bytes([127, 0, 0, 1]);
        assert!(clashes(&format!("{word:08X}"), "127.0.0.1".parse().unwrap()));
        assert!(!clashes(&format!("{word:08X}"), "127.0.0.2".parse().unwrap()));
        assert!(clashes("00000000", "127.0.0.2".parse().unwrap()));
        assert!(!clashes("zz", "127.0.0.2".parse().unwrap()));
    }
}
