//! What is mounted into the containers of a service.

use super::reader::Reader;
use crate::spec::diagnostic::Location;
use crate::spec::project::files::FileMount;
use crate::spec::project::keys::{ConfigKey, SecretKey, VolumeKey};
use crate::spec::project::mounts::{Mount, MountSource, MountsOf, Recursive, VolumesFrom};
use crate::spec::tree::Node;
use crate::values::byte_size;
use crate::values::names::ServiceName;

/// `volumes`, then `tmpfs`.
pub(super) fn decode(service: &Reader<'_>) -> Vec<Mount> {
    let volumes = service.objects("volumes");
    let mounts = volumes.iter().filter_map(|mount| {
        let target = mount.text("target").unwrap_or_default();
        if !target.starts_with('/') {
            mount.fault(&mount.at(), not_absolute(&target));
        }
        Some(Mount { target, source: source(mount)?, read_only: mount.flag("read_only"), location: mount.at() })
    });
    let tmpfs = service.items("tmpfs").filter_map(|item| tmpfs(service, item));
    mounts.chain(tmpfs).collect()
}

/// Whoever meant a volume whose name is one letter is told that it is taken for a drive.
fn not_absolute(target: &str) -> String {
    let drive = target.split_once(':').filter(|(name, path)| name.len() == 1 && path.starts_with('/'));
    let hint = drive.map(|(name, path)| {
        format!("; one letter and a colon are a drive: for the volume {name:?} write `{{type: volume, source: {name}, target: {path}}}`")
    });
    format!("mount path {target:?} must be absolute{}", hint.unwrap_or_default())
}

fn source(mount: &Reader<'_>) -> Option<MountSource> {
    let (bind, volume, tmpfs) = (mount.object("bind"), mount.object("volume"), mount.object("tmpfs"));
    let source = mount.text("source");
    match mount.text("type").as_deref() {
        Some("bind") => Some(MountSource::Bind {
            source: source.unwrap_or_default().into(),
            // Absent in the long form without `bind`, where the path must be there.
            create: bind.as_ref().is_some_and(|bind| bind.flag("create_host_path")),
            propagation: bind.as_ref().and_then(|bind| bind.text("propagation")),
            recursive: bind.and_then(|bind| recursive(&bind)),
        }),
        Some("volume") => {
            let no_copy = volume.as_ref().is_some_and(|volume| volume.flag("nocopy"));
            Some(match source {
                None => MountSource::Anonymous { no_copy },
                Some(key) => MountSource::Volume {
                    key: VolumeKey(key),
                    no_copy,
                    subpath: volume.and_then(|volume| volume.text("subpath")),
                },
            })
        }
        Some("tmpfs") => Some(MountSource::Tmpfs {
            size: tmpfs.as_ref().and_then(|tmpfs| tmpfs.number("size")),
            mode: tmpfs.and_then(|tmpfs| tmpfs.number("mode")),
            options: Vec::new(),
        }),
        Some("image") => Some(MountSource::Image {
            image: mount.parse("source")?,
            subpath: mount.object("image").and_then(|image| image.text("subpath")),
        }),
        other => {
            mount.fault(&mount.at(), format!("mounts of type {:?} are not for Linux", other.unwrap_or("")));
            None
        }
    }
}

fn recursive(bind: &Reader<'_>) -> Option<Recursive> {
    Some(match bind.text("recursive")?.as_str() {
        "disabled" => Recursive::Disabled,
        "writable" => Recursive::Writable,
        "readonly" => Recursive::ReadOnly,
        // The schema allows nothing else.
        _ => Recursive::Enabled,
    })
}

/// `PATH[:OPTION,…]`.
fn tmpfs(service: &Reader<'_>, item: &Node) -> Option<Mount> {
    let text = item.as_str()?;
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let (mut size, mut mode, mut rest, mut read_only) = (None, None, Vec::new(), false);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            // A share of the memory, as `50%`, is for the kernel to understand.
            Some(("size", text)) if !text.ends_with('%') => match byte_size::parse(text) {
                Ok(bytes) => size = u64::try_from(bytes).ok(),
                Err(why) => service.fault(&item.at, format!("tmpfs: {why}")),
            },
            Some(("mode", text)) => match u32::from_str_radix(text, 8) {
                Ok(bits) => mode = Some(bits),
                Err(_) => service.fault(&item.at, format!("tmpfs: {text:?} is no octal number")),
            },
            _ if option == "ro" => read_only = true,
            _ => rest.push(option.to_owned()),
        }
    }
    if !target.starts_with('/') {
        service.fault(&item.at, format!("tmpfs: mount path {target:?} must be absolute"));
    }
    let source = MountSource::Tmpfs { size, mode, options: rest };
    Some(Mount { target: target.to_owned(), source, read_only, location: item.at.clone() })
}

/// `SERVICE[:ro|rw]` or `container:NAME[:ro|rw]`.
pub(super) fn volumes_from(service: &Reader<'_>) -> Vec<VolumesFrom> {
    let from = |item: &Node| {
        let text = item.as_str()?;
        let (whose, text) = match text.strip_prefix("container:") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (name, mode) = text.split_once(':').unwrap_or((text, "rw"));
        if !matches!(mode, "ro" | "rw") {
            service.fault(&item.at, format!("volumes_from: {mode:?} is neither `ro` nor `rw`"));
        }
        let source = match whose {
            true => MountsOf::Container(name.to_owned()),
            false => MountsOf::Service(ServiceName::try_from(name).ok()?),
        };
        Some(VolumesFrom { source, read_only: mode == "ro", location: item.at.clone() })
    };
    service.items("volumes_from").filter_map(from).collect()
}

/// Where nothing else is said, a config lies under its own name in the root.
pub(super) fn configs(service: &Reader<'_>) -> Vec<FileMount<ConfigKey>> {
    let below_root = |source: &str, target: Option<String>| match target.unwrap_or_else(|| source.to_owned()) {
        target if target.starts_with('/') => target,
        target => format!("/{target}"),
    };
    service.objects("configs").iter().map(|config| file_mount(config, ConfigKey, below_root)).collect()
}

/// Where nothing else is said, a secret lies under its own name in `/run/secrets`.
pub(super) fn secrets(service: &Reader<'_>) -> Vec<FileMount<SecretKey>> {
    let below_secrets = |source: &str, target: Option<String>| match target.unwrap_or_else(|| source.to_owned()) {
        target if target.starts_with('/') => target,
        target => format!("/run/secrets/{target}"),
    };
    service.objects("secrets").iter().map(|secret| file_mount(secret, SecretKey, below_secrets)).collect()
}

/// A config or secret; `target` says where it lies, of its key and what is written.
pub(super) fn file_mount<Key>(
    reader: &Reader<'_>,
    key: fn(String) -> Key,
    target: impl Fn(&str, Option<String>) -> String,
) -> FileMount<Key> {
    let source = reader.text("source").unwrap_or_default();
    let mode = reader.text("mode").and_then(|text| u32::from_str_radix(&text, 8).ok());
    let location: Location = reader.at();
    FileMount {
        target: target(&source, reader.text("target")),
        source: key(source),
        uid: reader.text("uid"),
        gid: reader.text("gid"),
        mode,
        location,
    }
}
