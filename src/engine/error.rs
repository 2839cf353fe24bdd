//! Why an engine call failed.

use serde::{Deserialize, Serialize};

/// What an error is about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A container, by name or id.
    #[error("container {0}")]
    Container(String),
    /// The name of one.
    #[error("container name {0:?}")]
    ContainerName(String),
    /// A network.
    #[error("network {0}")]
    Network(String),
    /// A volume.
    #[error("volume {0}")]
    Volume(String),
    /// An image.
    #[error("image {0}")]
    Image(String),
    /// A registry of images.
    #[error("registry {0}")]
    Registry(String),
    /// A project.
    #[error("project {0}")]
    Project(String),
    /// A port of the host.
    #[error("port {0}")]
    Port(String),
    /// A path of the host.
    #[error("{0}")]
    Path(String),
    /// The machine itself.
    #[error("this machine")]
    Machine,
}

/// Any error below, kept whole.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why an engine call failed: a variant for each thing a caller can *do* about it.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Treat as already removed, or tell the user.
    #[error("no such {0}")]
    NotFound(Subject),
    /// Look at the existing one and decide again.
    #[error("{0} already exists")]
    Exists(Subject),
    /// Leave it; something uses it.
    #[error("{subject} is in use by {holder}")]
    InUse {
        /// What.
        subject: Subject,
        /// By whom, in words.
        holder: String,
    },
    /// Tell the user; the request contradicts the state, as exec in a stopped container.
    #[error("{subject} is {state}")]
    State {
        /// What.
        subject: Subject,
        /// Its state in words: `not running`, `paused`.
        state: String,
    },
    /// Tell the user: the configuration can't work. Says what and why.
    #[error("{subject}: {reason}")]
    Invalid {
        /// What.
        subject: Subject,
        /// Why.
        reason: String,
    },
    /// The command can't be run in the container; `code` is 126 or 127, as Docker has them.
    #[error("cannot start {subject}: {reason}")]
    Command {
        /// Which container.
        subject: Subject,
        /// Exit code to report.
        code: i32,
        /// Why.
        reason: String,
    },
    /// A build step ended with this code.
    #[error("{step} did not complete successfully: exit code: {status}")]
    Build {
        /// The instruction with its place.
        step: String,
        /// Its exit code.
        status: i32,
    },
    /// Tell the user how to reach it, or to do without.
    #[error("cannot reach registry {registry}{}: {reason}", if registry == host { String::new() } else { format!(" ({host})") })]
    Unreachable {
        /// As in the image's name.
        registry: String,
        /// Who did not answer.
        host: String,
        /// Why.
        reason: String,
    },
    /// Tell the user to log in. `verb` is `pull` or `push`.
    #[error("{verb} access denied for {image}, repository does not exist or may require '{}'{}", login(.registry), words(.said))]
    Denied {
        /// What was tried.
        verb: &'static str,
        /// Which.
        image: String,
        /// Whose.
        registry: String,
        /// The registry's own words.
        said: String,
    },
    /// Tell the user what this machine lacks; do not retry.
    #[error("{subject} needs {feature}, which this machine lacks")]
    Unsupported {
        /// What.
        subject: Subject,
        /// What is missing.
        feature: String,
    },
    /// Give up; the source says which call, on what.
    #[error("cannot {verb} {subject}")]
    Failed {
        /// What was tried.
        verb: &'static str,
        /// On what.
        subject: Subject,
        /// Why not.
        #[source]
        source: Cause,
    },
}

/// The command that may help.
fn login(registry: &str) -> String {
    if registry == "docker.io" { "xcompose login".to_owned() } else { format!("xcompose login {registry}") }
}

fn words(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}
