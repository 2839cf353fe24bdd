//! One service.

use std::time::Duration;

use super::reader::Reader;
use super::{build, mounts, network, resources};
use crate::spec::model::Model;
use crate::spec::project::hooks::{Hook, PreStart, WatchAction, WatchRule};
use crate::spec::project::keys::{ConfigKey, ModelKey};
use crate::spec::project::models::ModelUse;
use crate::spec::project::service::{
    Condition, CredentialSpec, Dependency, Logging, Namespace, Provider, PullPolicy, Service,
};
use crate::spec::tree::{Node, Value};
use crate::values::health::{HealthCheck, Probe};
use crate::values::image_ref::ImageRef;
use crate::values::names::ServiceName;
use crate::values::restart::Restart;

/// None if it has no usable image, which is then among the faults.
pub(super) fn decode(name: ServiceName, reader: &Reader<'_>, model: &Model) -> Option<Service> {
    let image_named = reader.text("image").is_some();
    let image: Option<ImageRef> =
        if image_named { reader.parse("image") } else { default_image(reader, &format!("{}-{name}", model.name)) };
    Some(Service {
        location: reader.at(),
        image_named,
        build: build::decode(reader),
        pull_policy: pull_policy(reader),
        platform: reader.parse("platform"),
        provider: reader.object("provider").map(|provider| decode_provider(&provider)),
        container_name: reader.parse("container_name"),
        scale: scale(reader),
        depends_on: reader
            .children("depends_on")
            .into_iter()
            .filter_map(|(other, dependency)| {
                Some((ServiceName::try_from(other).ok()?, decode_dependency(&dependency?)))
            })
            .collect(),
        profiles: reader.texts("profiles"),

        command: reader.arguments("command"),
        entrypoint: reader.arguments("entrypoint"),
        environment: reader.maybe_map("environment"),
        working_dir: reader.text("working_dir"),
        user: reader.text("user"),
        group_add: reader.texts("group_add"),
        hostname: reader.text("hostname"),
        domainname: reader.text("domainname"),
        init: reader.maybe_flag("init"),
        tty: reader.flag("tty"),
        stdin_open: reader.flag("stdin_open"),
        stop_signal: reader.parse("stop_signal"),
        stop_grace_period: reader.duration("stop_grace_period"),
        restart: restart(reader),
        labels: reader.map("labels"),
        annotations: reader.map("annotations"),
        attach: reader.maybe_flag("attach").unwrap_or(true),
        healthcheck: reader.object("healthcheck").map(|check| decode_healthcheck(&check)),
        ready: super::ready::decode(reader),
        logging: reader.object("logging").map_or_else(Logging::default, |logging| Logging {
            driver: logging.text("driver"),
            options: logging.map("options"),
        }),
        post_start: reader.objects("post_start").iter().map(decode_hook).collect(),
        pre_start: reader.objects("pre_start").iter().map(decode_pre_start).collect(),
        pre_stop: reader.objects("pre_stop").iter().map(decode_hook).collect(),
        watch: reader
            .object("develop")
            .map(|develop| develop.objects("watch").iter().map(decode_watch).collect())
            .unwrap_or_default(),

        network: network::mode(reader),
        ports: network::ports(reader),
        expose: network::expose(reader),
        links: network::links(reader),
        external_links: network::external_links(reader),
        extra_hosts: network::hosts(reader),
        dns: reader.parse_all("dns"),
        dns_search: reader.arguments("dns_search").filter(|list| !list.is_empty()),
        dns_opt: reader.texts("dns_opt"),
        mac_address: reader.parse("mac_address"),

        mounts: mounts::decode(reader),
        volumes_from: mounts::volumes_from(reader),
        configs: mounts::configs(reader),
        secrets: mounts::secrets(reader),
        read_only: reader.flag("read_only"),
        shm_size: reader.number("shm_size"),
        storage_opt: reader.map("storage_opt"),

        privileged: reader.flag("privileged"),
        cap_add: reader.texts("cap_add"),
        cap_drop: reader.texts("cap_drop"),
        security_opt: reader.texts("security_opt"),
        sysctls: reader.map("sysctls"),
        ulimits: resources::ulimits(reader),
        devices: resources::devices(reader),
        device_cgroup_rules: reader.texts("device_cgroup_rules"),
        device_requests: resources::device_requests(reader),
        ipc: namespace(reader, "ipc").unwrap_or_default(),
        pid: namespace(reader, "pid").unwrap_or_default(),
        uts: namespace(reader, "uts").unwrap_or_default(),
        userns: namespace(reader, "userns_mode").unwrap_or_default(),
        cgroup: namespace(reader, "cgroup"),
        cgroup_parent: reader.text("cgroup_parent"),
        runtime: reader.text("runtime"),
        credential_spec: reader.object("credential_spec").and_then(|spec| credential_spec(&spec)),
        use_api_socket: reader.flag("use_api_socket"),
        resources: resources::decode(reader),
        models: reader
            .children("models")
            .into_iter()
            .map(|(key, used)| (ModelKey(key.to_owned()), model_use(used)))
            .collect(),
        // Last, so that what else is wrong has been found.
        image: image?,
        name,
    })
}

/// What a build is called that has no name. A service's name may have letters that an image's may not.
fn default_image(reader: &Reader<'_>, text: &str) -> Option<ImageRef> {
    match text.parse() {
        Ok(image) => Some(image),
        Err(why) => {
            reader.fault(&reader.at(), format!("{why}; give it an `image`"));
            None
        }
    }
}

fn model_use(used: Option<Reader<'_>>) -> ModelUse {
    used.map_or_else(ModelUse::default, |used| ModelUse {
        endpoint_variable: used.text("endpoint_var"),
        model_variable: used.text("model_var"),
    })
}

fn decode_dependency(reader: &Reader<'_>) -> Dependency {
    let condition = match reader.text("condition").as_deref() {
        Some("service_healthy") => Condition::Healthy,
        Some("service_completed_successfully") => Condition::Completed,
        // The schema allows nothing else.
        _ => Condition::Started,
    };
    Dependency {
        condition,
        restart: reader.flag("restart"),
        required: reader.maybe_flag("required").unwrap_or(true),
        location: reader.at(),
    }
}

fn decode_provider(reader: &Reader<'_>) -> Provider {
    let options = reader.object("options");
    let options = options.iter().flat_map(|options| options.keys().map(|key| (key.to_owned(), options.texts(key))));
    Provider { kind: reader.text("type").unwrap_or_default(), options: options.collect() }
}

/// `pull_policy`; the schema lets anything pass that has one of the words in it.
fn pull_policy(reader: &Reader<'_>) -> Option<PullPolicy> {
    const DAY: u64 = 24 * 60 * 60;
    let node = reader.node("pull_policy")?;
    Some(match node.as_str().unwrap_or("") {
        "" => return None,
        "missing" | "if_not_present" | "refresh" => PullPolicy::Missing,
        "always" => PullPolicy::Always,
        "never" => PullPolicy::Never,
        "build" => PullPolicy::Build,
        "daily" => PullPolicy::Every(Duration::from_secs(DAY)),
        "weekly" => PullPolicy::Every(Duration::from_secs(7 * DAY)),
        text => match text.strip_prefix("every_").map(crate::values::duration::parse) {
            Some(Ok(every)) => PullPolicy::Every(every),
            _ => {
                reader.fault(&node.at, format!("pull_policy: {text:?} is none of the policies"));
                return None;
            }
        },
    })
}

fn scale(reader: &Reader<'_>) -> u32 {
    let replicas = || reader.object("deploy").and_then(|deploy| deploy.count("replicas"));
    reader.count("scale").or_else(replicas).unwrap_or(1)
}

/// `deploy.restart_policy` overrules `restart`.
fn restart(reader: &Reader<'_>) -> Restart {
    let policy = reader.object("deploy").and_then(|deploy| deploy.object("restart_policy"));
    let Some(policy) = policy else { return reader.parse("restart").unwrap_or_default() };
    match policy.text("condition").as_deref() {
        None | Some("any" | "always") => Restart::Always,
        Some("none" | "no") => Restart::No,
        Some("unless-stopped") => Restart::UnlessStopped,
        Some("on-failure") => Restart::OnFailure { max: policy.number("max_attempts").unwrap_or(0) },
        Some(other) => {
            let at = policy.node("condition").map_or_else(|| policy.at(), |node| node.at.clone());
            policy.fault(&at, format!("condition: {other:?} is none of `none`, `on-failure` and `any`"));
            Restart::No
        }
    }
}

fn decode_healthcheck(reader: &Reader<'_>) -> HealthCheck {
    let test = reader.texts("test");
    let probe = match test.split_first() {
        _ if reader.flag("disable") => Probe::None,
        None => Probe::Inherit,
        Some((first, _)) if first == "NONE" => Probe::None,
        Some((first, rest)) if first == "CMD" => Probe::Exec(rest.to_vec()),
        Some((_, rest)) => Probe::Shell(rest.join(" ")),
    };
    if reader.has("start_interval") && !reader.has("start_period") {
        reader.fault(&reader.at(), "healthcheck.start_interval requires healthcheck.start_period to be set");
    }
    // Zero inherits, as absence does.
    let duration = |key| reader.duration(key).filter(|duration| !duration.is_zero());
    HealthCheck {
        probe,
        interval: duration("interval"),
        timeout: duration("timeout"),
        start_period: duration("start_period"),
        start_interval: duration("start_interval"),
        retries: reader.number("retries"),
    }
}

fn decode_hook(reader: &Reader<'_>) -> Hook {
    Hook {
        command: reader.texts("command"),
        user: reader.text("user"),
        privileged: reader.flag("privileged"),
        working_dir: reader.text("working_dir"),
        environment: reader.maybe_map("environment"),
        location: reader.at(),
    }
}

fn decode_pre_start(reader: &Reader<'_>) -> PreStart {
    PreStart { image: reader.parse("image"), hook: decode_hook(reader), per_replica: reader.flag("per_replica") }
}

fn credential_spec(reader: &Reader<'_>) -> Option<CredentialSpec> {
    let file = || reader.text("file").map(CredentialSpec::File);
    let registry = || reader.text("registry").map(CredentialSpec::Registry);
    let config = || reader.text("config").map(|key| CredentialSpec::Config(ConfigKey(key)));
    file().or_else(registry).or_else(config)
}

fn decode_watch(reader: &Reader<'_>) -> WatchRule {
    let action = match reader.text("action").as_deref() {
        Some("restart") => WatchAction::Restart,
        Some("sync") => WatchAction::Sync,
        Some("sync+restart") => WatchAction::SyncRestart,
        Some("sync+exec") => WatchAction::SyncExec,
        // The schema allows nothing else.
        _ => WatchAction::Rebuild,
    };
    WatchRule {
        path: reader.text("path").unwrap_or_default().into(),
        action,
        target: reader.text("target"),
        ignore: reader.texts("ignore"),
        include: reader.texts("include"),
        exec: reader.object("exec").map(|exec| decode_hook(&exec)),
        initial_sync: reader.flag("initial_sync"),
        location: reader.at(),
    }
}

fn namespace(reader: &Reader<'_>, key: &str) -> Option<Namespace> {
    let node: &Node = reader.node(key)?;
    let Value::String(text) = &node.value else { return None };
    Some(match text.as_str() {
        "" => return None,
        "private" => Namespace::Private,
        "host" => Namespace::Host,
        "shareable" if key == "ipc" => Namespace::Shareable,
        "none" if key == "ipc" => Namespace::None,
        text => match text.split_once(':') {
            Some(("container", container)) if !container.is_empty() => Namespace::Container(container.to_owned()),
            Some(("service", service)) => Namespace::Service(ServiceName::try_from(service).ok()?),
            _ => {
                reader.fault(&node.at, format!("{key}: invalid mode {text:?}"));
                return None;
            }
        },
    })
}
