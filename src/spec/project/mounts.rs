//! Volumes, and what is mounted into the containers of a service.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::spec::diagnostic::Location;
use crate::spec::project::keys::VolumeKey;
use crate::values::image_ref::ImageRef;
use crate::values::names::{ServiceName, VolumeName};

/// Something mounted into the containers of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Path in the container.
    pub target: String,
    /// What is there.
    pub source: MountSource,
    /// Nothing can be written.
    pub read_only: bool,
    /// Where it stands.
    pub location: Location,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    /// A path of the host.
    Bind {
        /// Absolute path.
        source: PathBuf,
        /// Make a missing directory.
        create: bool,
        /// How mounts spread.
        propagation: Option<String>,
        /// Whether mounts below come along, and writable or not.
        recursive: Option<Recursive>,
    },
    /// A volume of the project.
    Volume {
        /// Which.
        key: VolumeKey,
        /// Leave it empty.
        no_copy: bool,
        /// A path within.
        subpath: Option<String>,
    },
    /// A volume without name, one for each container.
    Anonymous {
        /// Leave it empty.
        no_copy: bool,
    },
    /// Memory.
    Tmpfs {
        /// Bytes.
        size: Option<u64>,
        /// Permission bits.
        mode: Option<u32>,
        /// As `mount -o` takes them.
        options: Vec<String>,
    },
    /// The file system of another image.
    Image {
        /// Which.
        image: ImageRef,
        /// A path within.
        subpath: Option<String>,
    },
}

/// What happens to mounts below the source of a bind mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recursive {
    /// They come along, read-only if the kernel can.
    Enabled,
    /// They stay outside.
    Disabled,
    /// They come along and stay writable.
    Writable,
    /// They come along read-only, or it is an error.
    ReadOnly,
}

/// Whose mounts to take over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumesFrom {
    /// Whose.
    pub source: MountsOf,
    /// Nothing can be written.
    pub read_only: bool,
    /// Where it stands.
    pub location: Location,
}

/// Who has the mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountsOf {
    /// The first container of a service.
    Service(ServiceName),
    /// A foreign container.
    Container(String),
}

/// A volume of the project.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    /// What the engine calls it.
    pub name: VolumeName,
    /// Must exist; nothing else counts then.
    pub external: bool,
    /// Default `local`.
    pub driver: Option<String>,
    /// For the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Where it stands.
    pub location: Location,
}
