//! Hardware addresses of network interfaces.

use serde::{Deserialize, Serialize};

/// The hardware address of one interface, never that of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress([u8; 6]);

/// Not six pairs of hexadecimal digits between `:` or `-`, or the address of a group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid MAC address {0:?}: write that of one interface, like 02:42:ac:11:00:02")]
pub struct InvalidMacAddress(String);

impl MacAddress {
    /// A locally administered address that ends with these bytes.
    pub fn local(bytes: [u8; 5]) -> MacAddress {
        let [b, c, d, e, f] = bytes;
        MacAddress([0x02, b, c, d, e, f])
    }

    /// In the order of the wire.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl std::str::FromStr for MacAddress {
    type Err = InvalidMacAddress;

    fn from_str(text: &str) -> Result<Self, InvalidMacAddress> {
        let wrong = || InvalidMacAddress(text.to_owned());
        let mut octets = [0_u8; 6];
        let mut pairs = text.split([':', '-']);
        for octet in &mut octets {
            let digits = |pair: &&str| pair.len() == 2 && pair.bytes().all(|c| c.is_ascii_hexdigit());
            let pair = pairs.next().filter(digits).ok_or_else(wrong)?;
            *octet = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        if pairs.next().is_some() || octets[0] & 1 == 1 { Err(wrong()) } else { Ok(MacAddress(octets)) }
    }
}

impl TryFrom<String> for MacAddress {
    type Error = InvalidMacAddress;

    fn try_from(text: String) -> Result<Self, InvalidMacAddress> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(address: MacAddress) -> String {
        address.to_string()
    }
}

impl std::fmt::Display for MacAddress {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hardware_address_is_read_as_it_is_printed() {
        let address: MacAddress = "02-42-AC-12-00-02".parse().unwrap();
        assert_eq!(address.to_string(), "02:42:ac:12:00:02");
        assert_eq!(address.to_string().parse(), Ok(address));
        assert_eq!(address, MacAddress::local([0x42, 172, 18, 0, 2]));
        for wrong in ["", "02:42", "01:42:ac:12:00:02", "02:42:ac:12:00:02:03", "2:42:ac:12:0:02", "+2:42:ac:12:00:02"]
        {
            assert!(wrong.parse::<MacAddress>().is_err(), "{wrong}");
        }
    }
}
