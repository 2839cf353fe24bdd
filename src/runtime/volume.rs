//! Named volumes.
//!
//! A volume is a folder with a record and its data (`_data`). It exists when its record does: the record is written last and removed
//! first. Options of the driver `local` (`type`, `device`, `o`) say what is shown in place of `_data`.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use crate::engine::{EngineError, ObservedVolume, Subject, VolumeConfig};
use crate::runtime::image::digest::hex;
use crate::runtime::image::store::failed;
use crate::runtime::image::tree::remove_tree;
use crate::runtime::layout::Layout;
use crate::runtime::store::{self, Durability};
use crate::runtime::sys::OrOs;
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

    /// Removes a volume and its data. That nobody uses it is the caller's to know.
    pub fn remove(&self, name: &VolumeName) -> Result<(), EngineError> {
        let subject = || Subject::Volume(name.to_string());
        let remove = || -> io::Result<bool> {
            let _lock = store::lock(&self.layout.volumes().join(".lock"))?;
            match fs::remove_file(self.record(name)) {
                Ok(()) => remove_tree(&self.layout.volume(name)).map(|()| true),
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
