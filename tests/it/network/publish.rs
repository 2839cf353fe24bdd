//! Published ports: reached from everywhere they should be, held, named when taken.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use xcompose::runtime::network::NetworkError;
use xcompose::runtime::network::connect::Connection;
use xcompose::runtime::network::proxy::Proxy;
use xcompose::values::protocol::Protocol;

use crate::network::support::{Host, Outside, Spec, ask, config, echo_once, nft, serve_once, udp};
use crate::support::{cannot_run, free_port};

/// Serves a connection's held ports on a thread until dropped.
struct Serving {
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Serving {
    fn of(connection: &mut Connection) -> Serving {
        let holders = std::mem::take(&mut connection.holders);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let _proxy = Proxy::start(holders).unwrap();
                let _ = stopped.await;
            });
        });
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
    let port = free_port();
    let mut spec = Spec::new("web", &["n"]).publish(None, Some(port), 8080).publish(None, Some(port), 8080);
    spec.ports[1].protocol = Protocol::Udp;
    let mut web = host.connect(&spec).unwrap();
    let serving = Serving::of(&mut web.connection);
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
        text.starts_with(&format!("cannot publish tcp port 0.0.0.0:{port}: it is taken by container web")),
        "{text}"
    );
    assert!(text.contains("(project p); "), "{text}");
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
