//! The image store: finding, naming, adding and removing images.
//!
//! Any number of processes work on it at once. `names.json` changes only under `lock`, and lists an image only when its document and
//! layers are in place. Who makes or uses things that nothing lists yet holds the store ([`Store::hold`]); collecting what nothing
//! lists waits for no one: it happens when nobody holds the store, else later.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::engine::{EngineError, ImageId, Pulled, Subject};
use crate::runtime::image::Image;
use crate::runtime::image::config::ImageDocument;
use crate::runtime::image::digest::{Digest, Digester};
use crate::runtime::image::index::Index;
use crate::runtime::image::staging::Staging;
use crate::runtime::layout::Layout;
use crate::runtime::store;
use crate::runtime::sys::{OrOs, OsError};
use crate::values::image_ref::ImageRef;
use crate::values::platform::Platform;

/// The images of this machine.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// While it lives, nothing of the store is collected.
#[derive(Debug)]
pub struct Hold {
    _lock: Flock<File>,
}

/// What is written beside an unpacked layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Bytes of its files.
    pub size: u64,
    /// How to have its archive again.
    pub archive: LayerArchive,
    /// The boot in which it was made, until it is known to be on disk: after a power cut its files may be anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_in: Option<String>,
}

/// Where the archive of a layer comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerArchive {
    /// Packing the files again gives the same bytes.
    Packed {
        /// How many.
        length: u64,
    },
    /// It is kept, since it was compressed or packed by rules of somebody else.
    Blob(LayerBlob),
}

/// A layer's archive among the blobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerBlob {
    /// Its digest as it lies there, compressed or not.
    pub digest: Digest,
    /// Its length there.
    pub size: u64,
    /// OCI media type.
    pub media_type: String,
}

impl Store {
    /// Opens the store, making it if there is none.
    pub fn open(layout: &Layout) -> Result<Store, EngineError> {
        let store = Store { root: layout.images() };
        // Only root looks in: layers hold set-user-id programs and device nodes of strangers.
        let make = |path: PathBuf| {
            DirBuilder::new().recursive(true).mode(0o700).create(&path).or_os("mkdir", path.display().to_string())
        };
        for path in [store.blobs(), store.layers(), store.staging(), store.cache()] {
            make(path).map_err(failed("open", Subject::Path(store.root.display().to_string())))?;
        }
        Ok(store)
    }

    /// The image of this name. `sha256:…` and the beginning of an identity are names too, where no image is called so.
    pub fn resolve(&self, name: &ImageRef) -> Result<Option<Image>, EngineError> {
        self.find(&name.to_string())
    }

    /// The image of this name, identity or beginning of an identity.
    pub fn find(&self, text: &str) -> Result<Option<Image>, EngineError> {
        let index = self.index()?;
        match find_id(&index, text)? {
            Some(id) => self.load(&index, &id).map(Some),
            None => Ok(None),
        }
    }

    /// The image of this identity.
    pub fn image(&self, id: &ImageId) -> Result<Option<Image>, EngineError> {
        let index = self.index()?;
        if index.images.contains_key(id) { self.load(&index, id).map(Some) } else { Ok(None) }
    }

    /// Every image.
    pub fn list(&self) -> Result<Vec<Image>, EngineError> {
        let index = self.index()?;
        index.images.keys().map(|id| self.load(&index, id)).collect()
    }

    /// The directories of an image's layers, the topmost last, even if the image is not listed any more (a container may have it).
    pub fn layers_of(&self, id: &ImageId) -> Result<Vec<PathBuf>, EngineError> {
        self.document(id).map(|document| self.directories(&document)).map_err(failed("read", image(id)))
    }

    /// Gives an image a further name, taking it from whoever has it.
    pub fn tag(&self, id: &ImageId, name: &ImageRef) -> Result<(), EngineError> {
        self.change(|index| match index.images.get(id).map(|entry| entry.size) {
            Some(size) => {
                index.publish(id, size, std::slice::from_ref(name), store::now());
                Ok(())
            }
            None => Err(EngineError::NotFound(image(id))),
        })
    }

    /// Does something that gives an image this name, which nobody else is to see: afterwards the list is as it was before. Layers of
    /// an image that is listed no more stay as long as the store is held.
    pub(in crate::runtime) fn unlisted<T>(
        &self,
        name: &ImageRef,
        work: impl FnOnce() -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let before = self.index()?;
        let done = work();
        self.change(|index| {
            let (owner, now_named) = (before.named(name).cloned(), index.named(name).cloned());
            if let Some(id) = now_named.filter(|id| Some(id) != owner.as_ref()) {
                if let Some(entry) = index.images.get_mut(&id) {
                    entry.names.retain(|other| other != name);
                    // Somebody else may have given it another name meanwhile.
                    if entry.names.is_empty() && !before.images.contains_key(&id) {
                        index.images.remove(&id);
                    }
                }
                if let Some(entry) = owner.and_then(|owner| index.images.get_mut(&owner)) {
                    entry.names.push(name.clone());
                }
            }
            Ok(())
        })?;
        done
    }

    /// Keeps everything of the store in place while the guard lives. Waits while somebody collects.
    pub fn hold(&self) -> Result<Hold, EngineError> {
        self.flock(FlockArg::LockShared).map(|lock| Hold { _lock: lock }).map_err(failed("lock", self.subject()))
    }

    // What builds, imports and loads are made of.

    /// A folder of one's own on the same file system, gone when dropped.
    pub(in crate::runtime) fn stage(&self) -> Result<Staging, EngineError> {
        Staging::new(&self.staging()).map_err(failed("prepare a folder in", self.subject()))
    }

    /// Where an unpacked layer lies.
    pub(in crate::runtime) fn layer(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(diff_id.hex())
    }

    /// The files of an unpacked layer: a lower directory of an overlay.
    pub(in crate::runtime) fn layer_files(&self, diff_id: &Digest) -> PathBuf {
        self.layer(diff_id).join("diff")
    }

    /// What is written beside a layer; `None` if there is no such layer, or one that may have been torn by a power cut.
    pub(in crate::runtime) fn layer_record(&self, diff_id: &Digest) -> Result<Option<LayerRecord>, EngineError> {
        self.read_layer(diff_id).map_err(failed("read", self.subject()))
    }

    fn read_layer(&self, diff_id: &Digest) -> io::Result<Option<LayerRecord>> {
        let record: Option<LayerRecord> = match store::read(&self.layer(diff_id).join("layer.json")) {
            Err(error) if store::is_damaged(&error) => None,
            other => other?,
        };
        match record {
            Some(LayerRecord { made_in: Some(boot), .. }) if boot != this_boot()? => Ok(None),
            other => Ok(other),
        }
    }

    /// Makes the layer whose files lie in `staged` (below a staging folder) visible; one that is there already stays.
    pub(in crate::runtime) fn add_layer(
        &self,
        staging: &Staging,
        staged: &Path,
        diff_id: &Digest,
        record: &LayerRecord,
    ) -> Result<(), EngineError> {
        self.place_layer(staging, staged, diff_id, record).map_err(failed("store a layer in", self.subject()))
    }

    fn place_layer(
        &self,
        staging: &Staging,
        staged: &Path,
        diff_id: &Digest,
        record: &LayerRecord,
    ) -> Result<(), OsError> {
        let record = LayerRecord { made_in: Some(this_boot().or_os("read", BOOT)?), ..record.clone() };
        let folder = staging.path().join(format!("layer-{}", diff_id.hex()));
        let subject = || folder.display().to_string();
        DirBuilder::new().mode(0o700).create(&folder).or_os("mkdir", subject())?;
        fs::rename(staged, folder.join("diff")).or_os("rename", subject())?;
        store::write(&folder.join("layer.json"), &record, store::Durability::Disk).or_os("write", subject())?;
        let place = self.layer(diff_id);
        match fs::rename(&folder, &place) {
            Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => {}
            other => return other.or_os("rename", subject()),
        }
        if self.read_layer(diff_id).or_os("read", subject())?.is_some() {
            // Another process was faster; what has one digest has one content.
            return Ok(());
        }
        // A torn one of a former boot gives way.
        let away = staging.path().join(format!("torn-{}", diff_id.hex()));
        fs::rename(&place, &away).or_os("rename", subject())?;
        fs::rename(&folder, &place).or_os("rename", subject())
    }

    /// Where a blob lies.
    pub(in crate::runtime) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// Writes a blob under its digest.
    pub(in crate::runtime) fn add_blob(
        &self,
        staging: &Staging,
        bytes: &mut dyn Read,
    ) -> Result<(Digest, u64), EngineError> {
        let temporary = staging.path().join("blob");
        let mut place = || -> io::Result<(Digest, u64)> {
            let mut file = Digester::new(File::create(&temporary)?);
            io::copy(bytes, &mut file)?;
            file.flush()?;
            let (digest, size, file) = file.finish();
            file.sync_data()?;
            fs::rename(&temporary, self.blob(&digest))?;
            Ok((digest, size))
        };
        place().or_os("write", temporary.display().to_string()).map_err(failed("store a blob in", self.subject()))
    }

    /// Lists the image of this document under these names; its layers are in place. Everything is on disk before it is listed.
    pub(in crate::runtime) fn publish(
        &self,
        staging: &Staging,
        document: &ImageDocument,
        names: &[ImageRef],
    ) -> Result<ImageId, EngineError> {
        let text = serde_json::to_vec(document).map_err(failed("store", self.subject()))?;
        self.publish_document(staging, document, &text, names, &[])
    }

    /// Like [`Store::publish`], with the document's own bytes, which decide its identity, and with what registries know it by.
    pub(in crate::runtime) fn publish_document(
        &self,
        staging: &Staging,
        document: &ImageDocument,
        text: &[u8],
        names: &[ImageRef],
        digests: &[ImageRef],
    ) -> Result<ImageId, EngineError> {
        let id = ImageId(Digest::of(text).to_string());
        let known = self.index()?.images.contains_key(&id);
        let mut size = 0;
        for diff_id in &document.rootfs.diff_ids {
            let missing = || EngineError::Invalid {
                subject: image(&id),
                reason: format!("its layer {diff_id} is not in the store"),
            };
            let digest = Digest::try_from(diff_id.as_str()).map_err(|_| missing())?;
            size += self.layer_record(&digest)?.ok_or_else(missing)?.size;
        }
        if !known {
            self.add_blob(staging, &mut &text[..])?;
            self.settle(document).map_err(failed("store", image(&id)))?;
        }
        self.change(|index| {
            index.publish(&id, size, names, store::now());
            for pinned in digests {
                index.pin(&id, pinned);
            }
            Ok(())
        })?;
        Ok(id)
    }

    /// What registries know the image of this name by; nothing if there is no such image.
    pub(in crate::runtime) fn digests_of(&self, name: &ImageRef) -> Result<Vec<ImageRef>, EngineError> {
        let index = self.index()?;
        let entry = index.named(name).and_then(|id| index.images.get(id));
        Ok(entry.map(|entry| entry.digests.clone()).unwrap_or_default())
    }

    /// Notes what a registry knows an image by.
    pub(in crate::runtime) fn pin(&self, id: &ImageId, pinned: &ImageRef) -> Result<(), EngineError> {
        self.change(|index| {
            index.pin(id, pinned);
            Ok(())
        })
    }

    /// Every image that registries know, with what they know it by.
    pub(super) fn pinned(&self) -> Result<Vec<(ImageId, Vec<ImageRef>)>, EngineError> {
        let images = self.index()?.images.into_iter();
        Ok(images.filter(|(_, entry)| !entry.digests.is_empty()).map(|(id, entry)| (id, entry.digests)).collect())
    }

    /// What a layer is packed with gzip, if that has been found out.
    pub(super) fn compressed(&self, diff_id: &Digest) -> Result<Option<LayerBlob>, EngineError> {
        match store::read(&self.layer(diff_id).join("gzip.json")) {
            // It can be found out again.
            Err(error) if store::is_damaged(&error) => Ok(None),
            other => other.map_err(failed("read", self.subject())),
        }
    }

    /// Notes what a layer is packed with gzip.
    pub(super) fn note_compressed(&self, diff_id: &Digest, blob: &LayerBlob) -> Result<(), EngineError> {
        store::write(&self.layer(diff_id).join("gzip.json"), blob, store::Durability::Memory)
            .map_err(failed("write", self.subject()))
    }

    /// Gives an image that came from the repository of `name` under this digest that name again; `None` if there is none for the
    /// platform.
    pub(in crate::runtime) fn rename_pulled(
        &self,
        name: &ImageRef,
        digest: &Digest,
        platform: &Platform,
    ) -> Result<Option<Pulled>, EngineError> {
        let pinned = name.pinned(&digest.to_string());
        let Some(image) = self.resolve(&pinned)?.filter(|image| image.document.platform().serves(platform)) else {
            return Ok(None);
        };
        if name.digest().is_none() {
            self.tag(&image.id, name)?;
        }
        Ok(Some(Pulled { id: image.id, digest: digest.to_string(), fresh: false }))
    }

    /// Makes a blob of this digest, which lies on the same file system and is right, visible; it stays where it was, too.
    pub(in crate::runtime) fn adopt_blob(&self, path: &Path, digest: &Digest) -> Result<(), EngineError> {
        let place = self.blob(digest);
        let link = || match fs::remove_file(&place) {
            // Without its layer, what lay there may be what a power cut left of it.
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::hard_link(path, &place),
        };
        link().map_err(failed("store a blob in", self.subject()))
    }

    /// Where blobs lie that have not come in whole yet.
    pub(super) fn partials(&self) -> PathBuf {
        self.root.join("partial")
    }

    /// Waits until the layers of an image are on disk, and notes it beside them.
    fn settle(&self, document: &ImageDocument) -> Result<(), OsError> {
        let shown = || self.root.display().to_string();
        let root = File::open(&self.root).or_os("open", shown())?;
        nix::unistd::syncfs(&root).or_os("syncfs", shown())?;
        let digests = document.rootfs.diff_ids.iter().filter_map(|text| Digest::try_from(text.as_str()).ok());
        let mut noted = false;
        for digest in digests {
            let Some(record) = self.read_layer(&digest).or_os("read", shown())? else { continue };
            if record.made_in.is_some() {
                let record = LayerRecord { made_in: None, ..record };
                store::write(&self.layer(&digest).join("layer.json"), &record, store::Durability::Disk)
                    .or_os("write", shown())?;
                noted = true;
            }
        }
        if noted { nix::unistd::syncfs(&root).or_os("syncfs", shown()) } else { Ok(()) }
    }

    /// The document of an image and its bytes.
    pub(in crate::runtime) fn document_text(&self, id: &ImageId) -> Result<Vec<u8>, EngineError> {
        self.read_document(id).map_err(failed("read", image(id)))
    }

    // Paths and files.

    pub(super) fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    pub(super) fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    pub(super) fn staging(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Results of build steps by their key.
    pub(in crate::runtime) fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// A folder that commands of builds keep things in from one build to the next (`RUN --mount=type=cache`), which need not be there
    /// yet, and the file that is locked by who has it.
    pub(in crate::runtime) fn cache_folder(&self, id: &Digest) -> Result<(PathBuf, PathBuf), EngineError> {
        let folder = self.mounts().join(id.hex());
        let lock = folder.with_extension("lock");
        let make = || {
            fs::create_dir_all(self.mounts())?;
            File::options().create(true).append(true).open(&lock)
        };
        make().map_err(failed("make a folder in", self.subject()))?;
        Ok((folder, lock))
    }

    /// Every such folder.
    pub(super) fn mounts(&self) -> PathBuf {
        self.root.join("mounts")
    }

    fn names(&self) -> PathBuf {
        self.root.join("names.json")
    }

    pub(super) fn subject(&self) -> Subject {
        Subject::Path(self.root.display().to_string())
    }

    pub(super) fn index(&self) -> Result<Index, EngineError> {
        Index::read(&self.names()).map_err(failed("read the images of", self.subject()))
    }

    /// Changes the index under its lock; nothing changes if `change` fails.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&mut Index) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let _lock = store::lock(&self.root.join("lock")).map_err(failed("lock", self.subject()))?;
        let mut index = self.index()?;
        let result = change(&mut index)?;
        index.write(&self.names()).map_err(failed("write the images of", self.subject()))?;
        Ok(result)
    }

    pub(super) fn flock(&self, how: FlockArg) -> Result<Flock<File>, OsError> {
        let path = self.root.join("hold");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .or_os("open", path.display().to_string())?;
        Flock::lock(file, how).map_err(|(_, errno)| errno).or_os("flock", path.display().to_string())
    }

    /// Digests of the layers of these images, whose documents are read whether listed or not.
    pub(super) fn layers_used(&self, ids: &BTreeSet<ImageId>) -> Result<BTreeSet<String>, EngineError> {
        let mut used = BTreeSet::new();
        for id in ids {
            used.extend(self.document(id).map_err(failed("read", image(id)))?.rootfs.diff_ids);
        }
        Ok(used)
    }

    fn read_document(&self, id: &ImageId) -> io::Result<Vec<u8>> {
        let digest =
            Digest::try_from(id.0.as_str()).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let path = self.blob(&digest);
        fs::read(&path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    }

    fn document(&self, id: &ImageId) -> io::Result<ImageDocument> {
        Ok(serde_json::from_slice(&self.read_document(id)?)?)
    }

    fn load(&self, index: &Index, id: &ImageId) -> Result<Image, EngineError> {
        let document = self.document(id).map_err(failed("read", image(id)))?;
        let entry = index.images.get(id).cloned().unwrap_or_default();
        Ok(Image {
            id: id.clone(),
            names: entry.names,
            layers: self.directories(&document),
            document,
            size: entry.size,
            tagged: entry.tagged,
        })
    }

    fn directories(&self, document: &ImageDocument) -> Vec<PathBuf> {
        let digests = document.rootfs.diff_ids.iter().filter_map(|text| Digest::try_from(text.as_str()).ok());
        digests.map(|digest| self.layer_files(&digest)).collect()
    }
}

/// Where the kernel names the present boot.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

fn this_boot() -> io::Result<String> {
    Ok(fs::read_to_string(BOOT)?.trim().to_owned())
}

/// Docker's order: a name first, then an identity or its beginning.
pub(super) fn find_id(index: &Index, text: &str) -> Result<Option<ImageId>, EngineError> {
    if let Ok(name) = text.parse::<ImageRef>()
        && let Some(id) = index.named(&name)
    {
        return Ok(Some(id.clone()));
    }
    // An `ImageRef` made of digits prints with the tag it was given.
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let digits = digits.strip_suffix(":latest").unwrap_or(digits);
    if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c)) {
        return Ok(None);
    }
    match index.with_prefix(digits).as_slice() {
        [] => Ok(None),
        [one] => Ok(Some((*one).clone())),
        several => Err(EngineError::Invalid {
            subject: Subject::Image(text.to_owned()),
            reason: format!("{} images begin with these digits; give more", several.len()),
        }),
    }
}

/// An image as what an error is about, in the short form.
pub(super) fn image(id: &ImageId) -> Subject {
    let hex = id.0.strip_prefix("sha256:").unwrap_or(&id.0);
    Subject::Image(hex.get(..12).unwrap_or(hex).to_owned())
}

/// Gives an error its place in an engine's error.
pub(in crate::runtime) fn failed<E: Into<crate::engine::Cause>>(
    verb: &'static str,
    subject: Subject,
) -> impl FnOnce(E) -> EngineError {
    move |error| EngineError::Failed { verb, subject, source: error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unlisted_stays_under_the_name_that_somebody_else_gave_it_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Layout::new(folder.path().join("data"), folder.path().join("run"))).unwrap();
        let staging = store.stage().unwrap();
        let name = |text: &str| text.parse::<ImageRef>().unwrap();
        let (cache, other) = (name("cache:1"), name("other:1"));
        let publish = || store.publish(&staging, &ImageDocument::scratch(), std::slice::from_ref(&cache));
        let alone = store.unlisted(&cache, publish).unwrap();
        assert!(!store.index().unwrap().images.contains_key(&alone));
        let id = store.unlisted(&cache, || publish().and_then(|id| store.tag(&id, &other).map(|()| id))).unwrap();
        let index = store.index().unwrap();
        assert_eq!((index.named(&other), index.named(&cache)), (Some(&id), None));
    }
}
