//! Volumes on disk: what they are filled with, and what they show.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use xcompose::engine::{EngineError, VolumeConfig};
use xcompose::runtime::layout::Layout;
use xcompose::runtime::volume::Volumes;
use xcompose::values::names::VolumeName;

use super::raw::chain;
use crate::support::cannot_run;

struct Shelf {
    folder: tempfile::TempDir,
    layout: Layout,
    volumes: Volumes,
}

impl Shelf {
    fn new() -> Shelf {
        let folder = tempfile::Builder::new().prefix("xc-").tempdir().unwrap();
        let layout = Layout::new(folder.path().join("data"), folder.path().join("run"));
        let volumes = Volumes::open(&layout);
        Shelf { folder, layout, volumes }
    }

    fn create(&self, name: &str, options: &[(&str, &str)]) -> VolumeName {
        let name = VolumeName::try_from(name).unwrap();
        let driver_opts = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config =
            VolumeConfig { name: name.clone(), labels: BTreeMap::new(), driver: "local".to_owned(), driver_opts };
        self.volumes.create(&config).unwrap();
        name
    }

    /// Two layers: the upper hides a file of the lower and adds one.
    fn layers(&self) -> Vec<PathBuf> {
        let (lower, upper) = (self.folder.path().join("lower"), self.folder.path().join("upper"));
        fs::create_dir_all(lower.join("srv/data/sub")).unwrap();
        fs::create_dir_all(upper.join("srv/data")).unwrap();
        fs::write(lower.join("srv/data/old"), "old").unwrap();
        fs::write(lower.join("srv/data/sub/deep"), "deep").unwrap();
        symlink("sub/deep", lower.join("srv/data/link")).unwrap();
        symlink("/srv", lower.join("alias")).unwrap();
        fs::write(upper.join("srv/data/new"), "new").unwrap();
        std::os::unix::fs::chown(upper.join("srv/data"), Some(999), Some(998)).unwrap();
        std::os::unix::fs::chown(upper.join("srv/data/new"), Some(999), Some(998)).unwrap();
        let device = nix::sys::stat::SFlag::S_IFCHR;
        nix::sys::stat::mknod(&upper.join("srv/data/old"), device, nix::sys::stat::Mode::empty(), 0).unwrap();
        vec![lower, upper]
    }
}

fn listing(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_empty_volume_is_filled_once_with_what_the_image_has_there() {
    if cannot_run() {
        return;
    }
    let shelf = Shelf::new();
    let (name, layers) = (shelf.create("v", &[]), shelf.layers());
    shelf.volumes.populate(&name, &layers, "/alias/data/").unwrap();
    let data = shelf.volumes.source(&name).unwrap();
    assert_eq!(listing(&data), ["link", "new", "sub"]);
    assert_eq!(fs::read_to_string(data.join("link")).unwrap(), "deep");
    let owner = |path: &Path| (fs::metadata(path).unwrap().uid(), fs::metadata(path).unwrap().gid());
    assert_eq!((owner(&data), owner(&data.join("new")), owner(&data.join("sub"))), ((999, 998), (999, 998), (0, 0)));
    fs::remove_file(data.join("new")).unwrap();
    shelf.volumes.populate(&name, &layers, "/srv/data").unwrap();
    assert_eq!(listing(&data), ["link", "sub"], "it is not empty any more");

    let other = shelf.create("other", &[]);
    shelf.volumes.populate(&other, &layers, "/nothing/there").unwrap();
    assert!(listing(&shelf.volumes.source(&other).unwrap()).is_empty());
}

#[test]
fn a_volume_whose_filling_was_cut_short_is_filled_again() {
    if cannot_run() {
        return;
    }
    let shelf = Shelf::new();
    let (name, layers) = (shelf.create("v", &[]), shelf.layers());
    let data = shelf.volumes.source(&name).unwrap();
    // As a kill leaves it: begun, half a file there.
    fs::write(shelf.layout.volume(&name).join("filling"), "").unwrap();
    fs::write(data.join("new"), "n").unwrap();
    shelf.volumes.populate(&name, &layers, "/srv/data").unwrap();
    assert_eq!(fs::read_to_string(data.join("new")).unwrap(), "new");
    assert_eq!(listing(&data), ["link", "new", "sub"]);
    assert_eq!(listing(&shelf.layout.volume(&name)), ["_data", "volume.json"]);
}

#[test]
fn options_show_a_folder_of_the_host_or_a_file_system() {
    if cannot_run() {
        return;
    }
    let shelf = Shelf::new();
    let shown = shelf.folder.path().join("shown");
    let bind = shelf.create("bind", &[("type", "none"), ("o", "bind"), ("device", shown.to_str().unwrap())]);
    let error = shelf.volumes.source(&bind).unwrap_err();
    assert!(
        chain(&error).contains("failed to mount local volume") && chain(&error).contains("no such file"),
        "{error}"
    );
    fs::create_dir(&shown).unwrap();
    assert_eq!(shelf.volumes.source(&bind).unwrap(), shown);

    let memory = shelf.create("memory", &[("type", "tmpfs"), ("o", "size=64k,mode=1777"), ("device", "tmpfs")]);
    let data = shelf.volumes.source(&memory).unwrap();
    assert_eq!(shelf.volumes.source(&memory).unwrap(), data, "mounted once");
    fs::write(data.join("file"), "x").unwrap();
    assert!(fs::write(data.join("large"), vec![0; 1 << 20]).is_err(), "it has the size that was asked for");
    shelf.volumes.release(&memory).unwrap();
    assert!(listing(&data).is_empty());
    shelf.volumes.source(&memory).unwrap();
    shelf.volumes.remove(&memory).unwrap();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(shelf.folder.path().to_str().unwrap()));
}

#[test]
fn volumes_are_made_listed_and_removed_and_leavings_are_not_taken_for_data() {
    if cannot_run() {
        return;
    }
    let shelf = Shelf::new();
    assert_eq!(shelf.volumes.list().unwrap(), []);
    let name = shelf.create("v", &[]);
    shelf.create("v", &[("type", "tmpfs")]);
    assert!(shelf.volumes.find(&name).unwrap().unwrap().config.driver_opts.is_empty(), "the first one stays");
    let unnamed = shelf.volumes.create_anonymous(BTreeMap::new()).unwrap();
    assert_eq!(unnamed.as_str().len(), 64);
    let list = shelf.volumes.list().unwrap();
    assert_eq!(list.iter().filter(|volume| volume.anonymous).count(), 1);
    fs::write(shelf.volumes.source(&name).unwrap().join("file"), "x").unwrap();
    // As a kill in the middle of a removal leaves it.
    fs::remove_file(shelf.layout.volume(&name).join("volume.json")).unwrap();
    assert!(matches!(shelf.volumes.remove(&name), Err(EngineError::NotFound(_))));
    shelf.create("v", &[]);
    assert!(listing(&shelf.volumes.source(&name).unwrap()).is_empty());
    shelf.volumes.remove(&name).unwrap();
    assert!(!shelf.layout.volume(&name).exists());
    let unknown = VolumeConfig {
        name: name.clone(),
        labels: BTreeMap::new(),
        driver: "nosuch".to_owned(),
        driver_opts: BTreeMap::new(),
    };
    assert!(matches!(shelf.volumes.create(&unknown), Err(EngineError::Unsupported { .. })));
}
