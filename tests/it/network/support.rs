//! A machine's networks for one test, and traffic in and out of namespaces.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use nix::sched::{CloneFlags, setns};
use xcompose::engine::{Attachment, ContainerId, NetworkConfig, PortMapping};
use xcompose::runtime::layout::Layout;
use xcompose::runtime::network::connect::{ConnectRequest, Connection, Connector};
use xcompose::runtime::network::firewall::table_name;
use xcompose::runtime::network::published::Published;
use xcompose::runtime::network::record::NetworkRecord;
use xcompose::runtime::network::{NetworkError, Networks};
use xcompose::values::protocol::Protocol;

use crate::support::{PATIENCE, eventually};

/// Networks below a folder of their own.
pub struct Host {
    root: tempfile::TempDir,
    pub networks: Networks,
    pub published: Published,
}

impl Host {
    pub fn new() -> Host {
        let root = tempfile::Builder::new().prefix("xc-net-").tempdir().unwrap();
        let networks = Networks::new(Layout::new(root.path().join("data"), root.path().join("run")));
        Host { root, networks, published: Published::default() }
    }

    pub fn table(&self) -> String {
        table_name(&self.root.path().join("data"))
    }

    pub fn network(&self, name: &str) -> NetworkRecord {
        self.networks.create(&config(name)).unwrap()
    }

    /// Connects a container as a start thread does.
    pub fn connect(&self, spec: &Spec) -> Result<Guest, NetworkError> {
        let (networks, published) = (self.networks.clone(), self.published.clone());
        let spec = spec.clone();
        thread::spawn(move || {
            let mut connector = Connector::new(networks, published)?;
            let request = ConnectRequest {
                container: &spec.id,
                name: &spec.name.parse().unwrap(),
                project: &"p".parse().unwrap(),
                slot: &spec.slot,
                hostname: &spec.hostname,
                attachments: &spec.attachments,
                ports: &spec.ports,
                sysctls: &spec.sysctls,
            };
            let connection = connector.connect(&request);
            connector.leave().unwrap();
            Ok(Guest { id: spec.id.clone(), connection: connection? })
        })
        .join()
        .unwrap()
    }

    /// A container on these networks, its slot and name the same.
    pub fn guest(&self, name: &str, networks: &[&str]) -> Guest {
        self.connect(&Spec::new(name, networks)).unwrap()
    }

    pub fn disconnect(&self, guest: Guest) {
        self.published.close(&self.networks, &guest.id).1.unwrap();
        self.networks.disconnect(&guest.id, &guest.connection.endpoints).unwrap();
    }

    /// Removes every network and checks that nothing is left of them.
    pub fn end(self) {
        let all = self.networks.list().unwrap();
        for network in &all {
            self.networks.remove(&network.config.name).unwrap();
        }
        self.assert_nothing_left(&all);
    }

    pub fn assert_nothing_left(&self, networks: &[NetworkRecord]) {
        let links = String::from_utf8(Command::new("ip").args(["-o", "link"]).output().unwrap().stdout).unwrap();
        for network in networks {
            assert!(!links.contains(&network.bridge), "{} is left", network.bridge);
        }
        assert!(!nft(&["list", "tables"]).contains(&format!("inet {}\n", self.table())), "the table is left");
        let files = Command::new("find").arg(self.root.path()).args(["-name", "*.json*"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&files.stdout), "");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for network in self.networks.list().unwrap_or_default() {
            for endpoint in self.networks.endpoints(&network.id).unwrap_or_default() {
                let path = self.networks.layout().endpoints(&network.id);
                let _ = std::fs::remove_file(path.join(format!("{}.json", endpoint.container.0)));
            }
            let _ = self.networks.remove(&network.config.name);
        }
    }
}

/// Does something on a machine of its own: a network namespace where nobody else's rules and settings are.
pub fn apart(work: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let unshared = || {
            nix::sched::unshare(CloneFlags::CLONE_NEWNET).unwrap();
            run(&["ip", "link", "set", "lo", "up"]);
            work();
        };
        scope.spawn(unshared).join().unwrap();
    });
}

/// A container to connect.
#[derive(Clone)]
pub struct Spec {
    pub id: ContainerId,
    pub name: String,
    pub slot: String,
    pub hostname: String,
    pub attachments: Vec<Attachment>,
    pub ports: Vec<PortMapping>,
    pub sysctls: BTreeMap<String, String>,
}

impl Spec {
    pub fn new(name: &str, networks: &[&str]) -> Spec {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Spec {
            id: ContainerId(format!("{number:012x}{:052x}", std::process::id())),
            name: name.to_owned(),
            slot: format!("{name}/1"),
            hostname: format!("{number:012x}"),
            attachments: networks.iter().map(|network| attachment(network)).collect(),
            ports: Vec::new(),
            sysctls: BTreeMap::new(),
        }
    }

    pub fn publish(mut self, host_ip: Option<&str>, published: Option<u16>, target: u16) -> Spec {
        self.ports.push(PortMapping {
            host_ip: host_ip.map(|address| address.parse().unwrap()),
            published: published.map(|port| (port, port)),
            target,
            protocol: Protocol::Tcp,
        });
        self
    }
}

pub fn attachment(network: &str) -> Attachment {
    Attachment {
        network: network.parse().unwrap(),
        aliases: Vec::new(),
        links: BTreeMap::new(),
        ipv4_address: None,
        ipv6_address: None,
        link_local_ips: Vec::new(),
        mac_address: None,
        interface_name: None,
        gw_priority: 0,
        driver_opts: BTreeMap::new(),
    }
}

pub fn config(name: &str) -> NetworkConfig {
    NetworkConfig {
        name: name.parse().unwrap(),
        labels: BTreeMap::new(),
        driver: "bridge".to_owned(),
        driver_opts: BTreeMap::new(),
        internal: false,
        attachable: false,
        enable_ipv4: true,
        enable_ipv6: false,
        pools: Vec::new(),
    }
}

/// A connected container without processes.
pub struct Guest {
    pub id: ContainerId,
    pub connection: Connection,
}

impl Guest {
    /// Does something in its network namespace.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&self.connection.netns, work)
    }

    pub fn ipv4(&self) -> IpAddr {
        self.connection.endpoints[0].ipv4.unwrap().into()
    }

    /// Answers one connection with its caller's address and a word.
    pub fn serve_once(&self, port: u16, word: &'static str) -> JoinHandle<SocketAddr> {
        let listener = self.inside(|| listen(port));
        serve_once(listener, word)
    }

    /// Answers every connection with a word, and each thing that is said there with the word again; until dropped.
    pub fn serve(&self, port: u16, word: &'static str) -> Server {
        let listener = self.inside(|| listen(port));
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopped);
        let thread = thread::spawn(move || {
            while let Ok((mut connection, _)) = listener.accept() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                thread::spawn(move || {
                    let mut buffer = [0; 64];
                    let mut length = 1;
                    while length > 0 && connection.write_all(word.as_bytes()).is_ok() {
                        length = connection.read(&mut buffer).unwrap_or(0);
                    }
                });
            }
        });
        let netns = self.connection.netns.try_clone().unwrap();
        Server { stopped, wake: (netns, port), thread: Some(thread) }
    }

    /// Whether a connection out of it is made, and what is said there.
    pub fn ask(&self, address: SocketAddr) -> Option<String> {
        self.inside(|| ask(address))
    }

    pub fn command(&self, command: &[&str]) -> String {
        let output = self.inside(|| Command::new(command[0]).args(&command[1..]).output().unwrap());
        String::from_utf8(output.stdout).unwrap()
    }
}

/// A server in a container.
pub struct Server {
    stopped: Arc<AtomicBool>,
    wake: (OwnedFd, u16),
    thread: Option<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        let (netns, port) = &self.wake;
        drop(inside(netns, || TcpStream::connect(("127.0.0.1", *port))));
        self.thread.take().unwrap().join().unwrap();
    }
}

/// What a [`Server`] says to somebody who has nothing to say.
pub fn greeting(address: SocketAddr) -> Option<String> {
    let mut connection = TcpStream::connect(address).ok()?;
    connection.shutdown(std::net::Shutdown::Write).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Listens on a port, which the last one who did may hold a moment longer: a program that a neighbour is just starting
/// has everything of this process until it executes.
pub fn listen(port: u16) -> TcpListener {
    eventually("the port is free", || TcpListener::bind(("0.0.0.0", port)).ok())
}

pub fn serve_once(listener: TcpListener, word: &'static str) -> JoinHandle<SocketAddr> {
    thread::spawn(move || {
        let (mut connection, caller) = listener.accept().unwrap();
        connection.write_all(word.as_bytes()).unwrap();
        caller
    })
}

pub fn inside<T: Send>(netns: &OwnedFd, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let enter = || {
            setns(netns.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        scope.spawn(enter).join().unwrap()
    })
}

/// What is said at an address; `None` if it can't be reached. What is dropped shows as silence: two seconds of it are
/// taken for that.
pub fn ask(address: SocketAddr) -> Option<String> {
    let mut connection = TcpStream::connect_timeout(&address, std::time::Duration::from_secs(2)).ok()?;
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    Some(answer)
}

pub fn udp(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

pub fn link_exists(name: &str) -> bool {
    std::path::Path::new("/sys/class/net").join(name).exists()
}

pub fn nft(arguments: &[&str]) -> String {
    let output = Command::new("nft").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap() + "\n"
}

/// Another machine: a namespace of its own at the other end of a wire.
pub struct Outside {
    netns: OwnedFd,
    link: String,
    pub here: IpAddr,
    pub there: IpAddr,
}

impl Outside {
    pub fn new() -> Outside {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + (std::process::id() % 4000) * 16;
        let link = format!("xo{}-{number}", std::process::id());
        let base = u32::from(std::net::Ipv4Addr::new(198, 18, 0, 0)) + (number % 32_000) * 4;
        let address = |host: u32| IpAddr::from(std::net::Ipv4Addr::from(base + host));
        let netns = thread::spawn(|| {
            nix::sched::unshare(CloneFlags::CLONE_NEWNET).unwrap();
            OwnedFd::from(std::fs::File::open("/proc/thread-self/ns/net").unwrap())
        })
        .join()
        .unwrap();
        let outside = Outside { netns, link, here: address(1), there: address(2) };
        let peer = format!("{}p", outside.link);
        run(&["ip", "link", "add", &outside.link, "type", "veth", "peer", "name", &peer]);
        let path = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&outside.netns));
        run(&["ip", "link", "set", &peer, "netns", &path]);
        run(&["ip", "addr", "add", &format!("{}/30", outside.here), "dev", &outside.link]);
        run(&["ip", "link", "set", &outside.link, "up"]);
        outside.inside(|| {
            run(&["ip", "link", "set", "lo", "up"]);
            run(&["ip", "addr", "add", &format!("{}/30", outside.there), "dev", &peer]);
            run(&["ip", "link", "set", &peer, "up"]);
        });
        outside
    }

    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&self.netns, work)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", &self.link]).status();
    }
}

pub fn run(command: &[&str]) {
    let output = Command::new(command[0]).args(&command[1..]).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A UDP echo at a socket, for one datagram; tells who asked.
pub fn echo_once(socket: UdpSocket) -> JoinHandle<SocketAddr> {
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        let (length, caller) = socket.recv_from(&mut buffer).unwrap();
        socket.send_to(&buffer[..length], caller).unwrap();
        caller
    })
}
