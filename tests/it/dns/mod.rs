//! The resolver on real sockets: what a container's own resolver would see.

mod upstream;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use xcompose::dns::names::{Member, Names};
use xcompose::dns::{Asker, Resolver, Sockets, Upstreams};

use crate::support::{PATIENCE, cannot_run};

/// A resolver for one container, on loopback sockets of its own, served by a thread until the test ends.
struct Served {
    address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Served {
    fn new(members: Vec<Member>, asker: Asker) -> Served {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        let tcp = TcpListener::bind(address).unwrap();
        let sockets = Sockets { udp: udp.into(), tcp: tcp.into() };
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut resolver = Resolver::new(Arc::new(Names::new(&members)));
                resolver.serve("c", asker, sockets).unwrap();
                let _ = stopped.await;
            });
        });
        Served { address, stop: Some(stop), thread: Some(thread) }
    }

    fn udp(&self, bytes: &[u8]) -> Message {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        // Datagrams may be lost under load: ask again, as every stub resolver does (resolv.conf(5), attempts).
        socket.set_read_timeout(Some(PATIENCE / 60)).unwrap();
        let mut buffer = [0; 65536];
        let answered = (0..60).find_map(|_| {
            socket.send_to(bytes, self.address).unwrap();
            socket.recv(&mut buffer).ok()
        });
        Message::from_vec(&buffer[..answered.expect("an answer")]).unwrap()
    }

    fn tcp(&self, bytes: &[u8]) -> Message {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&u16::try_from(bytes.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(bytes).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).unwrap();
        Message::from_vec(&answer).unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn web(replicas: u8) -> Vec<Member> {
    (1..=replicas)
        .map(|number| Member {
            network: "n".to_owned(),
            network_name: "shop_default".to_owned(),
            container: format!("shop-web-{number}"),
            names: vec!["web".to_owned()],
            addresses: vec![Ipv4Addr::new(172, 18, 0, number).into()],
        })
        .collect()
}

fn asker() -> Asker {
    Asker { networks: vec!["n".to_owned()], ..Asker::default() }
}

fn addresses(message: &Message) -> Vec<IpAddr> {
    message.answers.iter().filter_map(|record| record.data.ip_addr()).collect()
}

#[test]
fn a_service_resolves_by_udp_and_tcp_with_all_replicas_in_turn() {
    let served = Served::new(web(3), asker());
    let question = question("WEB.", RecordType::A).to_vec().unwrap();
    let answers = [served.udp(&question), served.tcp(&question), served.udp(&question)];
    let first: Vec<_> = answers.iter().map(|answer| addresses(answer)[0]).collect();
    assert!(first[0] != first[1] && first[1] != first[2] && first[0] != first[2], "{first:?}");
    for answer in &answers {
        assert_eq!(
            (answer.metadata.id, answer.metadata.response_code, answer.answers.len()),
            (4711, ResponseCode::NoError, 3)
        );
        assert!(answer.metadata.authoritative && answer.metadata.recursion_available);
        assert_eq!(answer.queries[0].name().to_string(), "WEB.", "the question comes back as it was written");
    }
}

#[test]
fn a_name_without_the_asked_type_exists_and_an_unknown_one_does_not() {
    let served = Served::new(web(1), asker());
    for kind in [RecordType::AAAA, RecordType::MX, RecordType::TXT] {
        let answer = served.udp(&question("web.", kind).to_vec().unwrap());
        assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 0), "{kind}");
    }
    let answer = served.udp(&question("nobody.", RecordType::A).to_vec().unwrap());
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    let answer = served.udp(&question("1.0.18.172.in-addr.arpa.", RecordType::PTR).to_vec().unwrap());
    assert_eq!(answer.answers[0].data.to_string(), "shop-web-1.shop_default.");
}

#[test]
fn what_does_not_fit_a_datagram_is_truncated_and_comes_whole_by_tcp() {
    let served = Served::new(web(100), asker());
    let plain = question("web.", RecordType::A).to_vec().unwrap();
    let answer = served.udp(&plain);
    assert!(answer.metadata.truncation && answer.answers.len() < 100);
    assert_eq!(served.tcp(&plain).answers.len(), 100);
    let mut large = question("web.", RecordType::A);
    large.set_edns({
        let mut edns = Edns::new();
        edns.set_max_payload(4096);
        edns
    });
    let answer = served.udp(&large.to_vec().unwrap());
    assert!(!answer.metadata.truncation && answer.answers.len() == 100);
    assert!(answer.edns.is_some(), "RFC 6891 §6.1.1");
}

#[test]
fn packets_of_any_bytes_leave_the_resolver_answering() {
    let served = Served::new(web(1), asker());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let valid = question("web.", RecordType::A).to_vec().unwrap();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..2_000 {
        // xorshift: the same packets in every run.
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut packet = if round % 2 == 0 { valid.clone() } else { vec![0; (next() % 80) as usize] };
        for _ in 0..1 + next() % 6 {
            if !packet.is_empty() {
                let at = (next() % packet.len() as u64) as usize;
                packet[at] = next() as u8;
            }
        }
        packet.truncate((next() % 96) as usize);
        socket.send_to(&packet, served.address).unwrap();
    }
    assert_eq!(addresses(&served.udp(&valid)).len(), 1);
    for further in [1, 30] {
        let mut several = question("web.", RecordType::A);
        let name = |number| Name::from_ascii(format!("{}.{number}.", "b".repeat(60))).unwrap();
        several.add_queries((0..further).map(|number| Query::query(name(number), RecordType::A)));
        let answer = served.udp(&several.to_vec().unwrap());
        assert_eq!((answer.metadata.id, answer.metadata.response_code), (4711, ResponseCode::FormErr));
    }
    let mut update = question("web.", RecordType::A);
    update.metadata.op_code = OpCode::Status;
    assert_eq!(served.udp(&update.to_vec().unwrap()).metadata.response_code, ResponseCode::NotImp);
}

/// A server of somebody else's names at port 53 of a loopback address of its own.
fn upstream(address: Ipv4Addr, code: ResponseCode) {
    let socket = UdpSocket::bind((address, 53)).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let question = Message::from_vec(&buffer[..length]).unwrap();
            let name = question.queries[0].name().clone();
            let mut answer = question.into_response();
            answer.metadata.response_code = code;
            if code == ResponseCode::NoError {
                answer.add_answer(Record::from_rdata(name, 60, RData::A(A(Ipv4Addr::new(192, 0, 2, 1)))));
            }
            socket.send_to(&answer.to_vec().unwrap(), from).unwrap();
        }
    });
}

#[test]
fn other_names_go_to_the_first_upstream_that_answers() {
    if cannot_run() {
        return;
    }
    let (failing, good, silent) =
        (Ipv4Addr::new(127, 53, 0, 1), Ipv4Addr::new(127, 53, 0, 2), Ipv4Addr::new(127, 53, 0, 3));
    upstream(failing, ResponseCode::ServFail);
    upstream(good, ResponseCode::NoError);
    // A closed port answers at once that nobody is there; a bound socket that is never read stays silent.
    let mute = UdpSocket::bind((silent, 53)).unwrap();
    let ask = |upstreams: &[Ipv4Addr]| {
        let upstreams = Upstreams::These(upstreams.iter().map(|address| IpAddr::from(*address)).collect());
        let served = Served::new(web(1), Asker { upstreams, ..asker() });
        served.udp(&question("example.org.", RecordType::A).to_vec().unwrap())
    };
    for servers in [vec![good], vec![failing, good], vec![Ipv4Addr::new(127, 53, 0, 9), good], vec![silent, good]] {
        let answer = ask(&servers);
        assert_eq!(addresses(&answer), [IpAddr::from(Ipv4Addr::new(192, 0, 2, 1))], "{servers:?}");
        assert_eq!(answer.metadata.id, 4711);
    }
    assert_eq!(ask(&[failing]).metadata.response_code, ResponseCode::ServFail);
    assert_eq!(ask(&[silent]).metadata.response_code, ResponseCode::ServFail);
    drop(mute);
}
