//! All unsafe code, and the error of a kernel call.

use nix::errno::Errno;

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
