//! Carries what reaches a published port without being redirected by a firewall rule: IPv6 to a container without an
//! IPv6 address, `::1`, and everything if somebody flushed the rules. The container sees the bridge as its caller.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::runtime::network::ports::Holder;
use crate::values::protocol::Protocol;

/// A UDP caller that says nothing for so long is forgotten (Docker's figure).
const IDLE: Duration = Duration::from_secs(90);
/// UDP callers at one time; more are not heard.
const CALLERS: usize = 1024;
/// Datagrams that wait for one caller.
const QUEUE: usize = 64;
/// The largest datagram there is.
const DATAGRAM: usize = 65_536;
/// Until a listener that could not accept (no more files) tries again.
const BREATH: Duration = Duration::from_millis(50);

/// Serves a container's [`Holder`]s until dropped; then their connections end and its descriptors are closed.
#[derive(Debug)]
pub struct Proxy {
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Starts serving on the present tokio runtime.
    pub fn start(holders: Vec<Holder>) -> io::Result<Proxy> {
        let mut tasks = JoinSet::new();
        for holder in holders {
            match holder.port.protocol {
                Protocol::Tcp => {
                    let listener = std::net::TcpListener::from(holder.socket);
                    listener.set_nonblocking(true)?;
                    tasks.spawn(serve_connections(TcpListener::from_std(listener)?, holder.target));
                }
                Protocol::Udp => {
                    let socket = std::net::UdpSocket::from(holder.socket);
                    socket.set_nonblocking(true)?;
                    tasks.spawn(serve_datagrams(UdpSocket::from_std(socket)?, holder.target));
                }
                // Is never held.
                Protocol::Sctp => {}
            }
        }
        Ok(Proxy { _tasks: tasks })
    }
}

async fn serve_connections(listener: TcpListener, target: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((caller, _)) => {
                connections.spawn(carry(caller, target));
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept");
                sleep(BREATH).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn carry(mut caller: TcpStream, target: SocketAddr) {
    let carried = async {
        let mut server = TcpStream::connect(target).await?;
        caller.set_nodelay(true)?;
        server.set_nodelay(true)?;
        tokio::io::copy_bidirectional(&mut caller, &mut server).await
    };
    if let Err(error) = carried.await {
        // The caller sees its connection end; there is nobody else to tell.
        tracing::debug!(%error, %target, "connection ended");
    }
}

async fn serve_datagrams(socket: UdpSocket, target: SocketAddr) {
    let socket = Arc::new(socket);
    let mut callers: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>> = HashMap::new();
    let mut conversations = JoinSet::new();
    let mut buffer = vec![0; DATAGRAM];
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
                let (sender, datagrams) = mpsc::channel(QUEUE);
                conversations.spawn(converse(Arc::clone(&socket), caller, target, datagrams));
                callers.insert(caller, sender.clone());
                sender
            }
        };
        // A full queue loses a datagram, as a network does.
        let _ = sender.try_send(buffer.get(..length).unwrap_or_default().to_vec());
    }
}

/// One caller's datagrams there and back, until nothing has been said for a while.
async fn converse(
    socket: Arc<UdpSocket>,
    caller: SocketAddr,
    target: SocketAddr,
    mut datagrams: mpsc::Receiver<Vec<u8>>,
) {
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
