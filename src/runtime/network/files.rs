//! The texts of a container's `/etc/resolv.conf` and `/etc/hosts`. Pure.

use std::net::{IpAddr, Ipv4Addr};

use crate::engine::{DnsConfig, Endpoint};

/// Where a container's resolver listens.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// Asked when the machine names no usable server itself, as Docker does.
const FALLBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)), IpAddr::V4(Ipv4Addr::new(8, 8, 4, 4))];

/// `/etc/resolv.conf` of a container on networks of its own: our resolver, its own search list and options or the host's.
/// `host` is the text of the host's file.
pub fn resolv_conf(dns: &DnsConfig, host: &str) -> String {
    // Docker resolves names without dots like any other: a service has none.
    let mut options = vec!["ndots:0".to_owned()];
    options.extend(own_or_host_options(dns, host).into_iter().filter(|option| !option.starts_with("ndots:")));
    if let Some(own) = dns.options.iter().rev().find(|option| option.starts_with("ndots:")) {
        options[0].clone_from(own);
    }
    file(&[RESOLVER.into()], &search(dns, host), &options)
}

/// `/etc/resolv.conf` of a container without resolver (`host`, `none`): the host's, with the container's own settings.
pub fn resolv_conf_of_host(dns: &DnsConfig, host: &str) -> String {
    let servers = if dns.servers.is_empty() { name_servers(host) } else { dns.servers.clone() };
    file(&servers, &search(dns, host), &own_or_host_options(dns, host))
}

fn file(servers: &[IpAddr], search: &[String], options: &[String]) -> String {
    let mut text: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    if !search.is_empty() {
        text += &format!("search {}\n", search.join(" "));
    }
    if !options.is_empty() {
        text += &format!("options {}\n", options.join(" "));
    }
    text
}

/// A `.` among the container's own clears the list.
fn search(dns: &DnsConfig, host: &str) -> Vec<String> {
    match &dns.search {
        Some(own) if own.iter().any(|domain| domain == ".") => Vec::new(),
        Some(own) => own.clone(),
        // The last line wins (resolv.conf(5)); `domain` is its old name.
        None => lines(host, &["search", "domain"]).last().unwrap_or_default(),
    }
}

fn own_or_host_options(dns: &DnsConfig, host: &str) -> Vec<String> {
    if dns.options.is_empty() { lines(host, &["options"]).flatten().collect() } else { dns.options.clone() }
}

/// The servers that a `resolv.conf` names.
pub fn name_servers(file: &str) -> Vec<IpAddr> {
    // A zone (`fe80::1%eth0`) means nothing elsewhere.
    lines(file, &["nameserver"]).filter_map(|words| words.first()?.parse().ok()).collect()
}

fn lines<'a>(file: &'a str, keys: &'a [&str]) -> impl Iterator<Item = Vec<String>> + 'a {
    file.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let key = words.next()?;
        keys.contains(&key).then(|| words.map(str::to_owned).collect())
    })
}

/// The servers that a machine asks, by the text of its file. They may well listen on its loopback: they are asked from it.
pub fn servers(host: &str) -> Vec<IpAddr> {
    let own = name_servers(host);
    if own.is_empty() { FALLBACK.to_vec() } else { own }
}

/// `/etc/hosts`; `extra` are the `extra_hosts` with `host-gateway` resolved already. Other containers are not in it: the
/// resolver knows them.
pub fn hosts(hostname: &str, domainname: Option<&str>, extra: &[(String, IpAddr)], endpoints: &[Endpoint]) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n",
    );
    for (name, address) in extra {
        text += &format!("{address}\t{name}\n");
    }
    let names = match domainname.filter(|domain| !domain.is_empty()) {
        Some(domain) => format!("{hostname}.{domain} {hostname}"),
        None => hostname.to_owned(),
    };
    for endpoint in endpoints {
        let addresses = endpoint.ipv4.map(IpAddr::from).into_iter().chain(endpoint.ipv6.map(IpAddr::from));
        for address in addresses {
            text += &format!("{address}\t{names}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "# made by hand\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\n\
                        domain old.example\nsearch corp.example lan\noptions edns0 ndots:2\n";

    fn dns() -> DnsConfig {
        DnsConfig::default()
    }

    #[test]
    fn the_resolver_stands_before_the_hosts_search_list_and_options() {
        assert_eq!(
            resolv_conf(&dns(), HOST),
            "nameserver 127.0.0.11\nsearch corp.example lan\noptions ndots:0 edns0\n"
        );
        assert_eq!(resolv_conf(&dns(), ""), "nameserver 127.0.0.11\noptions ndots:0\n");
    }

    #[test]
    fn a_containers_own_settings_replace_the_hosts_and_a_dot_clears_the_search_list() {
        let mut own = dns();
        own.search = Some(vec!["a.example".to_owned()]);
        own.options = vec!["ndots:3".to_owned(), "rotate".to_owned()];
        assert_eq!(resolv_conf(&own, HOST), "nameserver 127.0.0.11\nsearch a.example\noptions ndots:3 rotate\n");
        own.search = Some(vec![".".to_owned()]);
        own.options.clear();
        assert_eq!(resolv_conf(&own, HOST), "nameserver 127.0.0.11\noptions ndots:0 edns0\n");
    }

    #[test]
    fn without_a_resolver_the_hosts_file_stays_but_for_own_servers() {
        assert_eq!(
            resolv_conf_of_host(&dns(), HOST),
            "nameserver 127.0.0.53\nnameserver 192.0.2.1\nsearch corp.example lan\noptions edns0 ndots:2\n"
        );
        let mut own = dns();
        own.servers = vec!["192.0.2.9".parse().unwrap()];
        assert!(resolv_conf_of_host(&own, HOST).starts_with("nameserver 192.0.2.9\nsearch"));
    }

    #[test]
    fn other_servers_are_the_hosts_even_on_loopback_or_public_ones() {
        let print = |addresses: Vec<IpAddr>| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(print(servers(HOST)), "127.0.0.53 192.0.2.1");
        assert_eq!(print(servers("")), "8.8.8.8 8.8.4.4");
    }

    #[test]
    fn hosts_has_the_usual_lines_then_extra_hosts_then_its_own_addresses() {
        let endpoint = Endpoint {
            network: "n".parse().unwrap(),
            network_id: String::new(),
            ipv4: Some("172.18.0.2".parse().unwrap()),
            ipv6: Some("fd00::2".parse().unwrap()),
            mac: String::new(),
        };
        let text = hosts("web", Some("example.org"), &[("db".to_owned(), "10.0.0.9".parse().unwrap())], &[endpoint]);
        let tail: Vec<&str> = text.lines().skip(6).collect();
        assert_eq!(tail, ["10.0.0.9\tdb", "172.18.0.2\tweb.example.org web", "fd00::2\tweb.example.org web"]);
        assert!(text.starts_with("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"));
    }
}
