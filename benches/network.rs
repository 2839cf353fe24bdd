//! What our networks cost: `cargo bench --bench network`, as root. Questions to a container's resolver, asked inside the
//! container; a published port against the container's own address, both from the machine itself.

#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use nix::sched::{CloneFlags, setns};
use xcompose::dns::{Asker, Resolver};
use xcompose::engine::{Attachment, ContainerId, NetworkConfig, PortMapping};
use xcompose::runtime::layout::Layout;
use xcompose::runtime::network::Networks;
use xcompose::runtime::network::connect::{ConnectRequest, Connection, Connector};
use xcompose::runtime::network::published::Published;
use xcompose::runtime::supervisor::names::Membership;
use xcompose::values::protocol::Protocol;

/// Questions one after the other, and calls of a server.
const TURNS: usize = 20_000;
/// Questions in all when many are under way, and how many that are.
const QUESTIONS: usize = 400_000;
const UNDER_WAY: usize = 64;
/// What is sent to measure throughput.
const BYTES: usize = 2 << 30;
const ROUNDS: usize = 5;

fn main() {
    if !nix::unistd::geteuid().is_root() {
        println!("network: INVALID: needs root");
        return;
    }
    let root = tempfile::Builder::new().prefix("xc-bench-").tempdir().unwrap();
    let layout = Layout::new(root.path().join("data"), root.path().join("run"));
    let networks = Networks::new(layout.clone());
    let published = Published::default();
    let network = networks.create(&NetworkConfig::bridge("bench".parse().unwrap())).unwrap();
    let (id, mut connection) = connect(&networks, &published);
    let netns = connection.netns.try_clone().unwrap();
    resolver(&layout, &mut connection);
    let (one, many) = (one_after_the_other(&netns), many_at_once(&netns));
    println!("name, asked inside the container    p50 {one:?}");
    println!("names, {UNDER_WAY} under way                 {many:.0} a second");
    let direct = SocketAddr::new(connection.endpoints[0].ipv4.unwrap().into(), 80);
    let port = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), connection.published[0].published);
    serve(&netns);
    let mut figures: Vec<[(Duration, f64); 2]> = Vec::new();
    for _ in 0..ROUNDS {
        figures.push([direct, port].map(|address| (ping_pong(address), throughput(address))));
    }
    let median = |which: usize| {
        let mut latencies: Vec<Duration> = figures.iter().map(|round| round[which].0).collect();
        let mut rates: Vec<f64> = figures.iter().map(|round| round[which].1).collect();
        latencies.sort();
        rates.sort_by(f64::total_cmp);
        (latencies[ROUNDS / 2], rates[ROUNDS / 2])
    };
    let (direct, port) = (median(0), median(1));
    println!("container's own address             p50 {:?}, {:.1} Gbit/s", direct.0, direct.1);
    println!(
        "published port                      p50 {:?}, {:.1} Gbit/s ({:.0} %)",
        port.0,
        port.1,
        100.0 * port.1 / direct.1
    );
    published.close(&networks, &id).1.unwrap();
    networks.disconnect(&id, &connection.endpoints).unwrap();
    networks.remove(&network.config.name).unwrap();
}

fn connect(networks: &Networks, published: &Published) -> (ContainerId, Connection) {
    let id = ContainerId(format!("{:064x}", std::process::id()));
    let attachment = Attachment {
        network: "bench".parse().unwrap(),
        aliases: vec!["web".to_owned()],
        links: Default::default(),
        ipv4_address: None,
        ipv6_address: None,
        link_local_ips: Vec::new(),
        mac_address: None,
        interface_name: None,
        gw_priority: 0,
        driver_opts: Default::default(),
    };
    let mapping = PortMapping { host_ip: None, published: None, target: 80, protocol: Protocol::Tcp };
    let connection = std::thread::scope(|scope| {
        let connected = scope.spawn(|| {
            let mut connector = Connector::new(networks.clone(), published.clone()).unwrap();
            let connection = connector.connect(&ConnectRequest {
                container: &id,
                name: &"bench-web-1".parse().unwrap(),
                project: &"bench".parse().unwrap(),
                slot: "web/1",
                hostname: "web",
                attachments: &[attachment],
                ports: &[mapping],
                sysctls: &Default::default(),
            });
            connector.leave().unwrap();
            connection.unwrap()
        });
        connected.join().unwrap()
    });
    (id, connection)
}

/// Serves the container on a thread of its own, as a supervisor does.
fn resolver(layout: &Layout, connection: &mut Connection) {
    let networks: Vec<String> = connection.endpoints.iter().map(|endpoint| endpoint.network_id.clone()).collect();
    let (layout, sockets) = (layout.clone(), connection.dns.take().unwrap());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let membership = Membership::new(&layout);
            membership.join(&networks);
            let mut resolver = Resolver::new(membership);
            resolver.serve("web", Asker { networks, ..Asker::default() }, sockets).unwrap();
            std::future::pending::<()>().await;
        });
    });
}

fn question() -> Vec<u8> {
    let mut question = Message::new(1, MessageType::Query, OpCode::Query);
    question.add_query(Query::query(Name::from_ascii("web.").unwrap(), RecordType::A));
    question.to_vec().unwrap()
}

fn inside<T: Send>(netns: &OwnedFd, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let entered = scope.spawn(|| {
            setns(netns.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        entered.join().unwrap()
    })
}

fn client() -> UdpSocket {
    let client = UdpSocket::bind((IpAddr::from(Ipv4Addr::LOCALHOST), 0)).unwrap();
    client.connect("127.0.0.11:53").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    client
}

fn one_after_the_other(netns: &OwnedFd) -> Duration {
    let question = question();
    inside(netns, || {
        let (client, mut answer) = (client(), [0; 512]);
        p50(|| {
            client.send(&question).unwrap();
            let length = client.recv(&mut answer).unwrap();
            assert!(length > question.len(), "no address");
        })
    })
}

fn many_at_once(netns: &OwnedFd) -> f64 {
    let question = question();
    inside(netns, || {
        let (client, mut answer) = (client(), [0; 512]);
        let begun = Instant::now();
        for number in 0..QUESTIONS + UNDER_WAY {
            if number < QUESTIONS {
                client.send(&question).unwrap();
            }
            if number >= UNDER_WAY {
                client.recv(&mut answer).expect("no answer is lost");
            }
        }
        QUESTIONS as f64 / begun.elapsed().as_secs_f64()
    })
}

/// Answers each byte with one, and swallows whatever comes in bulk.
fn serve(netns: &OwnedFd) {
    let listener = inside(netns, || TcpListener::bind("0.0.0.0:80").unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            connection.set_nodelay(true).unwrap();
            std::thread::spawn(move || {
                let mut buffer = vec![0; 1 << 18];
                while let Ok(length @ 1..) = connection.read(&mut buffer) {
                    if length == 1 && connection.write_all(&buffer[..1]).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

fn ping_pong(address: SocketAddr) -> Duration {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_nodelay(true).unwrap();
    let mut byte = [0];
    p50(|| {
        connection.write_all(&byte.clone()).unwrap();
        connection.read_exact(&mut byte).unwrap();
    })
}

/// In gigabits a second.
fn throughput(address: SocketAddr) -> f64 {
    let mut connection = TcpStream::connect(address).unwrap();
    let block = vec![0; 1 << 18];
    let begun = Instant::now();
    for _ in 0..BYTES / block.len() {
        connection.write_all(&block).unwrap();
    }
    connection.shutdown(std::net::Shutdown::Write).unwrap();
    // The other end closes once it has read everything.
    connection.read_to_end(&mut Vec::new()).unwrap();
    BYTES as f64 * 8e-9 / begun.elapsed().as_secs_f64()
}

fn p50(mut turn: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..TURNS)
        .map(|_| {
            let begun = Instant::now();
            turn();
            begun.elapsed()
        })
        .collect();
    times.sort();
    times[TURNS / 2]
}
