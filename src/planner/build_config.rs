//! How one service's image is made, in the engine's words.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::engine::{BuildConfig, BuildSecret, CacheStore, ContextSource, DockerfileSource, Entitlement, SecretSource};
use crate::planner::error::PlanError;
use crate::planner::labels;
use crate::planner::request::Build as Options;
use crate::spec::project::Project;
use crate::spec::project::build::{Build, BuildContext, Dockerfile};
use crate::spec::project::files::FileOrigin;
use crate::spec::project::service::Service;
use crate::values::image_ref::{ImageRef, InvalidImageRef};
use crate::values::platform::{InvalidPlatform, Platform};

/// For how many platforms an image is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Platforms {
    /// Those of the file: `build`.
    All,
    /// The one that the service runs on: `up` and its like.
    Own,
}

/// How a service's image is made.
pub(super) fn build_config(
    project: &Project,
    service: &Service,
    build: &Build,
    options: &Options,
    platforms: Platforms,
) -> Result<BuildConfig, PlanError> {
    let making = Making { project, service, build };
    making.check_platforms(platforms)?;
    let mut args = build.args.clone();
    if let Some(epoch) = project.environment.get("SOURCE_DATE_EPOCH") {
        args.insert("SOURCE_DATE_EPOCH".to_owned(), epoch.clone());
    }
    args.extend(options.args.clone());
    let mut ssh: BTreeMap<String, Option<PathBuf>> = build
        .ssh
        .iter()
        .map(|(id, path)| (id.clone(), path.as_ref().filter(|path| !path.is_empty()).map(PathBuf::from)))
        .collect();
    ssh.extend(options.ssh.clone());
    let contexts = build.additional_contexts.iter();
    let contexts = contexts.map(|(name, context)| Ok((name.clone(), making.named_context(context)?)));
    Ok(BuildConfig {
        contexts: contexts.collect::<Result<_, PlanError>>()?,
        dockerfile: match &build.dockerfile {
            Dockerfile::Path(path) => DockerfileSource::Path(path.clone()),
            Dockerfile::Inline(text) => DockerfileSource::Inline(text.clone()),
        },
        args,
        target: build.target.clone(),
        tags: making.tags()?,
        labels: making.labels(),
        no_cache: build.no_cache || options.no_cache,
        pull: build.pull || options.pull,
        network: build.network.clone(),
        extra_hosts: build.extra_hosts.clone(),
        shm_size: build.shm_size,
        memory: options.memory,
        ulimits: build.ulimits.clone(),
        secrets: making.secrets()?,
        ssh,
        entitlements: making.entitlements()?,
        cache_from: making.caches(&build.cache_from)?,
        cache_to: making.caches(&build.cache_to)?,
        ..BuildConfig::new(match &build.context {
            BuildContext::Directory(folder) => ContextSource::Directory(folder.clone()),
            BuildContext::Remote(address) => ContextSource::Remote(address.clone()),
            BuildContext::Service(other) => {
                return Err(making.invalid(format!(
                    "the image of service {other} can't be the context itself, only an additional one"
                )));
            }
        })
    })
}

struct Making<'a> {
    project: &'a Project,
    service: &'a Service,
    build: &'a Build,
}

impl Making<'_> {
    fn invalid(&self, reason: String) -> PlanError {
        PlanError::Invalid { service: self.service.name.clone(), reason }
    }

    /// The platform that a service without one of its own is for.
    fn check_platforms(&self, platforms: Platforms) -> Result<(), PlanError> {
        let named = &self.build.platforms;
        let default = self.project.environment.get("DOCKER_DEFAULT_PLATFORM").filter(|platform| !platform.is_empty());
        let own = match (&self.service.platform, default) {
            (Some(platform), _) => {
                let platform = platform.to_string();
                if !named.is_empty() && !named.contains(&platform) {
                    return Err(PlanError::BuildPlatform { service: self.service.name.clone(), platform });
                }
                Some(platform)
            }
            (None, Some(platform)) => {
                if !named.is_empty() && !named.contains(platform) {
                    let (service, platform) = (self.service.name.clone(), platform.clone());
                    return Err(PlanError::BuildDefaultPlatform { service, platform });
                }
                Some(platform.clone())
            }
            (None, None) => None,
        };
        let wanted = match (platforms, own) {
            (Platforms::All, Some(own)) if named.is_empty() => vec![own],
            (Platforms::All, _) => named.clone(),
            (Platforms::Own, Some(own)) => vec![own],
            // With several to choose from, the engine makes what it can run.
            (Platforms::Own, None) => named.iter().filter(|_| named.len() == 1).cloned().collect(),
        };
        let host = Platform::host();
        for text in wanted {
            let platform: Platform = text.parse().map_err(|error: InvalidPlatform| self.invalid(error.to_string()))?;
            if (&platform.os, &platform.architecture) != (&host.os, &host.architecture) {
                return Err(self.invalid(format!("platform {text} can't be built here: this machine is {host}")));
            }
        }
        Ok(())
    }

    fn named_context(&self, context: &BuildContext) -> Result<ContextSource, PlanError> {
        Ok(match context {
            BuildContext::Directory(folder) => ContextSource::Directory(folder.clone()),
            BuildContext::Service(name) => {
                let project = self.project;
                let other = project.services.get(name).or_else(|| project.disabled.get(name));
                let other = other.ok_or_else(|| PlanError::NoSuchService(name.clone()))?;
                ContextSource::Image(other.image.clone())
            }
            BuildContext::Remote(address) => match address.strip_prefix("docker-image://") {
                Some(image) => ContextSource::Image(self.reference(image)?),
                None => ContextSource::Remote(address.clone()),
            },
        })
    }

    fn reference(&self, text: &str) -> Result<ImageRef, PlanError> {
        text.parse().map_err(|error: InvalidImageRef| self.invalid(error.to_string()))
    }

    fn tags(&self) -> Result<Vec<ImageRef>, PlanError> {
        let mut tags = vec![self.service.image.clone()];
        for tag in &self.build.tags {
            let tag = self.reference(tag)?;
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        Ok(tags)
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.build.labels.clone();
        for (key, value) in [
            (labels::PROJECT, self.project.name.as_str()),
            (labels::SERVICE, self.service.name.as_str()),
            (labels::VERSION, env!("CARGO_PKG_VERSION")),
        ] {
            labels.insert(key.to_owned(), value.to_owned());
        }
        labels
    }

    fn secrets(&self) -> Result<BTreeMap<String, BuildSecret>, PlanError> {
        let mut secrets = BTreeMap::new();
        for given in &self.build.secrets {
            let name = &given.source;
            let Some(secret) = self.project.secrets.get(name) else {
                return Err(self.invalid(format!("the build's secret {name} is not defined")));
            };
            let source = match &secret.origin {
                FileOrigin::File(path) => SecretSource::File(path.clone()),
                FileOrigin::Content(content) => SecretSource::Value(content.clone()),
                FileOrigin::Environment { value: Some(value), .. } => SecretSource::Value(value.clone()),
                FileOrigin::Environment { variable, value: None } => {
                    return Err(self.invalid(format!(
                        "environment variable {variable:?} required by secret {:?} is not set",
                        secret.name
                    )));
                }
                FileOrigin::External => {
                    return Err(self.invalid(format!("unsupported external secret {}", secret.name)));
                }
            };
            let number = |text: &Option<String>, what: &str| {
                let wrong = |text: &str| self.invalid(format!("{what} {text:?} of secret {name} is not a number"));
                text.as_deref().map(|text| text.parse().map_err(|_| wrong(text))).transpose()
            };
            let (uid, gid) = (number(&given.uid, "uid")?, number(&given.gid, "gid")?);
            secrets.insert(given.target.clone(), BuildSecret { source, uid, gid, mode: given.mode });
        }
        Ok(secrets)
    }

    fn entitlements(&self) -> Result<BTreeSet<Entitlement>, PlanError> {
        let mut entitlements = BTreeSet::new();
        for name in &self.build.entitlements {
            let found = Entitlement::named(name);
            entitlements.insert(found.ok_or_else(|| {
                let known = "network.host and security.insecure are known";
                self.invalid(format!("unknown entitlement {name}: {known}"))
            })?);
        }
        if self.build.privileged {
            entitlements.insert(Entitlement::SecurityInsecure);
        }
        Ok(entitlements)
    }

    /// Folders are relative to the project's.
    fn caches(&self, texts: &[String]) -> Result<Vec<CacheStore>, PlanError> {
        let read = |text: &String| match text.parse().map_err(|error| self.invalid(format!("{error}")))? {
            CacheStore::Local { folder, extent } => {
                Ok(CacheStore::Local { folder: self.project.working_dir.join(folder), extent })
            }
            other => Ok(other),
        };
        texts.iter().map(read).collect()
    }
}
