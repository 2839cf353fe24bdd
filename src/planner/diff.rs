//! One wanted thing × one that is there → the fields that differ, by their names in the compose file.

use serde_json::Value;

use crate::engine::{ContainerConfig, NetworkMode};
use crate::planner::hash;
use crate::planner::labels;

/// Which fields of two containers differ, by their names in the compose file, without values: those may be secret.
pub(super) fn container_fields(there: &ContainerConfig, wanted: &ContainerConfig) -> Vec<String> {
    let comparable = |config: &ContainerConfig| {
        let mut config = config.clone();
        config.labels = labels::users(&config.labels).map(|(key, value)| (key.clone(), value.clone())).collect();
        if let NetworkMode::Networks(attachments) = &mut config.network {
            attachments.iter_mut().for_each(|attachment| attachment.links.values_mut().for_each(Vec::clear));
        }
        config.files.iter_mut().for_each(|file| file.content.clear());
        hash::to_value(&config)
    };
    let mut found = Vec::new();
    differing(&comparable(there), &comparable(wanted), |name| {
        if !["name", "project", "slot"].contains(&name) {
            found.push(name.to_owned());
        }
    });
    found.dedup();
    found
}

/// Which fields of two networks or volumes differ.
pub(super) fn resource_fields(there: &impl serde::Serialize, wanted: &impl serde::Serialize) -> Vec<String> {
    let mut found = Vec::new();
    differing(&hash::to_value(there), &hash::to_value(wanted), |name| {
        if !name.starts_with(&format!("labels.{}", labels::PREFIX)) {
            found.push(name.to_owned());
        }
    });
    found
}

/// Tells the name of each field that differs; within maps of the user's keys, with the key.
fn differing(there: &Value, wanted: &Value, mut tell: impl FnMut(&str)) {
    let (Value::Object(there), Value::Object(wanted)) = (there, wanted) else { return };
    for (field, new) in wanted {
        let old = there.get(field).unwrap_or(&Value::Null);
        if old == new {
            continue;
        }
        match (field.as_str(), old, new) {
            (
                "environment" | "labels" | "sysctls" | "ulimits" | "driver_opts",
                Value::Object(old),
                Value::Object(new),
            ) => {
                let keys: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
                for key in keys.into_iter().filter(|key| old.get(*key) != new.get(*key)) {
                    tell(&format!("{field}.{key}"));
                }
            }
            ("security" | "resources" | "dns", Value::Object(old), Value::Object(new)) => {
                for (part, _) in new.iter().filter(|(part, value)| old.get(*part) != Some(value)) {
                    tell(in_compose(part));
                }
            }
            (field, _, _) => tell(in_compose(field)),
        }
    }
}

/// What the compose file calls a field of the engine.
fn in_compose(field: &str) -> &str {
    match field {
        "mounts" => "volumes",
        "network" => "networks",
        "files" => "configs and secrets",
        "no_new_privileges" | "seccomp" | "unmasked" => "security_opt",
        "nano_cpus" => "cpus",
        "memory" => "mem_limit",
        "memory_swap" => "memswap_limit",
        "memory_reservation" => "mem_reservation",
        "memory_swappiness" => "mem_swappiness",
        "pids" => "pids_limit",
        "servers" => "dns",
        "search" => "dns_search",
        "options" => "dns_opt",
        "pools" => "ipam",
        other => other,
    }
}
