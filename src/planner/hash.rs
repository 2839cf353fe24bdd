//! The configuration hash: tells, years later, whether a thing was made from what the file says now.
//!
//! SHA-256 of the JSON of what the engine is given, without everything that has its default: a field that a later version
//! adds changes no hash until it is used. Left out are what differs between replicas, Compose's own labels, and what does
//! not make a container: build, pull policy, scale, dependencies, profiles (Compose, behaviours §1.2).

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::engine::{ContainerConfig, NetworkConfig, VolumeConfig};
use crate::planner::labels;
use crate::spec::project::{Hook, MountsOf, Service};

/// Of a service, `config` being what its replicas share.
pub(super) fn service(service: &Service, config: &ContainerConfig) -> String {
    let mut value = to_value(config);
    if let Value::Object(fields) = &mut value {
        for field in ["name", "project", "slot"] {
            fields.remove(field);
        }
        if let Some(name) = &service.container_name {
            fields.insert("container_name".to_owned(), json!(name));
        }
        if let Some(platform) = &service.platform {
            fields.insert("platform".to_owned(), json!(platform.to_string()));
        }
        // Which mounts these are is known only when the donor is.
        let shared = service.volumes_from.iter().map(|from| match &from.source {
            MountsOf::Service(donor) => json!(["service", donor, from.read_only]),
            MountsOf::Container(donor) => json!(["container", donor, from.read_only]),
        });
        fields.insert("volumes_from".to_owned(), shared.collect());
        // Hooks run in the container, so a new hook wants a new container.
        for (name, hooks) in [("post_start", &service.post_start), ("pre_stop", &service.pre_stop)] {
            fields.insert(name.to_owned(), hooks.iter().map(hook).collect());
        }
        let files =
            service.configs.iter().map(|file| (file.source.as_str(), &file.target, &file.uid, &file.gid, file.mode));
        fields.insert("configs".to_owned(), to_value(&files.collect::<Vec<_>>()));
        let files =
            service.secrets.iter().map(|file| (file.source.as_str(), &file.target, &file.uid, &file.gid, file.mode));
        fields.insert("secrets".to_owned(), to_value(&files.collect::<Vec<_>>()));
    }
    digest(value)
}

fn hook(hook: &Hook) -> Value {
    json!([hook.command, hook.user, hook.privileged, hook.working_dir, hook.environment])
}

/// Of a network.
pub(super) fn network(config: &NetworkConfig) -> String {
    let mut config = config.clone();
    config.labels.retain(|key, _| !key.starts_with(labels::PREFIX));
    digest(to_value(&config))
}

/// Of a volume.
pub(super) fn volume(config: &VolumeConfig) -> String {
    let mut config = config.clone();
    config.labels.retain(|key, _| !key.starts_with(labels::PREFIX));
    digest(to_value(&config))
}

/// As JSON. What is not text (a path that is no UTF-8) can't be told apart and becomes null.
pub(super) fn to_value(thing: &impl Serialize) -> Value {
    serde_json::to_value(thing).unwrap_or(Value::Null)
}

fn digest(mut value: Value) -> String {
    prune(&mut value);
    let bytes = Sha256::digest(value.to_string().as_bytes());
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        for half in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(half), 16).unwrap_or('0'));
        }
        text
    })
}

/// Maps whose keys are the user's: there an empty value is not the same as none.
const FREE: [&str; 8] =
    ["environment", "labels", "sysctls", "ulimits", "driver_opts", "links", "options", "aux_addresses"];
/// Lists that, when empty, clear what the image or the host has.
const CLEARING: [&str; 3] = ["command", "entrypoint", "search"];

/// Takes away the fields that say nothing: null, false, and what is empty.
fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.retain(|name, field| {
            if FREE.contains(&name.as_str()) {
                return !is_empty(field);
            }
            prune(field);
            match field {
                Value::Null | Value::Bool(false) => false,
                field => CLEARING.contains(&name.as_str()) || !is_empty(field),
            }
        }),
        Value::Array(items) => items.iter_mut().for_each(prune),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}
