//! Which TCP ports a process's network namespace has open, as `/proc/PID/net` tells: for people who ask, not for waiting.

use std::collections::BTreeSet;

/// `LISTEN` in the fourth column.
const LISTEN: &str = "0A";

/// Our own resolver's address in a container, 127.0.0.11.
const RESOLVER: &str = "0B00007F";

/// The ports, ascending; none if the process is gone.
pub fn ports(pid: i32) -> Vec<u16> {
    let mut found = BTreeSet::new();
    for family in ["tcp", "tcp6"] {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/{family}")).unwrap_or_default();
        found.extend(text.lines().skip(1).filter_map(listening));
    }
    found.into_iter().collect()
}

/// The port of a line, if somebody listens on it.
fn listening(line: &str) -> Option<u16> {
    let mut columns = line.split_ascii_whitespace().skip(1);
    let (local, state) = (columns.next()?, columns.nth(1)?);
    let (address, port) = local.rsplit_once(':')?;
    (state == LISTEN && address != RESOLVER).then(|| u16::from_str_radix(port, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_that_listen_count() {
        let open = "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0";
        let connected = "   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20 4 30 10 -1";
        assert_eq!(listening(open), Some(8080));
        assert_eq!(listening(connected), None);
        assert_eq!(listening(&open.replace("00000000:1F90", "0B00007F:1F90")), None, "the resolver is ours");
        assert_eq!(listening("rubbish"), None);
    }
}
