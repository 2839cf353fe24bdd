//! A network's bridge on the host, with the gateway's addresses.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use nix::errno::Errno;

use crate::runtime::network::netlink::{Request, Socket};
use crate::runtime::network::record::NetworkRecord;
use crate::runtime::network::veth;
use crate::runtime::sys::{OrOs, OsError};

/// Makes the bridge with its addresses unless it is there, complete; and lets the machine forward packets.
pub fn ensure(socket: &mut Socket, network: &NetworkRecord) -> Result<(), OsError> {
    forward_packets(network)?;
    match socket.link(&network.bridge)? {
        // It is started last: what is up is complete. A bridge of somebody else's may lack our address all the same.
        Some(link) if link.up && !network.adopted => Ok(()),
        Some(link) => complete(socket, network, link.index),
        None => {
            let mac = match network.subnet(true).map(|subnet| subnet.gateway) {
                Some(IpAddr::V4(gateway)) => veth::mac_of(gateway),
                Some(IpAddr::V6(_)) | None => veth::mac_of(std::net::Ipv4Addr::LOCALHOST),
            };
            socket.run(vec![Request::bridge(&network.bridge, mac.octets(), network.mtu())])?;
            let made = match socket.index(&network.bridge)? {
                Some(index) => complete(socket, network, index),
                None => Err(OsError { call: "find bridge", subject: network.bridge.clone(), errno: Errno::ENODEV }),
            };
            if made.is_err() {
                // The first failure is the one to tell.
                let _ = remove(socket, network);
            }
            made
        }
    }
}

fn complete(socket: &mut Socket, network: &NetworkRecord, index: u32) -> Result<(), OsError> {
    for subnet in &network.subnets {
        let added = socket.run(vec![Request::address(index, subnet.gateway, subnet.cidr.prefix())]);
        match added {
            Err(error) if error.errno == Errno::EEXIST => {}
            other => other?,
        }
    }
    let mut requests = Vec::new();
    if !network.config.internal && network.subnet(true).is_some() {
        requests.push(Request::route_localnet(&network.bridge));
    }
    requests.push(Request::start(index));
    socket.run(requests)
}

/// Deletes the bridge, unless it was there before us. Whatever still hangs on it stays. Nothing happens if it is gone.
pub fn remove(socket: &mut Socket, network: &NetworkRecord) -> Result<(), OsError> {
    if network.adopted {
        return Ok(());
    }
    match socket.run(vec![Request::delete(&network.bridge)]) {
        Err(error) if error.errno == Errno::ENODEV => Ok(()),
        other => other,
    }
}

/// As Docker does; it is a setting of the whole machine and is left on.
fn forward_packets(network: &NetworkRecord) -> Result<(), OsError> {
    if network.config.internal {
        return Ok(());
    }
    if network.subnet(true).is_some() {
        switch_on(Path::new("/proc/sys/net/ipv4/ip_forward"))?;
    }
    if network.subnet(false).is_some() {
        switch_on(Path::new("/proc/sys/net/ipv6/conf/all/forwarding"))?;
    }
    Ok(())
}

fn switch_on(setting: &Path) -> Result<(), OsError> {
    let subject = || setting.display().to_string();
    if fs::read(setting).or_os("read", subject())?.starts_with(b"0") {
        fs::write(setting, "1").or_os("write", subject())?;
    }
    Ok(())
}
