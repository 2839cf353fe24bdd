//! The texts of a container's `/etc/resolv.conf`, `/etc/hosts` and `/etc/hostname`. Pure.

use std::net::IpAddr;

use crate::engine::{DnsConfig, Endpoint};

/// `/etc/resolv.conf` of a container on networks of its own: our resolver, the host's or its own search list and options.
/// `host` is the text of the host's file.
pub fn resolv_conf(dns: &DnsConfig, host: &str) -> String {
    let _ = (dns, host);
    String::new()
}

/// `/etc/resolv.conf` of a container without resolver (`host`, `none`): the host's file with the container's settings.
pub fn resolv_conf_of_host(dns: &DnsConfig, host: &str) -> String {
    let _ = (dns, host);
    String::new()
}

/// `/etc/hosts`; `extra` are the `extra_hosts` with `host-gateway` resolved already.
pub fn hosts(hostname: &str, domainname: Option<&str>, extra: &[(String, IpAddr)], endpoints: &[Endpoint]) -> String {
    let _ = (hostname, domainname, extra, endpoints);
    String::new()
}

/// The upstream servers of a container's resolver: its own, else those of the host's file.
pub fn upstreams(dns: &DnsConfig, host: &str) -> Vec<IpAddr> {
    let _ = host;
    dns.servers.clone()
}
