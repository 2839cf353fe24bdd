//! Results of build steps outside of the store (`cache_from`, `cache_to` with `type=local`): a folder that another machine can have.
//!
//! `results.json` says what was made for which key; the layers lie beside it as archives by their digest. What is taken from there is
//! digested again, so a folder that lies gives no layer.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::engine::{CacheExtent, CacheStore, EngineError, Subject};
use crate::runtime::build::cache::Made;
use crate::runtime::build::fault::during;
use crate::runtime::image::compression::{Limit, decompress};
use crate::runtime::image::digest::{Digest, Digester};
use crate::runtime::image::pack::pack;
use crate::runtime::image::staging::Staging;
use crate::runtime::image::store::Store;
use crate::runtime::image::tree::{empty_folder, open_directory};
use crate::runtime::image::unpack::{Owner, Whiteouts, unpack};
use crate::runtime::store;

/// What was made for which key, by the key's digits.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Results {
    results: BTreeMap<String, Made>,
}

/// Results of former builds that may be used.
#[derive(Debug, Default)]
pub(super) struct Outside {
    folders: Vec<(PathBuf, Results)>,
}

impl Outside {
    /// Reads what lies in these places; a text for each that gives nothing.
    pub(super) fn open(places: &[CacheStore]) -> (Outside, Vec<String>) {
        let (mut outside, mut doubts) = (Outside::default(), Vec::new());
        for place in places {
            match place {
                CacheStore::Local { folder, .. } => match store::read::<Results>(&index(folder)) {
                    Ok(Some(results)) => outside.folders.push((folder.clone(), results)),
                    Ok(None) => doubts.push(format!("cache_from: {} holds no results", folder.display())),
                    Err(error) => doubts.push(format!("cache_from: {}: {error}", folder.display())),
                },
                CacheStore::Other(text) => doubts.push(unknown("cache_from", text)),
            }
        }
        (outside, doubts)
    }

    /// The result of a key; its layer is in the store then.
    pub(super) fn find(&self, key: &Digest, store: &Store, staging: &Staging) -> Result<Option<Made>, EngineError> {
        for (folder, results) in &self.folders {
            let Some(made) = results.results.get(key.hex()) else { continue };
            match &made.layer {
                None => return Ok(Some(made.clone())),
                Some(layer) if store.layer_record(layer)?.is_some() => return Ok(Some(made.clone())),
                Some(layer) => {
                    if fetch(folder, layer, store, staging)? {
                        return Ok(Some(made.clone()));
                    }
                }
            }
        }
        Ok(None)
    }
}

/// Puts a layer into the store; says whether it is what its name says.
fn fetch(folder: &Path, layer: &Digest, store: &Store, staging: &Staging) -> Result<bool, EngineError> {
    let path = archive(folder, layer);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(during("read", &path))?,
    };
    let files = staging.path().join(format!("outside-{}", layer.hex()));
    let root = match empty_folder(&files) {
        // Another stage is just taking it: this one makes it itself.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        other => other.map_err(during("prepare", &files))?,
    };
    let unpacked = decompress(file, Limit::default()).map_err(io::Error::other).and_then(|(_, input)| {
        unpack(input, &root, Path::new(""), Whiteouts::Layer, Owner::Archive).map_err(io::Error::other)
    });
    match unpacked {
        Ok(_) => {}
        Err(_) => return Ok(false),
    }
    let subject = Subject::Path(path.display().to_string());
    Ok(store.add_made_layer(staging, &files, subject)?.0 == *layer)
}

/// Writes results to a folder; what lay there before is replaced.
pub(super) fn export(store: &Store, folder: &Path, results: BTreeMap<Digest, Made>) -> Result<(), EngineError> {
    fs::create_dir_all(folder).map_err(during("make", folder))?;
    for layer in results.values().filter_map(|made| made.layer.as_ref()) {
        let place = archive(folder, layer);
        if !place.exists() {
            write_layer(store, layer, &place).map_err(during("write", &place))?;
        }
    }
    let wanted: Vec<_> = results.values().filter_map(|made| Some(archive(folder, made.layer.as_ref()?))).collect();
    let results = Results { results: results.into_iter().map(|(key, made)| (key.hex().to_owned(), made)).collect() };
    store::write(&index(folder), &results, store::Durability::Disk).map_err(during("write", folder))?;
    for entry in fs::read_dir(folder).map_err(during("read", folder))?.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "layer") && !wanted.contains(&path) {
            fs::remove_file(&path).map_err(during("remove", &path))?;
        }
    }
    Ok(())
}

fn write_layer(store: &Store, layer: &Digest, place: &Path) -> io::Result<()> {
    let partial = place.with_extension(format!("partial-{}", std::process::id()));
    let root = open_directory(&store.layer_files(layer))?;
    let mut output = Digester::new(io::BufWriter::new(File::create(&partial)?));
    pack(&root, &mut output).map_err(io::Error::other)?;
    let (found, _, output) = output.finish();
    output.into_inner()?.sync_data()?;
    if found != *layer {
        fs::remove_file(&partial)?;
        return Err(io::Error::other("the layer has been changed"));
    }
    fs::rename(&partial, place)
}

/// A warning for each place that results can't go to.
pub(super) fn doubts(places: &[CacheStore]) -> Vec<String> {
    let other = |place: &CacheStore| match place {
        CacheStore::Local { .. } => None,
        CacheStore::Other(text) => Some(unknown("cache_to", text)),
    };
    places.iter().filter_map(other).collect()
}

/// The folders that results go to.
pub(super) fn folders(places: &[CacheStore]) -> impl Iterator<Item = (&Path, CacheExtent)> {
    places.iter().filter_map(|place| match place {
        CacheStore::Local { folder, extent } => Some((folder.as_path(), *extent)),
        CacheStore::Other(_) => None,
    })
}

fn unknown(key: &str, text: &str) -> String {
    format!("{key}: {text:?} is not supported and has no effect: only type=local is")
}

fn index(folder: &Path) -> PathBuf {
    folder.join("results.json")
}

fn archive(folder: &Path, layer: &Digest) -> PathBuf {
    folder.join(layer.hex()).with_extension("layer")
}
