//! The registry client: one repository of one registry, as one pull or push talks to it (OCI distribution-spec v1.1).
//!
//! Everything a registry sends is a stranger's: documents are read up to a limit, digests are compared, and what is wrong is
//! an error that names the host. Secrets go only to the host they belong to.

mod auth;
mod client;
pub mod error;
mod proxy;
pub mod settings;
pub(super) mod ways;

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE,
    RETRY_AFTER,
};
use reqwest::{Body, Method, Response, StatusCode, Url};
use tokio::sync::Mutex;

use crate::runtime::image::credentials::Credentials;
use crate::runtime::image::digest::Digest;
use crate::runtime::image::manifest;
use crate::runtime::image::registry::auth::{Answer, Challenge};
use crate::runtime::image::registry::client::Endpoint;
use crate::runtime::image::registry::error::{RegistryError, innermost, said};
use crate::runtime::image::registry::proxy::Proxies;
use crate::runtime::image::registry::settings::Settings;

/// The longest manifest and the longest answer to anything but a blob (Docker's own limit for manifests).
const DOCUMENT_LIMIT: u64 = 4 << 20;

/// How often a request is made that may succeed next time.
const ATTEMPTS: u32 = 4;

/// A manifest as it came.
#[derive(Debug)]
pub(super) struct Manifest {
    /// Of its bytes.
    pub(super) digest: Digest,
    /// What it says it is.
    pub(super) media_type: String,
    pub(super) bytes: Vec<u8>,
}

/// The bytes of a blob, from somewhere on.
pub(super) struct Blob {
    /// Where they begin.
    pub(super) offset: u64,
    response: Response,
    host: String,
    what: String,
    size: u64,
}

/// One repository of a registry.
#[derive(Debug)]
pub(super) struct Repository {
    endpoint: Endpoint,
    name: String,
    /// Registry and repository, as people write them.
    shown: String,
    scopes: Vec<String>,
    credentials: Option<Credentials>,
    /// What is wanted of us, and what we show.
    access: Mutex<(Option<Challenge>, Option<Answer>)>,
}

/// A client for files of a web server, which is trusted and reached as a registry there would be, and by which proxies.
pub(in crate::runtime) fn web_client(host: &str) -> Result<(reqwest::Client, Proxies), RegistryError> {
    client::client(host, &Settings::from_environment()?)
}

/// A client for what a container answers, which nobody stands in front of.
pub(in crate::runtime) fn container_client(patience: Duration) -> Result<reqwest::Client, reqwest::Error> {
    client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(patience).build()
}

impl Repository {
    /// For people: host and port.
    pub(super) fn host(&self) -> &str {
        &self.endpoint.host
    }

    /// Finds out whether there is a registry, and what it wants to see.
    pub(super) async fn greet(&self) -> Result<(), RegistryError> {
        let url = self.url("v2/")?;
        let sent = self.endpoint.client.get(url).send().await;
        let response = sent.map_err(|error| self.endpoint.unreachable(&error))?;
        let mut access = self.access.lock().await;
        access.0 = Challenge::of(&response);
        if let Some(challenge) = &access.0 {
            access.1 = challenge.answer(&self.endpoint, self.credentials.as_ref(), &self.scopes).await?;
        }
        Ok(())
    }

    /// Finds out whether it lets us in; what it wants to see from now on instead of the password, if it says so.
    pub(super) async fn enter(&self) -> Result<Option<String>, RegistryError> {
        self.request(Method::GET, self.url("v2/")?, HeaderMap::new()).await?;
        Ok(self.access.lock().await.1.take().and_then(|answer| answer.identity))
    }

    /// The digest of a manifest, by tag or digest; `None` if the registry does not tell.
    pub(super) async fn manifest_digest(&self, reference: &str) -> Result<Option<Digest>, RegistryError> {
        let url = self.url(&format!("v2/{}/manifests/{reference}", self.name))?;
        let response =
            self.patiently(Method::HEAD, &url, &accept()).await.map_err(|error| self.no_manifest(error, reference))?;
        let told = response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
        Ok(told.and_then(|text| Digest::try_from(text).ok()))
    }

    /// A manifest, by tag or digest. Its digest is right.
    pub(super) async fn manifest(&self, reference: &str) -> Result<Manifest, RegistryError> {
        let url = self.url(&format!("v2/{}/manifests/{reference}", self.name))?;
        let response =
            self.patiently(Method::GET, &url, &accept()).await.map_err(|error| self.no_manifest(error, reference))?;
        let header =
            |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned);
        let (media_type, told) = (header("content-type").unwrap_or_default(), header("docker-content-digest"));
        let bytes = body(response, DOCUMENT_LIMIT, self.host(), "a manifest").await?;
        let digest = Digest::of(&bytes);
        let wanted = Digest::try_from(reference).ok().or_else(|| Digest::try_from(told?).ok());
        match wanted {
            Some(wanted) if wanted != digest => {
                Err(RegistryError::Digest { host: self.host().to_owned(), wanted, found: digest })
            }
            _ => Ok(Manifest { digest, media_type, bytes }),
        }
    }

    /// The bytes of a blob from `offset` on, or from its beginning if the registry can't do that.
    pub(super) async fn blob(&self, digest: &Digest, size: u64, offset: u64) -> Result<Blob, RegistryError> {
        let url = self.url(&format!("v2/{}/blobs/{digest}", self.name))?;
        let mut headers = HeaderMap::new();
        if offset > 0
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={offset}-"))
        {
            headers.insert(RANGE, range);
        }
        let response = self.request(Method::GET, url, headers).await.map_err(|error| match error {
            RegistryError::NoManifest { .. } => {
                RegistryError::NoBlob { host: self.host().to_owned(), digest: digest.clone() }
            }
            other => other,
        })?;
        let begins = match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
                let first = range.and_then(|text| text.trim().strip_prefix("bytes ")?.split('-').next()?.parse().ok());
                first
                    .filter(|first| *first == offset)
                    .ok_or_else(|| self.unexpected("another part of a blob than was asked for"))?
            }
            _ => 0,
        };
        let what = format!("blob {}", digest.short());
        Ok(Blob { offset: begins, response, host: self.host().to_owned(), what, size })
    }

    /// Whether the repository has a blob.
    pub(super) async fn has_blob(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let url = self.url(&format!("v2/{}/blobs/{digest}", self.name))?;
        match self.patiently(Method::HEAD, &url, &HeaderMap::new()).await {
            Ok(_) => Ok(true),
            Err(RegistryError::NoManifest { .. } | RegistryError::NoRepository { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Begins an upload, or has the blob taken over `from` another repository: then there is nothing to upload.
    pub(super) async fn begin_upload(&self, digest: &Digest, from: Option<&str>) -> Result<Option<Url>, RegistryError> {
        let mut url = self.url(&format!("v2/{}/blobs/uploads/", self.name))?;
        if let Some(from) = from {
            url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let response = self.request(Method::POST, url, headers).await?;
        if response.status() == StatusCode::CREATED { Ok(None) } else { self.location(&response).map(Some) }
    }

    /// Sends a blob and closes the upload.
    pub(super) async fn upload(
        &self,
        upload: Url,
        digest: &Digest,
        size: u64,
        bytes: BoxStream<'static, std::io::Result<Vec<u8>>>,
    ) -> Result<(), RegistryError> {
        let request = self.endpoint.client.patch(upload.clone()).body(Body::wrap_stream(bytes));
        let request = self.authorized(request, &upload).await;
        let request = request.header(CONTENT_TYPE, "application/octet-stream").header(CONTENT_LENGTH, size);
        let sent = request.send().await.map_err(|error| RegistryError::BrokenOff {
            host: self.host().to_owned(),
            what: format!("the upload of {}", digest.short()),
            done: 0,
            size,
            reason: innermost(&error),
        })?;
        let response = self.checked(sent, "PATCH", &upload).await?;
        let mut close = self.location(&response)?;
        close.query_pairs_mut().append_pair("digest", &digest.to_string());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        self.request(Method::PUT, close, headers).await.map(drop)
    }

    /// Gives a manifest a name.
    pub(super) async fn put_manifest(
        &self,
        tag: &str,
        media_type: &'static str,
        bytes: Vec<u8>,
    ) -> Result<(), RegistryError> {
        let url = self.url(&format!("v2/{}/manifests/{tag}", self.name))?;
        let request = self.endpoint.client.put(url.clone()).header(CONTENT_TYPE, media_type).body(bytes);
        let sent = self.authorized(request, &url).await.send().await;
        let response = sent.map_err(|error| self.endpoint.unreachable(&error))?;
        self.checked(response, "PUT", &url).await.map(drop)
    }

    /// A request that can be repeated, repeated while that may help.
    async fn patiently(&self, method: Method, url: &Url, headers: &HeaderMap) -> Result<Response, RegistryError> {
        let mut attempt = 1;
        loop {
            match self.request(method.clone(), url.clone(), headers.clone()).await {
                Err(error) if error.is_transient() && attempt < ATTEMPTS => pause(&error, attempt).await,
                other => return other,
            }
            attempt += 1;
        }
    }

    /// A request without a body, with what we have to show; once more if that has become old.
    async fn request(&self, method: Method, url: Url, headers: HeaderMap) -> Result<Response, RegistryError> {
        let mut renewed = false;
        loop {
            let request = self.endpoint.client.request(method.clone(), url.clone()).headers(headers.clone());
            let sent = self.authorized(request, &url).await.send().await;
            let response = sent.map_err(|error| self.endpoint.unreachable(&error))?;
            if response.status() == StatusCode::UNAUTHORIZED && !renewed && self.is_ours(&url) {
                renewed = true;
                if let Some(challenge) = Challenge::of(&response) {
                    let answer = challenge.answer(&self.endpoint, self.credentials.as_ref(), &self.scopes).await?;
                    if answer.is_some() {
                        *self.access.lock().await = (Some(challenge), answer);
                        continue;
                    }
                }
            }
            return self.checked(response, method.as_str(), &url).await;
        }
    }

    /// With what we have to show, where it is the registry that is asked.
    async fn authorized(&self, request: reqwest::RequestBuilder, url: &Url) -> reqwest::RequestBuilder {
        match &self.access.lock().await.1 {
            Some(answer) if self.is_ours(url) => request.header(AUTHORIZATION, answer.header.clone()),
            _ => request,
        }
    }

    fn is_ours(&self, url: &Url) -> bool {
        url.origin() == self.endpoint.base.origin()
    }

    /// The answer, if it is a good one.
    async fn checked(&self, response: Response, method: &str, url: &Url) -> Result<Response, RegistryError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let host = self.host().to_owned();
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        // What it says is worth less than that it refuses.
        let text = body(response, DOCUMENT_LIMIT, &host, "an answer").await.unwrap_or_default();
        let (code, said) = said(&text);
        Err(match (status, code.as_str()) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => RegistryError::Denied { host, said },
            (StatusCode::NOT_FOUND, "NAME_UNKNOWN") => RegistryError::NoRepository { name: self.shown.clone(), said },
            (StatusCode::NOT_FOUND, _) => RegistryError::NoManifest { name: self.shown.clone(), said },
            (StatusCode::TOO_MANY_REQUESTS, _) => RegistryError::TooMany { host, after, said },
            _ => RegistryError::Status { host, status, asked: format!("{method} {}", url.path()), said },
        })
    }

    /// Names what was looked for.
    fn no_manifest(&self, error: RegistryError, reference: &str) -> RegistryError {
        match error {
            RegistryError::NoManifest { name, said } => {
                let separator = if reference.contains(':') { '@' } else { ':' };
                RegistryError::NoManifest { name: format!("{name}{separator}{reference}"), said }
            }
            other => other,
        }
    }

    fn location(&self, response: &Response) -> Result<Url, RegistryError> {
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| self.unexpected("no place to upload to"))?;
        response.url().join(location).map_err(|error| self.unexpected(&format!("the place to upload to: {error}")))
    }

    fn unexpected(&self, reason: &str) -> RegistryError {
        RegistryError::Unexpected { host: self.host().to_owned(), reason: reason.to_owned() }
    }

    fn url(&self, path: &str) -> Result<Url, RegistryError> {
        self.endpoint.base.join(path).map_err(|error| self.unexpected(&error.to_string()))
    }
}

impl Blob {
    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self, done: u64) -> Result<Option<impl AsRef<[u8]> + use<>>, RegistryError> {
        self.response.chunk().await.map_err(|error| RegistryError::BrokenOff {
            host: self.host.clone(),
            what: self.what.clone(),
            done,
            size: self.size,
            reason: innermost(&error),
        })
    }
}

/// Waits before a further attempt: as long as the registry says, or a little longer each time.
pub(super) async fn pause(error: &RegistryError, attempt: u32) {
    let time = match error {
        RegistryError::TooMany { after: Some(seconds), .. } => Duration::from_secs(*seconds),
        _ => Duration::from_millis(100 << attempt.min(5)),
    };
    tokio::time::sleep(time).await;
}

fn accept() -> HeaderMap {
    let types = [manifest::INDEX, manifest::MANIFEST, manifest::DOCKER_LIST, manifest::DOCKER_MANIFEST];
    types.into_iter().map(|one| (ACCEPT, HeaderValue::from_static(one))).collect()
}

/// The body of an answer, no longer than `limit`.
async fn body(response: Response, limit: u64, host: &str, what: &str) -> Result<Vec<u8>, RegistryError> {
    let size = response.content_length().unwrap_or(0);
    let mut bytes = Vec::new();
    let mut stream = response.bytes_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| RegistryError::BrokenOff {
            host: host.to_owned(),
            what: what.to_owned(),
            done: bytes.len() as u64,
            size,
            reason: innermost(&error),
        })?;
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > limit {
            let reason = format!("{what} of more than {limit} bytes");
            return Err(RegistryError::Unexpected { host: host.to_owned(), reason });
        }
    }
    Ok(bytes)
}
