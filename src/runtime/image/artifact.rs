//! Artifacts: documents in a registry that are no image (OCI image-spec v1.1, "Guidelines for Artifact Usage").

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};

use crate::engine::EngineError;
use crate::runtime::image::digest::Digest;
use crate::runtime::image::manifest::{Descriptor, MANIFEST};
use crate::runtime::image::registry::error::RegistryError;
use crate::runtime::image::registry::ways::Purpose;
use crate::runtime::image::registry::{Manifest, Repository};
use crate::runtime::image::transfer::{Access, TransferError, engine_error, read_blob};
use crate::values::image_ref::ImageRef;

/// The longest document of an artifact.
const LIMIT: u64 = 16 << 20;

/// The configuration of an artifact that has none.
const EMPTY: (&str, &[u8]) = ("application/vnd.oci.empty.v1+json", b"{}");

/// An artifact, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// What it is: the media type of the artifact.
    pub kind: String,
    /// What is said of it.
    pub annotations: BTreeMap<String, String>,
    /// Its documents, in order.
    pub documents: Vec<Document>,
}

/// A document of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its media type.
    pub kind: String,
    /// What is said of it.
    pub annotations: BTreeMap<String, String>,
    /// What it holds; at most 16 MiB.
    pub bytes: Vec<u8>,
}

/// How an artifact says what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form<'a> {
    /// In a field of its own (OCI image-spec 1.1).
    Typed,
    /// By the media type of its empty configuration, which is given (OCI image-spec 1.0 has no field).
    Configured(&'a str),
    /// In a field of its own; to a registry that refuses that, by the media type.
    Either(&'a str),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArtifactManifest {
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    config: Descriptor,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    manifests: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    digest: Digest,
    #[serde(default)]
    artifact_type: Option<String>,
}

/// Gets an artifact; of several under one name, that of the `wanted` kind, or none. Also the digest it is known by.
pub async fn fetch(name: &ImageRef, wanted: &str) -> Result<Option<(Digest, Artifact)>, EngineError> {
    let access = Access::of(name.registry()).await?;
    let fetched = async {
        let (way, manifest) = found(name, &access).await?;
        read(&way, manifest, wanted).await
    };
    fetched.await.map_err(|error| engine_error("pull", name, error))
}

/// Sends an artifact; the digest that it is known by from now on.
pub async fn publish(name: &ImageRef, artifact: &Artifact, form: Form<'_>) -> Result<Digest, EngineError> {
    let access = Access::of(name.registry()).await?;
    let purpose = Purpose::Push { sources: &[] };
    let sent = access.ask(name, purpose, |way| send(way, name, artifact, form)).await;
    sent.map_err(|error| engine_error("push", name, error))
}

/// What the registry knows an image by.
pub async fn digest_of(name: &ImageRef) -> Result<Digest, EngineError> {
    let access = Access::of(name.registry()).await?;
    let found = found(name, &access).await.map_err(|error| engine_error("pull", name, error))?;
    Ok(found.1.digest)
}

/// The manifest of a name, and the way by which it came.
async fn found(name: &ImageRef, access: &Access) -> Result<(Repository, Manifest), TransferError> {
    let reference = name.digest().or(name.tag()).unwrap_or("latest");
    access
        .ask(name, Purpose::Pull, |way| async move {
            let manifest = way.manifest(reference).await?;
            Ok((way, manifest))
        })
        .await
}

fn malformed(error: &serde_json::Error) -> TransferError {
    TransferError::Malformed { what: "manifest", reason: error.to_string() }
}

async fn read(way: &Repository, top: Manifest, wanted: &str) -> Result<Option<(Digest, Artifact)>, TransferError> {
    let digest = top.digest.clone();
    let mut bytes = top.bytes;
    let is_index = |bytes: &[u8]| {
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
        Ok::<_, TransferError>(value.get("manifests").is_some() && value.get("layers").is_none())
    };
    if is_index(&bytes)? {
        let index: Index = serde_json::from_slice(&bytes).map_err(|error| malformed(&error))?;
        let Some(entry) = index.manifests.iter().find(|one| one.artifact_type.as_deref() == Some(wanted)) else {
            return Ok(None);
        };
        bytes = way.manifest(&entry.digest.to_string()).await?.bytes;
    }
    let manifest: ArtifactManifest = serde_json::from_slice(&bytes).map_err(|error| malformed(&error))?;
    let kind = manifest.artifact_type.unwrap_or(manifest.config.media_type);
    let mut artifact = Artifact { kind, annotations: manifest.annotations.unwrap_or_default(), documents: Vec::new() };
    if artifact.kind != wanted && manifest.layers.iter().any(|layer| layer.size > LIMIT) {
        // An image, most likely: what it holds is of no interest.
        return Ok(Some((digest, artifact)));
    }
    for layer in manifest.layers {
        let bytes = read_blob(way, &layer, LIMIT, "document").await?;
        artifact.documents.push(Document {
            kind: layer.media_type,
            annotations: layer.annotations.unwrap_or_default(),
            bytes,
        });
    }
    Ok(Some((digest, artifact)))
}

async fn send(way: Repository, name: &ImageRef, artifact: &Artifact, form: Form<'_>) -> Result<Digest, TransferError> {
    let mut layers = Vec::new();
    for document in &artifact.documents {
        let mut descriptor = blob(&way, &document.kind, &document.bytes).await?;
        descriptor.annotations = Some(document.annotations.clone()).filter(|all| !all.is_empty());
        layers.push(descriptor);
    }
    let put = async |config: &str, artifact_type: Option<String>| {
        let manifest = ArtifactManifest {
            schema_version: 2,
            media_type: MANIFEST.to_owned(),
            artifact_type,
            config: blob(&way, config, EMPTY.1).await?,
            layers: layers.clone(),
            annotations: Some(artifact.annotations.clone()).filter(|all| !all.is_empty()),
        };
        let bytes = serde_json::to_vec(&manifest).map_err(|error| malformed(&error))?;
        let digest = Digest::of(&bytes);
        way.put_manifest(name.tag().unwrap_or("latest"), MANIFEST, bytes).await?;
        Ok(digest)
    };
    let typed = async || put(EMPTY.0, Some(artifact.kind.clone())).await;
    match form {
        Form::Typed => typed().await,
        Form::Configured(kind) => put(kind, None).await,
        Form::Either(kind) => match typed().await {
            Err(TransferError::Registry(error)) if error.is_refusal() => put(kind, None).await,
            other => other,
        },
    }
}

/// Sends a blob that the registry does not have.
async fn blob(way: &Repository, kind: &str, bytes: &[u8]) -> Result<Descriptor, RegistryError> {
    let descriptor = Descriptor::of(kind, Digest::of(bytes), bytes.len() as u64);
    if !way.has_blob(&descriptor.digest).await?
        && let Some(place) = way.begin_upload(&descriptor.digest, None).await?
    {
        let chunks = stream::iter([Ok(bytes.to_vec())]).boxed();
        way.upload(place, &descriptor.digest, descriptor.size, chunks).await?;
    }
    Ok(descriptor)
}
