//! What `build --print` shows: the builds of a project as a bake file (Docker's documentation, "Bake file reference").

use std::collections::BTreeMap;

use serde::Serialize;

use crate::engine::BuildConfig;
use crate::spec::project::Project;
use crate::spec::project::build::{Build, BuildContext, Dockerfile};
use crate::spec::project::files::FileOrigin;
use crate::spec::project::service::Service;

/// A bake file.
#[derive(Debug, Serialize)]
pub struct Bake {
    group: BTreeMap<&'static str, Group>,
    target: BTreeMap<String, Target>,
}

#[derive(Debug, Serialize)]
struct Group {
    targets: Vec<String>,
}

/// How one image is made; what is empty is left out.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Target {
    context: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    contexts: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dockerfile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dockerfile_inline: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    args: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cache_from: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cache_to: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secret: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ssh: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    platforms: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pull: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    no_cache: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shm_size: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ulimits: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entitlements: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra_hosts: BTreeMap<String, String>,
    output: Vec<String>,
}

impl Bake {
    /// Of these services, each with how the engine would build it.
    pub fn new<'a>(
        project: &Project,
        builds: impl IntoIterator<Item = (&'a Service, &'a Build, &'a BuildConfig)>,
    ) -> Bake {
        let mut bake = Bake { group: BTreeMap::new(), target: BTreeMap::new() };
        let mut targets = Vec::new();
        for (service, build, config) in builds {
            let name = target_name(service.name.as_str());
            bake.target.insert(name.clone(), target(project, service, build, config));
            targets.push(name);
        }
        bake.group.insert("default", Group { targets });
        bake
    }
}

/// A target's name has no dots.
fn target_name(service: &str) -> String {
    service.replace('.', "_")
}

fn target(project: &Project, service: &Service, build: &Build, config: &BuildConfig) -> Target {
    let context = |context: &BuildContext| match context {
        BuildContext::Directory(folder) => folder.display().to_string(),
        BuildContext::Service(name) => format!("target:{}", target_name(name.as_str())),
        BuildContext::Remote(address) => address.clone(),
    };
    let (dockerfile, dockerfile_inline) = match (&build.dockerfile, &build.context) {
        (Dockerfile::Inline(text), _) => (None, Some(text.clone())),
        (Dockerfile::Path(path), BuildContext::Directory(folder)) => {
            (Some(folder.join(path).display().to_string()), None)
        }
        (Dockerfile::Path(path), _) => (Some(path.display().to_string()), None),
    };
    let secret = |given: &crate::spec::project::files::FileMount<_>| {
        let id = &given.target;
        match &project.secrets.get(&given.source)?.origin {
            FileOrigin::File(path) => Some(format!("id={id},type=file,src={}", path.display())),
            FileOrigin::Environment { variable, .. } => Some(format!("id={id},type=env,env={variable}")),
            FileOrigin::Content(_) | FileOrigin::External => None,
        }
    };
    let mut entitlements = build.entitlements.clone();
    if build.privileged && !entitlements.iter().any(|name| name == "security.insecure") {
        entitlements.push("security.insecure".to_owned());
    }
    let mut tags = build.tags.clone();
    tags.push(service.image.to_string());
    Target {
        context: context(&build.context),
        contexts: build.additional_contexts.iter().map(|(name, source)| (name.clone(), context(source))).collect(),
        dockerfile,
        dockerfile_inline,
        // What bake would replace is marked as text.
        args: config.args.iter().map(|(name, value)| (name.clone(), value.replace("${", "$${"))).collect(),
        labels: config.labels.clone(),
        tags,
        cache_from: build.cache_from.clone(),
        cache_to: build.cache_to.clone(),
        target: build.target.clone(),
        secret: build.secrets.iter().filter_map(secret).collect(),
        ssh: config
            .ssh
            .iter()
            .map(|(id, path)| {
                format!("{id}={}", path.as_deref().map_or_else(String::new, |path| path.display().to_string()))
            })
            .collect(),
        platforms: build.platforms.clone(),
        pull: config.pull,
        no_cache: config.no_cache,
        network: build.network.clone(),
        shm_size: build.shm_size.map(|size| size.to_string()),
        ulimits: build.ulimits.iter().map(|(name, limit)| format!("{name}={}:{}", limit.soft, limit.hard)).collect(),
        entitlements,
        extra_hosts: build.extra_hosts.iter().cloned().collect(),
        output: vec!["type=docker".to_owned()],
    }
}
