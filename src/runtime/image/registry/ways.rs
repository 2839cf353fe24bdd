//! The ways to a repository: mirrors of Docker's own registry, the registry itself, the registry in plain HTTP where that is allowed.

use crate::runtime::image::credentials::Credentials;
use crate::runtime::image::registry::error::RegistryError;
use crate::runtime::image::registry::settings::Settings;
use crate::runtime::image::registry::{Repository, client};

/// What is to be done with a repository.
#[derive(Debug, Clone, Copy)]
pub(in crate::runtime::image) enum Purpose<'a> {
    /// Find out whether the registry lets us in; there is no repository.
    LogIn,
    /// Read.
    Pull,
    /// Read and write, and take blobs over from other repositories.
    Push {
        /// Which.
        sources: &'a [String],
    },
}

/// The ways to a repository. Nothing is asked yet.
#[derive(Debug)]
pub(in crate::runtime::image) struct Ways {
    mirrors: Vec<Repository>,
    secured: Repository,
    /// In plain HTTP.
    open: Option<Repository>,
}

impl Ways {
    /// As the settings say.
    pub(in crate::runtime::image) fn to(
        registry: &str,
        name: &str,
        purpose: Purpose<'_>,
        credentials: Option<&Credentials>,
        settings: &Settings,
    ) -> Result<Ways, RegistryError> {
        let scopes = match purpose {
            Purpose::LogIn => Vec::new(),
            Purpose::Pull => vec![format!("repository:{name}:pull")],
            Purpose::Push { sources } => {
                let sources = sources.iter().map(|source| format!("repository:{source}:pull"));
                [format!("repository:{name}:pull,push")].into_iter().chain(sources).collect()
            }
        };
        let shown = match registry {
            "docker.io" => name.strip_prefix("library/").unwrap_or(name).to_owned(),
            _ => format!("{registry}/{name}"),
        };
        let repository = |endpoint, credentials: Option<&Credentials>| Repository {
            endpoint,
            name: name.to_owned(),
            shown: shown.clone(),
            scopes: scopes.clone(),
            credentials: credentials.cloned(),
            access: Default::default(),
        };
        let mirrors = match (purpose, registry) {
            (Purpose::Pull, "docker.io") => client::mirrors(settings)?,
            // Other registries have none, and nothing is sent to one.
            _ => Vec::new(),
        };
        let (secured, open) = client::endpoints(registry, settings)?;
        Ok(Ways {
            // A mirror is another host, and the secret is not for it.
            mirrors: mirrors.into_iter().map(|endpoint| repository(endpoint, None)).collect(),
            secured: repository(secured, credentials),
            open: open.map(|endpoint| repository(endpoint, credentials)),
        })
    }

    /// Asks by one after the other. Gives the first answer, or what the registry itself says.
    pub(in crate::runtime::image) async fn ask<T, E: From<RegistryError>, F: Future<Output = Result<T, E>>>(
        self,
        question: impl Fn(Repository) -> F,
    ) -> Result<T, E> {
        for mirror in self.mirrors {
            // One that can't be reached, or does not have it, is passed over.
            if mirror.greet().await.is_ok()
                && let Ok(answer) = question(mirror).await
            {
                return Ok(answer);
            }
        }
        let way = match (self.secured.greet().await, self.open) {
            (Ok(()), _) => self.secured,
            // Most likely TLS is not spoken.
            (Err(RegistryError::Unreachable { .. }), Some(open)) => {
                open.greet().await?;
                open
            }
            (Err(error), _) => return Err(error.into()),
        };
        question(way).await
    }
}
