//! Named volumes.
//!
//! A volume is a folder with a record and its data (`_data`). It exists when its record does: the record is written last and removed
//! first. Options of the driver `local` (`type`, `device`, `o`) say what is shown in place of `_data`.

mod local;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::engine::{Cause, EngineError, ObservedVolume, Subject, VolumeConfig};
use crate::runtime::build::copy::copy_content;
use crate::runtime::build::rootfs::readable;
use crate::runtime::image::digest::hex;
use crate::runtime::image::store::failed;
use crate::runtime::image::tree::{open_directory, remove_tree};
use crate::runtime::layout::Layout;
use crate::runtime::store::{self, Durability};
use crate::runtime::sys::OrOs;
use crate::runtime::volume::local::Shown;
use crate::values::names::VolumeName;

/// Marks a volume that was made for one container, as Docker does.
pub const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// The volumes of this machine.
#[derive(Debug, Clone)]
pub struct Volumes {
    layout: Layout,
}

impl Volumes {
    /// Those of this layout.
    pub fn open(layout: &Layout) -> Volumes {
        Volumes { layout: layout.clone() }
    }

    /// Makes a volume; an existing one stays as it is. A driver other than `local` is refused.
    pub fn create(&self, config: &VolumeConfig) -> Result<(), EngineError> {
        let subject = || Subject::Volume(config.name.to_string());
        if !matches!(config.driver.as_str(), "" | "local") {
            return Err(EngineError::Unsupported {
                subject: subject(),
                feature: format!("the volume driver {:?}", config.driver),
            });
        }
        let make = || -> io::Result<()> {
            DirBuilder::new().recursive(true).mode(0o711).create(self.layout.volumes())?;
            let _lock = store::lock(&self.layout.volumes().join(".lock"))?;
            if store::read::<VolumeConfig>(&self.record(&config.name))?.is_some() {
                return Ok(());
            }
            let folder = self.layout.volume(&config.name);
            // What a removal left that did not come to its end.
            remove_tree(&folder)?;
            DirBuilder::new().recursive(true).mode(0o711).create(&folder)?;
            DirBuilder::new().recursive(true).mode(0o755).create(folder.join("_data"))?;
            store::write(&self.record(&config.name), config, Durability::Disk)
        };
        make().map_err(failed("create", subject()))
    }

    /// Makes a volume with a name of its own.
    pub fn create_anonymous(&self, mut labels: BTreeMap<String, String>) -> Result<VolumeName, EngineError> {
        let mut bytes = [0; 32];
        fs::File::open("/dev/urandom")
            .and_then(|mut random| random.read_exact(&mut bytes))
            .or_os("read", "/dev/urandom")
            .map_err(failed("create", Subject::Volume("without a name".to_owned())))?;
        let name = hex(&bytes);
        let name = VolumeName::try_from(name.as_str()).map_err(failed("create", Subject::Volume(name)))?;
        labels.insert(ANONYMOUS.to_owned(), String::new());
        self.create(&VolumeConfig {
            name: name.clone(),
            labels,
            driver: "local".to_owned(),
            driver_opts: BTreeMap::new(),
        })?;
        Ok(name)
    }

    /// One volume as it stands.
    pub fn find(&self, name: &VolumeName) -> Result<Option<ObservedVolume>, EngineError> {
        let config = store::read(&self.record(name)).map_err(failed("read", Subject::Volume(name.to_string())))?;
        Ok(config.map(|config| self.observed(config)))
    }

    /// Every volume.
    pub fn list(&self) -> Result<Vec<ObservedVolume>, EngineError> {
        let folder = self.layout.volumes();
        let names = match fs::read_dir(&folder) {
            Ok(entries) => entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let mut names = names.map_err(failed("read", Subject::Path(folder.display().to_string())))?;
        names.sort();
        let names = names.into_iter().filter_map(|name| VolumeName::try_from(name.into_string().ok()?).ok());
        names.filter_map(|name| self.find(&name).transpose()).collect()
    }

    /// The folder of the host to be mounted for a volume. A file system that its options name is mounted now, if it is not yet.
    pub fn source(&self, name: &VolumeName) -> Result<PathBuf, EngineError> {
        let subject = || Subject::Volume(name.to_string());
        let found = self.find(name)?.ok_or_else(|| EngineError::NotFound(subject()))?;
        let _turn = self.turn(name).map_err(failed("lock", subject()))?;
        let wrong = |reason: String| EngineError::Invalid { subject: subject(), reason };
        match local::shown(&found.config.driver_opts).map_err(wrong)? {
            Shown::Data => Ok(found.mountpoint),
            Shown::Folder(folder) if folder.exists() => Ok(folder),
            Shown::Folder(folder) => {
                let (folder, data) = (folder.display(), found.mountpoint.display());
                Err(wrong(format!("failed to mount local volume: mount {folder}:{data}: no such file or directory")))
            }
            Shown::FileSystem(file_system) => {
                if !local::is_mounted(&found.mountpoint).map_err(failed("look at", subject()))? {
                    file_system.mount(&found.mountpoint).map_err(failed("mount", subject()))?;
                }
                Ok(found.mountpoint)
            }
        }
    }

    /// Takes the file system that a volume's options name off again. That nobody uses it is the caller's to know.
    pub fn release(&self, name: &VolumeName) -> Result<(), EngineError> {
        let subject = || Subject::Volume(name.to_string());
        let _turn = self.turn(name).map_err(failed("lock", subject()))?;
        local::unmount(&self.layout.volume(name).join("_data")).map_err(failed("unmount", subject()))
    }

    /// Fills an empty volume with what an image (its layers, the topmost last) has at `target`, once.
    ///
    /// A mark says that filling has begun: if it does not come to its end, the next one does it again.
    pub fn populate(&self, name: &VolumeName, layers: &[PathBuf], target: &str) -> Result<(), EngineError> {
        let source = self.source(name)?;
        let fill = || -> Result<(), Cause> {
            let _turn = self.turn(name)?;
            let mark = self.layout.volume(name).join("filling");
            if !mark.exists() {
                if fs::read_dir(&source)?.next().is_some() {
                    return Ok(());
                }
                fs::File::create(&mark)?;
            }
            if !layers.is_empty() {
                let root = readable(layers, &source)?;
                copy_content(root, Path::new(target), &open_directory(&source)?)?;
            }
            Ok(fs::remove_file(&mark)?)
        };
        fill().map_err(failed("fill", Subject::Volume(name.to_string())))
    }

    fn turn(&self, name: &VolumeName) -> io::Result<Flock<fs::File>> {
        let folder = fs::File::open(self.layout.volume(name))?;
        Flock::lock(folder, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
    }

    /// Removes a volume and its data. That nobody uses it is the caller's to know.
    pub fn remove(&self, name: &VolumeName) -> Result<(), EngineError> {
        let subject = || Subject::Volume(name.to_string());
        let remove = || -> io::Result<bool> {
            let _lock = store::lock(&self.layout.volumes().join(".lock"))?;
            match fs::remove_file(self.record(name)) {
                Ok(()) => {
                    local::unmount(&self.layout.volume(name).join("_data")).map_err(io::Error::other)?;
                    remove_tree(&self.layout.volume(name)).map(|()| true)
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                Err(error) => Err(error),
            }
        };
        match remove() {
            Ok(true) => Ok(()),
            Ok(false) => Err(EngineError::NotFound(subject())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(EngineError::NotFound(subject())),
            Err(error) => Err(failed("remove", subject())(error)),
        }
    }

    fn record(&self, name: &VolumeName) -> PathBuf {
        self.layout.volume(name).join("volume.json")
    }

    fn observed(&self, config: VolumeConfig) -> ObservedVolume {
        ObservedVolume {
            mountpoint: self.layout.volume(&config.name).join("_data"),
            anonymous: config.labels.contains_key(ANONYMOUS),
            config,
        }
    }
}
