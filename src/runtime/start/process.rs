//! A program becomes a process, or it is told which step failed, in Docker's words where it has some.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::errno::Errno;

use crate::runtime::start::StartError;
use crate::runtime::start::program::{Exec, Image, Parentage, Program, Step};
use crate::runtime::sys::OsError;
use crate::runtime::sys::spawn::{self, SpawnError};

/// A process that runs its command.
#[derive(Debug)]
pub struct Started {
    /// On the host.
    pub pid: i32,
    /// The same, for ever.
    pub pidfd: OwnedFd,
    /// The root file system. While this is open its last unmount, and the write-out that goes with it, does not happen.
    /// Let it go in the background.
    pub root: Option<Arc<OwnedFd>>,
    /// The other end of the terminal, where one was asked for.
    pub terminal: Option<OwnedFd>,
}

impl Program {
    /// Runs it. Blocks this thread until the command runs or a step failed (the new process shares memory until then).
    pub fn run(self, parentage: Parentage) -> Result<Started, StartError> {
        match spawn::spawn(&self, parentage) {
            Ok((pid, pidfd)) => Ok(Started { pid, pidfd, root: self.root, terminal: self.terminal }),
            Err(SpawnError::Clone(error)) => Err(StartError::Os(error)),
            Err(SpawnError::Step { step, errno }) => Err(self.failure(step, errno)),
            Err(SpawnError::Killed { step }) => {
                Err(StartError::Killed(self.steps.get(step).map_or_else(String::new, ToString::to_string)))
            }
        }
    }

    fn failure(&self, number: usize, errno: Errno) -> StartError {
        match self.steps.get(number) {
            Some(Step::Exec(exec)) => exec.failure(errno),
            Some(step) => StartError::Step(OsError { call: step.call(), subject: step.to_string(), errno }),
            None => StartError::Step(OsError { call: "clone", subject: format!("step {number}"), errno }),
        }
    }
}

impl Exec {
    /// In Docker's words and with its exit codes.
    fn failure(&self, errno: Errno) -> StartError {
        let name = self.argv.first().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let (code, reason) = match (&self.image, errno) {
            (Image::Search(_), Errno::ENOENT | Errno::EACCES | Errno::ENOTDIR) => {
                (127, format!("exec: {name:?}: executable file not found in $PATH"))
            }
            (_, Errno::ENOENT | Errno::ENOTDIR) => {
                (127, format!("exec: {name:?}: stat {name}: no such file or directory"))
            }
            (_, Errno::EACCES) => (126, format!("exec: {name:?}: permission denied")),
            (_, Errno::ENOEXEC) => (126, format!("exec {name}: exec format error")),
            (_, other) => (126, format!("exec: {name:?}: {}", other.desc().to_lowercase())),
        };
        StartError::Command { code, reason }
    }
}

impl Step {
    /// The call that is likely to fail in it.
    fn call(&self) -> &'static str {
        match self {
            Step::Write { .. } => "write",
            Step::Join { .. } => "setns",
            Step::Unshare(_) => "unshare",
            Step::BorrowShm(_) => "open_tree",
            Step::Root { .. } | Step::Place { .. } | Step::PlaceShm(_) => "move_mount",
            Step::PrivateMounts
            | Step::Mount { .. }
            | Step::Bind { .. }
            | Step::Mask { .. }
            | Step::ReadOnly(_)
            | Step::RootReadOnly => "mount",
            Step::Pivot => "pivot_root",
            Step::HostName(_) => "sethostname",
            Step::DomainName(_) => "setdomainname",
            Step::Limit { .. } => "setrlimit",
            Step::Session => "setsid",
            Step::Streams(_) => "dup3",
            Step::Terminal => "ioctl",
            Step::CloseOthers(_) => "close_range",
            Step::WorkingDirectory(_) => "chdir",
            Step::NoNewPrivileges | Step::Bounding { .. } | Step::DieWithParent => "prctl",
            Step::Filter(_) => "seccomp",
            Step::Identity { .. } => "setresuid",
            Step::Capabilities(_) => "capset",
            Step::Exec(_) => "execve",
        }
    }
}
