//! Pulling: from a registry into the store.
//!
//! Layers come in side by side, and each is unpacked while it comes in. Nothing of it is visible until its digests are right, and
//! the image until everything is on disk. What has come in stays when a pull is cut short, and the next one goes on from there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tokio::sync::{Semaphore, mpsc};

use crate::engine::{EngineError, Progress, Pulled, Subject};
use crate::runtime::image::config::ImageDocument;
use crate::runtime::image::digest::{Digest, Digester};
use crate::runtime::image::flow::{Follower, Source, flow};
use crate::runtime::image::layer::{LayerError, Unpacked, is_full, unpack_layer};
use crate::runtime::image::manifest::{CONFIG, DOCKER_CONFIG, Descriptor, OciManifest, Parsed, for_platform};
use crate::runtime::image::partial::Partial;
use crate::runtime::image::registry::error::RegistryError;
use crate::runtime::image::registry::ways::Purpose;
use crate::runtime::image::registry::{Manifest, Repository, pause};
use crate::runtime::image::staging::Staging;
use crate::runtime::image::store::{LayerArchive, LayerBlob, LayerRecord, Store, failed};
use crate::runtime::image::transfer::{ATTEMPTS, Access, TransferError, blocking, engine_error, read_blob};
use crate::values::image_ref::ImageRef;
use crate::values::platform::Platform;

/// Layers that come in at once, whatever they belong to.
pub(in crate::runtime) const DOWNLOADS: usize = 4;

/// How often a layer tells how far it is.
const NEWS: Duration = Duration::from_millis(50);

/// How often whoever waits for a pull is asked whether they still do.
const CALLER_CHECK: Duration = Duration::from_millis(250);

/// The longest document of an image.
const CONFIG_LIMIT: u64 = 16 << 20;

/// Gets an image; one that is there as the registry has it is only named again.
pub(in crate::runtime) async fn pull(
    store: &Store,
    name: &ImageRef,
    platform: Option<&Platform>,
    downloads: Arc<Semaphore>,
    progress: mpsc::Sender<Progress>,
) -> Result<Pulled, EngineError> {
    let access = Access::of(name.registry()).await?;
    let platform = platform.cloned().unwrap_or_else(Platform::host);
    let pull = Pull { store: store.clone(), name: name.clone(), platform, downloads, progress };
    pull.by_any_way(&access).await.map_err(|error| engine_error("pull", name, error))
}

/// The same for whoever may wait: hears how many of all bytes are there, and is asked now and then whether it is over; `None` then.
pub(in crate::runtime) fn pull_blocking(
    store: &Store,
    name: &ImageRef,
    tell: impl Fn(u64, u64),
    is_over: impl Fn() -> bool,
) -> Result<Option<Pulled>, EngineError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(failed("pull", Subject::Image(name.to_string())))?;
    runtime.block_on(async {
        let (sender, mut news) = mpsc::channel(64);
        let mut pull = std::pin::pin!(pull(store, name, None, Arc::new(Semaphore::new(DOWNLOADS)), sender));
        let mut tick = tokio::time::interval(CALLER_CHECK);
        let mut layers = BTreeMap::new();
        loop {
            tokio::select! {
                done = &mut pull => return done.map(Some),
                Some(progress) = news.recv() => if let Progress::Bytes { id, done, total: Some(total) } = progress {
                    layers.insert(id, (done, total));
                    let (done, total) = layers.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
                    tell(done, total);
                },
                _ = tick.tick() => if is_over() { return Ok(None) },
            }
        }
    })
}

/// What the registry has under the name.
enum Found {
    /// What the store has, too.
    Known(Pulled),
    /// Something else.
    Other(Manifest),
}

struct Pull {
    store: Store,
    name: ImageRef,
    platform: Platform,
    downloads: Arc<Semaphore>,
    progress: mpsc::Sender<Progress>,
}

impl Pull {
    async fn by_any_way(&self, access: &Access) -> Result<Pulled, TransferError> {
        let reference = self.name.digest().or(self.name.tag()).unwrap_or("latest");
        let found = access.ask(&self.name, Purpose::Pull, |way| async move {
            let found = match self.known(&way, reference).await? {
                Some(pulled) => Found::Known(pulled),
                None => Found::Other(way.manifest(reference).await?),
            };
            Ok((way, found))
        });
        match found.await? {
            (_, Found::Known(pulled)) => Ok(pulled),
            (way, Found::Other(manifest)) => self.image(&way, manifest).await,
        }
    }

    /// The image as the store has it, if the registry has the same one.
    async fn known(&self, way: &Repository, reference: &str) -> Result<Option<Pulled>, TransferError> {
        let (store, name) = (self.store.clone(), self.name.clone());
        if blocking(move || store.digests_of(&name)).await?.is_empty() {
            return Ok(None);
        }
        let Some(digest) = way.manifest_digest(reference).await? else { return Ok(None) };
        let (store, name, platform) = (self.store.clone(), self.name.clone(), self.platform.clone());
        Ok(blocking(move || store.rename_pulled(&name, &digest, &platform)).await?)
    }

    async fn image(&self, way: &Repository, top: Manifest) -> Result<Pulled, TransferError> {
        let store = self.store.clone();
        // Nothing of the store is collected while this lives.
        let (_hold, staging) =
            blocking(move || Ok::<_, EngineError>((store.hold()?, Arc::new(store.stage()?)))).await?;
        let digest = top.digest.clone();
        let manifest = self.manifest(way, top).await?;
        let text = read_blob(way, &manifest.config, CONFIG_LIMIT, "configuration").await?;
        let malformed = |what, reason: String| TransferError::Malformed { what, reason };
        let document: ImageDocument =
            serde_json::from_slice(&text).map_err(|error| malformed("configuration", error.to_string()))?;
        if document.rootfs.diff_ids.len() != manifest.layers.len() {
            let counts =
                format!("it lists {} layers, the manifest {}", document.rootfs.diff_ids.len(), manifest.layers.len());
            return Err(malformed("configuration", counts));
        }
        let mut seen = BTreeSet::new();
        let mut layers = Vec::new();
        for (descriptor, diff_id) in manifest.layers.iter().zip(&document.rootfs.diff_ids) {
            let diff_id =
                Digest::try_from(diff_id.as_str()).map_err(|error| malformed("configuration", error.to_string()))?;
            if seen.insert(diff_id.clone()) {
                layers.push(self.layer(way, &staging, descriptor, diff_id));
            }
        }
        try_join_all(layers).await?;
        let (store, name, pinned) = (self.store.clone(), self.name.clone(), self.name.pinned(&digest.to_string()));
        let id = blocking(move || {
            // What is asked for by its digest is called by it; a tag beside it is only said.
            let name = if name.digest().is_some() { pinned.clone() } else { name };
            store.publish_document(&staging, &document, &text, &[name], &[pinned])
        })
        .await?;
        Ok(Pulled { id, digest: digest.to_string(), fresh: true })
    }

    /// The manifest of an image, out of the index if this is one.
    async fn manifest(&self, way: &Repository, top: Manifest) -> Result<OciManifest, TransferError> {
        let malformed = |reason: String| TransferError::Malformed { what: "manifest", reason };
        let parse = |manifest: &Manifest| Parsed::read(&manifest.bytes, &manifest.media_type).map_err(malformed);
        let mut parsed = parse(&top)?;
        // An index may lead to an index; a short chain is enough for everything that is made.
        for _ in 0..4 {
            let index = match parsed {
                Parsed::Image(manifest) => {
                    let kind = &manifest.config.media_type;
                    if !kind.is_empty() && kind != CONFIG && kind != DOCKER_CONFIG {
                        let reason = format!("its configuration is of type {kind}");
                        return Err(RegistryError::NoImage { name: self.name.to_string(), reason }.into());
                    }
                    return Ok(manifest);
                }
                Parsed::Index(index) => index,
            };
            let Some(chosen) = for_platform(&index.manifests, &self.platform) else {
                let offered: BTreeSet<String> = index
                    .manifests
                    .iter()
                    .filter_map(|one| one.platform.as_ref())
                    .filter(|platform| platform.os != "unknown")
                    .map(ToString::to_string)
                    .collect();
                let offered = offered.into_iter().collect::<Vec<_>>().join(", ");
                let offered = if offered.is_empty() { "none".to_owned() } else { offered };
                return Err(RegistryError::Platform { wanted: self.platform.to_string(), offered }.into());
            };
            parsed = parse(&way.manifest(&chosen.digest.to_string()).await?)?;
        }
        Err(malformed("an index in an index in an index".to_owned()))
    }

    async fn layer(
        &self,
        way: &Repository,
        staging: &Arc<Staging>,
        descriptor: &Descriptor,
        diff_id: Digest,
    ) -> Result<(), TransferError> {
        let id = descriptor.digest.short();
        self.tell(Progress::Step { id: id.to_owned(), text: "Pulling fs layer".to_owned() }).await;
        let cached = self.fetch_layer(way, staging, descriptor, diff_id).await?;
        self.tell(Progress::Done { id: id.to_owned(), cached }).await;
        Ok(())
    }

    /// Returns whether it was there already.
    async fn fetch_layer(
        &self,
        way: &Repository,
        staging: &Arc<Staging>,
        descriptor: &Descriptor,
        diff_id: Digest,
    ) -> Result<bool, TransferError> {
        let is_here = || {
            let (store, diff_id) = (self.store.clone(), diff_id.clone());
            blocking(move || Ok::<_, TransferError>(store.layer_record(&diff_id)?.is_some()))
        };
        if is_here().await? {
            return Ok(true);
        }
        let digest = &descriptor.digest;
        let write = |error| TransferError::Write(digest.clone(), error);
        let (folder, wanted) = (self.store.partials(), digest.clone());
        let taken =
            blocking(move || Partial::take(&folder, &wanted).map_err(|error| TransferError::Write(wanted, error)));
        let partial = taken.await?;
        // Somebody else may have brought it meanwhile.
        if is_here().await? {
            partial.discard().map_err(write)?;
            return Ok(true);
        }
        // Never closed: it lives as long as the engine.
        let permit = self.downloads.acquire().await.ok();
        let mut resumed = partial.file().metadata().map_err(write)?.len().min(descriptor.size);
        let mut attempt = 0;
        let unpacked = loop {
            attempt += 1;
            let files = staging.path().join(format!("files-{}-{attempt}", diff_id.hex()));
            let (source, follower) = flow(partial.file().try_clone().map_err(write)?, resumed);
            let (laid, wanted, diff) = (files.clone(), digest.clone(), diff_id.clone());
            let unpack = blocking(move || unpack_checked(follower, &laid, &wanted, &diff));
            // The reader ends when the writer does, so what went wrong with the writer is known first.
            let download = async {
                let done = self.download(way, descriptor, &partial, source, resumed).await;
                if done.is_ok() {
                    self.tell(Progress::Step { id: digest.short().to_owned(), text: "Extracting".to_owned() }).await;
                }
                done
            };
            match both(download, unpack).await {
                Ok(unpacked) => break (files, unpacked),
                // What an earlier attempt left, perhaps before a power cut, is not to be trusted; this one starts anew.
                Err(TransferError::Layer(..) | TransferError::Registry(RegistryError::Digest { .. }))
                    if resumed > 0 =>
                {
                    partial.file().set_len(0).map_err(write)?;
                    resumed = 0;
                }
                Err(error) => {
                    if is_worthless(&error) {
                        partial.discard().map_err(write)?;
                    }
                    return Err(error);
                }
            }
        };
        drop(permit);
        let (files, unpacked) = unpacked;
        let (store, staging, blob) = (
            self.store.clone(),
            staging.clone(),
            LayerBlob {
                digest: digest.clone(),
                size: descriptor.size,
                media_type: unpacked.compression.media_type().to_owned(),
            },
        );
        let blob_digest = blob.digest.clone();
        blocking(move || {
            store.adopt_blob(partial.path(), &blob.digest)?;
            let record = LayerRecord { size: unpacked.size, archive: LayerArchive::Blob(blob), made_in: None };
            store.add_layer(&staging, &files, &diff_id, &record)?;
            // Only now: whoever waits for the blob looks for the layer when the file is theirs.
            partial.discard().map_err(|error| TransferError::Write(blob_digest, error))
        })
        .await?;
        Ok(false)
    }

    /// Fetches what is missing of a blob.
    async fn download(
        &self,
        way: &Repository,
        descriptor: &Descriptor,
        partial: &Partial,
        source: Source,
        mut done: u64,
    ) -> Result<(), TransferError> {
        let Descriptor { digest, size, .. } = descriptor;
        let write = |error| TransferError::Write(digest.clone(), error);
        let mut attempt = 1;
        while done < *size {
            let before = done;
            let fetched = async {
                let mut blob = way.blob(digest, *size, done).await?;
                let mut at = blob.offset;
                let mut told = Instant::now();
                while let Some(chunk) = blob.next(at).await? {
                    let chunk = chunk.as_ref();
                    if at + chunk.len() as u64 > *size {
                        let reason = format!("more than the {size} bytes of blob {}", digest.short());
                        return Err(RegistryError::Unexpected { host: way.host().to_owned(), reason }.into());
                    }
                    partial.file().write_all_at(chunk, at).map_err(write)?;
                    at += chunk.len() as u64;
                    done = done.max(at);
                    source.reached(at);
                    if told.elapsed() >= NEWS {
                        told = Instant::now();
                        self.tell_bytes(digest, at, *size);
                    }
                }
                match at == *size {
                    true => Ok(()),
                    false => Err(TransferError::Registry(RegistryError::BrokenOff {
                        host: way.host().to_owned(),
                        what: format!("blob {}", digest.short()),
                        done: at,
                        size: *size,
                        reason: "it closed the connection".to_owned(),
                    })),
                }
            };
            match fetched.await {
                Ok(()) => {}
                Err(TransferError::Registry(error))
                    if error.is_transient() && (attempt < ATTEMPTS || done > before) =>
                {
                    attempt = if done > before { 1 } else { attempt + 1 };
                    pause(&error, attempt).await;
                }
                Err(error) => return Err(error),
            }
        }
        self.tell_bytes(digest, *size, *size);
        source.complete();
        Ok(())
    }

    /// How far a layer is; left out where nobody keeps up.
    fn tell_bytes(&self, digest: &Digest, done: u64, total: u64) {
        let _ = self.progress.try_send(Progress::Bytes { id: digest.short().to_owned(), done, total: Some(total) });
    }

    async fn tell(&self, news: Progress) {
        // Whoever does not listen any more does not want to know.
        let _ = self.progress.send(news).await;
    }
}

/// Waits for both; the first failure counts, and the writer's before the reader's, which only follows.
async fn both<T>(
    download: impl Future<Output = Result<(), TransferError>>,
    unpack: impl Future<Output = Result<T, TransferError>>,
) -> Result<T, TransferError> {
    let (mut download, mut unpack) = (std::pin::pin!(download), std::pin::pin!(unpack));
    tokio::select! {
        biased;
        done = &mut download => {
            let unpacked = unpack.await;
            done.and(unpacked)
        }
        unpacked = &mut unpack => match unpacked {
            // The reader had enough before the writer's end; the digest says whether that was right.
            Ok(unpacked) => download.await.map(|()| unpacked),
            Err(error) => Err(error),
        }
    }
}

/// Unpacks a blob whose bytes must have one digest, and whose uncompressed bytes another.
fn unpack_checked(
    follower: Follower,
    files: &Path,
    digest: &Digest,
    diff_id: &Digest,
) -> Result<Unpacked, TransferError> {
    let mut input = Digester::new(follower);
    let unpacked = unpack_layer(&mut input, files, diff_id);
    let unpacked = match unpacked {
        Err(error) if error.is_full() => return Err(TransferError::Layer(digest.clone(), error)),
        other => other,
    };
    // The archive may end before the blob does; and a bad one tells nothing if the blob is not what it should be.
    let drained = io::copy(&mut input, &mut io::sink());
    let (found, _, _) = input.finish();
    if drained.is_ok() && found != *digest {
        return Err(TransferError::Layer(digest.clone(), LayerError::Digest(found)));
    }
    unpacked.map_err(|error| TransferError::Layer(digest.clone(), error))
}

/// Whether what has come in so far is of no use to a later attempt, or stands in its way.
fn is_worthless(error: &TransferError) -> bool {
    match error {
        TransferError::Layer(..) => true,
        TransferError::Write(_, error) => is_full(error),
        _ => false,
    }
}
