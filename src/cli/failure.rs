//! Why a command failed: what to say, what might help, and the exit code (Compose CLI reference, §8).

use std::process::ExitCode;

/// What a command ends with when nothing failed: mostly 0, or the code of the process it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    /// All is well.
    pub const SUCCESS: Exit = Exit(0);

    /// A process's exit code; what does not fit in eight bits is cut as the kernel cuts it.
    pub fn of_process(status: i32) -> Exit {
        Exit(status.to_le_bytes()[0])
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.0)
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct Failure {
    /// What went wrong.
    #[source]
    pub kind: Kind,
    /// What might help, a line each.
    pub hints: Vec<String>,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Kind {
    /// The command line asks for something that can't be.
    #[error("{0}")]
    Usage(String),
    /// The person said stop.
    #[error("canceled")]
    Cancelled,
    /// Whoever read our output is gone; there is nobody to tell.
    #[error("standard output is closed")]
    OutputClosed,
    /// Our output can't be written.
    #[error("cannot write the output")]
    Output(#[source] std::io::Error),
    /// An answer can't be read.
    #[error("cannot read the answer")]
    Input(#[source] std::io::Error),
    /// All has been said; only the code is left to give.
    #[error("exit code {0}")]
    Quiet(u8),
}

impl Failure {
    /// The command line asks for something that can't be.
    pub fn usage(text: impl Into<String>) -> Failure {
        Kind::Usage(text.into()).into()
    }

    /// Adds a line that might help.
    pub fn hint(mut self, text: impl Into<String>) -> Failure {
        self.hints.push(text.into());
        self
    }

    /// The whole chain of causes in one line, then the hints.
    pub fn text(&self) -> String {
        let mut text = self.kind.to_string();
        let mut cause = std::error::Error::source(&self.kind);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        for hint in &self.hints {
            text.push('\n');
            text.push_str(hint);
        }
        text
    }

    /// What the shell is told.
    pub fn exit(&self) -> Exit {
        match self.kind {
            Kind::Usage(_) | Kind::Output(_) | Kind::Input(_) => Exit(1),
            Kind::Quiet(code) => Exit(code),
            Kind::Cancelled => Exit(130),
            // What a program killed by SIGPIPE reports.
            Kind::OutputClosed => Exit(141),
        }
    }
}

impl From<Kind> for Failure {
    fn from(kind: Kind) -> Failure {
        Failure { kind, hints: Vec::new() }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Kind::OutputClosed.into(),
            _ => Kind::Output(error).into(),
        }
    }
}
