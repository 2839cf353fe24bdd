//! The steps between clone and exec, with every string, file and filter prepared beforehand.

use std::fmt;
use std::os::fd::OwnedFd;

use crate::runtime::start::StartError;

/// What the new process does until it is the container's own.
#[derive(Debug)]
pub struct Program {
    root: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
}

/// Whose child the new process becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parentage {
    /// The caller's; the caller has to reap it.
    Child,
    /// The caller's parent's, which has to reap it (also when the start failed and nobody was told its pid).
    Sibling,
}

/// A process that runs its command.
#[derive(Debug)]
pub struct Started {
    /// On the host.
    pub pid: i32,
    /// The same, for ever.
    pub pidfd: OwnedFd,
    /// The root file system. While this is open its last unmount, and the write-out that goes with it, does not happen.
    /// Let it go in the background.
    pub root: Option<OwnedFd>,
    /// The other end of the terminal, where one was asked for.
    pub terminal: Option<OwnedFd>,
}

impl Program {
    /// The root file system before and after the start, for what has to be written or read there.
    pub fn root(&self) -> Option<&OwnedFd> {
        self.root.as_ref()
    }

    /// Runs it. Blocks this thread until the command runs or a step failed (the new process shares memory until then).
    pub fn run(self, parentage: Parentage) -> Result<Started, StartError> {
        let _ = (parentage, self.terminal);
        Err(StartError::Unsupported("containers yet"))
    }
}

impl fmt::Display for Program {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}
