//! The configuration document of an image (OCI image-spec v1.1 `config.md`, with Docker's additions), as it is stored and hashed.
//!
//! Reading is lenient where Go is: `null` stands for an empty map or list. What we do not know is kept, so that an image which is
//! loaded and changed loses nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::engine::Labels;
use crate::values::health::{HealthCheck, Probe};
use crate::values::platform::Platform;

/// The whole document; its digest is the image's identity.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ImageDocument {
    /// When it was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// `MAINTAINER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Go's name of the architecture.
    #[serde(default)]
    pub architecture: String,
    /// `linux`.
    #[serde(default)]
    pub os: String,
    /// `v8`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// How to run it.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: ImageConfig,
    /// Its layers.
    #[serde(default)]
    pub rootfs: RootFs,
    /// How it was made, oldest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub history: Vec<History>,
    /// Everything else, unread.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// The layers of an image by the digest of their uncompressed archive, lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `sha256:…`, lowest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub diff_ids: Vec<String>,
}

impl Default for RootFs {
    fn default() -> RootFs {
        RootFs { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// One line of `history`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct History {
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// It made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// How an image is run: the defaults of a container.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageConfig {
    /// `name|uid[:group|gid]`; empty is root.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub user: String,
    /// `80/tcp`, …
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// `NAME=value`, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub env: Vec<String>,
    /// The command's first part.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub entrypoint: Vec<String>,
    /// The command, or the arguments of the entry point.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub cmd: Vec<String>,
    /// Paths that want a volume.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub volumes: BTreeMap<String, Empty>,
    /// Empty is `/`.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub working_dir: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub labels: Labels,
    /// As written: `SIGTERM` or `15`.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub stop_signal: String,
    /// Docker's health check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<ImageHealth>,
    /// The shell of shell forms; empty is `/bin/sh -c`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub shell: Vec<String>,
    /// Instructions for builds `FROM` this image.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub on_build: Vec<String>,
    /// Everything else, unread.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// The empty object that Go writes for a member of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Empty {}

/// A health check as images carry it; times are nanoseconds, 0 inherits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageHealth {
    /// `NONE`, `CMD …` or `CMD-SHELL …`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub test: Vec<String>,
    /// Pause between probes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// How long a probe may take.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// While it lasts, failures do not count.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Pause between probes within the start period.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row that make a container unhealthy.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: i64,
}

impl ImageConfig {
    /// The health check in our own words; `None` where the image has none.
    pub fn health(&self) -> Option<HealthCheck> {
        let health = self.healthcheck.as_ref()?;
        let probe = match health.test.split_first() {
            None => Probe::Inherit,
            Some((kind, rest)) => match kind.as_str() {
                "NONE" => Probe::None,
                "CMD-SHELL" => Probe::Shell(rest.join(" ")),
                _ => Probe::Exec(rest.to_vec()),
            },
        };
        let time = |nanos: i64| u64::try_from(nanos).ok().filter(|nanos| *nanos > 0).map(Duration::from_nanos);
        Some(HealthCheck {
            probe,
            interval: time(health.interval),
            timeout: time(health.timeout),
            start_period: time(health.start_period),
            start_interval: time(health.start_interval),
            retries: u32::try_from(health.retries).ok().filter(|retries| *retries > 0),
        })
    }
}

impl ImageDocument {
    /// A document with nothing in it, for this machine.
    pub fn scratch() -> ImageDocument {
        let host = Platform::host();
        ImageDocument { architecture: host.architecture, os: host.os, ..ImageDocument::default() }
    }

    /// What the image is for.
    pub fn platform(&self) -> Platform {
        Platform {
            os: if self.os.is_empty() { "linux".to_owned() } else { self.os.clone() },
            architecture: self.architecture.clone(),
            variant: self.variant.clone().unwrap_or_default(),
        }
    }

    /// When it was made, nanoseconds since 1970; 0 where unknown or unreadable.
    pub fn created_nanos(&self) -> i64 {
        self.created
            .as_deref()
            .and_then(|text| text.parse::<jiff::Timestamp>().ok())
            .and_then(|time| i64::try_from(time.as_nanosecond()).ok())
            .unwrap_or(0)
    }
}

fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(input: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_of_dockers_is_read_with_its_nulls_and_written_with_what_we_do_not_know() {
        let text = r#"{"architecture":"amd64","os":"linux","created":"2024-01-02T03:04:05.5Z","docker_version":"28",
            "config":{"Hostname":"","Env":["A=b"],"Cmd":["sh"],"Volumes":null,"Entrypoint":null,"Labels":null,
            "ExposedPorts":{"80/tcp":{}},"Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":5000000000},"OnBuild":null},
            "rootfs":{"type":"layers","diff_ids":["sha256:aa"]},"history":null}"#;
        let document: ImageDocument = serde_json::from_str(text).unwrap();
        assert_eq!(document.config.cmd, ["sh"]);
        assert!(document.config.volumes.is_empty() && document.history.is_empty());
        assert_eq!(document.created_nanos(), 1_704_164_645_500_000_000);
        let health = document.config.health().unwrap();
        assert_eq!((health.probe, health.interval), (Probe::Shell("true".into()), Some(Duration::from_secs(5))));
        let written = serde_json::to_value(&document).unwrap();
        assert_eq!(written["docker_version"], "28");
        assert_eq!(written["config"]["Hostname"], "");
        assert_eq!(written["config"]["ExposedPorts"]["80/tcp"], serde_json::json!({}));
    }

    #[test]
    fn an_absent_health_check_is_none_and_a_disabled_one_says_so() {
        assert_eq!(ImageConfig::default().health(), None);
        let config = ImageConfig {
            healthcheck: Some(ImageHealth { test: vec!["NONE".into()], ..ImageHealth::default() }),
            ..ImageConfig::default()
        };
        assert_eq!(config.health().unwrap().probe, Probe::None);
    }
}
