//! How an image is made.

use super::mounts::file_mount;
use super::reader::Reader;
use super::{network, resources};
use crate::spec::project::build::{Build, BuildContext, Dockerfile};
use crate::spec::project::keys::SecretKey;
use crate::values::names::ServiceName;

pub(super) fn decode(service: &Reader<'_>) -> Option<Build> {
    let reader = service.object("build")?;
    let dockerfile = match reader.text("dockerfile_inline") {
        Some(text) => Dockerfile::Inline(text),
        None => Dockerfile::Path(reader.text("dockerfile").unwrap_or_else(|| "Dockerfile".to_owned()).into()),
    };
    let contexts = reader.map("additional_contexts");
    let args = reader.maybe_map("args").into_iter().filter_map(|(name, value)| Some((name, value?)));
    Some(Build {
        location: reader.at(),
        context: context(reader.text("context").unwrap_or_else(|| ".".to_owned())),
        dockerfile,
        args: args.collect(),
        additional_contexts: contexts.into_iter().map(|(name, text)| (name, context(text))).collect(),
        target: reader.text("target"),
        tags: reader.texts("tags"),
        labels: reader.map("labels"),
        no_cache: reader.flag("no_cache"),
        pull: reader.flag("pull"),
        cache_from: reader.texts("cache_from"),
        cache_to: reader.texts("cache_to"),
        entitlements: reader.texts("entitlements"),
        network: reader.text("network"),
        extra_hosts: network::hosts(&reader),
        shm_size: reader.number("shm_size"),
        ulimits: resources::ulimits(&reader),
        privileged: reader.flag("privileged"),
        secrets: reader
            .objects("secrets")
            .iter()
            .map(|secret| file_mount(secret, SecretKey, |source, target| target.unwrap_or_else(|| source.to_owned())))
            .collect(),
        ssh: reader
            .texts("ssh")
            .into_iter()
            .map(|line| match line.split_once('=') {
                Some((id, path)) => (id.to_owned(), Some(path.to_owned())),
                None => (line, None),
            })
            .collect(),
        platforms: reader.texts("platforms"),
    })
}

fn context(text: String) -> BuildContext {
    if let Some(service) = text.strip_prefix("service:").and_then(|name| ServiceName::try_from(name).ok()) {
        BuildContext::Service(service)
    } else if text.contains("://") || text.starts_with("github.com/") || text.starts_with("git@") {
        BuildContext::Remote(text)
    } else {
        BuildContext::Directory(text.into())
    }
}
