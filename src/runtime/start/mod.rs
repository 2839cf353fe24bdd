//! How a process gets into a container: what is asked for ([`Request`], [`ExecRequest`]) is compiled to a [`Program`],
//! a flat list of steps that the new process runs between clone and exec.
//!
//! Compiling does what may fail in words (the overlay is mounted, users are looked up, the terminal is made); what the
//! program does may only fail by step and errno. It prints as text, so the whole sandbox is read on one page.

pub mod program;
pub mod request;

use crate::runtime::start::program::Program;
use crate::runtime::start::request::{ExecRequest, Request};
use crate::runtime::sys::OsError;

/// Why a process does not run in a container.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The command can't be run; `code` is 126 or 127, as Docker has them.
    #[error("{reason}")]
    Command {
        /// Exit code to report.
        code: i32,
        /// Docker's words: `exec: "x": executable file not found in $PATH`.
        reason: String,
    },
    /// The configuration can't work.
    #[error("{0}")]
    Invalid(String),
    /// This kernel lacks something.
    #[error("this kernel has no {0}")]
    Unsupported(&'static str),
    /// A call failed before there was a process.
    #[error(transparent)]
    Os(#[from] OsError),
    /// A step of the new process failed.
    #[error("{step}: {error}")]
    Step {
        /// The step as the program prints it.
        step: String,
        /// How it failed.
        error: OsError,
    },
}

/// Prepares the start of a container's first process; its root file system is mounted from here on, until the program
/// (or what became of it) is dropped.
pub fn compile(request: &Request) -> Result<Program, StartError> {
    let _ = request;
    Err(StartError::Unsupported("containers yet"))
}

/// Prepares one more process in a running container.
pub fn compile_exec(request: &ExecRequest) -> Result<Program, StartError> {
    let _ = request;
    Err(StartError::Unsupported("exec yet"))
}
