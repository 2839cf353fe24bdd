//! The documents that tie blobs together: Docker's `manifest.json` and OCI's index and manifest (image-spec v1.1).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::runtime::image::digest::Digest;
use crate::values::platform::Platform;

/// Media type of an OCI manifest.
pub(in crate::runtime) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI index.
pub(in crate::runtime) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of Docker's manifest, schema 2.
pub(in crate::runtime) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media type of Docker's manifest list.
pub(in crate::runtime) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Media type of an image's document.
pub(in crate::runtime) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of an image's document in Docker's manifests.
pub(in crate::runtime) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
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

/// What a manifest turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Parsed {
    /// Of one image.
    Image(OciManifest),
    /// Of several.
    Index(OciIndex),
}

impl Parsed {
    /// Reads a manifest; the document itself says what it is, else the type it was sent as does. The reason is for people.
    pub(super) fn read(bytes: &[u8], sent_as: &str) -> Result<Parsed, String> {
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if value.get("schemaVersion").and_then(serde_json::Value::as_u64) == Some(1) {
            return Err("it has the form of 2015 (schema 1), which no registry should send any more".to_owned());
        }
        let (layers, manifests) = (value.get("layers").is_some(), value.get("manifests").is_some());
        let kind = value.get("mediaType").and_then(serde_json::Value::as_str).unwrap_or(sent_as);
        match (kind, layers, manifests) {
            // One document must not mean one thing to us and another to somebody else.
            (_, true, true) => Err("it is the manifest of an image and an index at once".to_owned()),
            (INDEX | DOCKER_LIST, false, _) | (_, false, true) => {
                serde_json::from_value(value).map(Parsed::Index).map_err(|error| error.to_string())
            }
            _ => serde_json::from_value(value).map(Parsed::Image).map_err(|error| error.to_string()),
        }
    }
}

impl Descriptor {
    /// Of these bytes.
    pub(in crate::runtime) fn of(media_type: &str, digest: Digest, size: u64) -> Descriptor {
        Descriptor { media_type: media_type.to_owned(), digest, size, annotations: None, platform: None }
    }
}

/// The manifest for a platform; what names none is for every one. The very variant is better than another.
pub(in crate::runtime) fn for_platform<'a>(manifests: &'a [Descriptor], wanted: &Platform) -> Option<&'a Descriptor> {
    let fits = |one: &&Descriptor| one.platform.as_ref().is_none_or(|platform| platform.serves(wanted));
    let exact = |one: &&Descriptor| one.platform.as_ref().is_some_and(|platform| platform.variant == wanted.variant);
    manifests.iter().filter(fits).find(exact).or_else(|| manifests.iter().find(fits))
}
