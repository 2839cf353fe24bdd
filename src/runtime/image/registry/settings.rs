//! How registries are reached: Docker's own settings, so that a machine set up for Docker needs nothing more.
//!
//! From `/etc/docker` (or `XCOMPOSE_CONFIG`): `daemon.json` with `insecure-registries` and `registry-mirrors`, and
//! `certs.d/HOST[:PORT]/` with authorities (`*.crt`) and client certificates (`*.cert` with `*.key`).

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::runtime::image::registry::error::RegistryError;

/// How registries are reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    folder: PathBuf,
    insecure: Vec<String>,
    mirrors: Vec<String>,
}

/// Certificates for one registry.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    /// Authorities, PEM.
    pub(super) authorities: Vec<(PathBuf, Vec<u8>)>,
    /// Certificate and key, PEM.
    pub(super) client: Option<(PathBuf, Vec<u8>)>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Daemon {
    insecure_registries: Vec<String>,
    registry_mirrors: Vec<String>,
}

impl Settings {
    /// As this machine is set up.
    pub fn from_environment() -> Result<Settings, RegistryError> {
        Settings::read(Settings::place())
    }

    /// The folder that is in force.
    pub fn place() -> PathBuf {
        std::env::var_os("XCOMPOSE_CONFIG").map_or_else(|| "/etc/docker".into(), PathBuf::from)
    }

    /// As this folder says.
    pub fn read(folder: PathBuf) -> Result<Settings, RegistryError> {
        let path = folder.join("daemon.json");
        let daemon: Daemon = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| wrong(&path, error))?,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Daemon::default()
            }
            Err(error) => return Err(wrong(&path, error)),
        };
        Ok(Settings { folder, insecure: daemon.insecure_registries, mirrors: daemon.registry_mirrors })
    }

    /// Where a way out of trouble is written down.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Asked before `docker.io`, in order.
    pub(super) fn mirrors(&self) -> &[String] {
        &self.mirrors
    }

    /// Whether this registry need not prove who it is, and may speak plain HTTP: this machine itself, and those listed by name or network.
    pub(super) fn is_insecure(&self, host: &str) -> bool {
        let name = host_name(host);
        let address: Option<IpAddr> = name.parse().ok();
        is_loopback(host)
            || self.insecure.iter().any(|listed| {
                let listed = listed.split_once("://").map_or(listed.as_str(), |(_, rest)| rest).trim_end_matches('/');
                listed == host || listed == name || address.is_some_and(|address| contains(listed, address))
            })
    }

    /// Certificates for this registry.
    pub(super) fn certificates(&self, host: &str) -> Result<Certificates, RegistryError> {
        let folder = self.folder.join("certs.d").join(host);
        let mut found = Certificates::default();
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(found);
            }
            Err(error) => return Err(wrong(&folder, error)),
        };
        let mut paths = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()
            .map_err(|error| wrong(&folder, error))?;
        paths.sort();
        for path in paths {
            let read = |path: &Path| std::fs::read(path).map_err(|error| wrong(path, error));
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => found.authorities.push((path.clone(), read(&path)?)),
                Some("cert") => {
                    let key = path.with_extension("key");
                    let mut pem = read(&path)?;
                    pem.push(b'\n');
                    pem.extend(read(&key)?);
                    found.client = Some((path, pem));
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

/// Whether this host is this machine itself.
pub(super) fn is_loopback(host: &str) -> bool {
    let name = host_name(host);
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The host without its port.
pub(super) fn host_name(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && port.bytes().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Whether a network in CIDR form has this address.
pub(super) fn contains(network: &str, address: IpAddr) -> bool {
    let Some((base, length)) = network.split_once('/') else { return false };
    let (Ok(base), Ok(length)) = (base.parse::<IpAddr>(), length.parse::<u32>()) else { return false };
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let ((base, size), (address, other)) = (bits(base), bits(address));
    size == other && length <= size && (length == 0 || (base ^ address) >> (128 - length) == 0)
}

pub(super) fn wrong(path: &Path, reason: impl ToString) -> RegistryError {
    let reason = reason.to_string();
    let reason = reason.split(" (os error ").next().unwrap_or(&reason).to_owned();
    RegistryError::Settings { path: path.display().to_string(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_and_what_is_listed_need_no_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let text =
            r#"{"insecure-registries": ["reg.example:5000", "10.1.0.0/16", "http://plain.example/"], "debug": true}"#;
        std::fs::write(folder.path().join("daemon.json"), text).unwrap();
        let settings = Settings::read(folder.path().to_owned()).unwrap();
        for host in [
            "localhost",
            "localhost:1",
            "127.3.2.1:5000",
            "[::1]:5000",
            "reg.example:5000",
            "10.1.2.3:80",
            "plain.example",
        ] {
            assert!(settings.is_insecure(host), "{host}");
        }
        for host in ["docker.io", "reg.example", "reg.example:5001", "10.2.0.1", "localhost.example", "128.0.0.1"] {
            assert!(!settings.is_insecure(host), "{host}");
        }
    }

    #[test]
    fn settings_that_cannot_be_read_are_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("daemon.json"), "{").unwrap();
        let error = Settings::read(folder.path().to_owned()).unwrap_err().to_string();
        assert!(error.contains("daemon.json: EOF while parsing"), "{error}");
    }
}
