//! When a container is started again after it ended by itself.

use serde::{Deserialize, Serialize};

/// The engine's restart policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// After any exit, unless a stop was asked; also at boot.
    Always,
    /// After any exit, unless a stop was asked; at boot only if it was not stopped by hand.
    UnlessStopped,
    /// After an exit that is not 0, at most `max` times (0: without end).
    OnFailure {
        /// How many restarts; 0 means no limit.
        max: u32,
    },
}

impl Restart {
    /// Whether an exit with `status` leads to another start, `count` restarts having been made so far.
    pub fn again(self, status: i32, count: u32) -> bool {
        match self {
            Restart::No => false,
            Restart::Always | Restart::UnlessStopped => true,
            Restart::OnFailure { max } => status != 0 && (max == 0 || count < max),
        }
    }

    /// Whether a container that rests is started when the machine starts; `status` is that of its last exit.
    pub fn at_boot(self, stopped_by_user: bool, status: i32) -> bool {
        match self {
            Restart::No => false,
            Restart::Always => true,
            Restart::UnlessStopped => !stopped_by_user,
            Restart::OnFailure { .. } => status != 0,
        }
    }
}

/// The text is none of the policies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid restart policy {0:?}: use no, always, unless-stopped or on-failure[:max-retries]")]
pub struct InvalidRestart(String);

impl std::str::FromStr for Restart {
    type Err = InvalidRestart;

    fn from_str(text: &str) -> Result<Self, InvalidRestart> {
        match text {
            "" | "no" => Ok(Restart::No),
            "always" => Ok(Restart::Always),
            "unless-stopped" => Ok(Restart::UnlessStopped),
            "on-failure" => Ok(Restart::OnFailure { max: 0 }),
            _ => text
                .strip_prefix("on-failure:")
                .and_then(|max| max.parse().ok())
                .map(|max| Restart::OnFailure { max })
                .ok_or_else(|| InvalidRestart(text.to_owned())),
        }
    }
}

impl std::fmt::Display for Restart {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Restart::No => out.write_str("no"),
            Restart::Always => out.write_str("always"),
            Restart::UnlessStopped => out.write_str("unless-stopped"),
            Restart::OnFailure { max: 0 } => out.write_str("on-failure"),
            Restart::OnFailure { max } => write!(out, "on-failure:{max}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_failure_counts_restarts_and_ignores_success() {
        let policy: Restart = "on-failure:2".parse().unwrap();
        assert!(policy.again(1, 0) && policy.again(1, 1));
        assert!(!policy.again(1, 2) && !policy.again(0, 0));
    }

    #[test]
    fn every_policy_prints_as_it_is_written() {
        for text in ["no", "always", "unless-stopped", "on-failure", "on-failure:4"] {
            assert_eq!(text.parse::<Restart>().unwrap().to_string(), text);
        }
        assert!("on-failure:x".parse::<Restart>().is_err());
    }
}
