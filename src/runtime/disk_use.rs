//! What takes up space on disk, and what of it can go.

use std::path::PathBuf;

use crate::engine::{DiskUse, EngineError, Pruned, Share, Subject};
use crate::runtime::container::find;
use crate::runtime::image::detail;
use crate::runtime::image::store::{Store, failed};
use crate::runtime::layout::Layout;
use crate::runtime::observe::images_in_use;
use crate::runtime::volume::Volumes;

/// What images, containers, volumes and cached layers take up.
pub(super) fn measure(layout: &Layout) -> Result<DiskUse, EngineError> {
    let (used, containers) = (images_in_use(layout)?, find::of_machine(layout)?);
    let store = Store::open(layout)?;
    let mut found = DiskUse { images: store.images_share(&used)?, cache: store.cache_share()?, ..DiskUse::default() };
    let weigh = |path: PathBuf| {
        let weighed = detail::weigh(&path);
        weighed.map(|(_, size)| size).map_err(failed("read", Subject::Path(path.display().to_string())))
    };
    for (container, standing) in &containers {
        let size = weigh(layout.container(&container.config.project, &container.id).join("upper"))?;
        add(&mut found.containers, size, standing.state.is_active());
    }
    for volume in Volumes::open(layout).list()? {
        let name = &volume.config.name;
        let used = containers.iter().any(|(container, _)| container.has_volume(name));
        add(&mut found.volumes, weigh(layout.volume(name).join("_data"))?, used);
    }
    Ok(found)
}

fn add(share: &mut Share, size: u64, active: bool) {
    share.total += 1;
    share.size += size;
    if active { share.active += 1 } else { share.reclaimable += size }
}

/// Removes images that nothing uses, `all` of them or only those without a name.
pub(super) fn prune_images(layout: &Layout, all: bool) -> Result<Pruned, EngineError> {
    let used = images_in_use(layout)?;
    Store::open(layout)?.prune(all, &used)
}
