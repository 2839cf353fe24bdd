//! The sockets of a network namespace, as `/proc/PID/net` lists them (proc_pid_net(5)).

use std::fs;

/// A TCP socket that listens.
pub(super) const LISTENS: &str = "0A";
/// A UDP socket without a peer.
pub(super) const UNCONNECTED: &str = "07";

/// A socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Socket {
    /// Its own address: words in the byte order of the machine, in hexadecimal digits.
    pub(super) host: String,
    /// Its own port.
    pub(super) port: u16,
    /// Two hexadecimal digits.
    pub(super) state: String,
    /// Names it below `/proc/PID/fd`.
    pub(super) inode: u64,
}

/// The sockets of a table (`tcp`, `udp6`, …) in a process's namespace; none if the process is gone.
pub(super) fn sockets(process: &str, table: &str) -> Vec<Socket> {
    let text = fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default();
    text.lines().skip(1).filter_map(socket).collect()
}

fn socket(line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (host, port) = fields.get(1)?.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let state = (*fields.get(3)?).to_owned();
    Some(Socket { host: host.to_owned(), port, state, inode: fields.get(9)?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_socket_and_rubbish_is_none() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0 100 0 0 10 0";
        let read = socket(line).unwrap();
        assert_eq!((read.host.as_str(), read.port, read.state.as_str(), read.inode), ("0100007F", 8080, LISTENS, 77));
        for line in ["", "rubbish", "0: 0100007F 0 0A", "0: 0100007F:xyz 0 0A 0 0 0 0 0 1"] {
            assert_eq!(socket(line), None, "{line:?}");
        }
    }
}
