//! The configuration hash: tells, years later, whether a thing was made from what the file says now.
//!
//! SHA-256 of the [`canonical`] JSON of what the engine is given. Left out are what differs between replicas, Compose's own
//! labels, and what does not make a container: build, pull policy, scale, dependencies, profiles (Compose, behaviours §1.2).

mod canonical;

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::engine::{ContainerConfig, NetworkConfig, VolumeConfig};
use crate::planner::labels;
use crate::spec::project::files::FileMount;
use crate::spec::project::hooks::Hook;
use crate::spec::project::mounts::MountsOf;
use crate::spec::project::service::Service;
use crate::values::names::ContainerName;

/// What is hashed of a service.
#[derive(Serialize)]
struct Hashed<'a> {
    config: &'a ContainerConfig,
    container_name: Option<&'a ContainerName>,
    platform: Option<String>,
    /// Which mounts these are is known only when the donor is.
    volumes_from: Vec<(&'static str, &'a str, bool)>,
    configs: Vec<File<'a>>,
    secrets: Vec<File<'a>>,
    /// Hooks run in the container, so a new hook wants a new container.
    post_start: Vec<Script<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pre_start: Vec<(Option<String>, Script<'a>)>,
    pre_stop: Vec<Script<'a>>,
}

/// A config or secret; its content may change while the container stays.
#[derive(Serialize)]
struct File<'a> {
    source: &'a str,
    target: &'a str,
    uid: Option<&'a str>,
    gid: Option<&'a str>,
    mode: Option<u32>,
}

#[derive(Serialize)]
struct Script<'a> {
    command: &'a [String],
    user: Option<&'a str>,
    privileged: bool,
    working_dir: Option<&'a str>,
    environment: &'a std::collections::BTreeMap<String, Option<String>>,
}

/// Of a service, `config` being what its replicas share.
pub(super) fn service(service: &Service, config: &ContainerConfig) -> String {
    fn file<'a, Key>(mount: &'a FileMount<Key>, source: &'a str) -> File<'a> {
        let FileMount { target, uid, gid, mode, .. } = mount;
        File { source, target, uid: uid.as_deref(), gid: gid.as_deref(), mode: *mode }
    }
    fn script(hook: &Hook) -> Script<'_> {
        Script {
            command: &hook.command,
            user: hook.user.as_deref(),
            privileged: hook.privileged,
            working_dir: hook.working_dir.as_deref(),
            environment: &hook.environment,
        }
    }
    let shared = service.volumes_from.iter().map(|from| match &from.source {
        MountsOf::Service(donor) => ("service", donor.as_str(), from.read_only),
        MountsOf::Container(donor) => ("container", donor.as_str(), from.read_only),
    });
    digest(&Hashed {
        config,
        container_name: service.container_name.as_ref(),
        platform: service.platform.as_ref().map(ToString::to_string),
        volumes_from: shared.collect(),
        configs: service.configs.iter().map(|mount| file(mount, mount.source.as_str())).collect(),
        secrets: service.secrets.iter().map(|mount| file(mount, mount.source.as_str())).collect(),
        post_start: service.post_start.iter().map(script).collect(),
        pre_start: service
            .pre_start
            .iter()
            .map(|one| (one.image.as_ref().map(ToString::to_string), script(&one.hook)))
            .collect(),
        pre_stop: service.pre_stop.iter().map(script).collect(),
    })
}

/// Of a network.
pub(super) fn network(config: &NetworkConfig) -> String {
    let mut config = config.clone();
    config.labels.retain(|key, _| !key.starts_with(labels::PREFIX));
    digest(&config)
}

/// Of a volume.
pub(super) fn volume(config: &VolumeConfig) -> String {
    let mut config = config.clone();
    config.labels.retain(|key, _| !key.starts_with(labels::PREFIX));
    digest(&config)
}

/// As JSON. What is not text (a path that is no UTF-8) can't be told apart and becomes null.
pub(super) fn to_value(thing: &impl Serialize) -> Value {
    serde_json::to_value(thing).unwrap_or(Value::Null)
}

fn digest(thing: &impl Serialize) -> String {
    let digest = Sha256::digest(canonical::bytes(thing));
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
