//! What pulling, pushing and reading artifacts share: who we are to a registry and how it is asked, small blobs, and what goes wrong.

use std::io;

use crate::engine::{EngineError, Subject};
use crate::runtime::image::credentials::{CredentialFile, Credentials};
use crate::runtime::image::digest::Digest;
use crate::runtime::image::layer::LayerError;
use crate::runtime::image::manifest::Descriptor;
use crate::runtime::image::registry::error::RegistryError;
use crate::runtime::image::registry::settings::Settings;
use crate::runtime::image::registry::ways::{Purpose, Ways};
use crate::runtime::image::registry::{Repository, pause};
use crate::runtime::image::store::failed;
use crate::values::image_ref::ImageRef;

/// Attempts in a row that may bring nothing.
pub(super) const ATTEMPTS: u32 = 5;

/// Why an image can't be pulled.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A layer.
    #[error("layer {0}")]
    Layer(Digest, #[source] LayerError),
    /// What comes in can't be kept.
    #[error("blob {} cannot be written", .0.short())]
    Write(Digest, #[source] io::Error),
    /// A document is malformed.
    #[error("its {what} is malformed: {reason}")]
    Malformed {
        /// `manifest` or `configuration`.
        what: &'static str,
        /// How.
        reason: String,
    },
    /// The store.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// What a registry knows us by, and how it is reached.
#[derive(Debug)]
pub(super) struct Access {
    settings: Settings,
    credentials: Option<Credentials>,
}

impl Access {
    /// As the user's files say.
    pub(super) async fn of(registry: &str) -> Result<Access, EngineError> {
        let registry = registry.to_owned();
        let subject = Subject::Registry(registry.clone());
        blocking(move || {
            let settings = Settings::from_environment().map_err(failed("use", subject.clone()))?;
            let find = || CredentialFile::from_environment()?.find(&registry);
            Ok(Access { settings, credentials: find().map_err(failed("use", subject))? })
        })
        .await
    }

    /// Asks a repository by one way after the other, until there is an answer.
    pub(super) async fn ask<T, F: Future<Output = Result<T, TransferError>>>(
        &self,
        name: &ImageRef,
        purpose: Purpose<'_>,
        question: impl Fn(Repository) -> F,
    ) -> Result<T, TransferError> {
        let credentials = self.credentials.as_ref();
        Ways::to(name.registry(), name.repository(), purpose, credentials, &self.settings)?.ask(question).await
    }
}

/// Does something that blocks where it holds nobody up.
pub(super) async fn blocking<T: Send + 'static, E: From<EngineError> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    let lost = |error| EngineError::Failed { verb: "use", subject: Subject::Machine, source: Box::new(error) };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(lost(error).into()))
}

/// What an error of a registry is for whoever wanted an image.
pub(super) fn engine_error(verb: &'static str, name: &ImageRef, error: TransferError) -> EngineError {
    let image = || name.to_string();
    match error {
        TransferError::Engine(error) => error,
        TransferError::Registry(RegistryError::Unreachable { host, reason }) => {
            EngineError::Unreachable { registry: name.registry().to_owned(), host, reason }
        }
        TransferError::Registry(RegistryError::Denied { said, .. }) => {
            EngineError::Denied { verb, image: image(), registry: name.registry().to_owned(), said }
        }
        error => failed(verb, Subject::Image(image()))(error),
    }
}

/// A blob that is small, read as a whole; `what` it is. More than `limit` bytes are refused.
pub(super) async fn read_blob(
    way: &Repository,
    descriptor: &Descriptor,
    limit: u64,
    what: &'static str,
) -> Result<Vec<u8>, TransferError> {
    if descriptor.size > limit {
        return Err(TransferError::Malformed { what, reason: format!("{} bytes are too many", descriptor.size) });
    }
    let mut attempt = 1;
    loop {
        let read = async {
            let mut blob = way.blob(&descriptor.digest, descriptor.size, 0).await?;
            let mut bytes = Vec::new();
            while let Some(chunk) = blob.next(bytes.len() as u64).await? {
                bytes.extend_from_slice(chunk.as_ref());
                if bytes.len() as u64 > descriptor.size {
                    break;
                }
            }
            let found = Digest::of(&bytes);
            match found == descriptor.digest {
                true => Ok(bytes),
                false => Err(wrong_digest(way, &descriptor.digest, found)),
            }
        };
        match read.await {
            Err(error) if error.is_transient() && attempt < ATTEMPTS => pause(&error, attempt).await,
            other => return Ok(other?),
        }
        attempt += 1;
    }
}

fn wrong_digest(way: &Repository, wanted: &Digest, found: Digest) -> RegistryError {
    RegistryError::Digest { host: way.host().to_owned(), wanted: wanted.clone(), found }
}
