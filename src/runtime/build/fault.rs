//! Why a step failed, before and after it is given its place in the Dockerfile.

use std::io;
use std::path::Path;

use crate::engine::{Cause, EngineError, Subject};
use crate::runtime::build::copy::CopyError;
use crate::runtime::build::dockerfile::{Dockerfile, DockerfileError, Step};
use crate::runtime::build::run::RunError;
use crate::runtime::image::store::failed;
use crate::runtime::start::StartError;
use crate::runtime::sys::OsError;

/// Why a step failed.
pub(super) enum Fault {
    /// Tell the user; at this word of the Dockerfile.
    Wrong { word: String, message: String },
    /// Something else.
    Failed(EngineError),
    /// A call or the like.
    Other(Cause),
}

impl Fault {
    /// Tell the user; at this word of the instruction, or at its beginning.
    pub(super) fn at(word: &str, message: impl Into<String>) -> Fault {
        Fault::Wrong { word: word.to_owned(), message: message.into() }
    }

    /// The engine's error, with the step's place.
    pub(super) fn placed(self, file: &Dockerfile, step: &Step) -> EngineError {
        match self {
            Fault::Wrong { word, message } => invalid(file.error(step, &word, message)),
            Fault::Failed(error) => error,
            Fault::Other(source) => {
                let subject = Subject::Path(format!("{}: {}", file.place(step), step.text));
                EngineError::Failed { verb: "do", subject, source }
            }
        }
    }
}

/// What is wrong with a word of an instruction.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WordError {
    /// As it stands there; empty for the whole instruction.
    pub(super) word: String,
    /// What.
    pub(super) message: String,
}

impl From<WordError> for Fault {
    fn from(WordError { word, message }: WordError) -> Fault {
        Fault::Wrong { word, message }
    }
}

/// For whoever has no place to tell.
impl From<WordError> for String {
    fn from(error: WordError) -> String {
        error.message
    }
}

impl From<String> for WordError {
    fn from(message: String) -> WordError {
        WordError { word: String::new(), message }
    }
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Fault {
        Fault::Failed(error)
    }
}

macro_rules! other_faults {
    ($($error:ty),*) => {$(
        impl From<$error> for Fault {
            fn from(error: $error) -> Fault {
                Fault::Other(error.into())
            }
        }
    )*};
}
other_faults!(OsError, io::Error, StartError, RunError);

impl From<String> for Fault {
    fn from(message: String) -> Fault {
        Fault::at("", message)
    }
}

impl From<CopyError> for Fault {
    fn from(error: CopyError) -> Fault {
        match error {
            CopyError::Invalid(message) => Fault::at("", message),
            other => Fault::Other(other.into()),
        }
    }
}

/// A Dockerfile's error as an engine's.
pub(super) fn invalid(error: DockerfileError) -> EngineError {
    EngineError::Invalid { subject: Subject::Path(error.place.clone()), reason: error.to_string() }
}

/// Nobody waits for the build any more.
pub(super) fn cancelled() -> EngineError {
    EngineError::State { subject: Subject::Path("the build".to_owned()), state: "cancelled".to_owned() }
}

/// Turns a failure into one of the whole build.
pub(super) fn during<E: Into<Cause>>(verb: &'static str, path: &Path) -> impl FnOnce(E) -> EngineError {
    failed(verb, Subject::Path(path.display().to_string()))
}
