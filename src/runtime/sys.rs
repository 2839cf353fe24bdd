//! All unsafe code, and the error of a kernel call.

pub mod bpf;
pub mod memory;
pub mod mount;
pub mod spawn;
pub mod terminal;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{self, ControlMessage, ControlMessageOwned, MsgFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A kernel call that failed: which, on what, how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{call} {subject}: {}", errno_name(*.errno))]
pub struct OsError {
    /// The call's name, as its manual page has it.
    pub call: &'static str,
    /// What it was done to; empty if nothing in particular.
    pub subject: String,
    /// How it failed.
    pub errno: Errno,
}

fn errno_name(errno: Errno) -> String {
    format!("{errno:?} ({})", errno.desc())
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Names the call when a kernel call fails.
pub trait OrOs<T> {
    /// Turns an errno into an [`OsError`] about `subject`.
    fn or_os(self, call: &'static str, subject: impl Into<String>) -> Result<T, OsError>;
}

impl<T> OrOs<T> for Result<T, Errno> {
    fn or_os(self, call: &'static str, subject: impl Into<String>) -> Result<T, OsError> {
        self.map_err(|errno| OsError { call, subject: subject.into(), errno })
    }
}

impl<T> OrOs<T> for std::io::Result<T> {
    fn or_os(self, call: &'static str, subject: impl Into<String>) -> Result<T, OsError> {
        self.map_err(|error| OsError {
            call,
            subject: subject.into(),
            errno: error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw),
        })
    }
}

/// Takes one message and the files that came with it from a Unix socket; no bytes are the end of the stream.
pub fn receive<Socket: AsFd>(socket: Socket, buffer: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), Errno> {
    // Room for as many as the kernel sends in one message (SCM_MAX_FD), so that none is ever cut off and lost.
    let mut control = nix::cmsg_space!([RawFd; 253]);
    let mut parts = [io::IoSliceMut::new(buffer)];
    let message =
        socket::recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut files = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = part {
            // SAFETY: the kernel has just made these descriptors for this process, and nobody else knows of them.
            files.extend(numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) }));
        }
    }
    Ok((message.bytes, files))
}

/// Where the kind of a netlink message begins that belongs to a subsystem: its lower byte is the subsystem's own.
pub const NETLINK_KIND: u32 = if cfg!(target_endian = "little") { 4 } else { 5 };

/// Has the kernel drop what comes in on a socket if the byte at this offset is one of these.
pub fn drop_messages(socket: BorrowedFd<'_>, offset: u32, bytes: &[u8]) -> Result<(), Errno> {
    let step = |code, jump_if, value| libc::sock_filter { code, jt: jump_if, jf: 0, k: value };
    let mut steps = vec![step((libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16, 0, offset)];
    for (done, byte) in bytes.iter().enumerate() {
        // To the last step, over the other comparisons and the one that keeps.
        let jump = u8::try_from(bytes.len() - done).map_err(|_| Errno::E2BIG)?;
        steps.push(step((libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, jump, u32::from(*byte)));
    }
    steps.push(step((libc::BPF_RET | libc::BPF_K) as u16, 0, u32::MAX));
    steps.push(step((libc::BPF_RET | libc::BPF_K) as u16, 0, 0));
    let length = u16::try_from(steps.len()).map_err(|_| Errno::E2BIG)?;
    let program = libc::sock_fprog { len: length, filter: steps.as_mut_ptr() };
    let size = size_of::<libc::sock_fprog>() as libc::socklen_t;
    // SAFETY: the kernel copies the program, which is live and of the length that is told.
    let done = unsafe {
        let program = (&raw const program).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, program, size)
    };
    Errno::result(done).map(drop)
}

/// Sends one message with files to a Unix socket; never raises SIGPIPE.
pub fn send<Socket: AsFd>(socket: Socket, bytes: &[u8], files: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
    let numbers: Vec<RawFd> = files.iter().map(|file| file.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let control: &[ControlMessage<'_>] = if numbers.is_empty() { &[] } else { &rights };
    socket::sendmsg::<()>(socket.as_fd().as_raw_fd(), &[io::IoSlice::new(bytes)], control, MsgFlags::MSG_NOSIGNAL, None)
}

/// Closes a file in the kernel's own time, even if this process ends now: what closing it takes is waited for by nobody.
///
/// The file is sent to a socket that nobody can reach any more, itself in its own queue: the kernel's collector of such
/// loops (unix_gc in net/unix/garbage.c, a worker of its own since Linux 6.9) lets it go. Where that fails, and on older
/// kernels, it is closed here and now.
pub fn abandon(file: OwnedFd) {
    let pair = std::os::unix::net::UnixDatagram::pair();
    if let Ok((sender, receiver)) = pair {
        // Not sent, it is closed at the end of this function, as everything is.
        let _ = send(&sender, &[0], &[receiver.as_fd(), file.as_fd()]);
    }
}

/// Lets tokio tell when `file` can be read. It has to be one that epoll takes.
pub fn readable(file: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an owned descriptor is open and names the same file for as long as it lives.
    Ok(unsafe { AsyncFd::register_with_interest(file, Interest::READABLE) }?)
}

/// Takes the status of one child that has ended, if there is one: its pid and the status as wait(2) gives it.
///
/// Not nix's `waitpid`: that one refuses a death by a real-time signal, after the status is gone for good.
pub fn reap() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: `status` is a live integer for the time of the call.
    let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG | libc::__WALL) };
    (pid > 0).then_some((pid, status))
}

/// Ignores a signal from now on; so do programs that this process executes, unless they are told otherwise.
pub fn ignore(signal: nix::sys::signal::Signal) -> Result<(), OsError> {
    // SAFETY: no handler is set, so nothing of ours runs when the signal comes.
    unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigIgn) }
        .map(drop)
        .or_os("signal", signal.as_str())
}

/// A descriptor for the process that has this number now.
pub fn pidfd_open(pid: i32) -> Result<OwnedFd, OsError> {
    // SAFETY: plain numbers in, a new descriptor or -1 out.
    let number = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let number = Errno::result(number).or_os("pidfd_open", pid.to_string())?;
    // SAFETY: the kernel has just made this descriptor for this process.
    Ok(unsafe { OwnedFd::from_raw_fd(number as RawFd) })
}

/// Sends a signal to the process; `ESRCH` once it has ended.
pub fn pidfd_signal<Process: AsFd>(process: Process, signal: i32) -> Result<(), OsError> {
    // SAFETY: plain numbers and a null pointer, which stands for the information that kill(2) would send.
    let done = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_fd().as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    Errno::result(done).map(drop).or_os("pidfd_send_signal", signal.to_string())
}

/// `struct pidfd_info` of linux/pidfd.h, as of its first size that has `exit_code`.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    /// pid, tgid, ppid, then eight user and group ids.
    ids: [u32; 11],
    exit_code: i32,
}

/// The status, as wait(2) gives it, of a process that has ended and was waited for by somebody else; `None` if it is not
/// known (yet): the kernel is older than 6.15, or nobody has waited.
pub fn pidfd_status<Process: AsFd>(process: Process) -> Option<i32> {
    /// `_IOWR(0xFF, 11, struct pidfd_info)`.
    const PIDFD_GET_INFO: libc::c_ulong = 0xC000_FF0B | ((size_of::<PidfdInfo>() as libc::c_ulong) << 16);
    const PIDFD_INFO_EXIT: u64 = 1 << 3;
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the kernel writes at most the size that the request names, which is that of `info`.
    let done = unsafe { libc::ioctl(process.as_fd().as_raw_fd(), PIDFD_GET_INFO, &mut info) };
    (done == 0 && info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abandoned_file_is_closed() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        abandon(writer.into());
        // The end of the stream comes when the last writer is closed.
        assert_eq!(std::io::Read::read(&mut reader, &mut [0]).unwrap(), 0);
    }

    #[test]
    fn files_travel_with_a_message_and_the_status_of_a_dead_child_is_found_twice() {
        let (one, other) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        assert_eq!(send(&one, b"hello", &[file.as_fd(), file.as_fd()]).unwrap(), 5);
        let mut buffer = [0; 16];
        let (length, files) = receive(&other, &mut buffer).unwrap();
        assert_eq!((&buffer[..length], files.len()), (&b"hello"[..], 2));

        let mut command = std::process::Command::new("sh");
        let mut child = command.args(["-c", "read x; exit 42"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let pidfd = pidfd_open(child.id() as i32).unwrap();
        assert_eq!(pidfd_status(&pidfd), None);
        pidfd_signal(&pidfd, 0).unwrap();
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().code(), Some(42));
        if let Some(status) = pidfd_status(&pidfd) {
            assert_eq!(status, 42 << 8);
        }
        assert_eq!(pidfd_signal(&pidfd, 0).unwrap_err().errno, Errno::ESRCH);
    }
}
