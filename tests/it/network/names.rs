//! Names as a container sees them: its own sockets, its own networks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use xcompose::dns::{Asker, Resolver, Sockets};
use xcompose::runtime::supervisor::names::Membership;

use crate::network::support::{Guest, Host, Spec, echo_once, serve_once, udp};
use crate::support::cannot_run;

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

/// What a container is told about a name.
fn resolve(guest: &Guest, name: &str) -> (ResponseCode, Vec<IpAddr>) {
    guest.inside(|| {
        let socket = udp("127.0.0.1:0");
        socket.send_to(&question(name, RecordType::A), "127.0.0.11:53").unwrap();
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        let answer = Message::from_vec(&buffer[..length]).unwrap();
        (answer.metadata.response_code, answer.answers.iter().filter_map(|record| record.data.ip_addr()).collect())
    })
}

/// Serves containers' resolvers by the records of their networks, as a supervisor does, until dropped.
struct Serving {
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Serving {
    fn of(host: &Host, guests: &mut [&mut Guest]) -> Serving {
        let layout = host.networks.layout().clone();
        let of_guest = |guest: &mut &mut Guest| {
            let networks = guest.connection.endpoints.iter().map(|endpoint| endpoint.network_id.clone()).collect();
            let asker = Asker { container: guest.id.0.clone(), networks, ..Asker::default() };
            (asker, guest.connection.dns.take().unwrap())
        };
        let guests: Vec<(Asker, Sockets)> = guests.iter_mut().map(of_guest).collect();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let membership = Membership::new(&layout);
                let mut resolver = Resolver::new(membership.clone());
                for (asker, sockets) in guests {
                    membership.join(&asker.networks);
                    resolver.serve(&asker.container.clone(), asker, sockets).unwrap();
                }
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
fn a_name_is_true_while_its_container_is_connected_and_only_on_its_networks() {
    if cannot_run() {
        return;
    }
    let host = Host::new();
    host.network("front");
    host.network("back");
    let mut web = Spec::new("p-web-1", &["front"]);
    web.attachments[0].aliases = vec!["web".to_owned(), "WWW".to_owned()];
    let (web_id, web) = (web.id.clone(), host.connect(&web).unwrap());
    let mut asking = host.guest("asking", &["front"]);
    let mut strange = host.guest("strange", &["back"]);
    let serving = Serving::of(&host, &mut [&mut asking, &mut strange]);
    let found = (ResponseCode::NoError, vec![web.ipv4()]);
    for name in ["web.", "www.", "p-web-1.", "web.front.", &format!("{}.", web_id.short())] {
        assert_eq!(resolve(&asking, name), found, "{name}");
        assert_eq!(resolve(&strange, name).0, ResponseCode::NXDomain, "{name}");
    }
    // The very next question is told otherwise.
    host.disconnect(web);
    assert_eq!(resolve(&asking, "web.").0, ResponseCode::NXDomain);
    drop(serving);
    host.disconnect(asking);
    host.disconnect(strange);
    host.end();
}

#[test]
fn names_are_right_after_each_of_a_thousand_starts_and_stops() {
    if cannot_run() {
        return;
    }
    let host = Host::new();
    host.network("n");
    let mut asking = host.guest("asking", &["n"]);
    let serving = Serving::of(&host, &mut [&mut asking]);
    let mut running: BTreeMap<(u64, u64), Guest> = BTreeMap::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..1_000 {
        // xorshift: the same events in every run.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let (service, replica) = (state % 4, state / 4 % 4);
        match running.remove(&(service, replica)) {
            Some(guest) => host.disconnect(guest),
            None => {
                let mut spec = Spec::new(&format!("s{service}-{replica}"), &["n"]);
                spec.slot = format!("s{service}/{replica}");
                spec.attachments[0].aliases = vec![format!("s{service}")];
                running.insert((service, replica), host.connect(&spec).unwrap());
            }
        }
        let of_service = running.iter().filter(|((other, _), _)| *other == service);
        let expected: BTreeSet<IpAddr> = of_service.map(|(_, guest)| guest.ipv4()).collect();
        let (code, found) = resolve(&asking, &format!("s{service}."));
        let exists = if expected.is_empty() { ResponseCode::NXDomain } else { ResponseCode::NoError };
        assert_eq!((code, found.into_iter().collect()), (exists, expected));
    }
    for guest in running.into_values() {
        host.disconnect(guest);
    }
    drop(serving);
    host.disconnect(asking);
    host.end();
}

#[test]
fn a_container_may_run_a_name_server_of_its_own_on_every_address() {
    if cannot_run() {
        return;
    }
    let host = Host::new();
    host.network("n");
    let mut server = host.guest("server", &["n"]);
    let sockets = server.connection.dns.take().unwrap();
    let ours = (UdpSocket::from(sockets.udp), TcpListener::from(sockets.tcp));
    let theirs = server.inside(|| (udp("0.0.0.0:53"), TcpListener::bind("0.0.0.0:53").unwrap()));
    // Each is reached where it is looked for, and the answer comes from there.
    let ours = (echo_once(ours.0), serve_once(ours.1, "ours"));
    let theirs = (echo_once(theirs.0), serve_once(theirs.1, "theirs"));
    for (address, word) in [("127.0.0.11:53", "ours"), ("127.0.0.1:53", "theirs")] {
        let address: SocketAddr = address.parse().unwrap();
        let from = server.inside(|| {
            let socket = udp("127.0.0.1:0");
            socket.send_to(b"question", address).unwrap();
            socket.recv_from(&mut [0; 64]).unwrap().1
        });
        assert_eq!(from, address);
        assert_eq!(server.ask(address).as_deref(), Some(word));
    }
    for thread in [ours.0, ours.1, theirs.0, theirs.1] {
        thread.join().unwrap();
    }
    host.disconnect(server);
    host.end();
}
