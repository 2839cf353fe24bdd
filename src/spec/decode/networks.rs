//! The networks of the top level, and whether their addresses make sense together.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::reader::Reader;
use crate::spec::project::network::{Network, Pool};
use crate::spec::tree::Node;
use crate::values::cidr::Cidr;
use crate::values::names::{InterfaceName, NetworkName};

/// One network.
pub(super) fn network(reader: &Reader<'_>) -> Option<Network> {
    let external = reader.flag("external");
    let pools = reader.object("ipam").map(|ipam| ipam.objects("config").iter().map(pool).collect());
    if !external {
        bridge_options(reader);
    }
    Some(Network {
        name: reader.parse::<NetworkName>("name")?,
        external,
        driver: reader.text("driver"),
        driver_opts: reader.map("driver_opts"),
        pools: pools.unwrap_or_default(),
        internal: reader.flag("internal"),
        attachable: reader.flag("attachable"),
        enable_ipv4: reader.maybe_flag("enable_ipv4"),
        enable_ipv6: reader.maybe_flag("enable_ipv6"),
        labels: reader.map("labels"),
        location: reader.at(),
    })
}

const INTERFACE: &str = "the name of a network interface: at most 15 characters, without `/`, `:` and spaces";

/// The options of a bridge that are more than words.
fn bridge_options(reader: &Reader<'_>) {
    if reader.text("driver").is_some_and(|driver| driver != "bridge" && driver != "default") {
        return;
    }
    let Some(options) = reader.object("driver_opts") else { return };
    for name in options.keys() {
        let Some((node, text)) = options.node(name).and_then(|node| Some((node, node.as_str()?))) else { continue };
        let wanted = match name.strip_prefix("com.docker.network.") {
            Some("bridge.enable_icc" | "bridge.enable_ip_masquerade") => {
                let known = ["1", "t", "true", "0", "f", "false"];
                (!known.contains(&text.to_ascii_lowercase().as_str())).then_some("true or false")
            }
            Some("bridge.host_binding_ipv4") => {
                text.parse::<std::net::Ipv4Addr>().is_err().then_some("an IPv4 address")
            }
            Some("driver.mtu") => {
                let mtu = text.parse::<u32>().ok();
                mtu.is_none_or(|mtu| !(68..=65_535).contains(&mtu)).then_some("a number from 68 to 65535")
            }
            Some("bridge.name") => InterfaceName::try_from(text).is_err().then_some(INTERFACE),
            Some("container_iface_prefix") => InterfaceName::try_from(format!("{text}0")).is_err().then_some(INTERFACE),
            _ => None,
        };
        if let Some(wanted) = wanted {
            options.fault(&node.at, format!("{name}: {text:?} is not {wanted}"));
        }
    }
}

fn pool(reader: &Reader<'_>) -> Pool {
    let subnet = range(reader, "subnet");
    let ip_range: Option<Cidr> = reader.parse("ip_range");
    let within = |key: &str, node: Option<&Node>, inside: bool, what: String| {
        if let (Some(node), false) = (node, inside) {
            reader.fault(&node.at, format!("{key}: {what}"));
        }
    };
    let in_subnet = |address: IpAddr| subnet.is_none_or(|subnet| subnet.contains(address));
    if let (Some(range), Some(subnet)) = (ip_range, subnet) {
        let what = format!("invalid ip-range {range}: it is not part of subnet {subnet}");
        within("ip_range", reader.node("ip_range"), subnet.covers(range), what);
    }
    let gateway: Option<IpAddr> = reader.parse("gateway");
    if let Some(gateway) = gateway {
        within(
            "gateway",
            reader.node("gateway"),
            in_subnet(gateway),
            format!("no matching subnet for gateway {gateway}"),
        );
    }
    let mut aux_addresses = BTreeMap::new();
    if let Some(map) = reader.object("aux_addresses") {
        for key in map.keys() {
            let Some(address) = map.parse::<IpAddr>(key) else { continue };
            let what = format!("no matching subnet for aux-address {address}");
            within(&format!("aux_addresses.{key}"), map.node(key), in_subnet(address), what);
            aux_addresses.insert(key.to_owned(), address);
        }
    }
    Pool { subnet, ip_range, gateway, aux_addresses }
}

/// A range whose address is its first.
fn range(reader: &Reader<'_>, key: &str) -> Option<Cidr> {
    let range: Cidr = reader.parse(key)?;
    let node = reader.node(key)?;
    let address = node.as_str().and_then(|text| text.split_once('/')?.0.parse::<IpAddr>().ok());
    if address != Some(range.first()) {
        let text = node.as_str().unwrap_or_default();
        reader.fault(&node.at, format!("{key}: invalid subnet {text}: it should be {range}"));
    }
    Some(range)
}
