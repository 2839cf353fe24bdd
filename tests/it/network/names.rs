//! Names as a container sees them: its own sockets, its own networks.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use xcompose::dns::names::Names;
use xcompose::dns::{Asker, Resolver};
use xcompose::runtime::network::record::EndpointRecord;

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
    let networks = host.networks.list().unwrap();
    let (swap, mut swaps) = tokio::sync::mpsc::unbounded_channel::<(Names, std::sync::mpsc::Sender<()>)>();
    let sockets = [(&mut asking, "asking"), (&mut strange, "strange")].map(|(guest, name)| {
        let asker = Asker {
            networks: guest.connection.endpoints.iter().map(|endpoint| endpoint.network_id.clone()).collect(),
            ..Asker::default()
        };
        (name, asker, guest.connection.dns.take().unwrap())
    });
    let serving = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut resolver = Resolver::new();
            for (name, asker, sockets) in sockets {
                resolver.serve(name, asker, sockets).unwrap();
            }
            while let Some((names, done)) = swaps.recv().await {
                resolver.swap(names);
                done.send(()).unwrap();
            }
        });
    });
    let refresh = || {
        let endpoints = networks.iter().flat_map(|network| host.networks.endpoints(&network.id).unwrap());
        let members: Vec<_> = endpoints.map(EndpointRecord::member).collect();
        let (done, swapped) = std::sync::mpsc::channel();
        swap.send((Names::new(&members), done)).unwrap();
        swapped.recv().unwrap();
    };
    refresh();
    let found = (ResponseCode::NoError, vec![web.ipv4()]);
    for name in ["web.", "www.", "p-web-1.", "web.front.", &format!("{}.", web_id.short())] {
        assert_eq!(resolve(&asking, name), found, "{name}");
        assert_eq!(resolve(&strange, name).0, ResponseCode::NXDomain, "{name}");
    }
    host.disconnect(web);
    refresh();
    assert_eq!(resolve(&asking, "web.").0, ResponseCode::NXDomain);
    drop(swap);
    serving.join().unwrap();
    host.disconnect(asking);
    host.disconnect(strange);
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
