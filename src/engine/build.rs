//! What images are built from, and the news of long work.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::engine::Labels;
use crate::values::image_ref::ImageRef;
use crate::values::ulimit::Ulimit;

/// What an image is built from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildConfig {
    /// A directory of the host.
    pub context: PathBuf,
    /// The Dockerfile: a path, relative to the context, or its text.
    pub dockerfile: DockerfileSource,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// The stage to build; the last by default.
    pub target: Option<String>,
    /// Names of the result.
    pub tags: Vec<ImageRef>,
    /// Labels of the result.
    pub labels: Labels,
    /// Run every step anew.
    pub no_cache: bool,
    /// Network of `RUN`: `default`, `host` or `none`.
    pub network: Option<String>,
    /// `/etc/hosts` lines during `RUN`.
    pub extra_hosts: Vec<(String, String)>,
    /// Size of `/dev/shm` during `RUN`, bytes.
    pub shm_size: Option<u64>,
    /// Limits during `RUN`.
    pub ulimits: BTreeMap<String, Ulimit>,
}

/// Where a Dockerfile is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DockerfileSource {
    /// A path, relative to the context.
    Path(PathBuf),
    /// The text itself.
    Inline(String),
}

/// News of a long piece of work, for the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A step began: `[stage 2/5] RUN apt-get update`.
    Step {
        /// Which, unique within the work.
        id: String,
        /// In words.
        text: String,
    },
    /// Bytes of a step.
    Bytes {
        /// Which step.
        id: String,
        /// Done so far.
        done: u64,
        /// Of how many, where known.
        total: Option<u64>,
    },
    /// What a step printed.
    Output {
        /// Which step.
        id: String,
        /// As printed.
        bytes: Vec<u8>,
    },
    /// A step ended well.
    Done {
        /// Which step.
        id: String,
        /// Its result was known already.
        cached: bool,
    },
}
