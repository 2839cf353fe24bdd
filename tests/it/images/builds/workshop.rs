//! A build without the rest of the program: its store, its context, what it said.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use tokio::sync::mpsc;
use xcompose::engine::{BuildConfig, ContextSource, EngineError, ImageId, Progress};
use xcompose::runtime::build::build;
use xcompose::runtime::image::Image;
use xcompose::runtime::image::store::Store;
use xcompose::runtime::layout::Layout;

use crate::images::raw::{chain, store};
use crate::support::busybox_archive;

/// A context and a store with `busybox`.
pub struct Workshop {
    pub folder: tempfile::TempDir,
    pub layout: Layout,
    pub store: Store,
    pub context: PathBuf,
    pub config: BuildConfig,
}

/// What a build said.
#[derive(Default)]
pub struct Told {
    /// In the order of the Dockerfile, each with whether it was known.
    pub steps: Vec<(String, bool)>,
    pub output: String,
}

impl Workshop {
    pub fn new() -> Workshop {
        let (folder, store, layout) = store();
        let archive = fs::File::open(busybox_archive(folder.path())).unwrap();
        store.import(archive, Some(&"busybox".parse().unwrap())).unwrap();
        let context = folder.path().join("context");
        fs::create_dir(&context).unwrap();
        let tags = vec!["result".parse().unwrap()];
        let config = BuildConfig { tags, ..BuildConfig::new(ContextSource::Directory(context.clone())) };
        Workshop { folder, layout, store, context, config }
    }

    pub fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.context.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub fn try_build(&self, dockerfile: &str) -> (Result<ImageId, EngineError>, Told) {
        self.write("Dockerfile", dockerfile);
        let (sender, mut receiver) = mpsc::channel(64);
        std::thread::scope(|scope| {
            let builder = scope.spawn(move || build(&self.layout, &self.config, &sender));
            let mut told = Told::default();
            let (mut names, mut done) = (BTreeMap::new(), BTreeMap::new());
            let place = |id: &str| id.split('.').map(|number| number.parse::<u32>().unwrap()).collect::<Vec<_>>();
            while let Some(news) = receiver.blocking_recv() {
                match news {
                    Progress::Step { id, text } => drop(names.insert(id, text)),
                    Progress::Done { id, cached } => drop(done.insert(place(&id), (names[&id].clone(), cached))),
                    Progress::Output { bytes, .. } => told.output.push_str(&String::from_utf8_lossy(&bytes)),
                    Progress::Bytes { .. } | Progress::Warning { .. } => {}
                }
            }
            told.steps = done.into_values().collect();
            (builder.join().unwrap(), told)
        })
    }

    #[track_caller]
    pub fn build(&self, dockerfile: &str) -> (Image, Told) {
        let (result, told) = self.try_build(dockerfile);
        let id = result.unwrap_or_else(|error| panic!("{}\n{}", chain(&error), told.output));
        (self.store.image(&id).unwrap().unwrap(), told)
    }

    #[track_caller]
    pub fn fails(&self, dockerfile: &str) -> String {
        let (result, _) = self.try_build(dockerfile);
        assert_eq!(
            fs::read_dir(self.folder.path().join("data/images/tmp")).unwrap().count(),
            0,
            "nothing half-made stays"
        );
        chain(&result.expect_err("this build fails"))
    }
}

/// The file as the topmost layer that has it says.
pub fn find(image: &Image, path: &str) -> PathBuf {
    let at = image.layers.iter().rev().map(|layer| layer.join(path)).find(|path| fs::symlink_metadata(path).is_ok());
    at.unwrap_or_else(|| panic!("{path} is in no layer"))
}

pub fn read(image: &Image, path: &str) -> String {
    fs::read_to_string(find(image, path)).unwrap()
}

pub fn exists(image: &Image, path: &str) -> bool {
    image.layers.iter().any(|layer| fs::symlink_metadata(layer.join(path)).is_ok())
}
