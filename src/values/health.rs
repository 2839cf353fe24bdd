//! How a container's health is probed, and what came of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What to run as a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// The image's probe, if it has one.
    Inherit,
    /// No probe, even if the image has one (`NONE`, `disable: true`).
    None,
    /// An argument list (`CMD`).
    Exec(Vec<String>),
    /// A line for the image's shell (`CMD-SHELL`).
    Shell(String),
}

/// A health check as configured; `None` inherits the image's value, else Docker's default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// The command.
    pub probe: Probe,
    /// Pause between probes (default 30 s).
    pub interval: Option<Duration>,
    /// How long a probe may take (default 30 s).
    pub timeout: Option<Duration>,
    /// While it lasts, failures do not count (default 0 s).
    pub start_period: Option<Duration>,
    /// Pause between probes within the start period (default 5 s).
    pub start_interval: Option<Duration>,
    /// Failures in a row that make a container unhealthy (default 3).
    pub retries: Option<u32>,
}

/// What the probes say of one run of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// No probe has succeeded yet, and not enough have failed.
    Starting,
    /// The last probe succeeded, or too few failed since.
    Healthy,
    /// `retries` probes in a row failed.
    Unhealthy,
}

impl std::fmt::Display for Health {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Health::Starting => "starting",
            Health::Healthy => "healthy",
            Health::Unhealthy => "unhealthy",
        })
    }
}
