//! Pushing: from the store to a registry.
//!
//! What the registry has already is not sent; what another of its repositories has is taken over from there. A layer that lies only
//! unpacked is packed with gzip for the journey, always to the same bytes, and what came of it is noted, so that it need not be
//! packed again to ask for it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt};
use reqwest::Url;
use tokio::sync::{Semaphore, mpsc};

use crate::engine::{EngineError, Progress, Pushed, Subject};
use crate::runtime::image::Image;
use crate::runtime::image::digest::{Digest, Digester};
use crate::runtime::image::manifest::{CONFIG, Descriptor, MANIFEST, OciManifest};
use crate::runtime::image::pack::pack;
use crate::runtime::image::registry::error::RegistryError;
use crate::runtime::image::registry::ways::Purpose;
use crate::runtime::image::registry::{Repository, pause};
use crate::runtime::image::staging::Staging;
use crate::runtime::image::store::{LayerArchive, LayerBlob, Store, failed};
use crate::runtime::image::transfer::{Access, TransferError, blocking, engine_error};
use crate::runtime::image::tree::open_directory;
use crate::values::image_ref::ImageRef;

/// Layers that go out at once.
const UPLOADS: usize = 4;

/// How often a blob is sent.
const ATTEMPTS: u32 = 3;

/// How often a layer tells how far it is.
const NEWS: Duration = Duration::from_millis(50);

/// Repositories that are asked whether they have a blob.
const SOURCES: usize = 3;

/// Sends an image.
pub(in crate::runtime) async fn push(
    store: &Store,
    name: &ImageRef,
    progress: mpsc::Sender<Progress>,
) -> Result<Pushed, EngineError> {
    if name.digest().is_some() {
        let reason = "a digest can't be pushed to; give it a tag".to_owned();
        return Err(EngineError::Invalid { subject: Subject::Image(name.to_string()), reason });
    }
    let access = Access::of(name.registry()).await?;
    let (opened, wanted) = (store.clone(), name.clone());
    let (_hold, staging, image, sources) = blocking(move || {
        let hold = opened.hold()?;
        let image = opened.resolve(&wanted)?;
        let image = image.ok_or_else(|| EngineError::NotFound(Subject::Image(wanted.to_string())))?;
        let sources = opened.repositories_with(&image, &wanted)?;
        Ok::<_, EngineError>((hold, opened.stage()?, image, sources))
    })
    .await?;
    let push = Push {
        store: store.clone(),
        name: name.clone(),
        image,
        sources,
        staging: Arc::new(staging),
        uploads: Semaphore::new(UPLOADS),
        progress,
    };
    let pushed = access.ask(name, Purpose::Push { sources: &push.sources }, |way| push.image(way)).await;
    pushed.map_err(|error| engine_error("push", name, error))
}

/// The same for whoever may wait, and tells nobody.
pub(in crate::runtime) fn push_blocking(store: &Store, name: &ImageRef) -> Result<Pushed, EngineError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(failed("push", Subject::Image(name.to_string())))?;
    // The receiver is gone before the first word: a full channel would be waited for.
    let (sender, _) = mpsc::channel(1);
    runtime.block_on(push(store, name, sender))
}

struct Push {
    store: Store,
    name: ImageRef,
    image: Image,
    /// Other repositories of the registry that may have its layers.
    sources: Vec<String>,
    staging: Arc<Staging>,
    uploads: Semaphore,
    progress: mpsc::Sender<Progress>,
}

/// Where the bytes of a layer are.
enum Bytes {
    Blob(PathBuf),
    Memory(Vec<u8>),
}

impl Push {
    async fn image(&self, way: Repository) -> Result<Pushed, TransferError> {
        let layers = self.image.document.rootfs.diff_ids.iter().map(|diff_id| self.layer(&way, diff_id));
        let layers = try_join_all(layers).await?;
        let (store, id) = (self.store.clone(), self.image.id.clone());
        let text = blocking(move || Ok::<_, TransferError>(store.document_text(&id)?)).await?;
        let config = Descriptor::of(CONFIG, Digest::of(&text), text.len() as u64);
        if !way.has_blob(&config.digest).await? {
            self.send(&way, &config, None, &Bytes::Memory(text)).await?;
        }
        let manifest = OciManifest { schema_version: 2, media_type: MANIFEST.to_owned(), config, layers };
        let bytes = serde_json::to_vec(&manifest)
            .map_err(failed("push", Subject::Image(self.name.to_string())))
            .map_err(TransferError::Engine)?;
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        way.put_manifest(self.name.tag().unwrap_or("latest"), MANIFEST, bytes).await?;
        let (store, id, pinned) = (self.store.clone(), self.image.id.clone(), self.name.pinned(&digest.to_string()));
        blocking(move || store.pin(&id, &pinned)).await?;
        Ok(Pushed { digest: digest.to_string(), size })
    }

    async fn layer(&self, way: &Repository, diff_id: &str) -> Result<Descriptor, TransferError> {
        let missing = || EngineError::NotFound(Subject::Image(format!("layer {diff_id}")));
        let diff_id = Digest::try_from(diff_id).map_err(|_| missing())?;
        let id = diff_id.short();
        self.tell(id, "Preparing").await;
        // Never closed: it lives as long as the push.
        let _permit = self.uploads.acquire().await.ok();
        let (store, wanted) = (self.store.clone(), diff_id.clone());
        let record =
            blocking(move || Ok::<_, TransferError>(store.layer_record(&wanted)?)).await?.ok_or_else(missing)?;
        let packed = matches!(record.archive, LayerArchive::Packed { .. });
        let known = match record.archive {
            LayerArchive::Blob(blob) => Some(blob),
            LayerArchive::Packed { .. } => {
                let (store, wanted) = (self.store.clone(), diff_id.clone());
                blocking(move || Ok::<_, TransferError>(store.compressed(&wanted)?)).await?
            }
        };
        if let Some(blob) = &known
            && way.has_blob(&blob.digest).await?
        {
            self.done(id, "Layer already exists").await;
            return Ok(blob.descriptor());
        }
        let (blob, bytes) = match known {
            Some(blob) if !packed => (blob.clone(), Bytes::Blob(self.store.blob(&blob.digest))),
            _ => {
                let (store, staging, wanted) = (self.store.clone(), self.staging.clone(), diff_id.clone());
                let (blob, path) = blocking(move || Ok::<_, TransferError>(store.compress(&staging, &wanted)?)).await?;
                (blob, Bytes::Blob(path))
            }
        };
        let descriptor = blob.descriptor();
        let mut upload = None;
        for source in &self.sources {
            // One that can't be read, or does not have it, is no source.
            match way.begin_upload(&blob.digest, Some(source)).await {
                Ok(None) => {
                    self.done(id, &format!("Mounted from {source}")).await;
                    return Ok(descriptor);
                }
                Ok(Some(place)) => upload = Some(place),
                Err(
                    RegistryError::Denied { .. }
                    | RegistryError::NoManifest { .. }
                    | RegistryError::NoRepository { .. },
                ) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.tell(id, "Pushing").await;
        self.send(way, &descriptor, upload, &bytes).await?;
        self.done(id, "Pushed").await;
        Ok(descriptor)
    }

    /// Sends a blob, beginning anew if the registry breaks off.
    async fn send(
        &self,
        way: &Repository,
        descriptor: &Descriptor,
        mut begun: Option<Url>,
        bytes: &Bytes,
    ) -> Result<(), TransferError> {
        let mut attempt = 1;
        loop {
            let sent = async {
                let place = match begun.take() {
                    Some(place) => Some(place),
                    None => way.begin_upload(&descriptor.digest, None).await?,
                };
                let Some(place) = place else { return Ok(()) };
                let input: Box<dyn Read + Send> = match bytes {
                    Bytes::Memory(bytes) => Box::new(io::Cursor::new(bytes.clone())),
                    Bytes::Blob(path) => Box::new(
                        File::open(path).map_err(|error| TransferError::Write(descriptor.digest.clone(), error))?,
                    ),
                };
                let chunks = self.chunks(input, descriptor);
                Ok(way.upload(place, &descriptor.digest, descriptor.size, chunks).await?)
            };
            match sent.await {
                Err(TransferError::Registry(error)) if error.is_transient() && attempt < ATTEMPTS => {
                    pause(&error, attempt).await;
                }
                other => return other,
            }
            attempt += 1;
        }
    }

    fn chunks(
        &self,
        input: Box<dyn Read + Send>,
        descriptor: &Descriptor,
    ) -> stream::BoxStream<'static, io::Result<Vec<u8>>> {
        let (progress, id, total) = (self.progress.clone(), descriptor.digest.short().to_owned(), descriptor.size);
        stream::unfold((input, 0_u64, Instant::now()), move |(mut input, mut done, mut told)| {
            let mut chunk = vec![0; 128 * 1024];
            let read = input.read(&mut chunk);
            let next = match read {
                Ok(0) => None,
                Ok(count) => {
                    chunk.truncate(count);
                    done += count as u64;
                    if told.elapsed() >= NEWS || done == total {
                        told = Instant::now();
                        // Left out where nobody keeps up.
                        let _ = progress.try_send(Progress::Bytes { id: id.clone(), done, total: Some(total) });
                    }
                    Some((Ok(chunk), (input, done, told)))
                }
                Err(error) => Some((Err(error), (Box::new(io::empty()) as Box<dyn Read + Send>, done, told))),
            };
            std::future::ready(next)
        })
        .boxed()
    }

    async fn tell(&self, id: &str, text: &str) {
        // Whoever does not listen any more does not want to know.
        let _ = self.progress.send(Progress::Step { id: id.to_owned(), text: text.to_owned() }).await;
    }

    async fn done(&self, id: &str, text: &str) {
        self.tell(id, text).await;
        // Whoever does not listen any more does not want to know.
        let _ = self.progress.send(Progress::Done { id: id.to_owned(), cached: text != "Pushed" }).await;
    }
}

impl LayerBlob {
    fn descriptor(&self) -> Descriptor {
        Descriptor::of(&self.media_type, self.digest.clone(), self.size)
    }
}

impl Store {
    /// Packs a layer with gzip into a staging folder. What came of it is noted beside the layer.
    fn compress(&self, staging: &Staging, diff_id: &Digest) -> Result<(LayerBlob, PathBuf), EngineError> {
        let path = staging.path().join(format!("gzip-{}", diff_id.hex()));
        let work = || -> Result<(Digest, u64), crate::engine::Cause> {
            let root = open_directory(&self.layer_files(diff_id)).map_err(io::Error::from)?;
            let file = Digester::new(io::BufWriter::with_capacity(256 * 1024, File::create(&path)?));
            let mut packed = Digester::new(flate2::write::GzEncoder::new(file, flate2::Compression::default()));
            pack(&root, &mut packed)?;
            let (found, _, encoder) = packed.finish();
            if found != *diff_id {
                return Err(format!("layer {diff_id} was changed in the store").into());
            }
            let (digest, size, mut file) = encoder.finish()?.finish();
            file.flush()?;
            Ok((digest, size))
        };
        let (digest, size) = work().map_err(failed("pack a layer of", self.subject()))?;
        let media_type = "application/vnd.oci.image.layer.v1.tar+gzip".to_owned();
        let blob = LayerBlob { digest, size, media_type };
        self.note_compressed(diff_id, &blob)?;
        Ok((blob, path))
    }

    /// Other repositories of the registry of `name` that hold images with a layer of this one.
    fn repositories_with(&self, image: &Image, name: &ImageRef) -> Result<Vec<String>, EngineError> {
        let mut found = Vec::new();
        for (other, digests) in self.pinned()? {
            let near: Vec<&ImageRef> = digests
                .iter()
                .filter(|one| one.registry() == name.registry() && one.repository() != name.repository())
                .collect();
            if near.is_empty() {
                continue;
            }
            let shares = other == image.id || {
                let layers = self.layers_used(&std::collections::BTreeSet::from([other]))?;
                image.document.rootfs.diff_ids.iter().any(|diff_id| layers.contains(diff_id))
            };
            found.extend(near.into_iter().filter(|_| shares).map(|one| one.repository().to_owned()));
        }
        found.sort();
        found.dedup();
        found.truncate(SOURCES);
        Ok(found)
    }
}
