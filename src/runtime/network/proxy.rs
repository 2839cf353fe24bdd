//! Carries what reaches a published port without being redirected by a firewall rule: IPv6 to a container without an
//! IPv6 address, `::1`, and everything if somebody flushed the rules. The container sees the bridge as its caller.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::values::protocol::Protocol;

/// A UDP caller that says nothing for so long is forgotten (Docker's figure).
const IDLE: Duration = Duration::from_secs(90);
/// UDP callers at one time; more are not heard.
const CALLERS: usize = 1024;
/// Connections carried at one time; more wait in the kernel's queue.
const CONNECTIONS: usize = 4096;
/// Datagrams that wait for one caller.
const QUEUE: usize = 64;
/// The largest datagram there is.
const DATAGRAM: usize = 65_536;
/// Until a listener that could not accept (no more files) tries again.
const BREATH: Duration = Duration::from_millis(50);
/// A container that does not answer for so long is passed over, if there is another.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who is behind a port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Backends {
    /// They take what is new, in turn.
    pub open: Vec<SocketAddr>,
    /// They keep what they have: those, and who is about to stop.
    pub alive: Vec<SocketAddr>,
}

/// Serves one port until dropped; then its connections end and its descriptor is closed.
#[derive(Debug)]
pub struct Proxy {
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Starts serving on the present tokio runtime.
    pub fn start(socket: OwnedFd, protocol: Protocol, backends: watch::Receiver<Backends>) -> io::Result<Proxy> {
        let mut tasks = JoinSet::new();
        match protocol {
            Protocol::Tcp => {
                let listener = std::net::TcpListener::from(socket);
                listener.set_nonblocking(true)?;
                tasks.spawn(serve_connections(TcpListener::from_std(listener)?, backends));
            }
            Protocol::Udp => {
                let socket = std::net::UdpSocket::from(socket);
                socket.set_nonblocking(true)?;
                tasks.spawn(serve_datagrams(UdpSocket::from_std(socket)?, backends));
            }
            // Is never held.
            Protocol::Sctp => {}
        }
        Ok(Proxy { _tasks: tasks })
    }
}

/// Those who take what is new, whose turn it is first.
fn in_turn(backends: &watch::Receiver<Backends>, turn: &mut usize) -> Vec<SocketAddr> {
    let mut open = backends.borrow().open.clone();
    if !open.is_empty() {
        let first = *turn % open.len();
        open.rotate_left(first);
    }
    *turn = turn.wrapping_add(1);
    open
}

/// Returns when a container is no longer behind the port.
async fn gone(mut backends: watch::Receiver<Backends>, target: SocketAddr) {
    while backends.borrow_and_update().alive.contains(&target) && backends.changed().await.is_ok() {}
}

async fn serve_connections(listener: TcpListener, backends: watch::Receiver<Backends>) {
    let mut connections = JoinSet::new();
    let mut turn = 0;
    loop {
        if connections.len() >= CONNECTIONS {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((caller, _)) => {
                let targets = in_turn(&backends, &mut turn);
                connections.spawn(carry(caller, targets, backends.clone()));
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept");
                sleep(BREATH).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn carry(mut caller: TcpStream, targets: Vec<SocketAddr>, backends: watch::Receiver<Backends>) {
    let carried = async {
        let (mut server, target) = reach(&targets).await?;
        caller.set_nodelay(true)?;
        server.set_nodelay(true)?;
        tokio::select! {
            ended = tokio::io::copy_bidirectional(&mut caller, &mut server) => ended.map(drop),
            () = gone(backends, target) => Ok(()),
        }
    };
    if let Err(error) = carried.await {
        // The caller sees its connection end; there is nobody else to tell.
        tracing::debug!(%error, "connection ended");
    }
}

/// The first that lets us in.
async fn reach(targets: &[SocketAddr]) -> io::Result<(TcpStream, SocketAddr)> {
    let Some((last, others)) = targets.split_last() else { return Err(io::ErrorKind::ConnectionRefused.into()) };
    for target in others {
        if let Ok(Ok(server)) = timeout(PATIENCE, TcpStream::connect(target)).await {
            return Ok((server, *target));
        }
    }
    Ok((TcpStream::connect(last).await?, *last))
}

async fn serve_datagrams(socket: UdpSocket, backends: watch::Receiver<Backends>) {
    let socket = Arc::new(socket);
    let mut callers: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>> = HashMap::new();
    let mut conversations = JoinSet::new();
    let mut buffer = vec![0; DATAGRAM];
    let mut turn = 0;
    loop {
        let (length, caller) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "cannot receive");
                sleep(BREATH).await;
                continue;
            }
        };
        while conversations.try_join_next().is_some() {}
        if callers.len() >= CALLERS {
            callers.retain(|_, sender| !sender.is_closed());
        }
        let known = callers.get(&caller).filter(|sender| !sender.is_closed());
        let sender = match known {
            Some(sender) => sender.clone(),
            None if callers.len() >= CALLERS => continue,
            None => {
                let Some(target) = in_turn(&backends, &mut turn).first().copied() else { continue };
                let (sender, datagrams) = mpsc::channel(QUEUE);
                let (socket, backends) = (Arc::clone(&socket), backends.clone());
                conversations.spawn(async move {
                    tokio::select! {
                        () = converse(&socket, caller, target, datagrams) => {}
                        () = gone(backends, target) => {}
                    }
                });
                callers.insert(caller, sender.clone());
                sender
            }
        };
        // A full queue loses a datagram, as a network does.
        let _ = sender.try_send(buffer.get(..length).unwrap_or_default().to_vec());
    }
}

/// One caller's datagrams there and back, until nothing has been said for a while.
async fn converse(socket: &UdpSocket, caller: SocketAddr, target: SocketAddr, mut datagrams: mpsc::Receiver<Vec<u8>>) {
    let any: IpAddr = if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let carried = async {
        let server = UdpSocket::bind((any, 0)).await?;
        server.connect(target).await?;
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let next = async {
                tokio::select! {
                    datagram = datagrams.recv() => match datagram {
                        Some(datagram) => server.send(&datagram).await.map(|_| true),
                        None => Ok(false),
                    },
                    answer = server.recv(&mut buffer) => {
                        let answer = buffer.get(..answer?).unwrap_or_default();
                        socket.send_to(answer, caller).await.map(|_| true)
                    }
                }
            };
            match timeout(IDLE, next).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) | Err(_) => return Ok(()),
                Ok(Err(error)) => return Err(error),
            }
        }
    };
    let ended: io::Result<()> = carried.await;
    if let Err(error) = ended {
        tracing::debug!(%error, %target, "datagrams not carried");
    }
}
