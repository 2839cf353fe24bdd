//! Standard streams: files as they are, or a terminal made in the container's own devpts.

use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use crate::engine::ProcessIo;
use crate::runtime::start::StartError;
use crate::runtime::start::program::File;
use crate::runtime::sys::mount::{NO_EXEC, NO_SUID, new_file_system};
use crate::runtime::sys::terminal::{peer, resize, unlock};
use crate::runtime::sys::{OrOs, OsError};

/// Standard streams of a process.
#[derive(Debug)]
pub struct Streams {
    /// In, out, error.
    pub files: [File; 3],
    /// The terminal's other end.
    pub terminal: Option<OwnedFd>,
}

/// A new devpts, empty.
pub fn devpts() -> Result<OwnedFd, StartError> {
    let options =
        [(c"newinstance", None), (c"ptmxmode", Some(c"0666")), (c"mode", Some(c"0620")), (c"gid", Some(c"5"))];
    Ok(new_file_system(c"devpts", &options, NO_SUID | NO_EXEC)?)
}

/// The streams of a process of user `uid`; `multiplexer` opens the container's `/dev/pts/ptmx`.
pub fn prepare(
    io: &ProcessIo,
    uid: u32,
    multiplexer: impl FnOnce() -> Result<OwnedFd, StartError>,
) -> Result<Streams, StartError> {
    match io {
        ProcessIo::Files { stdin, stdout, stderr } => {
            let file = |name: &str, file: &Option<OwnedFd>| -> Result<File, StartError> {
                let Some(file) = file else { return Ok(File::new("null", null()?)) };
                give(file, uid)?;
                Ok(File::new(name, above_streams(file)?))
            };
            Ok(Streams {
                files: [file("stdin", stdin)?, file("stdout", stdout)?, file("stderr", stderr)?],
                terminal: None,
            })
        }
        ProcessIo::Terminal { rows, columns } => {
            let terminal = multiplexer()?;
            unlock(terminal.as_fd()).or_os("ioctl", "TIOCSPTLCK")?;
            resize(terminal.as_fd(), *rows, *columns).or_os("ioctl", "TIOCSWINSZ")?;
            let slave = peer(terminal.as_fd()).or_os("ioctl", "TIOCGPTPEER")?;
            nix::unistd::fchown(&slave, Some(uid.into()), None).or_os("chown", "terminal")?;
            let slave = File::new("terminal", above_streams(&slave)?);
            Ok(Streams { files: [slave.clone(), slave.clone(), slave], terminal: Some(terminal) })
        }
    }
}

/// Opens the multiplexer of a devpts.
pub fn multiplexer(devpts: &OwnedFd) -> Result<OwnedFd, StartError> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    Ok(openat(devpts, "ptmx", flags, Mode::empty()).or_os("open", "ptmx")?)
}

fn null() -> Result<OwnedFd, StartError> {
    let file =
        nix::fcntl::open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()).or_os("open", "/dev/null")?;
    Ok(above_streams(&file)?)
}

/// A pipe belongs to the user who writes to it, so that `/dev/stdout` can be opened by others than root.
fn give(file: &OwnedFd, uid: u32) -> Result<(), StartError> {
    const PIPE: nix::sys::statfs::FsType = nix::sys::statfs::FsType(0x5049_5045);
    if uid == 0 || nix::sys::statfs::fstatfs(file).or_os("fstatfs", "stream")?.filesystem_type() != PIPE {
        return Ok(());
    }
    Ok(nix::unistd::fchown(file, Some(uid.into()), None).or_os("chown", "pipe")?)
}

/// A duplicate that the streams of the new process do not overwrite: the standard library makes none below 3.
fn above_streams(file: &OwnedFd) -> Result<OwnedFd, OsError> {
    file.try_clone().or_os("fcntl", "F_DUPFD_CLOEXEC")
}
