//! What a project is once loaded: every value typed, every default filled in, every path absolute.
//!
//! A [`Project`] is made from a checked [`crate::spec::model::Model`], which has already been merged, interpolated,
//! normalised and reduced to the active services. Where Compose lets one thing be said in two places (`mem_limit` and
//! `deploy.resources.limits.memory`, `scale` and `deploy.replicas`, `restart` and `deploy.restart_policy`) there is one field
//! here. `None` means "as the image or the engine has it". What plain Compose ignores (`deploy.placement`, `isolation`, …)
//! and extensions (`x-*`) other than our own are absent; `config` prints them from the model.

pub mod build;
pub mod files;
pub mod hooks;
pub mod keys;
pub mod models;
pub mod mounts;
pub mod network;
pub mod resources;
pub mod service;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::spec::project::files::FileObject;
use crate::spec::project::keys::{ConfigKey, ModelKey, NetworkKey, SecretKey, VolumeKey};
use crate::spec::project::models::Model;
use crate::spec::project::mounts::Volume;
use crate::spec::project::network::Network;
use crate::spec::project::service::Service;
use crate::values::names::{ProjectName, ServiceName};

/// A loaded project.
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    /// Its name.
    pub name: ProjectName,
    /// Between the parts of containers' names: `-`, or `_` as the first version of Compose had it.
    pub separator: char,
    /// What relative paths were resolved against.
    pub working_dir: PathBuf,
    /// The files it was read from, in order, absolute.
    pub files: Vec<PathBuf>,
    /// What interpolation looked names up in.
    pub environment: BTreeMap<String, String>,
    /// The active services.
    pub services: BTreeMap<ServiceName, Service>,
    /// Services whose profiles are not active.
    pub disabled: BTreeMap<ServiceName, Service>,
    /// Networks that an active service uses.
    pub networks: BTreeMap<NetworkKey, Network>,
    /// Volumes that an active service uses.
    pub volumes: BTreeMap<VolumeKey, Volume>,
    /// Configs that an active service uses.
    pub configs: BTreeMap<ConfigKey, FileObject>,
    /// Secrets that an active service uses.
    pub secrets: BTreeMap<SecretKey, FileObject>,
    /// `x-xcompose: {loopback: auto}`: what would be published on every address is published on one of the project's own.
    pub loopback: bool,
    /// Models that an active service uses.
    pub models: BTreeMap<ModelKey, Model>,
}

impl Project {
    /// Names containers and built images with underscores (`--compatibility`).
    pub fn name_as_version_1(&mut self) {
        self.separator = '_';
        for service in self.services.values_mut().chain(self.disabled.values_mut()) {
            let own = format!("{}_{}", self.name, service.name);
            // Both names were checked, and so is what they make together.
            if let (false, Ok(image)) = (service.image_named, own.parse()) {
                service.image = image;
            }
        }
    }

    /// Gives containers and builds a variable that they have not been given otherwise.
    pub fn offer(&mut self, name: &str, value: &str) {
        for service in self.services.values_mut().chain(self.disabled.values_mut()) {
            service.environment.entry(name.to_owned()).or_insert_with(|| Some(value.to_owned()));
            if let Some(build) = &mut service.build {
                build.args.entry(name.to_owned()).or_insert_with(|| value.to_owned());
            }
        }
    }

    /// Publishes on this address what would be published on every one, or on the machine's usual loopback address.
    pub fn publish_on(&mut self, address: IpAddr) {
        let usual = |host: IpAddr| host.is_unspecified() || host == IpAddr::from([127, 0, 0, 1]);
        for port in self.services.values_mut().flat_map(|service| &mut service.ports) {
            if port.host_ip.is_none_or(usual) {
                port.host_ip = Some(address);
            }
        }
    }
}
