//! Tells when somebody changes the firewall: `nft flush ruleset` and the reloads of ufw, firewalld and Docker take rules of
//! ours away, or bring chains that want some.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};
use tokio::io::unix::AsyncFd;

use crate::runtime::sys::{self, OrOs, OsError};

/// The changes of the network namespace in which this was opened.
#[derive(Debug)]
pub struct Changes(AsyncFd<OwnedFd>);

/// `NFNLGRP_NFTABLES` as a bit.
const GROUP: u32 = 1 << 6;

/// What happens all the time: ports and networks of ours come and go as elements of sets (`NFT_MSG_NEWSETELEM`,
/// `NFT_MSG_DELSETELEM`), and each transaction ends with a new generation (`NFT_MSG_NEWGEN`).
const IGNORED: [u8; 3] = [12, 14, 15];

impl Changes {
    /// Listens from now on. To be called on a runtime.
    pub fn open() -> Result<Changes, OsError> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let protocol = SockProtocol::NetlinkNetFilter;
        let socket =
            socket::socket(AddressFamily::Netlink, SockType::Raw, flags, protocol).or_os("socket", "nftables")?;
        // Only the first message of a change is looked at, in the kernel, so that most changes wake nobody.
        sys::drop_messages(socket.as_fd(), sys::NETLINK_KIND, &IGNORED).or_os("filter", "nftables")?;
        socket::bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUP)).or_os("bind", "nftables")?;
        Ok(Changes(sys::readable(socket).or_os("watch", "nftables")?))
    }

    /// Waits for one or more changes.
    pub async fn next(&self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            let mut seen = false;
            loop {
                match socket::recv(self.0.get_ref().as_raw_fd(), &mut [0; 16], MsgFlags::MSG_TRUNC) {
                    // More than the socket holds: they have been changes all the same.
                    Ok(_) | Err(Errno::ENOBUFS) => seen = true,
                    Err(Errno::EINTR) => {}
                    Err(Errno::EAGAIN) => break,
                    Err(errno) => return Err(errno.into()),
                }
            }
            ready.clear_ready();
            if seen {
                return Ok(());
            }
        }
    }
}
