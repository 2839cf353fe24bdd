//! `services.*`.

use super::build::BUILD;
use super::deploy::{DEPLOY, DEVICE_REQUEST, DEVICES};
use super::{
    Accepts, BOOLEAN, BOOLEAN_OR_TEXT, Becomes, COMMAND, DRIVER_OPTIONS, EXTRA_HOSTS, FILE_MOUNT, FILE_MOUNTS, Field,
    INTEGER_OR_TEXT, Kinds, LIST_OF_TEXTS, LIST_OR_MAP, NUMBER, NUMBER_OR_TEXT, Object, Others, SET_OF_TEXTS, Shown,
    TEXT, TEXT_OR_LIST, ULIMITS, user_name,
};

/// A service.
pub(in crate::spec) static SERVICE: Object = Object {
    fields: &[
        Field::new("profiles", SET_OF_TEXTS, Becomes::Texts),
        Field::new("annotations", LIST_OR_MAP, Becomes::TextMap),
        Field::new("attach", BOOLEAN_OR_TEXT, Becomes::Flag).when_set(),
        Field::new("build", Accepts::Either(&[TEXT, Accepts::Object(&BUILD)]), Becomes::Object(&BUILD)).when_set(),
        Field::new(
            "develop",
            Accepts::Either(&[Accepts::Scalar(Kinds::NULL), Accepts::Object(&DEVELOP)]),
            Becomes::Object(&DEVELOP),
        )
        .when_set(),
        Field::new("blkio_config", Accepts::Object(&BLKIO), Becomes::Object(&BLKIO)).when_set(),
        Field::new("cap_add", SET_OF_TEXTS, Becomes::Texts),
        Field::new("cap_drop", SET_OF_TEXTS, Becomes::Texts),
        Field::new("cgroup_parent", TEXT, Becomes::Text),
        Field::new("cgroup", Accepts::Words(&["host", "private"]), Becomes::Text),
        Field::new("cpu_count", Accepts::Within(0, i128::MAX), Becomes::Integer).ignored(),
        Field::new("cpu_percent", Accepts::Within(0, 100), Becomes::Number).ignored(),
        Field::new("cpu_period", NUMBER_OR_TEXT, Becomes::Integer),
        Field::new("cpu_quota", NUMBER_OR_TEXT, Becomes::Integer),
        Field::new("cpu_rt_period", NUMBER_OR_TEXT, Becomes::Integer).ignored(),
        Field::new("cpu_rt_runtime", NUMBER_OR_TEXT, Becomes::Integer).ignored(),
        Field::new("cpus", NUMBER_OR_TEXT, Becomes::Number),
        Field::new("cpuset", TEXT, Becomes::Text),
        Field::new("cpu_shares", NUMBER_OR_TEXT, Becomes::Integer),
        Field::new("command", COMMAND, Becomes::Command).shown(Shown::JsonAlways),
        Field::new("configs", FILE_MOUNTS, Becomes::List(&Becomes::Object(&FILE_MOUNT))),
        Field::new(
            "container_name",
            Accepts::Matching(
                container_name,
                "two or more letters, digits, `_`, `.` or `-` in a row, the first a letter or digit",
            ),
            Becomes::Text,
        ),
        Field::new("credential_spec", Accepts::Object(&CREDENTIAL_SPEC), Becomes::Object(&CREDENTIAL_SPEC))
            .when_set()
            .ignored(),
        Field::new(
            "depends_on",
            Accepts::Either(&[SET_OF_TEXTS, Accepts::Named(&Accepts::Object(&DEPENDENCY))]),
            Becomes::Named(&Becomes::Object(&DEPENDENCY)),
        ),
        Field::new(
            "deploy",
            Accepts::Either(&[Accepts::Scalar(Kinds::NULL), Accepts::Object(&DEPLOY)]),
            Becomes::Object(&DEPLOY),
        )
        .when_set(),
        Field::new("device_cgroup_rules", SET_OF_TEXTS, Becomes::Texts),
        Field::new(
            "devices",
            Accepts::List(&Accepts::Either(&[TEXT, Accepts::Object(&DEVICE)])),
            Becomes::List(&Becomes::Object(&DEVICE)),
        ),
        Field::new("dns", TEXT_OR_LIST, Becomes::Texts),
        Field::new("dns_opt", SET_OF_TEXTS, Becomes::Texts),
        Field::new("dns_search", TEXT_OR_LIST, Becomes::Texts),
        Field::new("domainname", TEXT, Becomes::Text),
        Field::new("entrypoint", COMMAND, Becomes::Command).shown(Shown::JsonAlways),
        Field::new("provider", Accepts::Object(&PROVIDER), Becomes::Object(&PROVIDER)).when_set(),
        Field::new("environment", LIST_OR_MAP, Becomes::NullableMap),
        Field::new(
            "env_file",
            Accepts::Either(&[TEXT, Accepts::List(&Accepts::Either(&[TEXT, Accepts::Object(&ENV_FILE)]))]),
            Becomes::List(&Becomes::Object(&ENV_FILE)),
        ),
        Field::new("expose", Accepts::Set(&NUMBER_OR_TEXT), Becomes::Words),
        Field::new("extends", Accepts::Either(&[TEXT, Accepts::Object(&EXTENDS)]), Becomes::Same).shown(Shown::Never),
        Field::new("external_links", SET_OF_TEXTS, Becomes::Texts),
        Field::new("extra_hosts", EXTRA_HOSTS, Becomes::Hosts),
        Field::new("group_add", Accepts::Set(&NUMBER_OR_TEXT), Becomes::Texts),
        Field::new(
            "gpus",
            Accepts::Either(&[Accepts::Words(&["all"]), Accepts::List(&Accepts::Object(&GPU))]),
            Becomes::List(&Becomes::Object(&DEVICE_REQUEST)),
        )
        .ignored(),
        Field::new("hostname", TEXT, Becomes::Text),
        Field::new("healthcheck", Accepts::Object(&HEALTHCHECK), Becomes::Object(&HEALTHCHECK)).when_set(),
        Field::new("image", TEXT, Becomes::Text),
        Field::new("init", BOOLEAN_OR_TEXT, Becomes::Flag).when_set(),
        Field::new("ipc", TEXT, Becomes::Text),
        Field::new("isolation", TEXT, Becomes::Text).ignored(),
        Field::new("labels", LIST_OR_MAP, Becomes::TextMap),
        Field::new("label_file", Accepts::Either(&[TEXT, LIST_OF_TEXTS]), Becomes::Texts),
        Field::new("links", SET_OF_TEXTS, Becomes::Texts),
        Field::new("logging", Accepts::Object(&LOGGING), Becomes::Object(&LOGGING)).when_set(),
        Field::new("mem_limit", NUMBER_OR_TEXT, Becomes::Bytes),
        Field::new("mem_reservation", INTEGER_OR_TEXT, Becomes::Bytes),
        Field::new("memswap_limit", NUMBER_OR_TEXT, Becomes::Bytes),
        Field::new("mem_swappiness", INTEGER_OR_TEXT, Becomes::Bytes),
        Field::new("mac_address", TEXT, Becomes::Text),
        Field::new(
            "models",
            Accepts::Either(&[
                SET_OF_TEXTS,
                Accepts::Loose(
                    user_name,
                    &Accepts::Either(&[Accepts::Scalar(Kinds::NULL), Accepts::Object(&MODEL_USE)]),
                ),
            ]),
            Becomes::Map(&Becomes::Object(&MODEL_USE)),
        )
        .ignored(),
        Field::new("network_mode", TEXT, Becomes::Text),
        Field::new(
            "networks",
            Accepts::Either(&[
                SET_OF_TEXTS,
                Accepts::Named(&Accepts::Either(&[Accepts::Scalar(Kinds::NULL), Accepts::Object(&ATTACHMENT)])),
            ]),
            Becomes::Map(&Becomes::Object(&ATTACHMENT)),
        ),
        Field::new("oom_kill_disable", BOOLEAN_OR_TEXT, Becomes::Flag),
        Field::new("oom_score_adj", Accepts::Within(-1000, 1000), Becomes::Integer),
        Field::new("pid", Accepts::Scalar(Kinds::TEXT.or(Kinds::NULL)), Becomes::Text),
        Field::new("pids_limit", NUMBER_OR_TEXT, Becomes::Integer),
        Field::new("platform", TEXT, Becomes::Text),
        Field::new(
            "ports",
            Accepts::Set(&Accepts::Either(&[NUMBER_OR_TEXT, Accepts::Object(&PORT)])),
            Becomes::List(&Becomes::Object(&PORT)),
        ),
        Field::new("privileged", BOOLEAN_OR_TEXT, Becomes::Flag),
        Field::new(
            "pull_policy",
            Accepts::Matching(
                pull_policy,
                "`always`, `never`, `missing`, `if_not_present`, `build`, `daily`, `weekly` or `every_<duration>`",
            ),
            Becomes::Text,
        ),
        Field::new("pull_refresh_after", TEXT, Becomes::Same).shown(Shown::Never).ignored(),
        Field::new("read_only", BOOLEAN_OR_TEXT, Becomes::Flag),
        Field::new("restart", TEXT, Becomes::Text),
        Field::new("runtime", TEXT, Becomes::Text).ignored(),
        Field::new("scale", INTEGER_OR_TEXT, Becomes::Integer).when_set(),
        Field::new("secrets", FILE_MOUNTS, Becomes::List(&Becomes::Object(&FILE_MOUNT))),
        Field::new("security_opt", SET_OF_TEXTS, Becomes::Texts),
        Field::new("shm_size", NUMBER_OR_TEXT, Becomes::Bytes),
        Field::new("stdin_open", BOOLEAN_OR_TEXT, Becomes::Flag),
        Field::new("stop_grace_period", TEXT, Becomes::Duration).when_set(),
        Field::new("stop_signal", TEXT, Becomes::Text),
        Field::new("storage_opt", Accepts::Loose(no_name, &Accepts::Anything), Becomes::PlainMap).ignored(),
        Field::new("sysctls", LIST_OR_MAP, Becomes::TextMap),
        Field::new("tmpfs", TEXT_OR_LIST, Becomes::Texts),
        Field::new("tty", BOOLEAN_OR_TEXT, Becomes::Flag),
        Field::new("ulimits", ULIMITS, Becomes::Map(&Becomes::Ulimit)),
        Field::new("use_api_socket", BOOLEAN, Becomes::Flag).ignored(),
        Field::new("user", TEXT, Becomes::Text),
        Field::new("userns_mode", TEXT, Becomes::Text),
        Field::new("uts", TEXT, Becomes::Text),
        Field::new(
            "volumes",
            Accepts::Set(&Accepts::Either(&[TEXT, Accepts::Object(&MOUNT)])),
            Becomes::List(&Becomes::Object(&MOUNT)),
        ),
        Field::new("volumes_from", SET_OF_TEXTS, Becomes::Texts),
        Field::new("working_dir", TEXT, Becomes::Text),
        Field::new("pre_start", PRE_START, Becomes::List(&Becomes::Object(&PRE_START_HOOK))),
        Field::new("post_start", HOOKS, Becomes::List(&Becomes::Object(&HOOK))),
        Field::new("pre_stop", HOOKS, Becomes::List(&Becomes::Object(&HOOK))),
    ],
    required: &[],
    others: Others::Extensions,
};

const HOOKS: Accepts = Accepts::List(&Accepts::Object(&HOOK));
const PRE_START: Accepts = Accepts::List(&Accepts::Object(&PRE_START_HOOK));

/// `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, anywhere in the text.
fn container_name(text: &str) -> bool {
    text.as_bytes()
        .windows(2)
        .any(|two| two[0].is_ascii_alphanumeric() && (two[1].is_ascii_alphanumeric() || b"_.-".contains(&two[1])))
}

/// `always|never|build|if_not_present|missing|refresh|daily|weekly|every_([0-9]+[wdhms])+`, anywhere in the text.
fn pull_policy(text: &str) -> bool {
    const WORDS: [&str; 8] = ["always", "never", "build", "if_not_present", "missing", "refresh", "daily", "weekly"];
    let every = |after: &str| {
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        digits > 0 && after.as_bytes().get(digits).is_some_and(|unit| b"wdhms".contains(unit))
    };
    WORDS.iter().any(|word| text.contains(word))
        || text.match_indices("every_").any(|(at, word)| every(&text[at + word.len()..]))
}

/// A map whose keys and values are not looked at.
fn no_name(_: &str) -> bool {
    false
}

static DEVELOP: Object = Object {
    fields: &[Field::new("watch", Accepts::List(&Accepts::Object(&WATCH)), Becomes::List(&Becomes::Object(&WATCH)))],
    required: &[],
    others: Others::Extensions,
};

static WATCH: Object = Object {
    fields: &[
        Field::new("path", TEXT, Becomes::Text),
        Field::new(
            "action",
            Accepts::Words(&["rebuild", "sync", "restart", "sync+restart", "sync+exec"]),
            Becomes::Text,
        ),
        Field::new("target", TEXT, Becomes::Text),
        Field::new("exec", Accepts::Object(&HOOK), Becomes::Object(&HOOK)).shown(Shown::JsonEmptyMap),
        Field::new("include", TEXT_OR_LIST, Becomes::Texts),
        Field::new("ignore", TEXT_OR_LIST, Becomes::Texts),
        Field::new("initial_sync", BOOLEAN, Becomes::Flag),
    ],
    required: &["path", "action"],
    others: Others::Extensions,
};

static HOOK: Object = Object {
    fields: &[
        Field::new("command", COMMAND, Becomes::Command).shown(Shown::JsonAlways),
        Field::new("user", TEXT, Becomes::Text),
        Field::new("privileged", BOOLEAN_OR_TEXT, Becomes::Flag),
        Field::new("working_dir", TEXT, Becomes::Text),
        Field::new("environment", LIST_OR_MAP, Becomes::NullableMap),
    ],
    required: &["command"],
    others: Others::Extensions,
};

/// Of Docker Compose 5: run in a container of its own.
static PRE_START_HOOK: Object = Object {
    fields: &[
        Field::new("image", TEXT, Becomes::Text),
        Field::new("command", COMMAND, Becomes::Command).shown(Shown::JsonAlways),
        Field::new("user", TEXT, Becomes::Text),
        Field::new("privileged", BOOLEAN_OR_TEXT, Becomes::Flag),
        Field::new("working_dir", TEXT, Becomes::Text),
        Field::new("environment", LIST_OR_MAP, Becomes::NullableMap),
        Field::new("per_replica", BOOLEAN, Becomes::Flag),
    ],
    required: &["command"],
    others: Others::Extensions,
};

static BLKIO: Object = Object {
    fields: &[
        Field::new("weight", INTEGER_OR_TEXT, Becomes::Unsigned(16)),
        Field::new(
            "weight_device",
            Accepts::List(&Accepts::Object(&BLKIO_WEIGHT)),
            Becomes::List(&Becomes::Object(&BLKIO_WEIGHT)),
        )
        .ignored(),
        Field::new("device_read_bps", BLKIO_LIMITS, Becomes::List(&Becomes::Object(&BLKIO_LIMIT))).ignored(),
        Field::new("device_read_iops", BLKIO_LIMITS, Becomes::List(&Becomes::Object(&BLKIO_LIMIT))).ignored(),
        Field::new("device_write_bps", BLKIO_LIMITS, Becomes::List(&Becomes::Object(&BLKIO_LIMIT))).ignored(),
        Field::new("device_write_iops", BLKIO_LIMITS, Becomes::List(&Becomes::Object(&BLKIO_LIMIT))).ignored(),
    ],
    required: &[],
    others: Others::Refused,
};

const BLKIO_LIMITS: Accepts = Accepts::List(&Accepts::Object(&BLKIO_LIMIT));

static BLKIO_LIMIT: Object = Object {
    fields: &[
        Field::new("path", TEXT, Becomes::Text).shown(Shown::AlwaysAs("Path")),
        Field::new("rate", INTEGER_OR_TEXT, Becomes::Bytes).shown(Shown::AlwaysAs("Rate")),
    ],
    required: &[],
    others: Others::Refused,
};

static BLKIO_WEIGHT: Object = Object {
    fields: &[
        Field::new("path", TEXT, Becomes::Text).shown(Shown::AlwaysAs("Path")),
        Field::new("weight", INTEGER_OR_TEXT, Becomes::Unsigned(16)).shown(Shown::AlwaysAs("Weight")),
    ],
    required: &[],
    others: Others::Refused,
};

static CREDENTIAL_SPEC: Object = Object {
    fields: &[
        Field::new("config", TEXT, Becomes::Text),
        Field::new("file", TEXT, Becomes::Text),
        Field::new("registry", TEXT, Becomes::Text),
    ],
    required: &[],
    others: Others::Extensions,
};

static DEPENDENCY: Object = Object {
    fields: &[
        Field::new(
            "condition",
            Accepts::Words(&["service_started", "service_healthy", "service_completed_successfully"]),
            Becomes::Text,
        ),
        Field::new("restart", BOOLEAN_OR_TEXT, Becomes::Flag),
        Field::new("required", BOOLEAN, Becomes::Flag).when_set(),
    ],
    required: &["condition"],
    others: Others::Extensions,
};

static DEVICE: Object = Object {
    fields: &[
        Field::new("source", TEXT, Becomes::Text),
        Field::new("target", TEXT, Becomes::Text),
        Field::new("permissions", TEXT, Becomes::Text),
    ],
    required: &["source"],
    others: Others::Extensions,
};

static ENV_FILE: Object = Object {
    fields: &[
        Field::new("path", TEXT, Becomes::Text),
        Field::new("required", BOOLEAN_OR_TEXT, Becomes::Flag).when_set(),
        Field::new("format", TEXT, Becomes::Text),
    ],
    required: &["path"],
    others: Others::Refused,
};

static EXTENDS: Object = Object {
    fields: &[Field::new("service", TEXT, Becomes::Text), Field::new("file", TEXT, Becomes::Text)],
    required: &["service"],
    others: Others::Refused,
};

/// As a device request, but the schema lets anything stand besides.
static GPU: Object = Object { fields: DEVICES, required: &[], others: Others::Ignored };

static HEALTHCHECK: Object = Object {
    fields: &[
        Field::new("test", Accepts::Either(&[TEXT, LIST_OF_TEXTS]), Becomes::Probe),
        Field::new("timeout", TEXT, Becomes::Duration).when_set(),
        Field::new("interval", TEXT, Becomes::Duration).when_set(),
        Field::new("retries", NUMBER_OR_TEXT, Becomes::Unsigned(64)).when_set(),
        Field::new("start_period", TEXT, Becomes::Duration).when_set(),
        Field::new("start_interval", TEXT, Becomes::Duration).when_set(),
        Field::new("disable", BOOLEAN_OR_TEXT, Becomes::Flag),
    ],
    required: &[],
    others: Others::Extensions,
};

static LOGGING: Object = Object {
    fields: &[
        Field::new("driver", TEXT, Becomes::Text),
        Field::new(
            "options",
            Accepts::Loose(super::any_name, &Accepts::Scalar(Kinds::TEXT.or(Kinds::NUMBER).or(Kinds::NULL))),
            Becomes::TextMap,
        ),
    ],
    required: &[],
    others: Others::Extensions,
};

static MODEL_USE: Object = Object {
    fields: &[Field::new("endpoint_var", TEXT, Becomes::Text), Field::new("model_var", TEXT, Becomes::Text)],
    required: &[],
    others: Others::Extensions,
};

static ATTACHMENT: Object = Object {
    fields: &[
        Field::new("aliases", SET_OF_TEXTS, Becomes::Texts),
        Field::new("driver_opts", DRIVER_OPTIONS, Becomes::TextMap),
        Field::new("gw_priority", NUMBER, Becomes::Integer),
        Field::new("interface_name", TEXT, Becomes::Text),
        Field::new("ipv4_address", TEXT, Becomes::Text),
        Field::new("ipv6_address", TEXT, Becomes::Text),
        Field::new("link_local_ips", SET_OF_TEXTS, Becomes::Texts),
        Field::new("mac_address", TEXT, Becomes::Text),
        Field::new("priority", NUMBER, Becomes::Integer),
    ],
    required: &[],
    others: Others::Extensions,
};

static PORT: Object = Object {
    fields: &[
        Field::new("name", TEXT, Becomes::Text),
        Field::new("mode", TEXT, Becomes::Text),
        Field::new("host_ip", TEXT, Becomes::Text),
        Field::new("target", INTEGER_OR_TEXT, Becomes::Unsigned(32)),
        Field::new("published", INTEGER_OR_TEXT, Becomes::Text),
        Field::new("protocol", TEXT, Becomes::Text),
        Field::new("app_protocol", TEXT, Becomes::Text),
    ],
    required: &[],
    others: Others::Extensions,
};

static PROVIDER: Object = Object {
    fields: &[
        Field::new("type", TEXT, Becomes::Text),
        Field::new("options", Accepts::Loose(super::any_name, &PROVIDER_OPTION), Becomes::Options),
    ],
    required: &["type"],
    others: Others::Extensions,
};

const PROVIDER_SCALAR: Accepts = Accepts::Scalar(Kinds::TEXT.or(Kinds::NUMBER).or(Kinds::BOOLEAN));
const PROVIDER_OPTION: Accepts = Accepts::Either(&[PROVIDER_SCALAR, Accepts::List(&PROVIDER_SCALAR)]);

static MOUNT: Object = Object {
    fields: &[
        Field::new("type", Accepts::Words(&["bind", "volume", "tmpfs", "cluster", "npipe", "image"]), Becomes::Text),
        Field::new("source", TEXT, Becomes::Text),
        Field::new("target", TEXT, Becomes::Text),
        Field::new("read_only", BOOLEAN_OR_TEXT, Becomes::Flag),
        Field::new("consistency", TEXT, Becomes::Text),
        Field::new("bind", Accepts::Object(&MOUNT_BIND), Becomes::Object(&MOUNT_BIND)).when_set(),
        Field::new("volume", Accepts::Object(&MOUNT_VOLUME), Becomes::Object(&MOUNT_VOLUME)).when_set(),
        Field::new("tmpfs", Accepts::Object(&MOUNT_TMPFS), Becomes::Object(&MOUNT_TMPFS)).when_set(),
        Field::new("image", Accepts::Object(&MOUNT_IMAGE), Becomes::Object(&MOUNT_IMAGE)).when_set(),
    ],
    required: &["type"],
    others: Others::Extensions,
};

static MOUNT_BIND: Object = Object {
    fields: &[
        Field::new("selinux", Accepts::Words(&["z", "Z"]), Becomes::Text),
        Field::new("propagation", TEXT, Becomes::Text),
        Field::new("create_host_path", BOOLEAN_OR_TEXT, Becomes::Flag),
        Field::new("recursive", Accepts::Words(&["enabled", "disabled", "writable", "readonly"]), Becomes::Text),
    ],
    required: &[],
    others: Others::Extensions,
};

static MOUNT_VOLUME: Object = Object {
    fields: &[
        Field::new("labels", LIST_OR_MAP, Becomes::TextMap),
        Field::new("nocopy", BOOLEAN_OR_TEXT, Becomes::Flag),
        Field::new("subpath", TEXT, Becomes::Text),
    ],
    required: &[],
    others: Others::Extensions,
};

static MOUNT_TMPFS: Object = Object {
    fields: &[
        Field::new("size", Accepts::Within(0, i128::MAX), Becomes::Bytes),
        Field::new("mode", NUMBER_OR_TEXT, Becomes::Unsigned(32)),
    ],
    required: &[],
    others: Others::Extensions,
};

static MOUNT_IMAGE: Object =
    Object { fields: &[Field::new("subpath", TEXT, Becomes::Text)], required: &[], others: Others::Extensions };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_the_schema_match_anywhere_in_a_text() {
        for accepted in ["always", "xbuildx", "every_5d", "a every_10m"] {
            assert!(pull_policy(accepted), "{accepted}");
        }
        for refused in ["", "sometimes", "every_", "every_5", "every_d"] {
            assert!(!pull_policy(refused), "{refused}");
        }
        assert!(container_name("ab") && container_name("--ab"));
        assert!(!container_name("a") && !container_name("") && !container_name("-a"));
    }
}
