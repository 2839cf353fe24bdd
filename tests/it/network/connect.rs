//! Connecting containers: addresses, reach, isolation, the way out.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use xcompose::engine::AddressPool;
use xcompose::runtime::network::NetworkError;

use crate::network::support::{Guest, Host, Outside, Spec, ask, config, link_exists, nft, serve_once};
use crate::support::cannot_run;

#[test]
fn two_containers_on_a_network_reach_each_other_and_removing_it_leaves_nothing() {
    if cannot_run() {
        return;
    }
    let host = Host::new();
    let network = host.network("n");
    let (a, b) = (host.guest("a", &["n"]), host.guest("b", &["n"]));
    assert!(nft(&["list", "set", "inet", &host.table(), "bridges"]).contains(&format!("{:?}", network.bridge)));
    let served = b.serve_once(8080, "hello");
    assert_eq!(a.ask(SocketAddr::new(b.ipv4(), 8080)).as_deref(), Some("hello"));
    assert_eq!(served.join().unwrap().ip(), a.ipv4());
    // From the machine itself, as `curl CONTAINER` is.
    let served = a.serve_once(8080, "hello");
    assert_eq!(ask(SocketAddr::new(a.ipv4(), 8080)).as_deref(), Some("hello"));
    assert_eq!(served.join().unwrap().ip(), network.subnets[0].gateway);
    host.disconnect(a);
    host.disconnect(b);
    host.end();
}

#[test]
fn containers_of_different_networks_do_not_reach_each_other() {
    if cannot_run() {
        return;
    }
    let host = Host::new();
    host.network("one");
    host.network("two");
    let (a, b) = (host.guest("a", &["one"]), host.guest("b", &["two"]));
    let _listening = b.inside(|| TcpListener::bind("0.0.0.0:8080").unwrap());
    assert_eq!(a.ask(SocketAddr::new(b.ipv4(), 8080)), None);
    // One that is on both sees both.
    let both = host.guest("both", &["one", "two"]);
    let served = a.serve_once(8081, "a");
    assert_eq!(both.ask(SocketAddr::new(a.ipv4(), 8081)).as_deref(), Some("a"));
    served.join().unwrap();
    let addresses: Vec<_> = both.connection.endpoints.iter().map(|endpoint| endpoint.ipv4.unwrap()).collect();
    let inside = both.command(&["ip", "-4", "-o", "addr"]);
    assert!(inside.contains(&format!("eth0    inet {}/", addresses[0])), "{inside}");
    assert!(inside.contains(&format!("eth1    inet {}/", addresses[1])), "{inside}");
    for guest in [a, b, both] {
        host.disconnect(guest);
    }
    host.end();
}

#[test]
fn containers_go_out_under_the_machines_address_and_not_at_all_from_an_internal_network() {
    if cannot_run() {
        return;
    }
    let host = Host::new();
    let outside = Outside::new();
    host.network("n");
    let mut internal = config("i");
    internal.internal = true;
    host.networks.create(&internal).unwrap();
    let listener = outside.inside(|| TcpListener::bind("0.0.0.0:7000").unwrap());
    let server = SocketAddr::new(outside.there, 7000);
    let a = host.guest("a", &["n"]);
    let served = serve_once(listener, "out");
    assert_eq!(a.ask(server).as_deref(), Some("out"));
    assert_eq!(served.join().unwrap().ip(), outside.here);

    let listener = outside.inside(|| TcpListener::bind("0.0.0.0:7001").unwrap());
    let server = SocketAddr::new(outside.there, 7001);
    let (b, c) = (host.guest("b", &["i"]), host.guest("c", &["i"]));
    assert_eq!(b.command(&["ip", "route", "show", "default"]), "");
    b.command(&["ip", "route", "add", "default", "dev", "eth0"]);
    assert_eq!(b.ask(server), None, "even with a route of its own");
    drop(listener);
    let served = c.serve_once(8080, "c");
    assert_eq!(b.ask(SocketAddr::new(c.ipv4(), 8080)).as_deref(), Some("c"));
    served.join().unwrap();
    for guest in [a, b, c] {
        host.disconnect(guest);
    }
    host.end();
}

#[test]
fn the_machines_loopback_stays_out_of_reach() {
    if cannot_run() {
        return;
    }
    let host = Host::new();
    host.network("n");
    let a = host.guest("a", &["n"]);
    let secret = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = secret.local_addr().unwrap().port();
    // As root in the container with NET_ADMIN could: send 127.0.0.1 to the gateway.
    a.command(&["ip", "route", "del", "local", "127.0.0.1", "table", "local"]);
    a.command(&["ip", "route", "del", "local", "127.0.0.0/8", "table", "local"]);
    a.command(&["ip", "addr", "del", "127.0.0.1/8", "dev", "lo"]);
    a.command(&["sysctl", "-qw", "net.ipv4.conf.eth0.route_localnet=1"]);
    a.command(&[
        "ip",
        "route",
        "add",
        "127.0.0.1",
        "via",
        &host.networks.list().unwrap()[0].subnets[0].gateway.to_string(),
    ]);
    assert_eq!(a.ask((Ipv4Addr::LOCALHOST, port).into()), None);
    // It is the rule that keeps it out, nothing else.
    nft(&["flush", "chain", "inet", &host.table(), "localnet"]);
    let served = serve_once(secret, "secret");
    assert_eq!(a.ask((Ipv4Addr::LOCALHOST, port).into()).as_deref(), Some("secret"));
    served.join().unwrap();
    host.disconnect(a);
    host.end();
}

#[test]
fn an_address_stays_with_its_slot_and_is_not_given_to_another() {
    if cannot_run() {
        return;
    }
    let host = Host::new();
    host.network("n");
    let (web, db) = (host.guest("web", &["n"]), host.guest("db", &["n"]));
    let (web_address, db_address) = (web.ipv4(), db.ipv4());
    assert_ne!(web_address, db_address);
    host.disconnect(web);
    host.disconnect(db);
    // Another order, other containers, and one more.
    let other = host.guest("other", &["n"]);
    let db = host.guest("db", &["n"]);
    let web = host.guest("web", &["n"]);
    assert_eq!((web.ipv4(), db.ipv4()), (web_address, db_address));
    assert!(other.ipv4() != web_address && other.ipv4() != db_address);
    // While the slot's container runs, a second one of that slot gets an address of its own.
    let second = host.guest("web", &["n"]);
    assert!(![web_address, db_address, other.ipv4()].contains(&second.ipv4()));
    // A container without a slot leaves nothing behind.
    let mut one_off = Spec::new("run", &["n"]);
    one_off.slot.clear();
    let first = host.connect(&one_off).unwrap();
    let address = first.ipv4();
    host.disconnect(first);
    one_off.id = Spec::new("run", &["n"]).id;
    let next = host.connect(&one_off).unwrap();
    assert_eq!(next.ipv4(), address);
    for guest in [web, db, other, second, next] {
        host.disconnect(guest);
    }
    host.end();
}

#[test]
fn a_static_address_needs_a_configured_subnet_and_nobody_on_it() {
    if cannot_run() {
        return;
    }
    let host = Host::new();
    host.network("auto");
    let mut configured = config("configured");
    configured.pools = vec![AddressPool {
        subnet: Some("10.199.77.0/24".to_owned()),
        ip_range: None,
        gateway: None,
        aux_addresses: [("printer".to_owned(), "10.199.77.2".parse().unwrap())].into(),
    }];
    host.networks.create(&configured).unwrap();
    let at = |name: &str, network: &str, address: &str| {
        let mut spec = Spec::new(name, &[network]);
        spec.attachments[0].ipv4_address = Some(address.parse().unwrap());
        host.connect(&spec)
    };
    let refused = |result: Result<Guest, NetworkError>| match result {
        Ok(_) => panic!("connected"),
        Err(error) => error.to_string(),
    };
    assert_eq!(
        refused(at("a", "auto", "172.31.0.9")),
        "network auto: user specified IP address is supported only when connecting to networks with user configured subnets"
    );
    assert_eq!(
        refused(at("a", "configured", "10.1.1.1")),
        "network configured: no configured subnet or ip-range contain the IP address 10.1.1.1"
    );
    let a = at("a", "configured", "10.199.77.3").unwrap();
    assert!(refused(at("b", "configured", "10.199.77.3")).contains("Address already in use"));
    // Neither the gateway, nor the printer, nor a.
    let c = host.guest("c", &["configured"]);
    assert_eq!(c.ipv4().to_string(), "10.199.77.4");
    let again = host.networks.create(&{
        let mut overlapping = configured.clone();
        overlapping.name = "overlapping".parse().unwrap();
        overlapping
    });
    let text = again.unwrap_err().to_string();
    assert!(text.contains("Pool overlaps with other one on this address space"), "{text}");
    assert!(text.contains("network configured"), "{text}");
    host.disconnect(a);
    host.disconnect(c);
    host.end();
}

#[test]
fn containers_that_start_at_once_get_addresses_of_their_own_and_networks_go_at_once() {
    if cannot_run() {
        return;
    }
    let host = Host::new();
    for name in ["a", "b", "c"] {
        host.network(name);
    }
    let guests: Vec<Guest> = std::thread::scope(|scope| {
        let start = |thread: usize| {
            let host = &host;
            move || (0..8).map(|n| host.guest(&format!("g{thread}-{n}"), &["a", "b"])).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..3).map(|thread| scope.spawn(start(thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    for at in [0, 1] {
        let addresses: BTreeSet<_> = guests.iter().map(|guest| guest.connection.endpoints[at].ipv4).collect();
        assert_eq!(addresses.len(), 24);
    }
    for guest in guests {
        host.disconnect(guest);
    }
    let all = host.networks.list().unwrap();
    std::thread::scope(|scope| {
        for network in &all {
            scope.spawn(|| host.networks.remove(&network.config.name).unwrap());
        }
    });
    host.assert_nothing_left(&all);
}

#[test]
fn two_data_folders_choose_different_subnets_even_at_once() {
    if cannot_run() {
        return;
    }
    let hosts: Vec<Host> = (0..4).map(|_| Host::new()).collect();
    let subnets: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = hosts.iter().map(|host| scope.spawn(|| host.network("n").subnets[0].cidr)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (at, subnet) in subnets.iter().enumerate() {
        assert!(subnets[..at].iter().all(|other| !other.overlaps(*subnet)), "{subnets:?}");
    }
    for host in hosts {
        host.end();
    }
}

#[test]
fn a_network_in_use_is_not_removed_and_one_name_is_made_once() {
    if cannot_run() {
        return;
    }
    let host = Host::new();
    let network = host.network("n");
    let a = host.guest("a", &["n"]);
    let error = host.networks.remove(&"n".parse().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "network n is in use by a");
    assert!(matches!(host.networks.create(&config("n")), Err(NetworkError::Exists(_))));
    assert!(link_exists(&network.bridge));
    host.disconnect(a);
    host.networks.remove(&"n".parse().unwrap()).unwrap();
    assert!(matches!(host.networks.remove(&"n".parse().unwrap()), Err(NetworkError::NotFound(_))));
    host.assert_nothing_left(&[network]);
}

#[test]
fn what_a_reboot_took_is_made_again_at_the_next_connection() {
    if cannot_run() {
        return;
    }
    let host = Host::new();
    let network = host.network("n");
    crate::network::support::run(&["ip", "link", "del", &network.bridge]);
    nft(&["delete", "table", "inet", &host.table()]);
    let (a, b) = (host.guest("a", &["n"]), host.guest("b", &["n"]));
    let served = b.serve_once(8080, "back");
    assert_eq!(a.ask(SocketAddr::new(b.ipv4(), 8080)).as_deref(), Some("back"));
    served.join().unwrap();
    host.disconnect(a);
    host.disconnect(b);
    host.end();
}

#[test]
fn a_connection_that_fails_half_way_leaves_nothing() {
    if cannot_run() {
        return;
    }
    let host = Host::new();
    let network = host.network("n");
    host.network("m");
    let twice = host.connect(&Spec::new("a", &["n", "n"])).map(drop).unwrap_err();
    assert!(twice.to_string().contains("network n: a container can be connected to it only once"), "{twice}");
    let mut spec = Spec::new("a", &["n", "m"]);
    // The second interface can't have the first one's name.
    for attachment in &mut spec.attachments {
        attachment.interface_name = Some("same".parse().unwrap());
    }
    let error = host.connect(&spec).map(drop).unwrap_err();
    assert!(error.to_string().contains("same"), "{error}");
    assert_eq!(host.networks.endpoints(&network.id).unwrap(), []);
    let mut spec = Spec::new("a", &["n"]);
    spec.sysctls.insert("net.no.such".to_owned(), "1".to_owned());
    let error = host.connect(&spec).map(drop).unwrap_err();
    assert!(error.to_string().contains("net.no.such"), "{error}");
    spec.sysctls = [("net/../kernel/hostname".to_owned(), "evil".to_owned())].into();
    assert!(host.connect(&spec).is_err());
    // The namespaces of the failed ones go in the background, their interfaces with them.
    let ports = format!("/sys/class/net/{}/brif", network.bridge);
    let end = std::time::Instant::now() + crate::support::PATIENCE;
    while std::fs::read_dir(&ports).unwrap().next().is_some() {
        assert!(std::time::Instant::now() < end, "an interface is left");
        std::thread::yield_now();
    }
    assert_eq!(host.networks.endpoints(&network.id).unwrap(), []);
    host.end();
}

#[test]
fn both_families_work_on_a_network_with_ipv6_and_settings_reach_the_namespace() {
    if cannot_run() {
        return;
    }
    let host = Host::new();
    let mut six = config("six");
    six.enable_ipv6 = true;
    six.driver_opts.insert("com.docker.network.driver.mtu".to_owned(), "1400".to_owned());
    host.networks.create(&six).unwrap();
    let mut spec = Spec::new("a", &["six"]);
    spec.sysctls.insert("net.ipv4.ip_forward".to_owned(), "1".to_owned());
    spec.attachments[0].mac_address = Some("02:00:00:00:00:07".parse().unwrap());
    let a = host.connect(&spec).unwrap();
    let b = host.guest("b", &["six"]);
    let address: IpAddr = b.connection.endpoints[0].ipv6.unwrap().into();
    let listener = b.inside(|| TcpListener::bind("[::]:8080").unwrap());
    let served = serve_once(listener, "six");
    assert_eq!(a.ask(SocketAddr::new(address, 8080)).as_deref(), Some("six"));
    assert_eq!(served.join().unwrap().ip(), IpAddr::from(a.connection.endpoints[0].ipv6.unwrap()));
    let link = a.command(&["ip", "link", "show", "eth0"]);
    assert!(link.contains("mtu 1400") && link.contains("02:00:00:00:00:07"), "{link}");
    assert_eq!(a.command(&["cat", "/proc/sys/net/ipv4/ip_forward"]).trim(), "1");
    assert_eq!(a.command(&["cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start"]).trim(), "0");
    host.disconnect(a);
    host.disconnect(b);
    host.end();
}

#[test]
fn without_networks_there_is_only_loopback() {
    if cannot_run() {
        return;
    }
    let host = Host::new();
    let a = host.guest("a", &[]);
    assert!(a.connection.dns.is_none());
    let links = a.command(&["ip", "-o", "link"]);
    assert_eq!(links.lines().count(), 1, "{links}");
    assert!(links.contains("LOOPBACK,UP"), "{links}");
    host.disconnect(a);
}
