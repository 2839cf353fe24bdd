//! What keeper and supervisor say to each other: one small message a packet, a file with some of them.
//!
//! A keeper lives on when supervisors of newer versions come: what these words mean does not change, and a word that is not
//! known is passed over.
//!
//! The same words bring a new keeper to life: whoever starts it holds what it shall hold, then says `Go`.
//! A packet is one letter and its operand; a key is any text of at most [`KEY_MAX`] bytes.

/// Longest key in bytes: an id, a slash, a word, and perhaps an address.
pub const KEY_MAX: usize = 160;
/// Longest packet in bytes.
pub const PACKET_MAX: usize = KEY_MAX + 1;
/// Where the control socket's listener is held.
pub const LISTENER: &str = "listener";
/// Where a newer program is held than the keeper's own: supervisors are started from it.
pub const PROGRAM: &str = "program";

/// To the keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToKeeper<'a> {
    /// Keep the file that comes with this; replaces one of the same key.
    Hold(&'a str),
    /// Let go of every file whose key begins so.
    Release(&'a str),
    /// The status of this pid is on record; forget it.
    Seen(i32),
    /// All is handed over: close this link and start a supervisor.
    Go,
    /// Nothing runs any more: end.
    Quit,
}

/// To the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToSupervisor<'a> {
    /// A file that was held, itself coming with this.
    Held(&'a str),
    /// A child has ended with this status, as wait(2) gives it.
    Ended {
        /// Which.
        pid: i32,
        /// How.
        status: i32,
    },
    /// Everything held and every status not yet seen has been told.
    Ready,
}

impl<'a> ToKeeper<'a> {
    /// The packet.
    pub fn encode(self) -> Packet {
        match self {
            ToKeeper::Hold(key) => Packet::new(b'H').text(key),
            ToKeeper::Release(prefix) => Packet::new(b'R').text(prefix),
            ToKeeper::Seen(pid) => Packet::new(b'S').number(pid),
            ToKeeper::Go => Packet::new(b'G'),
            ToKeeper::Quit => Packet::new(b'Q'),
        }
    }

    /// The message of a packet; `None` if it is none.
    pub fn decode(packet: &'a [u8]) -> Option<ToKeeper<'a>> {
        let (kind, operand) = packet.split_first()?;
        match kind {
            b'H' => Some(ToKeeper::Hold(std::str::from_utf8(operand).ok()?)),
            b'R' => Some(ToKeeper::Release(std::str::from_utf8(operand).ok()?)),
            b'S' => Some(ToKeeper::Seen(i32::from_le_bytes(operand.try_into().ok()?))),
            b'G' if operand.is_empty() => Some(ToKeeper::Go),
            b'Q' if operand.is_empty() => Some(ToKeeper::Quit),
            _ => None,
        }
    }
}

impl<'a> ToSupervisor<'a> {
    /// The packet.
    pub fn encode(self) -> Packet {
        match self {
            ToSupervisor::Held(key) => Packet::new(b'h').text(key),
            ToSupervisor::Ended { pid, status } => Packet::new(b'e').number(pid).number(status),
            ToSupervisor::Ready => Packet::new(b'r'),
        }
    }

    /// The message of a packet; `None` if it is none.
    pub fn decode(packet: &'a [u8]) -> Option<ToSupervisor<'a>> {
        let (kind, operand) = packet.split_first()?;
        match kind {
            b'h' => Some(ToSupervisor::Held(std::str::from_utf8(operand).ok()?)),
            b'e' => {
                let (pid, status) = operand.split_first_chunk::<4>()?;
                let pid = i32::from_le_bytes(*pid);
                Some(ToSupervisor::Ended { pid, status: i32::from_le_bytes(status.try_into().ok()?) })
            }
            b'r' if operand.is_empty() => Some(ToSupervisor::Ready),
            _ => None,
        }
    }
}

/// The bytes of one message.
#[derive(Debug, Clone, Copy)]
pub struct Packet {
    bytes: [u8; PACKET_MAX],
    length: usize,
}

impl Packet {
    fn new(kind: u8) -> Packet {
        let mut bytes = [0; PACKET_MAX];
        bytes[0] = kind;
        Packet { bytes, length: 1 }
    }

    /// Keys are made of ids and fixed words, so what would be cut off here never exists.
    fn text(mut self, text: &str) -> Packet {
        for (place, byte) in self.bytes.iter_mut().skip(self.length).zip(text.bytes()) {
            *place = byte;
        }
        self.length = (self.length + text.len()).min(PACKET_MAX);
        self
    }

    fn number(mut self, number: i32) -> Packet {
        for (place, byte) in self.bytes.iter_mut().skip(self.length).zip(number.to_le_bytes()) {
            *place = byte;
        }
        self.length = (self.length + 4).min(PACKET_MAX);
        self
    }

    /// As they go over the socket.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_read_as_it_was_written() {
        for message in
            [ToKeeper::Hold("id/out"), ToKeeper::Release(""), ToKeeper::Seen(i32::MAX), ToKeeper::Go, ToKeeper::Quit]
        {
            assert_eq!(ToKeeper::decode(message.encode().bytes()), Some(message));
        }
        for message in [ToSupervisor::Held("id/out"), ToSupervisor::Ended { pid: 7, status: -1 }, ToSupervisor::Ready] {
            assert_eq!(ToSupervisor::decode(message.encode().bytes()), Some(message));
        }
    }

    #[test]
    fn rubbish_is_no_message() {
        for packet in [&b""[..], b"x", b"S123", b"Gx", b"H\xff"] {
            assert_eq!(ToKeeper::decode(packet), None, "{packet:?}");
        }
        for packet in [&b""[..], b"H", b"e1234567", b"rr"] {
            assert_eq!(ToSupervisor::decode(packet), None, "{packet:?}");
        }
    }
}
