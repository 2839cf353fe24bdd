//! What a step made before, by what it was made from.
//!
//! A key says everything that a step's result depends on: the layers below it by their content, the instruction with its variables
//! replaced, and the content of what it copies. Times are no part of it.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::runtime::image::digest::Digest;
use crate::runtime::image::store::Store;
use crate::runtime::store::{self, Durability};

/// What a step made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::runtime) struct Made {
    /// `None`: it changed nothing.
    pub(in crate::runtime) layer: Option<Digest>,
    /// When, RFC 3339: the same result has the same time, and so the same image the same identity.
    pub(in crate::runtime) created: String,
}

/// Collects what a result depends on.
#[derive(Debug, Clone)]
pub(super) struct Key(Vec<u8>);

impl Key {
    /// Of a kind of step on top of these layers.
    pub(super) fn new(kind: &str, layers: &[String]) -> Key {
        // The number belongs to how keys and layers are made: another number forgets all former results.
        let mut key = Key(b"1".to_vec());
        key.add(kind);
        key.add_all(layers);
        key
    }

    /// Adds a text; none runs into the next.
    pub(super) fn add(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        self.0.extend((text.len() as u64).to_le_bytes());
        self.0.extend(text);
    }

    /// Adds a list.
    pub(super) fn add_all<T: AsRef<[u8]>>(&mut self, texts: &[T]) {
        self.0.extend((texts.len() as u64).to_le_bytes());
        for text in texts {
            self.add(text);
        }
    }

    /// The key itself.
    pub(super) fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }
}

/// What was made for this key, if it is still there.
pub(super) fn find(store: &Store, key: &Digest) -> io::Result<Option<Made>> {
    match store::read::<Made>(&path(store, key)) {
        Ok(Some(made)) => {
            let there = match &made.layer {
                Some(layer) => store.layer_record(layer).map_err(io::Error::other)?.is_some(),
                None => true,
            };
            Ok(Some(made).filter(|_| there))
        }
        Ok(None) => Ok(None),
        // Written without waiting for the disk: a power cut may tear it, and all it costs is doing the step again.
        Err(error) if store::is_damaged(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Remembers what was made.
pub(super) fn keep(store: &Store, key: &Digest, made: &Made) -> io::Result<()> {
    store::write(&path(store, key), made, Durability::Memory)
}

fn path(store: &Store, key: &Digest) -> PathBuf {
    store.cache().join(key.hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_apart_whatever_could_run_together() {
        let key = |parts: &[&str], list: &[&str]| {
            let mut key = Key::new("run", &["sha256:a".to_owned()]);
            parts.iter().for_each(|part| key.add(part));
            key.add_all(list);
            key.digest()
        };
        let keys = [key(&["ab", "c"], &[]), key(&["a", "bc"], &[]), key(&["ab"], &["c"]), key(&["ab", "c"], &[""])];
        for (at, one) in keys.iter().enumerate() {
            assert!(keys[at + 1..].iter().all(|other| other != one));
        }
        assert_eq!(key(&["ab", "c"], &[]), keys[0]);
        assert_ne!(Key::new("a", &[]).digest(), Key::new("b", &[]).digest());
    }
}
