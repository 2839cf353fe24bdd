//! Connections to registries: which hosts stand for one, and how each is trusted.

use std::sync::Once;
use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, Identity, Proxy, Url, redirect};

use crate::runtime::image::registry::error::{RegistryError, innermost};
use crate::runtime::image::registry::proxy::Proxies;
use crate::runtime::image::registry::settings::{Settings, wrong};

/// Where Docker's own registry answers.
const DOCKER: &str = "registry-1.docker.io";

/// How long one may take to connect.
const CONNECT: Duration = Duration::from_secs(15);

/// Silence after which a registry is taken for dead; `XCOMPOSE_REGISTRY_TIMEOUT` in seconds.
const SILENCE: Duration = Duration::from_secs(60);

/// One way to a registry.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    /// `https://host/`.
    pub(super) base: Url,
    /// Host and port, for people.
    pub(super) host: String,
    pub(super) client: Client,
    proxies: Proxies,
}

impl Endpoint {
    /// No connection, or one that broke before there was an answer.
    pub(super) fn unreachable(&self, error: &reqwest::Error) -> RegistryError {
        let address = error.url().unwrap_or(&self.base);
        let host = address.host_str().unwrap_or_default();
        let host = address.port().map_or(host.to_owned(), |port| format!("{host}:{port}"));
        let reason = self.proxies.reason(error);
        RegistryError::Unreachable { host, reason }
    }
}

/// The mirrors of Docker's own registry, in the order in which they are asked.
pub(super) fn mirrors(settings: &Settings) -> Result<Vec<Endpoint>, RegistryError> {
    let endpoint = |mirror: &String| {
        let text = if mirror.contains("://") { mirror.clone() } else { format!("https://{mirror}") };
        let malformed =
            |reason: &str| wrong(&settings.folder().join("daemon.json"), format!("mirror {mirror:?}: {reason}"));
        let mut base = Url::parse(&text).map_err(|error| malformed(&error.to_string()))?;
        if !base.path().ends_with('/') {
            let path = format!("{}/", base.path());
            base.set_path(&path);
        }
        let host = base.host_str().ok_or_else(|| malformed("it has no host"))?.to_owned();
        let host = base.port().map_or(host.clone(), |port| format!("{host}:{port}"));
        let (client, proxies) = client(&host, settings)?;
        Ok(Endpoint { client, base, host, proxies })
    };
    settings.mirrors().iter().map(endpoint).collect()
}

/// A registry itself; also in plain HTTP where that is allowed.
pub(super) fn endpoints(registry: &str, settings: &Settings) -> Result<(Endpoint, Option<Endpoint>), RegistryError> {
    let host = if registry == "docker.io" { DOCKER } else { registry };
    let (client, proxies) = client(host, settings)?;
    let endpoint = |scheme: &str| {
        let base = Url::parse(&format!("{scheme}://{host}/"))
            .map_err(|error| RegistryError::Unexpected { host: host.to_owned(), reason: error.to_string() })?;
        Ok(Endpoint { base, host: host.to_owned(), client: client.clone(), proxies: proxies.clone() })
    };
    // Whoever gives a registry an authority of its own wants it to be asked.
    let open = settings.is_insecure(host) && settings.certificates(host)?.authorities.is_empty();
    Ok((endpoint("https")?, open.then(|| endpoint("http")).transpose()?))
}

/// What every client begins as.
pub(super) fn builder() -> ClientBuilder {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Somebody was first: then there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    Client::builder().user_agent(concat!("xcompose/", env!("CARGO_PKG_VERSION")))
}

/// What speaks with one host, and by which proxies.
pub(super) fn client(host: &str, settings: &Settings) -> Result<(Client, Proxies), RegistryError> {
    let silence = std::env::var("XCOMPOSE_REGISTRY_TIMEOUT").ok().and_then(|text| text.parse().ok());
    let mut builder = builder()
        .connect_timeout(CONNECT)
        .read_timeout(silence.map_or(SILENCE, Duration::from_secs))
        // A registry sends to where its blobs lie; a secured one may not send into the open.
        .redirect(redirect::Policy::custom(|attempt| {
            let secured = attempt.previous().first().is_some_and(|first| first.scheme() == "https");
            if attempt.previous().len() > 10 {
                attempt.error("it redirects without end")
            } else if secured && attempt.url().scheme() != "https" {
                attempt.error("it redirects from https to http")
            } else {
                attempt.follow()
            }
        }));
    let certificates = settings.certificates(host)?;
    if settings.is_insecure(host) && certificates.authorities.is_empty() {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    let proxies = Proxies::to(host)?;
    let known = proxies.clone();
    builder = builder.proxy(Proxy::custom(move |address| known.find(address).map(|proxy| proxy.address.clone())));
    for (path, pem) in &certificates.authorities {
        let parsed = Certificate::from_pem_bundle(pem).map_err(|error| wrong(path, error))?;
        if parsed.is_empty() {
            return Err(wrong(path, "there is no certificate in it"));
        }
        builder = builder.tls_certs_merge(parsed);
    }
    if let Some((path, pem)) = &certificates.client {
        builder = builder.identity(Identity::from_pem(pem).map_err(|error| wrong(path, error))?);
    }
    let client = builder.build();
    let client =
        client.map_err(|error| RegistryError::Unreachable { host: host.to_owned(), reason: innermost(&error) })?;
    Ok((client, proxies))
}
