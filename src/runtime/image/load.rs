//! Images from an archive of Docker's (`docker save`) or an OCI layout, plain, gzip or zstd.
//!
//! The archive is a stream, and what comes first is not known; so its files are laid aside and then read in the order in which they
//! are tied together. Every layer's digest is verified before it is visible, and so is every blob that is named by its digest.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::engine::{EngineError, ImageId, Subject};
use crate::runtime::image::archive_reader::{ArchiveError, ArchiveReader, EntryKind};
use crate::runtime::image::compression::{self, Compression, Limit, read_ahead};
use crate::runtime::image::config::ImageDocument;
use crate::runtime::image::digest::{Digest, Digester, InvalidDigest};
use crate::runtime::image::layer::{LayerError, Unpacked, unpack_layer};
use crate::runtime::image::manifest::{
    DOCKER_LIST, DockerManifest, INDEX, NAME, OciIndex, OciManifest, REFERENCE, for_platform,
};
use crate::runtime::image::pack::{PackError, pack};
use crate::runtime::image::staging::Staging;
use crate::runtime::image::store::{LayerArchive, LayerBlob, LayerRecord, Store, failed};
use crate::values::image_ref::ImageRef;
use crate::values::platform::Platform;

/// The longest document that is read.
const DOCUMENT_LIMIT: u64 = 16 << 20;

/// Why an archive of images can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is no archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A layer is no archive, or a bad one.
    #[error("layer {layer}")]
    Layer {
        /// Its name or digest.
        layer: String,
        /// What is wrong.
        source: LayerError,
    },
    /// A layer can't be checked.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// Something that it names is not in it.
    #[error("{0} is missing from the archive")]
    Missing(String),
    /// Neither Docker's nor OCI's.
    #[error("it has neither a manifest.json nor an index.json: it holds no images")]
    NoImages,
    /// The content is not what its name says.
    #[error("{name} does not have the digest it should have: it is {found}")]
    Digest {
        /// What.
        name: String,
        /// What it is.
        found: Digest,
    },
    /// A document is malformed.
    #[error("{name} is malformed: {reason}")]
    Malformed {
        /// Which.
        name: String,
        /// How.
        reason: String,
    },
    /// It has images, none for this machine.
    #[error("it has no image for {0}")]
    Platform(Platform),
    /// A file can't be written or read.
    #[error("the archive's content cannot be laid aside")]
    Io(#[from] io::Error),
    /// The store.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Store {
    /// Adds the images of an archive. Returns their names; an image without one is called by its identity.
    pub fn load_archive(&self, archive: impl Read + Send) -> Result<Vec<ImageRef>, EngineError> {
        let _hold = self.hold()?;
        let staging = self.stage()?;
        let load = || {
            let files = lay_aside(archive, &staging)?;
            Loader { store: self, staging: &staging, files }.images()
        };
        load().map_err(|error| match error {
            LoadError::Engine(error) => error,
            error => failed("load", Subject::Image("archive".to_owned()))(error),
        })
    }
}

/// Where the files of the archive lie; links lead to another name.
enum Laid {
    File(PathBuf),
    Link(String),
}

fn lay_aside(archive: impl Read + Send, staging: &Staging) -> Result<HashMap<String, Laid>, LoadError> {
    let (_, input) = compression::decompress(archive, Limit::default())?;
    read_ahead(input, |input| {
        let mut reader = ArchiveReader::new(input);
        let mut files = HashMap::new();
        while let Some(entry) = reader.next_entry()? {
            let name = plain(&String::from_utf8_lossy(&entry.path));
            let laid = match entry.kind {
                EntryKind::File { size, pieces } if pieces == [(0, size)] => {
                    let path = staging.path().join(format!("file-{}", files.len()));
                    io::copy(&mut reader, &mut File::create(&path)?).map_err(ArchiveError::from)?;
                    Laid::File(path)
                }
                // Old versions of Docker wrote a layer once and linked to it.
                EntryKind::Symlink(target) => {
                    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                    Laid::Link(plain(&format!("{folder}/{}", String::from_utf8_lossy(&target))))
                }
                EntryKind::HardLink(target) => Laid::Link(plain(&String::from_utf8_lossy(&target))),
                _ => continue,
            };
            files.insert(name, laid);
        }
        reader.finish()?;
        Ok(files)
    })
}

/// A name without `.`, `..` and needless slashes.
fn plain(name: &str) -> String {
    let mut parts = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

struct Loader<'a> {
    store: &'a Store,
    staging: &'a Staging,
    files: HashMap<String, Laid>,
}

impl Loader<'_> {
    fn images(&self) -> Result<Vec<ImageRef>, LoadError> {
        if self.files.contains_key("manifest.json") {
            let mut names = Vec::new();
            for manifest in self.document::<Vec<DockerManifest>>("manifest.json")? {
                let tags = manifest.repo_tags.unwrap_or_default();
                names.extend(self.image(&manifest.config, &manifest.layers, &tags)?);
            }
            return Ok(names);
        }
        if self.files.contains_key("index.json") {
            return self.layout();
        }
        Err(LoadError::NoImages)
    }

    fn layout(&self) -> Result<Vec<ImageRef>, LoadError> {
        let index: OciIndex = self.document("index.json")?;
        // Several manifests for one name are its platforms; else each is an image of its own.
        let mut by_name: Vec<(Vec<String>, Vec<_>)> = Vec::new();
        for manifest in index.manifests {
            let note = |key| manifest.annotations.as_ref().and_then(|notes| notes.get(key)).cloned();
            // A bare tag names nothing: which repository it is of is known to the reader only.
            let name = note(NAME).or_else(|| note(REFERENCE).filter(|name| name.contains([':', '/'])));
            let key: Vec<String> = name.into_iter().collect();
            match by_name.iter_mut().find(|(other, _)| !key.is_empty() && *other == key) {
                Some((_, manifests)) => manifests.push(manifest),
                None => by_name.push((key, vec![manifest])),
            }
        }
        let host = Platform::host();
        let mut names = Vec::new();
        for (tags, manifests) in by_name {
            let mut chosen =
                for_platform(&manifests, &host).cloned().ok_or_else(|| LoadError::Platform(host.clone()))?;
            // An index may lead to an index; a short chain is enough for everything that is made.
            for _ in 0..4 {
                if chosen.media_type != INDEX && chosen.media_type != DOCKER_LIST {
                    break;
                }
                let inner: OciIndex = self.blob_document(&chosen.digest)?;
                chosen =
                    for_platform(&inner.manifests, &host).cloned().ok_or_else(|| LoadError::Platform(host.clone()))?;
            }
            let manifest: OciManifest = self.blob_document(&chosen.digest)?;
            self.verify(&manifest.config.digest)?;
            let mut layers = Vec::new();
            for layer in &manifest.layers {
                self.verify(&layer.digest)?;
                layers.push(blob_name(&layer.digest));
            }
            names.extend(self.image(&blob_name(&manifest.config.digest), &layers, &tags)?);
        }
        Ok(names)
    }

    fn image(&self, config: &str, layers: &[String], tags: &[String]) -> Result<Vec<ImageRef>, LoadError> {
        let text = self.text(config)?;
        let document: ImageDocument = serde_json::from_slice(&text).map_err(|error| malformed(config, error))?;
        if document.rootfs.diff_ids.len() != layers.len() {
            let counts = format!("it lists {} layers, the manifest {}", document.rootfs.diff_ids.len(), layers.len());
            return Err(malformed(config, counts));
        }
        for (layer, diff_id) in layers.iter().zip(&document.rootfs.diff_ids) {
            let diff_id =
                Digest::try_from(diff_id.as_str()).map_err(|error: InvalidDigest| malformed(config, error))?;
            self.layer(layer, &diff_id)?;
        }
        let mut names = Vec::new();
        for tag in tags {
            names.push(tag.parse::<ImageRef>().map_err(|error| malformed("a name", error))?);
        }
        let ImageId(id) = self.store.publish_document(self.staging, &document, &text, &names, &[])?;
        if names.is_empty() {
            names.push(id.parse().map_err(|error| malformed("an identity", error))?);
        }
        Ok(names)
    }

    fn layer(&self, name: &str, diff_id: &Digest) -> Result<(), LoadError> {
        if self.store.layer_record(diff_id)?.is_some() {
            return Ok(());
        }
        let path = self.file(name)?;
        let files = self.staging.path().join(format!("files-{}", diff_id.hex()));
        let unpacked = unpack_layer(File::open(path)?, &files, diff_id)
            .map_err(|source| LoadError::Layer { layer: name.to_owned(), source })?;
        let Unpacked { root, size, length, compression } = unpacked;
        let repacked = compression == Compression::None && {
            let mut digester = Digester::new(io::sink());
            pack(&root, &mut digester)?;
            digester.finish().0 == *diff_id
        };
        let archive = if repacked {
            LayerArchive::Packed { length }
        } else {
            let (digest, size) = self.store.add_blob(self.staging, &mut File::open(path)?)?;
            LayerArchive::Blob(LayerBlob { digest, size, media_type: compression.media_type().to_owned() })
        };
        Ok(self.store.add_layer(self.staging, &files, diff_id, &LayerRecord { size, archive, made_in: None })?)
    }

    fn file(&self, name: &str) -> Result<&Path, LoadError> {
        let mut name = plain(name);
        for _ in 0..8 {
            match self.files.get(&name) {
                Some(Laid::File(path)) => return Ok(path),
                Some(Laid::Link(target)) => name = target.clone(),
                None => break,
            }
        }
        Err(LoadError::Missing(name))
    }

    fn text(&self, name: &str) -> Result<Vec<u8>, LoadError> {
        let mut text = Vec::new();
        File::open(self.file(name)?)?.take(DOCUMENT_LIMIT + 1).read_to_end(&mut text)?;
        if text.len() as u64 > DOCUMENT_LIMIT {
            return Err(malformed(name, "it is longer than 16 MiB"));
        }
        Ok(text)
    }

    fn document<T: DeserializeOwned>(&self, name: &str) -> Result<T, LoadError> {
        serde_json::from_slice(&self.text(name)?).map_err(|error| malformed(name, error))
    }

    fn blob_document<T: DeserializeOwned>(&self, digest: &Digest) -> Result<T, LoadError> {
        self.verify(digest)?;
        self.document(&blob_name(digest))
    }

    fn verify(&self, digest: &Digest) -> Result<(), LoadError> {
        let name = blob_name(digest);
        let mut digester = Digester::new(File::open(self.file(&name)?)?);
        io::copy(&mut digester, &mut io::sink())?;
        let (found, _, _) = digester.finish();
        if found == *digest { Ok(()) } else { Err(LoadError::Digest { name, found }) }
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn malformed(name: &str, reason: impl ToString) -> LoadError {
    LoadError::Malformed { name: name.to_owned(), reason: reason.to_string() }
}
