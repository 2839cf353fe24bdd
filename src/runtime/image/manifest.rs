//! The documents that tie blobs together: Docker's `manifest.json` and OCI's index and manifest (image-spec v1.1).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::runtime::image::digest::Digest;
use crate::values::platform::Platform;

/// Media type of an OCI manifest.
pub(in crate::runtime) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI index.
pub(in crate::runtime) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an image's document.
pub(in crate::runtime) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Where containerd and Docker put an image's full name.
pub(super) const NAME: &str = "io.containerd.image.name";
/// Where OCI puts an image's name, or only its tag.
pub(super) const REFERENCE: &str = "org.opencontainers.image.ref.name";

/// One image of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerManifest {
    pub(super) config: String,
    pub(super) repo_tags: Option<Vec<String>>,
    pub(super) layers: Vec<String>,
}

/// A blob and what it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::runtime) struct Descriptor {
    #[serde(default)]
    pub(in crate::runtime) media_type: String,
    pub(in crate::runtime) digest: Digest,
    pub(in crate::runtime) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::runtime) annotations: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::runtime) platform: Option<Platform>,
}

/// Manifests of several platforms, or of several images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::runtime) struct OciIndex {
    pub(in crate::runtime) schema_version: u32,
    #[serde(default)]
    pub(in crate::runtime) media_type: String,
    pub(in crate::runtime) manifests: Vec<Descriptor>,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::runtime) struct OciManifest {
    pub(in crate::runtime) schema_version: u32,
    #[serde(default)]
    pub(in crate::runtime) media_type: String,
    pub(in crate::runtime) config: Descriptor,
    pub(in crate::runtime) layers: Vec<Descriptor>,
}

impl Descriptor {
    /// Of these bytes.
    pub(in crate::runtime) fn of(media_type: &str, digest: Digest, size: u64) -> Descriptor {
        Descriptor { media_type: media_type.to_owned(), digest, size, annotations: None, platform: None }
    }
}

/// The manifest for this machine; what names no platform is for every one.
pub(in crate::runtime) fn for_platform<'a>(manifests: &'a [Descriptor], host: &Platform) -> Option<&'a Descriptor> {
    let fits = |one: &&Descriptor| {
        one.platform
            .as_ref()
            .is_none_or(|platform| platform.os == host.os && platform.architecture == host.architecture)
    };
    manifests.iter().find(fits)
}
