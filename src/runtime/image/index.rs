//! Which images there are and what they are called: one small file, replaced whole under the store's lock.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::engine::ImageId;
use crate::runtime::store::{self, Durability};
use crate::values::image_ref::ImageRef;

/// The file's shape; another number is another shape.
const VERSION: u32 = 1;

/// Every image; a name belongs to one image at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Index {
    version: u32,
    /// By identity. An image without a name is kept until it is removed or pruned.
    pub(super) images: BTreeMap<ImageId, Entry>,
}

/// What the index knows of an image.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Its names.
    pub(super) names: Vec<ImageRef>,
    /// Bytes of its layers, unpacked.
    pub(super) size: u64,
    /// When it last got a name, nanoseconds since 1970.
    pub(super) tagged: i64,
    /// What registries know it by: a repository and the digest of a manifest each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) digests: Vec<ImageRef>,
}

impl Index {
    /// The index at `path`; empty if there is none yet.
    pub(super) fn read(path: &Path) -> io::Result<Index> {
        match store::read::<Index>(path)? {
            None => Ok(Index { version: VERSION, images: BTreeMap::new() }),
            Some(index) if index.version == VERSION => Ok(index),
            Some(index) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "{} has version {}, of another xcompose; this one reads {VERSION}",
                    path.display(),
                    index.version
                ),
            )),
        }
    }

    /// Replaces the index at `path`.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        store::write(path, self, Durability::Disk)
    }

    /// Lists the image, and gives it the names, taking them from whoever has them.
    pub(super) fn publish(&mut self, id: &ImageId, size: u64, names: &[ImageRef], now: i64) {
        for entry in self.images.values_mut() {
            entry.names.retain(|name| !names.contains(name));
        }
        let entry = self.images.entry(id.clone()).or_default();
        entry.size = size;
        entry.names.extend(names.iter().cloned());
        entry.names.sort();
        entry.names.dedup();
        if !names.is_empty() || entry.tagged == 0 {
            entry.tagged = now;
        }
    }

    /// Who has this name. A digest decides: a tag beside it is only said.
    pub(super) fn named(&self, name: &ImageRef) -> Option<&ImageId> {
        let pinned = name.digest().map(|digest| name.pinned(digest));
        let has = |entry: &Entry| {
            let known = |pinned: &ImageRef| entry.names.contains(pinned) || entry.digests.contains(pinned);
            entry.names.contains(name) || pinned.as_ref().is_some_and(known)
        };
        self.images.iter().find(|(_, entry)| has(entry)).map(|(id, _)| id)
    }

    /// Notes what a registry knows an image by.
    pub(super) fn pin(&mut self, id: &ImageId, pinned: &ImageRef) {
        if let Some(entry) = self.images.get_mut(id)
            && !entry.digests.contains(pinned)
        {
            entry.digests.push(pinned.clone());
        }
    }

    /// Whose identity begins with these digits.
    pub(super) fn with_prefix(&self, digits: &str) -> Vec<&ImageId> {
        self.images
            .keys()
            .filter(|id| id.0.strip_prefix("sha256:").is_some_and(|hex| hex.starts_with(digits)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ImageId {
        ImageId(format!("sha256:{text}"))
    }

    #[test]
    fn a_name_moves_to_the_image_that_got_it_last_and_the_other_stays_without() {
        let mut index = Index { version: VERSION, images: BTreeMap::new() };
        let name: ImageRef = "web".parse().unwrap();
        index.publish(&id("aa"), 1, std::slice::from_ref(&name), 10);
        index.publish(&id("bb"), 2, std::slice::from_ref(&name), 20);
        assert_eq!(index.named(&name), Some(&id("bb")));
        assert!(index.images[&id("aa")].names.is_empty());
        assert_eq!(index.with_prefix("a"), [&id("aa")]);
    }

    #[test]
    fn an_index_of_another_version_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("names.json");
        std::fs::write(&path, r#"{"version":9,"images":{}}"#).unwrap();
        let error = Index::read(&path).unwrap_err().to_string();
        assert!(error.contains("names.json has version 9"), "{error}");
    }
}
