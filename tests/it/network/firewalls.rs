//! Beside other firewalls, and after they took everything away. They are written as their own programs write them, on a
//! machine apart: real ones would cut off the other tests.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::network::stacks::{WAITS, machine};
use crate::network::support::{Host, Outside, Spec, apart, ask, listen, nft, serve_once};
use crate::scenarios::leftovers;
use crate::support::{cannot_run, eventually, http_get};

/// What `ufw enable` makes of iptables' chain.
fn ufw() {
    for family in ["ip", "ip6"] {
        nft(&["add", "table", family, "filter"]);
        nft(&["add", "chain", family, "filter", "FORWARD", "{ type filter hook forward priority 0; policy drop; }"]);
        nft(&["add", "chain", family, "filter", "ufw-before-forward"]);
        nft(&["add", "rule", family, "filter", "FORWARD", "counter", "jump", "ufw-before-forward"]);
        nft(&["add", "rule", family, "filter", "ufw-before-forward", "ct", "state", "established,related", "accept"]);
    }
}

/// What firewalld has for its default zone, as far as packets pass through it.
fn firewalld() {
    nft(&["add", "table", "inet", "firewalld"]);
    for (chain, hook) in [("filter_FORWARD", "forward"), ("filter_INPUT", "input")] {
        let hook = format!("{{ type filter hook {hook} priority 10; policy accept; }}");
        nft(&["add", "chain", "inet", "firewalld", chain, &hook]);
        for rule in ["ct state { established, related } accept", "ct status dnat accept", "iifname lo accept"] {
            nft(&["add", "rule", "inet", "firewalld", chain, rule]);
        }
        nft(&["add", "rule", "inet", "firewalld", chain, "reject with icmpx admin-prohibited"]);
    }
}

#[test]
fn containers_go_out_publish_and_talk_although_another_firewall_lets_nothing_through() {
    if cannot_run() {
        return;
    }
    for other in [ufw, firewalld] {
        apart(|| {
            other();
            let before = nft(&["-s", "list", "ruleset"]);
            let host = Host::new();
            let outside = Outside::new();
            host.network("n");
            let mut named = crate::network::support::config("named");
            named.driver_opts.insert("com.docker.network.bridge.name".to_owned(), "mine0".to_owned());
            host.networks.create(&named).unwrap();
            for network in ["n", "named"] {
                let web = host.connect(&Spec::new("web", &[network]).publish(None, Some(8000), 8080)).unwrap();
                let peer = host.guest("peer", &[network]);
                let served = web.serve_once(8080, "web");
                let published = SocketAddr::new(outside.here, 8000);
                assert_eq!(outside.inside(|| ask(published)).as_deref(), Some("web"), "from outside");
                served.join().unwrap();
                let served = web.serve_once(8080, "web");
                assert_eq!(peer.ask(SocketAddr::new(web.ipv4(), 8080)).as_deref(), Some("web"), "from a peer");
                served.join().unwrap();
                let listener = outside.inside(|| listen(7000));
                let served = serve_once(listener, "out");
                let away = SocketAddr::new(outside.there, 7000);
                assert_eq!(web.ask(away).as_deref(), Some("out"), "to the outside");
                assert_eq!(served.join().unwrap().ip(), outside.here);
                host.disconnect(web);
                host.disconnect(peer);
            }
            host.end();
            assert_eq!(nft(&["-s", "list", "ruleset"]), before, "its rules are as they were");
        });
    }
}

#[test]
fn what_somebody_flushed_is_made_again_while_containers_run() {
    if cannot_run() {
        return;
    }
    apart(|| {
        let outside = Outside::new();
        let machine = machine(&format!(
            "services:\n  web: {{image: busybox, stop_signal: SIGKILL, command: [httpd, -f, -p, '80', -h, /etc], \
             ports: ['8000:80']}}\n  other: {{{WAITS}, networks: [far]}}\nnetworks: {{far: }}\n"
        ));
        machine.xcompose(["-p", "p", "up", "-d"]).ok();
        let published = format!("{}:8000", outside.here);
        let served = || outside.inside(|| http_get(&published, "/hostname")).contains("200 OK");
        assert!(served());
        // As `systemctl reload nftables` does, and whoever else thinks that all rules are his.
        nft(&["flush", "ruleset"]);
        eventually("the port is redirected again", || nft(&["list", "ruleset"]).contains("8000 :").then_some(()));
        assert!(served());
        // A firewall that comes later, with nobody of ours starting anything.
        ufw();
        firewalld();
        eventually("it lets our bridges through", || {
            let rules = nft(&["list", "ruleset"]);
            (rules.matches("iifname \"xc-*\" accept").count() >= 4).then_some(())
        });
        assert!(served());
        let address: IpAddr = Ipv4Addr::LOCALHOST.into();
        assert!(http_get(&SocketAddr::new(address, 8000).to_string(), "/hostname").contains("200 OK"));
        machine.xcompose(["-p", "p", "down"]).ok();
        leftovers::none(&machine, &[], &Default::default());
        assert!(!nft(&["list", "ruleset"]).contains("xc-"), "{}", nft(&["list", "ruleset"]));
    });
}
