//! Which version a project's supervisor is of, so that a newer program can put its own in place of it.

use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::runtime::layout::Layout;
use crate::runtime::store::{self, Durability};
use crate::runtime::supervisor::control::Request;
use crate::runtime::sys;
use crate::runtime::sys::mount::binary;
use crate::values::names::ProjectName;

/// This program's.
const OWN: &str = env!("CARGO_PKG_VERSION");

/// Puts on record that a supervisor of this version serves the project.
pub(super) fn write(layout: &Layout, project: &ProjectName) -> io::Result<()> {
    store::write(&layout.version(project), &OWN, Durability::Memory)
}

/// Whether the project's supervisor is older than this program. Of one that does not say, nothing is known.
pub(super) fn is_older(layout: &Layout, project: &ProjectName) -> bool {
    let Ok(Some(found)) = store::read_whole::<String>(&layout.version(project)) else { return false };
    numbers(&found) < numbers(OWN)
}

/// Has a supervisor give way to one of this program, if nobody has something under way with it.
pub(super) fn replace(stream: &UnixStream, program: &Path) -> io::Result<()> {
    let program = binary(program).map_err(|error| error.errno)?;
    let message = serde_json::to_vec(&Request::GiveWay)?;
    let length = u32::try_from(message.len()).unwrap_or(0).to_le_bytes();
    let bytes = [&length[..], &message].concat();
    sys::send(stream, &bytes, &[program.as_fd()])?;
    // It says that it stays, or ends without a word; one that does not know the request hangs up, and stays.
    let mut answer = [0; 1];
    match (&*stream).read(&mut answer) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
        _ => Ok(()),
    }
}

/// Major, minor, patch; what is behind a hyphen does not count.
fn numbers(version: &str) -> Option<[u64; 3]> {
    let plain = version.split(['-', '+']).next()?;
    let mut parts = plain.split('.').map(|part| part.parse().ok());
    Some([parts.next()??, parts.next()??, parts.next()??])
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(numbers("0.9.0") < numbers("0.10.0-rc1") && numbers("1.0.0") > numbers("0.99.9"));
        assert_eq!(numbers("1.x.0"), None);
    }
}
