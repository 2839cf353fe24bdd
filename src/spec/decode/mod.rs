//! The model to a [`Project`]: each text that means something becomes a value that can mean nothing else.
//!
//! What Docker Compose leaves for the engine to refuse (`restart: sometimes`, a port past 65535) is refused here, at its
//! place, all faults at once. Decoding never stops: a value at fault counts as absent until the end.

mod build;
mod mounts;
mod network;
mod networks;
mod reader;
mod ready;
mod resources;
mod service;

use reader::{Faults, Reader};

use super::diagnostic::SpecError;
use super::model::Model;
use super::project::Project;
use super::project::files::{FileObject, FileOrigin};
use super::project::keys::{ConfigKey, ModelKey, NetworkKey, SecretKey, VolumeKey};
use super::project::models::Model as AiModel;
use super::project::mounts::Volume;
use super::tree::{Entry, Mapping, Node};
use crate::values::names::{ServiceName, VolumeName};

/// Decodes the whole.
pub(in crate::spec) fn project(model: &Model) -> Result<Project, SpecError> {
    let faults = Faults::default();
    // A service that is not active may be at fault.
    let unheeded = Faults::default();
    let services = model.tree.get("services").and_then(Node::as_mapping);
    let project = Project {
        separator: '-',
        name: model.name.clone(),
        working_dir: model.working_dir.clone(),
        files: model.files.clone(),
        environment: model.environment.clone(),
        services: services.into_iter().flat_map(|map| decode_services(map, model, &faults)).collect(),
        disabled: decode_services(&model.disabled, model, &unheeded).collect(),
        networks: section(model, "networks", &faults)
            .filter_map(|(key, reader)| Some((NetworkKey(key.to_owned()), networks::network(&reader)?)))
            .collect(),
        volumes: section(model, "volumes", &faults)
            .filter_map(|(key, reader)| Some((VolumeKey(key.to_owned()), volume(&reader)?)))
            .collect(),
        configs: section(model, "configs", &faults)
            .map(|(key, reader)| (ConfigKey(key.to_owned()), file_object(&reader, model)))
            .collect(),
        secrets: section(model, "secrets", &faults)
            .map(|(key, reader)| (SecretKey(key.to_owned()), file_object(&reader, model)))
            .collect(),
        loopback: loopback(model, &faults),
        models: section(model, "models", &faults)
            .map(|(key, reader)| (ModelKey(key.to_owned()), ai_model(key, &reader)))
            .collect(),
    };
    faults.into_result(project)
}

fn decode_services<'a>(
    services: &'a Mapping,
    model: &'a Model,
    faults: &'a Faults,
) -> impl Iterator<Item = (ServiceName, super::project::service::Service)> {
    services.iter().filter_map(move |(name, entry)| {
        let name = ServiceName::try_from(name).ok()?;
        let reader = Reader::new(format!("services.{name}"), entry, faults)?;
        Some((name.clone(), service::decode(name, &reader, model)?))
    })
}

/// `x-xcompose: {loopback: auto}`.
fn loopback(model: &Model, faults: &Faults) -> bool {
    let own = model.tree.as_mapping().and_then(|map| map.entry("x-xcompose"));
    let Some(own) = own.and_then(|entry| Reader::new("x-xcompose".to_owned(), entry, faults)) else { return false };
    match own.node("loopback") {
        None => false,
        Some(node) if node.as_str() == Some("auto") => true,
        Some(_) if own.maybe_flag("loopback") == Some(false) => false,
        Some(node) => {
            own.fault(&node.at, "loopback: use `auto` or `false`");
            false
        }
    }
}

fn section<'a>(model: &'a Model, kind: &'a str, faults: &'a Faults) -> impl Iterator<Item = (&'a str, Reader<'a>)> {
    let map = model.tree.get(kind).and_then(Node::as_mapping);
    let entries = map.into_iter().flat_map(Mapping::iter);
    entries.filter_map(move |(key, entry): (&str, &Entry)| {
        Some((key, Reader::new(format!("{kind}.{key}"), entry, faults)?))
    })
}

fn volume(reader: &Reader<'_>) -> Option<Volume> {
    Some(Volume {
        name: reader.parse::<VolumeName>("name")?,
        external: reader.flag("external"),
        driver: reader.text("driver"),
        driver_opts: reader.map("driver_opts"),
        labels: reader.map("labels"),
        location: reader.at(),
    })
}

fn file_object(reader: &Reader<'_>, model: &Model) -> FileObject {
    let origin = if reader.flag("external") {
        FileOrigin::External
    } else if let Some(path) = reader.text("file") {
        FileOrigin::File(path.into())
    } else if let Some(variable) = reader.text("environment") {
        let value = model.environment.get(&variable).cloned();
        FileOrigin::Environment { variable, value }
    } else {
        FileOrigin::Content(reader.text("content").unwrap_or_default())
    };
    FileObject { name: reader.text("name").unwrap_or_default(), origin, location: reader.at() }
}

fn ai_model(key: &str, reader: &Reader<'_>) -> AiModel {
    AiModel {
        name: reader.text("name").unwrap_or_else(|| key.to_owned()),
        model: reader.text("model").unwrap_or_default(),
        context_size: reader.number("context_size"),
        runtime_flags: reader.texts("runtime_flags"),
        location: reader.at(),
    }
}
