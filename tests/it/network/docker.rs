//! Beside Docker's rules. They are written as Docker writes them, on a machine apart: a real one would cut off the other
//! tests.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::network::support::{Host, Outside, Spec, apart, ask, nft, run};
use crate::support::cannot_run;

/// Docker's chains as iptables-nft makes them.
fn docker() {
    for family in ["ip", "ip6"] {
        nft(&["add", "table", family, "filter"]);
        let hook = "{ type filter hook forward priority 0; policy drop; }";
        nft(&["add", "chain", family, "filter", "FORWARD", hook]);
        nft(&["add", "chain", family, "filter", "DOCKER-USER"]);
        nft(&["add", "rule", family, "filter", "DOCKER-USER", "counter", "return"]);
        nft(&["add", "rule", family, "filter", "FORWARD", "counter", "jump", "DOCKER-USER"]);
    }
}

#[test]
fn containers_talk_and_publish_although_docker_drops_what_is_forwarded() {
    if cannot_run() {
        return;
    }
    apart(|| {
        docker();
        let before = nft(&["-s", "list", "ruleset"]);
        let host = Host::new();
        let outside = Outside::new();
        host.network("n");
        let web = host.connect(&Spec::new("web", &["n"]).publish(None, Some(8000), 8080)).unwrap();
        let other = host.guest("other", &["n"]);
        for address in [SocketAddr::new(outside.here, 8000), SocketAddr::from((Ipv4Addr::LOCALHOST, 8000))] {
            let served = web.serve_once(8080, "web");
            assert_eq!(ask(address).as_deref(), Some("web"));
            served.join().unwrap();
        }
        let served = web.serve_once(8080, "web");
        assert_eq!(outside.inside(|| ask(SocketAddr::new(outside.here, 8000))).as_deref(), Some("web"));
        assert_eq!(served.join().unwrap().ip(), outside.there);
        let served = web.serve_once(8080, "web");
        assert_eq!(other.ask(SocketAddr::new(web.ipv4(), 8080)).as_deref(), Some("web"));
        served.join().unwrap();
        // iptables, where it is, understands the two rules.
        if let Ok(listed) = std::process::Command::new("iptables-nft").args(["-S", "DOCKER-USER"]).output() {
            let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
            assert!(listed.contains("-A DOCKER-USER -i xc-+ "), "{listed}");
        }
        host.disconnect(web);
        host.disconnect(other);
        host.end();
        assert_eq!(nft(&["-s", "list", "ruleset"]), before);
    });
}

#[test]
fn a_network_without_bridged_packets_in_the_firewall_works_too() {
    if cannot_run() {
        return;
    }
    apart(|| {
        // Not every machine has the setting, and where it is missing it counts as off.
        let setting = "/proc/sys/net/bridge/bridge-nf-call-iptables";
        if std::path::Path::new(setting).exists() {
            run(&["sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0"]);
        }
        let host = Host::new();
        let outside = Outside::new();
        let mut six = crate::network::support::config("n");
        six.enable_ipv6 = true;
        host.networks.create(&six).unwrap();
        let web = host.connect(&Spec::new("web", &["n"]).publish(None, Some(8000), 8080)).unwrap();
        let other = host.guest("other", &["n"]);
        for caller in [&web, &other] {
            let served = web.serve_once(8080, "web");
            assert_eq!(caller.ask(SocketAddr::new(outside.here, 8000)).as_deref(), Some("web"));
            served.join().unwrap();
        }
        // IPv6 is redirected too where the container has an address, and keeps the caller's.
        let gateway = host.networks.list().unwrap()[0].subnets[1].gateway;
        let listener = web.inside(|| std::net::TcpListener::bind("[::]:8080").unwrap());
        let served = crate::network::support::serve_once(listener, "six");
        assert_eq!(ask(SocketAddr::new(gateway, 8000)).as_deref(), Some("six"));
        assert_eq!(served.join().unwrap().ip(), gateway);
        let listener = web.inside(|| std::net::TcpListener::bind("[::]:8080").unwrap());
        let served = crate::network::support::serve_once(listener, "six");
        assert_eq!(other.ask(SocketAddr::new(gateway, 8000)).as_deref(), Some("six"));
        assert!(matches!(served.join().unwrap().ip(), IpAddr::V6(_)));
        host.disconnect(web);
        host.disconnect(other);
        host.end();
    });
}
