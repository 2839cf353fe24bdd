//! An image from a container, and its file system as an archive.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use crate::engine::{CommitConfig, EngineError, ImageId, Subject};
use crate::runtime::build::changes;
use crate::runtime::container::record::Container;
use crate::runtime::image::config::{Empty, History, ImageConfig, ImageDocument, ImageHealth};
use crate::runtime::image::pack::pack;
use crate::runtime::image::store::{Store, failed};
use crate::runtime::image::tree::{empty_folder, open_directory};
use crate::runtime::image::unpack::{Owner, Whiteouts, unpack};
use crate::runtime::layout::Layout;
use crate::runtime::start::rootfs;

/// Makes an image of what the container has changed, run as the container is.
pub fn commit(layout: &Layout, container: &Container, commit: &CommitConfig) -> Result<ImageId, EngineError> {
    let subject = || Subject::Container(container.config.name.to_string());
    let store = Store::open(layout)?;
    let _hold = store.hold()?;
    let text = store.document_text(&container.image)?;
    let mut document: ImageDocument = serde_json::from_slice(&text).map_err(failed("commit", subject()))?;
    document.config = config(container, &document.config);
    changes::apply(&mut document, &commit.changes)
        .map_err(|reason| EngineError::Invalid { subject: subject(), reason })?;

    let staging = store.stage()?;
    let files = staging.path().join("files");
    let upper = layout.container(&container.config.project, &container.id).join("upper");
    copy(&upper, &files).map_err(failed("commit", subject()))?;
    let (diff_id, size) = store.add_made_layer(&staging, &files, subject())?;
    let created = Some(jiff::Timestamp::now().to_string());
    let empty_layer = size == 0 && is_empty(&upper);
    if !empty_layer {
        document.rootfs.diff_ids.push(diff_id.to_string());
    }
    document.created = created.clone();
    document.author = commit.author.clone().or(document.author);
    document.history.push(History {
        created,
        created_by: Some(container.argv.join(" ")),
        author: commit.author.clone(),
        comment: commit.message.clone(),
        empty_layer,
    });
    store.publish(&staging, &document, commit.name.as_slice())
}

/// Writes the container's file system, without what is mounted in it.
pub fn export(layout: &Layout, container: &Container, archive: OwnedFd) -> Result<(), EngineError> {
    let subject = || Subject::Container(container.config.name.to_string());
    let mut layers =
        vec![layout.container(&container.config.project, &container.id).join("upper"), layout.init_layer()];
    layers.extend(container.layers.iter().rev().cloned());
    let root = rootfs::layers(&layers).map_err(failed("export", subject()))?;
    pack(&root, std::io::BufWriter::with_capacity(256 * 1024, File::from(archive)))
        .map(drop)
        .map_err(failed("export", subject()))
}

/// A copy of a layer's files, with everything that a layer keeps.
fn copy(from: &Path, to: &Path) -> Result<(), crate::engine::Cause> {
    let (source, target) = (open_directory(from)?, empty_folder(to)?);
    let (input, output) = std::io::pipe()?;
    std::thread::scope(|scope| {
        let packer = scope.spawn(move || pack(&source, output));
        let unpacked = unpack(input, &target, "".as_ref(), Whiteouts::Layer, Owner::Archive);
        // If one side fails so does the other; the packer's is the cause, unless it only lost its reader.
        match (packer.join(), unpacked) {
            (Ok(Ok(_)), unpacked) => unpacked.map(drop).map_err(Into::into),
            (Ok(Err(_)), Err(unpacked)) => Err(unpacked.into()),
            (Ok(Err(packed)), Ok(_)) => Err(packed.into()),
            (Err(_), _) => Err("the thread that packs died".into()),
        }
    })
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

/// How the container is run, over how its image is.
fn config(container: &Container, image: &ImageConfig) -> ImageConfig {
    let wanted = &container.config;
    let mut config = image.clone();
    if let Some(entrypoint) = &wanted.entrypoint {
        config.entrypoint = entrypoint.clone();
        config.cmd = Vec::new();
    }
    if let Some(command) = &wanted.command {
        config.cmd = command.clone();
    }
    config.env = container.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    config.working_dir = container.working_dir.clone();
    config.user = container.user.clone();
    config.labels.extend(wanted.labels.clone());
    config.exposed_ports =
        container.exposed.iter().map(|(port, protocol)| (format!("{port}/{protocol}"), Empty {})).collect();
    if let Some(signal) = container.stop_signal {
        config.stop_signal = signal.to_string();
    }
    if let Some(probe) = container.health.as_ref().filter(|_| wanted.healthcheck.is_some()) {
        let nanos = |time: std::time::Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        config.healthcheck = Some(ImageHealth {
            test: std::iter::once("CMD".to_owned()).chain(probe.argv.clone()).collect(),
            interval: nanos(probe.interval),
            timeout: nanos(probe.timeout),
            start_period: nanos(probe.start_period),
            start_interval: nanos(probe.start_interval),
            retries: i64::from(probe.retries),
        });
    }
    config
}
