//! Images as an archive that Docker (`docker load`) and OCI tools read: an OCI layout with Docker's `manifest.json` beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};

use serde::Serialize;

use crate::engine::{EngineError, Subject};
use crate::runtime::image::Image;
use crate::runtime::image::digest::{Digest, Digester};
use crate::runtime::image::manifest::{
    CONFIG, Descriptor, DockerManifest, INDEX, MANIFEST, NAME, OciIndex, OciManifest, REFERENCE,
};
use crate::runtime::image::pack::{PackError, pack};
use crate::runtime::image::store::{LayerArchive, Store, failed};
use crate::runtime::image::tree::open_directory;
use crate::values::image_ref::ImageRef;

/// Why an archive can't be written.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The output fails.
    #[error("the archive cannot be written")]
    Write(#[from] io::Error),
    /// A layer can't be packed.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// A layer's files are not what they were.
    #[error("layer {0} was changed in the store")]
    Changed(Digest),
    /// The store.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Store {
    /// Writes these images; each keeps the name it is asked by.
    pub fn save(&self, names: &[ImageRef], output: impl Write) -> Result<(), EngineError> {
        let _hold = self.hold()?;
        let mut images: Vec<(Image, Vec<&ImageRef>)> = Vec::new();
        for name in names {
            let image = self.resolve(name)?.ok_or_else(|| EngineError::NotFound(Subject::Image(name.to_string())))?;
            let name = image.names.contains(name).then_some(name);
            match images.iter_mut().find(|(other, _)| other.id == image.id) {
                Some((_, names)) => names.extend(name),
                None => images.push((image, name.into_iter().collect())),
            }
        }
        let output = io::BufWriter::with_capacity(256 * 1024, output);
        Saver { store: self, output, written: BTreeSet::new() }.everything(&images).map_err(|error| match error {
            SaveError::Engine(error) => error,
            error => failed(
                "save",
                Subject::Image(names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
            )(error),
        })
    }
}

struct Saver<'a, W: Write> {
    store: &'a Store,
    output: W,
    written: BTreeSet<Digest>,
}

impl<W: Write> Saver<'_, W> {
    fn everything(mut self, images: &[(Image, Vec<&ImageRef>)]) -> Result<(), SaveError> {
        self.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let (mut docker, mut manifests) = (Vec::new(), Vec::new());
        for (image, names) in images {
            let document = self.store.document_text(&image.id)?;
            let config = Descriptor::of(CONFIG, Digest::of(&document), document.len() as u64);
            self.blob(&config.digest, &document)?;
            let mut layers = Vec::new();
            for diff_id in &image.document.rootfs.diff_ids {
                layers.push(self.layer(diff_id)?);
            }
            docker.push(DockerManifest {
                config: blob_name(&config.digest),
                repo_tags: (!names.is_empty()).then(|| names.iter().map(|name| name.tagged()).collect()),
                layers: layers.iter().map(|layer| blob_name(&layer.digest)).collect(),
            });
            let manifest = OciManifest { schema_version: 2, media_type: MANIFEST.to_owned(), config, layers };
            let text = json(&manifest)?;
            let mut descriptor = Descriptor::of(MANIFEST, Digest::of(&text), text.len() as u64);
            self.blob(&descriptor.digest, &text)?;
            descriptor.platform = Some(image.document.platform());
            if names.is_empty() {
                manifests.push(descriptor.clone());
            }
            for name in names {
                let mut notes = BTreeMap::from([(NAME.to_owned(), name.canonical())]);
                notes.extend(name.tag().map(|tag| (REFERENCE.to_owned(), tag.to_owned())));
                manifests.push(Descriptor { annotations: Some(notes), ..descriptor.clone() });
            }
        }
        let index = json(&OciIndex { schema_version: 2, media_type: INDEX.to_owned(), manifests })?;
        self.file("index.json", &index)?;
        let docker = json(&docker)?;
        self.file("manifest.json", &docker)?;
        self.output.write_all(&[0; 1024])?;
        Ok(self.output.flush()?)
    }

    fn layer(&mut self, diff_id: &str) -> Result<Descriptor, SaveError> {
        let missing = || EngineError::NotFound(Subject::Image(format!("layer {diff_id}")));
        let diff_id = Digest::try_from(diff_id).map_err(|_| missing())?;
        let record = self.store.layer_record(&diff_id)?.ok_or_else(missing)?;
        match record.archive {
            LayerArchive::Blob(blob) => {
                if self.written.insert(blob.digest.clone()) {
                    self.header(&blob_name(&blob.digest), blob.size)?;
                    let mut input = Digester::new(File::open(self.store.blob(&blob.digest))?);
                    io::copy(&mut input, &mut self.output)?;
                    let (found, size, _) = input.finish();
                    if found != blob.digest || size != blob.size {
                        return Err(SaveError::Changed(diff_id));
                    }
                    self.pad(blob.size)?;
                }
                Ok(Descriptor::of(&blob.media_type, blob.digest, blob.size))
            }
            LayerArchive::Packed { length } => {
                if self.written.insert(diff_id.clone()) {
                    self.header(&blob_name(&diff_id), length)?;
                    let root = open_directory(&self.store.layer_files(&diff_id)).map_err(io::Error::from)?;
                    let mut output = Digester::new(&mut self.output);
                    pack(&root, &mut output)?;
                    let (found, size, _) = output.finish();
                    if found != diff_id || size != length {
                        return Err(SaveError::Changed(diff_id));
                    }
                    self.pad(length)?;
                }
                Ok(Descriptor::of("application/vnd.oci.image.layer.v1.tar", diff_id, length))
            }
        }
    }

    fn blob(&mut self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        if self.written.insert(digest.clone()) { self.file(&blob_name(digest), bytes) } else { Ok(()) }
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.header(name, bytes.len() as u64)?;
        self.output.write_all(bytes)?;
        self.pad(bytes.len() as u64)
    }

    fn header(&mut self, name: &str, size: u64) -> io::Result<()> {
        // GNU's form holds any length.
        let mut header = tar::Header::new_gnu();
        header.set_path(name)?;
        header.set_size(size);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        self.output.write_all(header.as_bytes())
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let padding = usize::try_from(size.wrapping_neg() % 512).unwrap_or(0);
        self.output.write_all(&[0; 512][..padding])
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn json(value: &impl Serialize) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(value)?)
}
