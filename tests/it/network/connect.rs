//! Connecting containers: addresses, reach, isolation, the way out.

use std::net::SocketAddr;

use crate::network::support::{Host, nft};
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
    host.disconnect(a);
    host.disconnect(b);
    host.end();
}
