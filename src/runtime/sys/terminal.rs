//! Pseudo-terminals by their master end (ioctl_tty(2)); the user's terminal key by key.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

/// Lets the other end be opened.
pub fn unlock(master: BorrowedFd<'_>) -> Result<(), Errno> {
    let unlocked: libc::c_int = 0;
    // SAFETY: the call reads one live integer.
    Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) }).map(drop)
}

/// Sets rows and columns; who runs in the terminal is told.
pub fn resize(master: BorrowedFd<'_>, rows: u16, columns: u16) -> Result<(), Errno> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the call reads one live `winsize`.
    Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }).map(drop)
}

/// Opens the other end without a path that somebody could bend.
pub fn peer(master: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: plain numbers in, a new descriptor or -1 out.
    let number: RawFd = Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) })?;
    // SAFETY: the kernel has just made this descriptor for this process.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The number of the other end: its name in the devpts.
pub fn number(master: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut number: libc::c_uint = 0;
    // SAFETY: the call writes one live integer.
    Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number) })?;
    Ok(number)
}

/// A terminal that gives each key at once and echoes none, until this is dropped. Signals and line ends stay as they are.
#[derive(Debug)]
pub struct KeyByKey {
    terminal: OwnedFd,
    before: Termios,
}

impl KeyByKey {
    /// From now on.
    pub fn new(terminal: BorrowedFd<'_>) -> Result<KeyByKey, Errno> {
        let terminal =
            terminal.try_clone_to_owned().map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
        let before = tcgetattr(&terminal)?;
        let mut now = before.clone();
        now.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        tcsetattr(&terminal, SetArg::TCSANOW, &now)?;
        Ok(KeyByKey { terminal, before })
    }
}

impl Drop for KeyByKey {
    fn drop(&mut self) {
        // There is no one to tell: the terminal is gone if this fails.
        let _ = tcsetattr(&self.terminal, SetArg::TCSANOW, &self.before);
    }
}
