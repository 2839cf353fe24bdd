//! Images: the store, archives, layers.
//!
//! An image is a configuration document and a list of layers. The document lies among the blobs under its digest, which is the
//! image's identity; each layer lies unpacked, ready to be a lower directory of an overlay, under the digest of its archive.
//! What is visible under its digest is whole: everything is made in a folder of its own and renamed.

pub mod archive_reader;
pub mod artifact;
pub(in crate::runtime) mod compression;
pub mod config;
pub mod credentials;
pub(in crate::runtime) mod detail;
pub mod digest;
mod flow;
pub mod import;
mod index;
mod layer;
pub mod load;
pub(in crate::runtime) mod login;
mod manifest;
pub mod pack;
mod partial;
pub(in crate::runtime) mod pull;
pub(in crate::runtime) mod push;
pub mod registry;
pub mod remove;
pub mod save;
pub(in crate::runtime) mod staging;
pub mod store;
mod transfer;
pub(in crate::runtime) mod tree;
pub mod unpack;

use std::path::PathBuf;

use crate::engine::{ImageId, ObservedImage};
use crate::runtime::image::config::{ImageConfig, ImageDocument};
use crate::values::image_ref::ImageRef;

/// An image of the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// The digest of its document.
    pub id: ImageId,
    /// Every name it has.
    pub names: Vec<ImageRef>,
    /// Its document.
    pub document: ImageDocument,
    /// Its layers' directories, the topmost last; none for an image of nothing.
    pub layers: Vec<PathBuf>,
    /// Bytes of its layers, unpacked.
    pub size: u64,
    /// When it last got a name here, nanoseconds since 1970.
    pub tagged: i64,
}

impl Image {
    /// The defaults of a container.
    pub fn config(&self) -> &ImageConfig {
        &self.document.config
    }

    /// What an engine's caller sees of it.
    pub fn observed(&self) -> ObservedImage {
        ObservedImage {
            id: self.id.clone(),
            names: self.names.clone(),
            size: self.size,
            created: self.document.created_nanos(),
            tagged: self.tagged,
            platform: self.document.platform().to_string(),
            labels: self.document.config.labels.clone(),
            volumes: self.document.config.volumes.keys().cloned().collect(),
        }
    }
}
