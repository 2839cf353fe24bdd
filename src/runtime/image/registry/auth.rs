//! Who we are to a registry: its challenge, and the answer to it (RFC 7235; Docker's token authentication).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;

use crate::runtime::image::credentials::Credentials;
use crate::runtime::image::registry::client::Endpoint;
use crate::runtime::image::registry::error::{RegistryError, said};
use crate::runtime::image::registry::{DOCUMENT_LIMIT, body};

/// What a registry wants to see before it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password.
    Basic,
    /// A token, fetched from elsewhere.
    Bearer {
        /// Where.
        realm: String,
        /// For whom.
        service: Option<String>,
    },
}

/// What is shown to a registry.
#[derive(Debug)]
pub(super) struct Answer {
    /// With every request.
    pub(super) header: HeaderValue,
    /// Of the token service: to be shown to it instead of a password.
    pub(super) identity: Option<String>,
}

/// What a token service knows the program as.
const CLIENT: &str = "xcompose";

impl Challenge {
    /// What an answer asks for; tokens are preferred.
    pub(super) fn of(response: &Response) -> Option<Challenge> {
        let headers = response.headers().get_all(WWW_AUTHENTICATE);
        let found: Vec<_> = headers.iter().filter_map(|value| Challenge::parse(value.to_str().ok()?)).collect();
        found.iter().find(|one| matches!(one, Challenge::Bearer { .. })).or(found.first()).cloned()
    }

    fn parse(text: &str) -> Option<Challenge> {
        let (scheme, mut rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service) = (None, None);
        while let Some((key, after)) = rest.split_once('=') {
            let value;
            (value, rest) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_once(',').unwrap_or((after, "")),
            };
            match key.trim_matches([' ', ',']) {
                "realm" => realm = Some(value.to_owned()),
                "service" => service = Some(value.to_owned()),
                _ => {}
            }
        }
        Some(Challenge::Bearer { realm: realm?, service })
    }

    /// What answers the challenge; `None` where there is nothing to show. Without scopes it is for logging in: then a service may
    /// give a token that takes the password's place from now on.
    pub(super) async fn answer(
        &self,
        endpoint: &Endpoint,
        credentials: Option<&Credentials>,
        scopes: &[String],
    ) -> Result<Option<Answer>, RegistryError> {
        let answer = |text: &str| header(endpoint, text).map(|header| Some(Answer { header, identity: None }));
        match (self, credentials) {
            (_, Some(Credentials::Registry(token))) => answer(&format!("Bearer {token}")),
            (Challenge::Basic, Some(Credentials::Password { user, password })) => answer(&basic(user, password)),
            (Challenge::Basic, _) => Ok(None),
            (Challenge::Bearer { realm, service }, credentials) => {
                token(endpoint, realm, service.as_deref(), credentials, scopes).await.map(Some)
            }
        }
    }
}

async fn token(
    endpoint: &Endpoint,
    realm: &str,
    service: Option<&str>,
    credentials: Option<&Credentials>,
    scopes: &[String],
) -> Result<Answer, RegistryError> {
    let unexpected = |reason: String| RegistryError::Unexpected { host: endpoint.host.clone(), reason };
    let mut url = Url::parse(realm).map_err(|error| unexpected(format!("the token service {realm:?}: {error}")))?;
    if endpoint.base.scheme() == "https" && url.scheme() != "https" && credentials.is_some() {
        return Err(unexpected(format!("it wants a password to be sent in the open, to {realm}")));
    }
    let request = match credentials {
        Some(Credentials::Identity(refresh)) => {
            // What stands behind a question mark is encoded as a form is.
            let mut form = url.clone();
            form.set_query(None);
            form.query_pairs_mut()
                .extend_pairs([("grant_type", "refresh_token"), ("client_id", CLIENT), ("refresh_token", refresh)])
                .extend_pairs(service.map(|service| ("service", service)))
                .append_pair("scope", &scopes.join(" "));
            let text = form.query().unwrap_or_default().to_owned();
            endpoint.client.post(url.clone()).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(text)
        }
        credentials => {
            {
                let mut query = url.query_pairs_mut();
                query.extend_pairs(service.map(|service| ("service", service)));
                query.extend_pairs(scopes.iter().map(|scope| ("scope", scope)));
                if let Some(Credentials::Password { user, .. }) = credentials {
                    query.append_pair("account", user);
                    if scopes.is_empty() {
                        query.append_pair("offline_token", "true").append_pair("client_id", CLIENT);
                    }
                }
            }
            let request = endpoint.client.get(url.clone());
            match credentials {
                Some(Credentials::Password { user, password }) => {
                    request.header(AUTHORIZATION, header(endpoint, &basic(user, password))?)
                }
                _ => request,
            }
        }
    };
    let host = url.host_str().unwrap_or_default().to_owned();
    let response = request.send().await.map_err(|error| endpoint.unreachable(&error))?;
    let status = response.status();
    let text = body(response, DOCUMENT_LIMIT, &host, "a token").await?;
    if !status.is_success() {
        let (_, said) = said(&text);
        return Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
                RegistryError::Denied { host, said }
            }
            StatusCode::TOO_MANY_REQUESTS => RegistryError::TooMany { host, after: None, said },
            status => RegistryError::Status { host, status, asked: "a request for a token".to_owned(), said },
        });
    }
    #[derive(Deserialize)]
    struct Tokens {
        token: Option<String>,
        access_token: Option<String>,
        refresh_token: Option<String>,
    }
    let none = || unexpected("a token that is none".to_owned());
    let tokens: Tokens = serde_json::from_slice(&text).map_err(|_| none())?;
    let token = tokens.token.filter(|token| !token.is_empty()).or(tokens.access_token).ok_or_else(none)?;
    let identity = tokens.refresh_token.filter(|token| !token.is_empty());
    Ok(Answer { header: header(endpoint, &format!("Bearer {token}"))?, identity })
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn header(endpoint: &Endpoint, text: &str) -> Result<HeaderValue, RegistryError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| RegistryError::Unexpected {
        host: endpoint.host.clone(),
        reason: "a token that cannot be sent".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_quoted_and_not() {
        let bearer = |realm: &str, service: Option<&str>| Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
        };
        for (text, expected) in [
            (r#"Basic realm="x""#, Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            (
                r#"Bearer realm="https://auth.example/token",service="reg",scope="repository:a:pull,push""#,
                Some(bearer("https://auth.example/token", Some("reg"))),
            ),
            (r#"bearer service=reg, realm=http://a/b"#, Some(bearer("http://a/b", Some("reg")))),
            (r#"Bearer realm="http://a?x=1""#, Some(bearer("http://a?x=1", None))),
            (r#"Bearer service="reg""#, None),
            (r#"Bearer realm="never ends"#, None),
            ("Digest x=1", None),
            ("", None),
        ] {
            assert_eq!(Challenge::parse(text), expected, "{text}");
        }
    }
}
