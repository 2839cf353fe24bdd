//! What becomes of images beyond being built: fetched, sent, looked into, made from a container, cleaned up.

use std::path::PathBuf;

use crate::engine::{ImageId, ObservedImage};
use crate::values::image_ref::ImageRef;

/// What came of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The image.
    pub id: ImageId,
    /// What the registry knows it by: the digest of its manifest, or of the index that this is in.
    pub digest: String,
    /// It was not there before.
    pub fresh: bool,
}

/// What came of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// What the registry knows it by.
    pub digest: String,
    /// Bytes of its manifest.
    pub size: u64,
}

/// What came of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedIn {
    /// The file in which the password lies readable; `None` where a helper program keeps it.
    pub readable: Option<PathBuf>,
}

/// An image looked into.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageDetail {
    /// What every list shows.
    pub image: ObservedImage,
    /// What registries know it by.
    pub digests: Vec<ImageRef>,
    /// Its document, as it is stored (OCI image-spec `config.md`).
    pub document: serde_json::Value,
    /// Bytes of each layer, the lowest first.
    pub layers: Vec<u64>,
}

/// How an image is made from a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommitConfig {
    /// Its name.
    pub name: Option<ImageRef>,
    /// Who makes it.
    pub author: Option<String>,
    /// Why.
    pub message: Option<String>,
    /// Instructions of a Dockerfile that change how it is run.
    pub changes: Vec<String>,
    /// Freeze the container meanwhile.
    pub pause: bool,
}

/// What a clean-up took away.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pruned {
    /// A line each, in Docker's words.
    pub lines: Vec<String>,
    /// Bytes of disk that are free again.
    pub reclaimed: u64,
}

/// What lies on disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DiskUse {
    /// Images; bytes of layers that several have count once.
    pub images: Share,
    /// What containers have written.
    pub containers: Share,
    /// Volumes.
    pub volumes: Share,
    /// Results of build steps, what their commands keep, and pulls cut short.
    pub cache: Share,
}

/// What one kind of thing takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// How many.
    pub total: u64,
    /// How many of them something uses.
    pub active: u64,
    /// Bytes.
    pub size: u64,
    /// Bytes that nothing uses.
    pub reclaimable: u64,
}
