//! Files from the web: sources of `ADD`.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use reqwest::{StatusCode, Url};

use crate::runtime::image::digest::{Digest, Digester};
use crate::runtime::image::registry::{self, error::RegistryError};

/// How often whoever waits is asked whether they still do.
const CALLER_CHECK: Duration = Duration::from_millis(250);

/// A file that was fetched.
#[derive(Debug)]
pub(super) struct Fetched {
    /// Holds the file alone.
    pub(super) folder: PathBuf,
    /// Of its content.
    pub(super) digest: Digest,
    /// As the server says.
    pub(super) modified: Option<SystemTime>,
}

/// Why a file can't be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum RemoteError {
    /// It is no address.
    #[error("it is no address: {0}")]
    Address(String),
    /// The server has it not, or does not give it.
    #[error("the server answers {0}")]
    Status(StatusCode),
    /// The server can't be reached, or stopped in the middle.
    #[error("{0}")]
    Connection(String),
    /// Certificates or proxies.
    #[error(transparent)]
    Settings(#[from] RegistryError),
    /// It is not what it should be.
    #[error("its digest is {found}, not {expected}")]
    Checksum { found: String, expected: String },
    /// Nobody waits any more.
    #[error("cancelled")]
    Cancelled,
    /// It can't be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Whether this is an address of the web.
pub(super) fn is_web(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

/// The name of the file that an address leads to; `None` if it says none.
pub(super) fn file_name(address: &str) -> Option<String> {
    let url = Url::parse(address).ok()?;
    url.path_segments()?.next_back().filter(|name| !name.is_empty() && *name != "." && *name != "..").map(str::to_owned)
}

/// Fetches a file into a folder that does not exist yet.
pub(super) fn fetch(
    address: &str,
    name: &str,
    expected: Option<&str>,
    folder: PathBuf,
    cancelled: &dyn Fn() -> bool,
) -> Result<Fetched, RemoteError> {
    fs::create_dir(&folder)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let place = folder.join(name);
    let (digest, modified) = runtime.block_on(async {
        let mut tick = tokio::time::interval(CALLER_CHECK);
        let mut work = std::pin::pin!(download(address, &place));
        loop {
            tokio::select! {
                done = &mut work => break done,
                _ = tick.tick() => if cancelled() { break Err(RemoteError::Cancelled) },
            }
        }
    })?;
    if let Some(expected) = expected.filter(|expected| *expected != digest.to_string()) {
        return Err(RemoteError::Checksum { found: digest.to_string(), expected: expected.to_owned() });
    }
    fs::set_permissions(&place, Permissions::from_mode(0o600))?;
    if let Some(modified) = modified {
        File::options().write(true).open(&place)?.set_modified(modified)?;
    }
    Ok(Fetched { folder, digest, modified })
}

async fn download(address: &str, place: &Path) -> Result<(Digest, Option<SystemTime>), RemoteError> {
    let url = Url::parse(address).map_err(|error| RemoteError::Address(error.to_string()))?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let host = url.port().map_or(host.clone(), |port| format!("{host}:{port}"));
    let (client, proxies) = registry::web_client(&host)?;
    let lost = |error: reqwest::Error| RemoteError::Connection(proxies.reason(&error));
    let mut response = client.get(url).send().await.map_err(lost)?;
    if !response.status().is_success() {
        return Err(RemoteError::Status(response.status()));
    }
    let header = response.headers().get("last-modified").and_then(|value| value.to_str().ok());
    let modified = header.and_then(|text| jiff::fmt::rfc2822::parse(text).ok()).map(|time| time.timestamp().into());
    let mut file = Digester::new(File::create(place)?);
    while let Some(bytes) = response.chunk().await.map_err(lost)? {
        file.write_all(&bytes)?;
    }
    file.flush()?;
    Ok((file.finish().0, modified))
}
