//! Looking into images, and what they take on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::engine::{EngineError, ImageDetail, ImageId, Share, Subject};
use crate::runtime::image::digest::Digest;
use crate::runtime::image::remove::InUse;
use crate::runtime::image::store::{LayerArchive, Store, failed};
use crate::runtime::image::tree::remove_tree;

impl Store {
    /// Everything there is to know of an image.
    pub fn detail(&self, text: &str) -> Result<ImageDetail, EngineError> {
        let image = self.find(text)?.ok_or_else(|| EngineError::NotFound(Subject::Image(text.to_owned())))?;
        let document = serde_json::from_slice(&self.document_text(&image.id)?)
            .map_err(failed("read", Subject::Image(text.to_owned())))?;
        let mut layers = Vec::new();
        for diff_id in &image.document.rootfs.diff_ids {
            let record = match Digest::try_from(diff_id.as_str()) {
                Ok(digest) => self.layer_record(&digest)?,
                Err(_) => None,
            };
            layers.push(record.map_or(0, |record| record.size));
        }
        let digests = self.pinned()?.into_iter().find(|(id, _)| *id == image.id).map(|(_, digests)| digests);
        Ok(ImageDetail { image: image.observed(), digests: digests.unwrap_or_default(), document, layers })
    }

    /// What images take: layers that several have count once, with the archives that are kept of them.
    pub fn images_share(&self, used: &[InUse]) -> Result<Share, EngineError> {
        let images = self.list()?;
        let active: BTreeSet<&ImageId> = used.iter().map(|user| &user.image).collect();
        let mut share = Share { total: images.len() as u64, ..Share::default() };
        let mut layers: BTreeMap<&str, bool> = BTreeMap::new();
        for image in &images {
            let is_active = active.contains(&image.id);
            share.active += u64::from(is_active);
            for diff_id in &image.document.rootfs.diff_ids {
                *layers.entry(diff_id).or_default() |= is_active;
            }
        }
        for (diff_id, is_active) in layers {
            let Ok(digest) = Digest::try_from(diff_id) else { continue };
            let Some(record) = self.layer_record(&digest)? else { continue };
            let archive = match &record.archive {
                LayerArchive::Blob(blob) => blob.size,
                LayerArchive::Packed { .. } => 0,
            };
            share.size += record.size + archive;
            share.reclaimable += if is_active { 0 } else { record.size + archive };
        }
        Ok(share)
    }

    /// What results of builds, folders that builds keep, and pulls cut short take.
    pub fn cache_share(&self) -> Result<Share, EngineError> {
        let mut share = Share::default();
        for folder in [self.cache(), self.mounts(), self.partials()] {
            let (count, size) = weigh(&folder).map_err(failed("read", self.subject()))?;
            share.total += count;
            share.size += size;
        }
        share.reclaimable = share.size;
        Ok(share)
    }
}

/// How many entries a folder has, and the bytes of disk below it; nothing if there is none. What goes meanwhile does not count,
/// nor what lies too deep to be named.
pub(in crate::runtime) fn weigh(folder: &Path) -> io::Result<(u64, u64)> {
    let mut seen = BTreeSet::new();
    let (mut count, mut size) = (0, 0);
    let mut stack = vec![folder.to_owned()];
    while let Some(path) = stack.pop() {
        let entries = match fs::read_dir(&path) {
            Err(error) if is_out_of_sight(&error) => continue,
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let status = match fs::symlink_metadata(entry.path()) {
                Err(error) if is_out_of_sight(&error) => continue,
                other => other?,
            };
            count += u64::from(path == folder);
            if status.is_dir() {
                stack.push(entry.path());
            } else if status.nlink() == 1 || seen.insert((status.dev(), status.ino())) {
                size += status.blocks() * 512;
            }
        }
    }
    Ok((count, size))
}

fn is_out_of_sight(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidFilename)
}

/// Removes a file or a folder. Returns how many bytes of disk that frees.
pub(in crate::runtime) fn remove_weighed(path: &Path) -> io::Result<u64> {
    let size = match fs::symlink_metadata(path)? {
        status if status.is_dir() => weigh(path)?.1,
        status => status.blocks() * 512,
    };
    remove_tree(path)?;
    Ok(size)
}
