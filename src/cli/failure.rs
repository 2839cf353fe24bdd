//! Why a command failed: what to say, what might help, and the exit code (Compose CLI reference, §8).

use std::process::ExitCode;

use crate::cli::ui::template::InvalidTemplate;
use crate::engine::EngineError;
use crate::executor::{self, StepError};
use crate::planner::error::PlanError;
use crate::runtime::image::registry::error::BY_PROXY;
use crate::runtime::image::registry::settings::Settings;
use crate::runtime::sys::is_root;
use crate::spec::diagnostic::SpecError;
use crate::values::names::ProjectName;

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
    pub kind: Box<Kind>,
    /// What might help, a line each.
    pub hints: Vec<String>,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Kind {
    /// The command line asks for something that can't be.
    #[error("{0}")]
    Usage(String),
    /// The compose files have faults.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// What was asked for can't be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A plan was not carried out to its end.
    #[error("{}", .0.errors.iter().map(|(_, error)| chain(error)).collect::<Vec<_>>().join("\n"))]
    Step(executor::Failed),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The command of an `exec` can't be run; the code is the shell's for that.
    #[error("cannot run the command in {container}: {reason}")]
    Exec {
        /// Where.
        container: String,
        /// 126 or 127.
        code: u8,
        /// Why not.
        reason: String,
    },
    /// A service that the files do not have.
    #[error("no such service: {0}")]
    NoSuchService(String),
    /// No container to run a command in.
    #[error("service {service:?} is not running{}", if *.index == 0 { String::new() } else { format!(" container #{index}") })]
    NotRunning {
        /// Whose.
        service: String,
        /// Which of them; 0 is any.
        index: u32,
    },
    /// Nothing to wait for.
    #[error("no containers for project {:?}", .0.as_str())]
    NoContainers(ProjectName),
    /// The port is not open on the host.
    #[error("no port {port} for container {container}: {others}")]
    NoPort {
        /// Which.
        port: String,
        /// Of which container.
        container: String,
        /// Those that it has.
        others: String,
    },
    /// A format string is not understood.
    #[error(transparent)]
    Template(#[from] InvalidTemplate),
    /// A plan made no container where it had to.
    #[error("no container was made for this command")]
    NothingMade,
    /// The engine forgot a process.
    #[error("lost touch with the process before it ended")]
    ProcessLost,
    /// The person said stop.
    #[error("canceled")]
    Cancelled,
    /// Whoever read our output is gone; there is nobody to tell.
    #[error("standard output is closed")]
    OutputClosed,
    /// Our output can't be written.
    #[error("cannot write the output")]
    Output(#[source] std::io::Error),
    /// A file that the user named can't be used.
    #[error("cannot {verb} {path}")]
    File {
        /// `read` or `write`.
        verb: &'static str,
        /// Which.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The machine does not give what every command needs.
    #[error("cannot {verb}")]
    System {
        /// `listen for signals`, …
        verb: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// All has been said; only the code is left to give.
    #[error("exit code {0}")]
    Quiet(u8),
}

impl Failure {
    /// The command line asks for something that can't be.
    pub fn usage(text: impl Into<String>) -> Failure {
        Kind::Usage(text.into()).into()
    }

    /// Too few arguments.
    pub fn too_few_arguments(wanted: usize, received: usize) -> Failure {
        Failure::usage(format!("requires at least {wanted} arg(s), only received {received}"))
    }

    /// For `map_err`: the machine does not give what every command needs.
    pub fn system(verb: &'static str) -> impl FnOnce(std::io::Error) -> Failure {
        move |source| Kind::System { verb, source }.into()
    }

    /// For `map_err`: a file that the user named can't be used.
    pub fn file(verb: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Failure {
        move |source| Kind::File { verb, path: path.display().to_string(), source }.into()
    }

    /// Adds a line that might help.
    pub fn hint(mut self, text: impl Into<String>) -> Failure {
        self.hints.push(text.into());
        self
    }

    /// What went wrong with its whole chain of causes, then the hints.
    pub fn text(&self) -> String {
        let mut text = chain(&*self.kind);
        // Whatever the engine could not do without root, this is the reason, and no call's errno says so.
        let root = matches!(*self.kind, Kind::Engine(_) | Kind::Step(_)) && !is_root();
        let root = root.then(|| "xcompose runs containers itself, which takes root: try again with sudo".to_owned());
        let image = self.engine().and_then(way_out);
        let network = match &*self.kind {
            Kind::Plan(PlanError::ExternalNetwork(name)) => {
                Some(format!("make it with `xcompose network create {name}`"))
            }
            _ => None,
        };
        for hint in self.hints.iter().chain(&root).chain(&image).chain(&network) {
            text.push('\n');
            text.push_str(hint);
        }
        text
    }

    /// The engine's error, if that is what went wrong first.
    fn engine(&self) -> Option<&EngineError> {
        match &*self.kind {
            Kind::Engine(error) => Some(error),
            Kind::Step(failed) => match failed.errors.first() {
                Some((_, StepError::Engine(error))) => Some(error),
                _ => None,
            },
            _ => None,
        }
    }

    /// What the shell is told. Docker Compose says 1 to nearly everything (Compose CLI reference, §8).
    pub fn exit(&self) -> Exit {
        match &*self.kind {
            Kind::Quiet(code) => Exit(*code),
            Kind::Exec { code, .. } => Exit(*code),
            Kind::Cancelled => Exit(130),
            // What a program killed by SIGPIPE reports.
            Kind::OutputClosed => Exit(141),
            Kind::Step(failed) => match failed.errors.first() {
                Some((_, StepError::Engine(EngineError::Build { status, .. }))) => {
                    Exit(u8::try_from(*status).unwrap_or(1).max(1))
                }
                _ => Exit(1),
            },
            _ => Exit(1),
        }
    }
}

/// What may help against an engine's error.
fn way_out(error: &EngineError) -> Option<String> {
    let EngineError::Unreachable { registry, reason, .. } = error else { return None };
    let folder = Settings::place();
    let folder = folder.display();
    Some(if reason.starts_with(BY_PROXY) {
        "is that proxy running? NO_PROXY names what is reached without one".to_owned()
    } else if reason.contains("certificate") {
        format!(
            "put its authority's certificate into {folder}/certs.d/{registry}/ca.crt, or name the registry in \
             \"insecure-registries\" of {folder}/daemon.json"
        )
    } else if reason.contains("TLS") {
        format!("if it speaks plain HTTP, name it in \"insecure-registries\" of {folder}/daemon.json")
    } else if registry == "docker.io" {
        format!(
            "is this machine on the internet? Behind a proxy set HTTPS_PROXY; name a mirror in \"registry-mirrors\" of \
             {folder}/daemon.json; or bring the image in with `xcompose image load`, which reads what `docker save` writes"
        )
    } else {
        "is it running, and is its name right? Behind a proxy set HTTPS_PROXY".to_owned()
    })
}

/// An error and its causes in one line; a cause that only repeats what was said is left out, and so is the number that
/// Rust puts behind the system's words.
pub(in crate::cli) fn chain(error: &dyn std::error::Error) -> String {
    let words = |error: &dyn std::error::Error| {
        let text = error.to_string();
        match text.rsplit_once(" (os error ") {
            Some((words, number)) if number.ends_with(')') => words.to_owned(),
            _ => text,
        }
    };
    let mut text = words(error);
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = words(error);
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

impl<E: Into<Kind>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure { kind: Box::new(error.into()), hints: Vec::new() }
    }
}

impl From<executor::Failed> for Kind {
    fn from(failed: executor::Failed) -> Kind {
        Kind::Step(failed)
    }
}

/// Only our own output: files that the user named say which ([`Failure::file`]).
impl From<std::io::Error> for Kind {
    fn from(error: std::io::Error) -> Kind {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Kind::OutputClosed,
            _ => Kind::Output(error),
        }
    }
}
