//! Files that go into a container and come out of it.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// The side of a copy that is not the container.
#[derive(Debug)]
pub enum Outside {
    /// A path of the host, as it was written: a slash or `/.` at its end means something.
    Path(PathBuf),
    /// An archive (tar), read or written here; what it holds goes into a folder, or is what was named.
    Archive(OwnedFd),
}

/// How files are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CopyOptions {
    /// A source that is a symbolic link.
    pub link: SourceLink,
    /// Who owns the copies.
    pub owner: CopyOwner,
    /// Folders above the target.
    pub parents: Parents,
}

/// What a source that is itself a symbolic link stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SourceLink {
    /// The link.
    #[default]
    Itself,
    /// What it leads to.
    Followed,
}

/// Who owns copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CopyOwner {
    /// Whoever makes them: root in a container, the user on the host.
    #[default]
    Receiver,
    /// Whoever owns the source, by number.
    Source,
}

/// What becomes of folders above a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Parents {
    /// They have to be there.
    #[default]
    Needed,
    /// They are made.
    Made,
}
