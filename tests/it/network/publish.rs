//! Published ports: reached from everywhere they should be, held, named when taken.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use xcompose::runtime::network::NetworkError;
use xcompose::runtime::network::published::Readiness;
use xcompose::values::protocol::Protocol;

use crate::network::support::{Guest, Host, Outside, Spec, ask, config, echo_once, greeting, nft, serve_once, udp};
use crate::support::{cannot_run, eventually, free_port};

/// Serves a container's ports on a thread until dropped.
struct Serving {
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Serving {
    fn of(host: &Host, guest: &Guest) -> Serving {
        let (published, id) = (host.published.clone(), guest.id.clone());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (begun, began) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                published.serve(&id).unwrap();
                begun.send(()).unwrap();
                let _ = stopped.await;
            });
        });
        began.recv().unwrap();
        Serving { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

#[test]
fn a_published_port_is_reached_from_everywhere_with_the_callers_address() {
    if cannot_run() {
        return;
    }
    let host = Host::new();
    let outside = Outside::new();
    host.network("n");
    host.network("other");
    let port = free_port();
    let web = host.connect(&Spec::new("web", &["n"]).publish(None, Some(port), 8080)).unwrap();
    let published: Vec<String> =
        web.connection.published.iter().map(|port| format!("{}:{}", port.host_ip, port.published)).collect();
    assert_eq!(published, [format!("0.0.0.0:{port}"), format!(":::{port}")]);
    let reached_by = |from: &dyn Fn(SocketAddr) -> Option<String>, at: IpAddr| {
        let served = web.serve_once(8080, "web");
        assert_eq!(from(SocketAddr::new(at, port)).as_deref(), Some("web"), "at {at}");
        served.join().unwrap().ip()
    };
    let gateway = host.networks.find(&"n".parse().unwrap()).unwrap().subnets[0].gateway;
    // The machine itself: its loopback, its own address.
    assert_eq!(reached_by(&ask, Ipv4Addr::LOCALHOST.into()), gateway);
    assert_eq!(reached_by(&ask, outside.here), outside.here);
    // Another machine: its address is kept.
    let other_machine = |address| outside.inside(|| ask(address));
    assert_eq!(reached_by(&other_machine, outside.here), outside.there);
    // A neighbour, itself, and a container of another network, by the machine's address.
    let neighbour = host.guest("neighbour", &["n"]);
    reached_by(&|address| neighbour.ask(address), outside.here);
    reached_by(&|address| web.ask(address), outside.here);
    let stranger = host.guest("stranger", &["other"]);
    assert_eq!(reached_by(&|address| stranger.ask(address), outside.here), stranger.ipv4());
    // By the address of its own network's bridge, as `host.docker.internal` is.
    reached_by(&|address| web.ask(address), gateway);
    for guest in [web, neighbour, stranger] {
        host.disconnect(guest);
    }
    // Closed at once.
    assert_eq!(ask((Ipv4Addr::LOCALHOST, port).into()), None);
    assert!(!nft(&["list", "map", "inet", &host.table(), "any4"]).contains("elements"));
    host.end();
}

#[test]
fn a_port_published_on_one_address_is_on_that_alone() {
    if cannot_run() {
        return;
    }
    let host = Host::new();
    let outside = Outside::new();
    host.network("n");
    let port = free_port();
    let web = host.connect(&Spec::new("web", &["n"]).publish(Some("127.0.0.1"), Some(port), 8080)).unwrap();
    let served = web.serve_once(8080, "web");
    assert_eq!(ask((Ipv4Addr::new(127, 0, 0, 2), port).into()), None);
    assert_eq!(ask(SocketAddr::new(outside.here, port)), None);
    assert_eq!(outside.inside(|| ask(SocketAddr::new(outside.here, port))), None);
    assert_eq!(ask((Ipv4Addr::LOCALHOST, port).into()).as_deref(), Some("web"));
    served.join().unwrap();
    host.disconnect(web);
    host.end();
}

#[test]
fn what_no_rule_redirects_is_carried_by_the_proxy() {
    if cannot_run() {
        return;
    }
    let host = Host::new();
    host.network("n");
    let mut both = config("both");
    both.enable_ipv6 = true;
    host.networks.create(&both).unwrap();
    let port = free_port();
    // A container with IPv6, too, is reached by ::1 through the proxy alone, and by other addresses without it.
    let web = host.connect(&Spec::new("web", &["both"]).publish(None, Some(port), 8080)).unwrap();
    let serving = Serving::of(&host, &web);
    let served = serve_once(web.inside(|| TcpListener::bind("[::]:8080").unwrap()), "loopback");
    assert_eq!(ask(("::1".parse::<IpAddr>().unwrap(), port).into()).as_deref(), Some("loopback"));
    served.join().unwrap();
    drop(serving);
    host.disconnect(web);

    let mut spec = Spec::new("web", &["n"]).publish(None, Some(port), 8080).publish(None, Some(port), 8080);
    spec.ports[1].protocol = Protocol::Udp;
    let web = host.connect(&spec).unwrap();
    let serving = Serving::of(&host, &web);
    let served = web.serve_once(8080, "six");
    assert_eq!(ask(("::1".parse::<IpAddr>().unwrap(), port).into()).as_deref(), Some("six"));
    served.join().unwrap();
    let socket = web.inside(|| udp("0.0.0.0:8080"));
    let echoed = echo_once(socket);
    let caller = udp("[::1]:0");
    caller.send_to(b"ping", ("::1", port)).unwrap();
    let mut buffer = [0; 16];
    assert_eq!(caller.recv(&mut buffer).unwrap(), 4);
    echoed.join().unwrap();
    // Somebody flushed the rules.
    nft(&["flush", "chain", "inet", &host.table(), "published"]);
    let served = web.serve_once(8080, "four");
    assert_eq!(ask((Ipv4Addr::LOCALHOST, port).into()).as_deref(), Some("four"));
    served.join().unwrap();
    drop(serving);
    host.disconnect(web);
    host.end();
}

#[test]
fn datagrams_reach_a_published_port() {
    if cannot_run() {
        return;
    }
    let host = Host::new();
    let outside = Outside::new();
    host.network("n");
    let port = free_port();
    let mut spec = Spec::new("web", &["n"]).publish(None, Some(port), 5000);
    spec.ports[0].protocol = Protocol::Udp;
    let web = host.connect(&spec).unwrap();
    let say = |socket: UdpSocket, to: SocketAddr| {
        let echoed = echo_once(web.inside(|| udp("0.0.0.0:5000")));
        socket.send_to(b"ping", to).unwrap();
        let mut buffer = [0; 16];
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!((length, from), (4, to), "the answer comes from where the question went");
        echoed.join().unwrap().ip()
    };
    say(udp("127.0.0.1:0"), (Ipv4Addr::LOCALHOST, port).into());
    let socket = outside.inside(|| udp("0.0.0.0:0"));
    assert_eq!(say(socket, SocketAddr::new(outside.here, port)), outside.there);
    host.disconnect(web);
    host.end();
}

#[test]
fn a_taken_port_names_who_has_it_and_one_that_is_free() {
    if cannot_run() {
        return;
    }
    let host = Host::new();
    host.network("n");
    let port = free_port();
    let web = host.connect(&Spec::new("web", &["n"]).publish(None, Some(port), 80)).unwrap();
    let error = host.connect(&Spec::new("db", &["n"]).publish(None, Some(port), 80)).map(drop).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("Bind for 0.0.0.0:{port} (tcp) failed: port is already allocated: container web")),
        "{text}"
    );
    assert!(text.contains("(project p) has it; "), "{text}");
    let NetworkError::PortTaken { free: Some(free), .. } = error else { panic!("{text}") };
    let second = host.connect(&Spec::new("db", &["n"]).publish(None, Some(free), 80)).unwrap();
    host.disconnect(second);
    host.disconnect(web);
    let foreign = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = foreign.local_addr().unwrap().port();
    let error = host.connect(&Spec::new("db", &["n"]).publish(None, Some(port), 80)).map(drop).unwrap_err();
    assert!(error.to_string().contains(&format!("(pid {})", std::process::id())), "{error}");
    // Nothing of the failed ones is left: the names are free, and the port with its owner.
    assert_eq!(host.networks.endpoints(&host.networks.list().unwrap()[0].id).unwrap(), []);
    drop(foreign);
    host.disconnect(host.connect(&Spec::new("db", &["n"]).publish(None, Some(port), 80)).unwrap());
    host.end();
}

#[test]
fn a_random_port_stays_with_its_slot_and_looks_taken() {
    if cannot_run() {
        return;
    }
    let host = Host::new();
    host.network("n");
    let web = host.connect(&Spec::new("web", &["n"]).publish(None, None, 80)).unwrap();
    let ports: Vec<u16> = web.connection.published.iter().map(|port| port.published).collect();
    assert!(ports.len() == 2 && ports[0] == ports[1] && ports[0] != 0, "{ports:?}");
    assert!(TcpListener::bind(("127.0.0.1", ports[0])).is_err());
    host.disconnect(web);
    let again = host.connect(&Spec::new("web", &["n"]).publish(None, None, 80)).unwrap();
    assert_eq!(again.connection.published[0].published, ports[0]);
    host.disconnect(again);
    host.end();
}

#[test]
fn internal_networks_publish_nothing_and_a_network_may_bind_elsewhere() {
    if cannot_run() {
        return;
    }
    let host = Host::new();
    let mut internal = config("i");
    internal.internal = true;
    host.networks.create(&internal).unwrap();
    let port = free_port();
    let a = host.connect(&Spec::new("a", &["i"]).publish(None, Some(port), 80)).unwrap();
    assert_eq!(a.connection.published, []);
    let mut bound = config("bound");
    bound.driver_opts.insert("com.docker.network.bridge.host_binding_ipv4".to_owned(), "127.0.0.1".to_owned());
    host.networks.create(&bound).unwrap();
    let b = host.connect(&Spec::new("b", &["bound"]).publish(None, Some(port), 80)).unwrap();
    assert_eq!(b.connection.published.len(), 1);
    assert_eq!(b.connection.published[0].host_ip, IpAddr::from(Ipv4Addr::LOCALHOST));
    host.disconnect(a);
    host.disconnect(b);
    host.end();
}

#[test]
fn a_redirection_left_behind_by_the_dead_gives_way() {
    if cannot_run() {
        return;
    }
    let host = Host::new();
    host.network("n");
    let port = free_port();
    let dead = format!("{{ tcp . {port} : 192.0.2.1 . 80 }}");
    nft(&["add", "element", "inet", &host.table(), "any4", &dead]);
    let web = host.connect(&Spec::new("web", &["n"]).publish(None, Some(port), 8080)).unwrap();
    let served = serve_once(web.inside(|| TcpListener::bind("0.0.0.0:8080").unwrap()), "web");
    assert_eq!(ask((Ipv4Addr::LOCALHOST, port).into()).as_deref(), Some("web"));
    served.join().unwrap();
    host.disconnect(web);
    host.end();
}

/// Who answers to so many calls, by name.
fn answers(calls: usize, call: impl Fn() -> Option<String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..calls {
        *counts.entry(call().expect("an answer")).or_default() += 1;
    }
    counts
}

#[test]
fn replicas_share_a_port_by_those_that_are_ready_and_a_leaving_one_keeps_its_connections() {
    if cannot_run() {
        return;
    }
    let host = Host::new();
    let outside = Outside::new();
    host.network("n");
    let port = free_port();
    let replica = |number: u8| {
        let mut spec = Spec::new(&format!("web-{number}"), &["n"]).publish(None, Some(port), 8080);
        spec.slot = format!("web/{number}");
        host.connect(&spec).unwrap()
    };
    let replicas = [replica(1), replica(2), replica(3)];
    let serving = Serving::of(&host, &replicas[0]);
    let [one, two, three] = &replicas;
    let servers: Vec<_> =
        replicas.iter().zip(["one", "two", "three"]).map(|(guest, name)| guest.serve(8080, name)).collect();
    let ready = |guest: &Guest, readiness| host.published.set(&host.networks, &guest.id, readiness).unwrap();
    ready(one, Readiness::Ready);
    ready(two, Readiness::Ready);
    // From here, from another machine, and by the proxy: those two, and both of them.
    let here = || greeting((Ipv4Addr::LOCALHOST, port).into());
    let there = || outside.inside(|| greeting(SocketAddr::new(outside.here, port)));
    let carried = || greeting(("::1".parse::<IpAddr>().unwrap(), port).into());
    for call in [&here as &dyn Fn() -> Option<String>, &there, &carried] {
        let counts = answers(40, call);
        assert!(counts.len() == 2 && !counts.contains_key("three"), "{counts:?}");
    }
    ready(three, Readiness::Ready);
    assert_eq!(answers(120, here).len(), 3);
    // A connection to one that leaves goes on; nobody new comes.
    let mut word = [0; 3];
    let mut kept = std::iter::repeat_with(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap())
        .find(|mut stream| stream.read_exact(&mut word).is_ok() && &word == b"one")
        .unwrap();
    ready(one, Readiness::Leaving);
    assert!(!answers(40, here).contains_key("one"));
    kept.write_all(b"still there?").unwrap();
    kept.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"one");
    drop(kept);
    // Whoever held the port first may go; the port stays. Another service does not get it.
    let error = host.connect(&Spec::new("db", &["n"]).publish(None, Some(port), 80)).map(drop).unwrap_err();
    assert!(error.to_string().contains("port is already allocated: container web-1"), "{error}");
    drop(servers);
    let [one, two, three] = replicas;
    host.disconnect(one);
    host.disconnect(three);
    let served = two.serve_once(8080, "last");
    assert_eq!(here().as_deref(), Some("last"));
    served.join().unwrap();
    host.disconnect(two);
    drop(serving);
    assert_eq!(here(), None);
    host.end();
}

#[test]
fn a_datagram_caller_that_does_not_stop_calling_is_led_to_the_next_container() {
    if cannot_run() {
        return;
    }
    let host = Host::new();
    let outside = Outside::new();
    host.network("n");
    let port = free_port();
    let caller = outside.inside(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    caller.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
    let at = SocketAddr::new(outside.here, port);
    let call = || {
        // Refused while nobody is there: that is told with the next call.
        let _ = caller.send_to(b"ping", at);
        let mut buffer = [0; 16];
        caller.recv(&mut buffer).ok()
    };
    assert_eq!(call(), None);
    for round in 0..2 {
        let mut spec = Spec::new("web", &["n"]).publish(None, Some(port), 5000);
        spec.ports[0].protocol = Protocol::Udp;
        // Not the same place, so not the same address.
        spec.slot = format!("web/{round}");
        let web = host.connect(&spec).unwrap();
        let _serving = Serving::of(&host, &web);
        let echoed = echo_once(web.inside(|| udp("0.0.0.0:5000")));
        assert_eq!(eventually("an answer", call), 4);
        assert_eq!(echoed.join().unwrap().ip(), outside.there);
        host.disconnect(web);
    }
    host.end();
}
