//! Why a registry did not do what was asked of it: a sentence each, with the registry's own words where it gave any.

use std::error::Error;

use reqwest::StatusCode;
use serde::Deserialize;

use crate::runtime::image::digest::Digest;

/// How a reason begins that is the proxy's fault.
pub const BY_PROXY: &str = "by the proxy ";

/// Why a registry did not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No answer at all: no such host, nothing listening, no common TLS.
    #[error("registry {host} cannot be reached: {reason}")]
    Unreachable {
        /// Host and port as they were asked.
        host: String,
        /// The innermost cause.
        reason: String,
    },
    /// There, but not for us.
    #[error("access denied by {host}{}", words(.said))]
    Denied {
        /// Who says so.
        host: String,
        /// Its own words.
        said: String,
    },
    /// No such tag or digest.
    #[error("manifest for {name} not found{}", words(.said))]
    NoManifest {
        /// Of what.
        name: String,
        /// The registry's own words.
        said: String,
    },
    /// No such repository.
    #[error("repository {name} not found{}", words(.said))]
    NoRepository {
        /// Which.
        name: String,
        /// The registry's own words.
        said: String,
    },
    /// A blob that the manifest names is not there.
    #[error("registry {host} does not have blob {digest}, which its manifest names")]
    NoBlob {
        /// Who.
        host: String,
        /// Which.
        digest: Digest,
    },
    /// Asked too often.
    #[error("registry {host} allows no more requests for now (429{}){}", wait(.after), words(.said))]
    TooMany {
        /// Who.
        host: String,
        /// Seconds to wait, where it says so.
        after: Option<u64>,
        /// Its own words.
        said: String,
    },
    /// Any other refusal.
    #[error("registry {host} answers {status} to {asked}{}", words(.said))]
    Status {
        /// Who.
        host: String,
        /// The answer.
        status: StatusCode,
        /// What was asked: `GET /v2/…`.
        asked: String,
        /// Its own words.
        said: String,
    },
    /// It stopped in the middle.
    #[error("registry {host} broke off {what} after {done} of {size} bytes: {reason}")]
    BrokenOff {
        /// Who.
        host: String,
        /// What was being sent.
        what: String,
        /// Bytes there were.
        done: u64,
        /// Bytes there should be.
        size: u64,
        /// Why.
        reason: String,
    },
    /// The content is not what its name says.
    #[error("registry {host} sent other content than was asked for: {wanted} is {found}")]
    Digest {
        /// Who.
        host: String,
        /// What was asked for.
        wanted: Digest,
        /// What came.
        found: Digest,
    },
    /// The answer makes no sense.
    #[error("registry {host} sent something unexpected: {reason}")]
    Unexpected {
        /// Who.
        host: String,
        /// What.
        reason: String,
    },
    /// The image is there, not for this platform.
    #[error("no matching manifest for {wanted} in the manifest list entries; there is one for {offered}")]
    Platform {
        /// Which was asked for.
        wanted: String,
        /// Which there are.
        offered: String,
    },
    /// What is there is no image that can be run.
    #[error("{name} is no container image: {reason}")]
    NoImage {
        /// What.
        name: String,
        /// Why not.
        reason: String,
    },
    /// The settings for registries are wrong.
    #[error("{path}: {reason}")]
    Settings {
        /// Of which file.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

fn words(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

fn wait(after: &Option<u64>) -> String {
    after.map_or_else(String::new, |seconds| format!(", try again after {seconds}s"))
}

impl RegistryError {
    /// Whether the registry does not take what was sent, whoever sends it.
    pub(in crate::runtime::image) fn is_refusal(&self) -> bool {
        match self {
            RegistryError::NoManifest { .. } | RegistryError::NoRepository { .. } => true,
            RegistryError::Status { status, .. } => {
                status.is_client_error() && *status != StatusCode::PROXY_AUTHENTICATION_REQUIRED
            }
            _ => false,
        }
    }

    /// Whether asking once more may help.
    pub(in crate::runtime::image) fn is_transient(&self) -> bool {
        match self {
            RegistryError::Unreachable { .. } | RegistryError::BrokenOff { .. } => true,
            RegistryError::TooMany { after, .. } => after.is_none_or(|seconds| seconds <= 10),
            RegistryError::Status { status, .. } => status.is_server_error() && *status != StatusCode::NOT_IMPLEMENTED,
            _ => false,
        }
    }
}

/// The last cause in a chain, which says what happened; what is around it says only that something did.
pub(in crate::runtime) fn innermost(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    let text = last.to_string();
    let text = text.split(" (os error ").next().unwrap_or(&text).to_owned();
    match text.as_str() {
        // What Rust's HTTP library says when a server closes before it has answered.
        "connection closed before message completed" => "it closed the connection".to_owned(),
        "operation timed out" => "it did not answer in time".to_owned(),
        // What TLS says to a server that speaks plain HTTP.
        text if text.starts_with("received corrupt message") => "it does not speak TLS".to_owned(),
        text => text.strip_prefix("failed to lookup address information: ").unwrap_or(text).to_owned(),
    }
}

/// The errors in the body of an answer (OCI distribution-spec, "Error Codes"): code and words of the first one.
pub(super) fn said(body: &[u8]) -> (String, String) {
    #[derive(Deserialize)]
    struct Envelope {
        errors: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    if let Ok(envelope) = serde_json::from_slice::<Envelope>(body)
        && let Some(first) = envelope.errors.into_iter().next()
    {
        let words = if first.message.is_empty() { first.code.to_lowercase() } else { first.message };
        return (first.code, clean(&words));
    }
    // A web page is no sentence for a terminal.
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    (String::new(), if text.starts_with('<') { String::new() } else { clean(text) })
}

/// Words of a stranger, fit for a terminal and not too many.
fn clean(text: &str) -> String {
    text.chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}
