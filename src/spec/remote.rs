//! Compose files that lie elsewhere. This side only asks for them: it reaches no network.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use super::source::clean;

/// Fetches compose files that lie elsewhere (Compose CLI reference, §5 "Remote").
pub trait Fetch: Debug {
    /// The fetched file, absolute; `None` if `address` is a path of this machine. The error is for people.
    fn fetch(&self, address: &str) -> Option<Result<PathBuf, String>>;
}

/// Fetches nothing: every address is a path.
#[derive(Debug, Clone, Copy)]
pub struct Nowhere;

impl Fetch for Nowhere {
    fn fetch(&self, _: &str) -> Option<Result<PathBuf, String>> {
        None
    }
}

/// The file that `address` means where relative paths belong to `dir`.
pub(in crate::spec) fn file(remote: &dyn Fetch, dir: &Path, address: &str) -> Result<PathBuf, String> {
    remote.fetch(address).unwrap_or_else(|| Ok(clean(&dir.join(address))))
}
