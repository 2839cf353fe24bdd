//! Which TCP ports a container listens on, seen from outside.

use std::collections::BTreeSet;

use crate::runtime::network::files::RESOLVER;
use crate::runtime::network::sockets::{LISTENS, sockets};

/// The ports that a process's network namespace has open, ascending, without those of our own resolver; none if the process
/// is gone.
pub fn ports(pid: i32) -> Vec<u16> {
    let resolver = format!("{:08X}", u32::from_ne_bytes(RESOLVER.octets()));
    let process = pid.to_string();
    let open = ["tcp", "tcp6"].into_iter().flat_map(|table| sockets(&process, table));
    let open = open.filter(|socket| socket.state == LISTENS && socket.host != resolver);
    open.map(|socket| socket.port).collect::<BTreeSet<u16>>().into_iter().collect()
}

/// Whether somebody listens on each of these ports.
pub fn on_all(pid: i32, wanted: &[u16]) -> bool {
    let open = ports(pid);
    wanted.iter().all(|port| open.contains(port))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_socket_that_listens_counts_and_one_that_is_connected_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let connected = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let own = connected.local_addr().unwrap().port();
        let us = std::process::id().cast_signed();
        assert!(on_all(us, &[port]) && !on_all(us, &[port, own]));
        assert!(!ports(us).contains(&own));
    }
}
