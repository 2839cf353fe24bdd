//! The small init of `init: true`: process 1 of a container, which starts the command, forwards signals and reaps.
//!
//! It is this same program, executed from a read-only mount of its own ([`crate::runtime::sys::mount::own_binary`]) with
//! the container's rights, user and filter.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;

use crate::runtime::sys;

/// What it is called in the container, as with Docker.
pub const NAME: &str = "/sbin/docker-init";

/// Its arguments before the command's.
pub const ARGUMENTS: [&str; 2] = [NAME, "--"];

/// What a fault of the process itself raises: never blocked, never forwarded.
const OWN_FAULTS: [Signal; 7] =
    [Signal::SIGFPE, Signal::SIGILL, Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGABRT, Signal::SIGTRAP, Signal::SIGSYS];

/// Plays the role if this process was executed as init; `None` otherwise.
pub fn role() -> Option<ExitCode> {
    let mut arguments = std::env::args_os();
    let named = arguments.next()? == NAME && arguments.next()? == "--";
    named.then(|| {
        let Some(command) = arguments.next() else { return ExitCode::FAILURE };
        let mut child = Command::new(&command);
        child.args(arguments);
        match run(child) {
            Ok(status) => ExitCode::from(code(status)),
            Err(error) => {
                // This process is the command's stand-in: its error belongs where the command's would.
                let shown = command.to_string_lossy();
                let _ = writeln!(std::io::stderr(), "[FATAL init] exec {shown} failed: {error}");
                ExitCode::from(if error.kind() == std::io::ErrorKind::PermissionDenied { 126 } else { 127 })
            }
        }
    })
}

fn run(mut command: Command) -> std::io::Result<ExitStatus> {
    let mut signals = SigSet::all();
    for fault in OWN_FAULTS {
        signals.remove(fault);
    }
    // Before the command starts, so that none is lost.
    signals.thread_block()?;
    sys::spawn::unblock_signals(&mut command);
    let queue = SignalFd::new(&signals)?;
    let child = command.spawn()?;
    let pid = child.id().cast_signed();
    let process = sys::pidfd_open(pid).map_err(|error| std::io::Error::from(error.errno))?;
    loop {
        let Some(signal) = queue.read_signal()? else { continue };
        if signal.ssi_signo == Signal::SIGCHLD as u32 {
            while let Some((ended, status)) = sys::reap() {
                if ended == pid {
                    return Ok(ExitStatus::from_raw(status));
                }
            }
        } else if signal.ssi_code != nix::libc::SI_KERNEL {
            // What the terminal sends reaches the command by itself, being in the same process group.
            // The command may have ended just now; its status comes next.
            let _ = sys::pidfd_signal(&process, signal.ssi_signo.cast_signed());
        }
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
