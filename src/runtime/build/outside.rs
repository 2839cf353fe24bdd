//! Results of build steps outside of the store (`cache_from`, `cache_to`), which another machine can have: in a folder, or in an image.
//!
//! In a folder, `results.json` says what was made for which key; the layers lie beside it as archives by their digest. What is taken
//! from there is digested again, so a folder that lies gives no layer. An image says the same in its document, under a name of its
//! own, and has the layers anyway: it may be the one that was built (`type=inline`) or one for this alone (`type=registry`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::engine::{CacheStore, EngineError, Subject};
use crate::runtime::build::cache::Made;
use crate::runtime::build::fault::{cancelled, during};
use crate::runtime::image::compression::{Limit, decompress};
use crate::runtime::image::config::ImageDocument;
use crate::runtime::image::digest::{Digest, Digester};
use crate::runtime::image::pack::pack;
use crate::runtime::image::pull::pull_blocking;
use crate::runtime::image::push::push_blocking;
use crate::runtime::image::staging::Staging;
use crate::runtime::image::store::Store;
use crate::runtime::image::tree::{empty_folder, open_directory};
use crate::runtime::image::unpack::{Owner, Whiteouts, unpack};
use crate::runtime::store;
use crate::values::image_ref::ImageRef;

/// What was made for which key, by the key's digits.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Results {
    results: BTreeMap<String, Made>,
}

/// Where in an image's document its results are.
const EMBEDDED: &str = "xcompose.build.results";

/// Results of former builds that may be used.
#[derive(Debug, Default)]
pub(super) struct Outside {
    folders: Vec<(PathBuf, Results)>,
    /// Of images; their layers are in the store.
    images: Vec<Results>,
}

impl Outside {
    /// Reads what lies in these places, pulling images; a text for each that gives nothing.
    pub(super) fn open(places: &[CacheStore], store: &Store, is_over: &dyn Fn() -> bool) -> (Outside, Vec<String>) {
        let (mut outside, mut doubts) = (Outside::default(), Vec::new());
        for place in places {
            match place {
                CacheStore::Local { folder, .. } => match store::read::<Results>(&index(folder)) {
                    Ok(Some(results)) => outside.folders.push((folder.clone(), results)),
                    Ok(None) => doubts.push(format!("cache_from: {} holds no results", folder.display())),
                    Err(error) => doubts.push(format!("cache_from: {}: {error}", folder.display())),
                },
                CacheStore::Registry { image, .. } => match of_image(store, image, is_over) {
                    Ok(Some(results)) => outside.images.push(results),
                    Ok(None) => doubts.push(format!("cache_from: the image {image} holds no results")),
                    Err(error) => doubts.push(format!("cache_from: {}", causes(&error))),
                },
                CacheStore::Inline => doubts.push("cache_from: type=inline is for cache_to; name the image".to_owned()),
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
        for made in self.images.iter().filter_map(|results| results.results.get(key.hex())) {
            let there = made.layer.as_ref().map(|layer| store.layer_record(layer)).transpose()?;
            if there.is_none_or(|record| record.is_some()) {
                return Ok(Some(made.clone()));
            }
        }
        Ok(None)
    }
}

/// The results that an image has with it, and its layers in the store.
fn of_image(store: &Store, image: &ImageRef, is_over: &dyn Fn() -> bool) -> Result<Option<Results>, EngineError> {
    let text = store.unlisted(image, || {
        let pulled = pull_blocking(store, image, |_, _| (), is_over)?.ok_or_else(cancelled)?;
        store.document_text(&pulled.id)
    })?;
    let unreadable = |error| during("read the results of", Path::new(&image.to_string()))(io::Error::other(error));
    let document: ImageDocument = serde_json::from_slice(&text).map_err(unreadable)?;
    document.rest.get(EMBEDDED).map(|results| serde_json::from_value(results.clone()).map_err(unreadable)).transpose()
}

/// Gives an image results to have with it.
pub(super) fn embed(document: &mut ImageDocument, results: BTreeMap<Digest, Made>) {
    let results = results.into_iter().map(|(key, made)| (key.hex().to_owned(), serde_json::json!(made))).collect();
    document.rest.insert(EMBEDDED.to_owned(), serde_json::json!({ "results": serde_json::Value::Object(results) }));
}

/// Pushes an image that holds results, and nothing to run.
pub(super) fn push(
    store: &Store,
    staging: &Staging,
    image: &ImageRef,
    results: BTreeMap<Digest, Made>,
) -> Result<(), EngineError> {
    let mut document = ImageDocument::scratch();
    let layers: BTreeSet<String> = results.values().filter_map(|made| Some(made.layer.as_ref()?.to_string())).collect();
    document.rootfs.diff_ids = layers.into_iter().collect();
    embed(&mut document, results);
    store.unlisted(image, || {
        store.publish(staging, &document, std::slice::from_ref(image))?;
        push_blocking(store, image).map(drop)
    })
}

fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
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
        CacheStore::Local { .. } | CacheStore::Registry { .. } | CacheStore::Inline => None,
        CacheStore::Other(text) => Some(unknown("cache_to", text)),
    };
    places.iter().filter_map(other).collect()
}

fn unknown(key: &str, text: &str) -> String {
    format!("{key}: {text:?} is not supported and has no effect: only local, registry and inline are")
}

fn index(folder: &Path) -> PathBuf {
    folder.join("results.json")
}

fn archive(folder: &Path, layer: &Digest) -> PathBuf {
    folder.join(layer.hex()).with_extension("layer")
}
