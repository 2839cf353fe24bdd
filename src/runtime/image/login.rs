//! Logging in to registries and out of them.

use crate::engine::{EngineError, LoggedIn, Subject};
use crate::runtime::image::credentials::{CredentialFile, Credentials, CredentialsError, Secret};
use crate::runtime::image::registry::error::RegistryError;
use crate::runtime::image::registry::settings::Settings;
use crate::runtime::image::registry::ways::{Purpose, Ways};
use crate::runtime::image::store::failed;
use crate::runtime::image::transfer::blocking;

/// Has the registry check name and password, and keeps them; or what it gives in the place of the password.
pub(in crate::runtime) async fn login(name: &str, user: &str, password: &str) -> Result<LoggedIn, EngineError> {
    let subject = || Subject::Registry(name.to_owned());
    let settings = Settings::from_environment().map_err(failed("use", subject()))?;
    let credentials = Credentials::Password { user: user.to_owned(), password: password.to_owned() };
    let ways = Ways::to(name, "", Purpose::LogIn, Some(&credentials), &settings);
    let entered = async { ways?.ask(|way| async move { way.enter().await }).await };
    let identity = entered.await.map_err(|error: RegistryError| match error {
        RegistryError::Unreachable { host, reason } => {
            EngineError::Unreachable { registry: name.to_owned(), host, reason }
        }
        RegistryError::Denied { said, .. } => EngineError::Invalid {
            subject: subject(),
            reason: if said.is_empty() { "incorrect username or password".to_owned() } else { said },
        },
        error => failed("log in to", subject())(error),
    })?;
    let (name, user, password) = (name.to_owned(), user.to_owned(), password.to_owned());
    blocking(move || {
        let keep = || {
            let mut file = CredentialFile::from_environment()?;
            let readable =
                file.keep(&name, &user, identity.as_deref().map_or(Secret::Password(&password), Secret::Identity))?;
            Ok(LoggedIn { readable: readable.then(|| file.path().to_owned()) })
        };
        keep().map_err(failed::<CredentialsError>("log in to", Subject::Registry(name.clone())))
    })
    .await
}

/// Forgets a registry. Returns whether it was known.
pub(in crate::runtime) async fn logout(name: &str) -> Result<bool, EngineError> {
    let name = name.to_owned();
    blocking(move || {
        let forget = || CredentialFile::from_environment()?.forget(&name);
        forget().map_err(failed("log out of", Subject::Registry(name.clone())))
    })
    .await
}
