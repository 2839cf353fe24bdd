//! Taking images away, and collecting what nothing needs any more.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use nix::errno::Errno;
use nix::fcntl::FlockArg;

use crate::engine::{EngineError, ImageId, Pruned, Subject};
use crate::runtime::build::cache::Made;
use crate::runtime::image::detail::remove_weighed;
use crate::runtime::image::digest::Digest;
use crate::runtime::image::partial;
use crate::runtime::image::staging;
use crate::runtime::image::store::{LayerArchive, LayerRecord, Store, failed, find_id};
use crate::values::image_ref::ImageRef;

/// An image that a container was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InUse {
    /// Which image.
    pub image: ImageId,
    /// Which container, in words.
    pub holder: String,
}

impl Store {
    /// Takes a name away, and the image with its last name; by identity, takes all names away. `used` are the images of containers,
    /// whose layers stay. Returns what was done, a line each, in Docker's words.
    pub fn remove(&self, text: &str, force: bool, used: &[InUse]) -> Result<Vec<String>, EngineError> {
        let subject = || Subject::Image(text.to_owned());
        let done = self.change(|index| {
            let id = find_id(index, text)?.ok_or_else(|| EngineError::NotFound(subject()))?;
            let entry = index.images.entry(id.clone()).or_default();
            let name = text.parse::<ImageRef>().ok().filter(|name| entry.names.contains(name));
            let last = name.is_none() || entry.names.len() == 1;
            let user = used.iter().find(|user| user.image == id);
            if last && !force {
                if let Some(user) = user {
                    return Err(EngineError::InUse { subject: subject(), holder: user.holder.clone() });
                }
                if name.is_none() && entry.names.len() > 1 {
                    let reason = "it has several names; remove them one by one, or use force".to_owned();
                    return Err(EngineError::Invalid { subject: subject(), reason });
                }
            }
            let gone = match name {
                Some(name) => {
                    entry.names.retain(|other| *other != name);
                    vec![name]
                }
                None => std::mem::take(&mut entry.names),
            };
            let mut done: Vec<String> = gone.iter().map(|name| format!("Untagged: {}", name.tagged())).collect();
            if last {
                index.images.remove(&id);
                done.push(format!("Deleted: {}", id.0));
            }
            Ok(done)
        })?;
        self.collect(used)?;
        Ok(done)
    }

    /// Removes images without a name (with `all`: every image) that no container uses, the results of builds that nothing needs, and
    /// what was left by whoever was cut short.
    pub fn prune(&self, all: bool, used: &[InUse]) -> Result<Pruned, EngineError> {
        let gone = self.change(|index| {
            let unused = |id: &ImageId| used.iter().all(|user| user.image != *id);
            let gone = index.images.iter().filter(|(id, entry)| (all || entry.names.is_empty()) && unused(id));
            let gone: Vec<ImageId> = gone.map(|(id, _)| id.clone()).collect();
            for id in &gone {
                index.images.remove(id);
            }
            Ok(gone)
        })?;
        if let Some(_lock) = self.try_alone()? {
            for path in self.list_folder(&self.cache())? {
                fs::remove_file(path).map_err(failed("prune", self.subject()))?;
            }
        }
        let swept = staging::sweep(&self.staging()).and_then(|size| Ok(size + partial::sweep(&self.partials())?));
        let reclaimed = swept.map_err(failed("prune", self.subject()))? + self.collect(used)?;
        let lines = gone.into_iter().map(|ImageId(id)| format!("Deleted: {id}")).collect();
        Ok(Pruned { lines, reclaimed })
    }

    /// Removes layers and blobs that no image, container or build result needs; later, if somebody works on the store now. Returns
    /// how many bytes that frees.
    fn collect(&self, used: &[InUse]) -> Result<u64, EngineError> {
        let Some(_lock) = self.try_alone()? else { return Ok(0) };
        let mut roots: BTreeSet<ImageId> = self.index()?.images.into_keys().collect();
        roots.extend(used.iter().map(|user| user.image.clone()));
        let mut layers = self.layers_used(&roots)?;
        let mut blobs: BTreeSet<String> = roots.into_iter().map(|ImageId(id)| id).collect();
        for path in self.list_folder(&self.cache())? {
            // A result that can't be read is no result.
            match crate::runtime::store::read::<Made>(&path) {
                Ok(Some(made)) => layers.extend(made.layer.map(|layer| layer.to_string())),
                Ok(None) => {}
                Err(_) => fs::remove_file(&path).map_err(failed("collect", self.subject()))?,
            }
        }
        for layer in &layers {
            let digest = Digest::try_from(layer.as_str()).map_err(failed("collect", self.subject()))?;
            if let Some(LayerRecord { archive: LayerArchive::Blob(blob), .. }) = self.layer_record(&digest)? {
                blobs.insert(blob.digest.to_string());
            }
        }
        Ok(self.sweep(&self.layers(), &layers)? + self.sweep(&self.blobs(), &blobs)?)
    }

    /// Removes what is in a folder under digests that are not among these. Returns how many bytes that frees.
    fn sweep(&self, folder: &std::path::Path, kept: &BTreeSet<String>) -> Result<u64, EngineError> {
        let staging = self.stage()?;
        let mut freed = 0;
        for path in self.list_folder(folder)? {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if !kept.contains(&format!("sha256:{name}")) {
                // At once out of sight; a kill halfway leaves no half layer where a whole one is expected.
                let away = staging.path().join(name);
                let removed = fs::rename(&path, &away).and_then(|()| remove_weighed(&away));
                freed += removed.map_err(failed("collect", self.subject()))?;
            }
        }
        Ok(freed)
    }

    fn try_alone(&self) -> Result<Option<nix::fcntl::Flock<fs::File>>, EngineError> {
        match self.flock(FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(lock)),
            Err(error) if error.errno == Errno::EWOULDBLOCK => Ok(None),
            Err(error) => Err(failed("lock", self.subject())(error)),
        }
    }

    fn list_folder(&self, folder: &std::path::Path) -> Result<Vec<std::path::PathBuf>, EngineError> {
        let list = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
        list().map_err(failed("read", self.subject()))
    }
}
