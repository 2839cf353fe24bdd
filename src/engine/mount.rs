//! What is mounted into a container.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::values::image_ref::ImageRef;
use crate::values::names::VolumeName;

/// Something mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path in the container.
    pub target: String,
    /// What is there.
    pub source: MountSource,
    /// Nothing can be written.
    pub read_only: bool,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountSource {
    /// A path of the host.
    Bind {
        /// Absolute path on the host.
        source: PathBuf,
        /// Make a missing directory.
        create: bool,
        /// `rprivate`, `private`, `rshared`, `shared`, `rslave` or `slave`.
        propagation: Option<String>,
        /// Take the mounts below along.
        recursive: bool,
    },
    /// A named volume, made before.
    Volume {
        /// Which.
        name: VolumeName,
        /// Do not copy the image's content into it when it is empty.
        no_copy: bool,
        /// A path within.
        subpath: Option<String>,
    },
    /// A new volume of its own, or the one that the `inherit`ed container has at this target.
    Anonymous,
    /// The volume that another container has at this target when this one is made.
    Of {
        /// Which, by id or name.
        container: String,
    },
    /// Memory.
    Tmpfs {
        /// Bytes.
        size: Option<u64>,
        /// Permission bits of its root.
        mode: Option<u32>,
        /// More options, as `mount -o` takes them.
        options: Vec<String>,
    },
    /// The file system of another image, read-only.
    Image {
        /// Which.
        image: ImageRef,
        /// A path within.
        subpath: Option<String>,
    },
}
