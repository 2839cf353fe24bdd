//! What a project holds.

use std::time::Duration;

use xcompose::spec::Options;
use xcompose::spec::print::Format;
use xcompose::spec::project::Project;
use xcompose::spec::project::mounts::MountSource;
use xcompose::spec::project::network::NetworkMode;
use xcompose::spec::project::service::{Condition, CredentialSpec};
use xcompose::values::health::Probe;
use xcompose::values::protocol::Protocol;
use xcompose::values::restart::Restart;

use super::{load, load_with};

fn project(compose: &str) -> Project {
    load(compose).model.project().unwrap_or_else(|fault| panic!("{fault}"))
}

#[test]
fn a_service_is_typed_throughout() {
    let project = project(
        r#"
services:
  web:
    image: nginx:1.25
    scale: 2
    ports: ["8000-8001:80"]
    restart: on-failure:3
    cpus: 0.1
    mem_limit: 64m
    pids_limit: -1
    networks: {back: {priority: 1}, front: {priority: 5, ipv4_address: 10.0.0.5}}
    volumes: ["data:/d:ro", "/x", {type: tmpfs, target: /t, tmpfs: {size: 1m, mode: 0700}}]
    tmpfs: ["/run:size=2m,noexec"]
    depends_on: {db: {condition: service_healthy, restart: true}}
    healthcheck: {test: [CMD, "true"], interval: 5s, retries: 2}
  db: {build: ./db}
networks: {front: {ipam: {config: [{subnet: 10.0.0.0/24}]}}, back: {}}
volumes: {data: {name: mine}}
"#,
    );
    let web = &project.services["web"];
    assert_eq!((web.scale, web.image_named, web.restart), (2, true, Restart::OnFailure { max: 3 }));
    assert_eq!(
        (web.ports[0].target, web.ports[0].published, web.ports[0].protocol),
        (80, Some((8000, 8001)), Protocol::Tcp)
    );
    assert_eq!(web.resources.nano_cpus, Some(100_000_000));
    assert_eq!((web.resources.memory, web.resources.pids), (Some(64 << 20), Some(-1)));
    let NetworkMode::Networks(networks) = &web.network else { panic!("{:?}", web.network) };
    assert_eq!(networks.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["front", "back"]);
    assert_eq!(networks[0].1.ipv4_address, Some("10.0.0.5".parse().unwrap()));
    assert!(
        matches!(&web.mounts[0].source, MountSource::Volume { key, .. } if key.as_str() == "data" && web.mounts[0].read_only)
    );
    assert!(matches!(web.mounts[1].source, MountSource::Anonymous { no_copy: false }));
    assert!(matches!(web.mounts[2].source, MountSource::Tmpfs { size: Some(1_048_576), mode: Some(0o700), .. }));
    assert!(
        matches!(&web.mounts[3].source, MountSource::Tmpfs { size: Some(2_097_152), options, .. } if options == &["noexec"])
    );
    let dependency = &web.depends_on["db"];
    assert_eq!((dependency.condition, dependency.restart, dependency.required), (Condition::Healthy, true, true));
    let check = web.healthcheck.as_ref().unwrap();
    assert_eq!(check.probe, Probe::Exec(vec!["true".into()]));
    assert_eq!((check.interval, check.retries), (Some(Duration::from_secs(5)), Some(2)));
    let db = &project.services["db"];
    assert_eq!((db.image.to_string(), db.image_named, db.build.is_some()), ("demo-db".into(), false, true));
    assert_eq!(project.volumes["data"].name.as_str(), "mine");
    assert_eq!(project.networks["front"].name.as_str(), "demo_front");
}

#[test]
fn what_deploy_says_overrules_the_older_keys() {
    let project = project(
        "services: {a: {image: i, restart: always, deploy: {replicas: 3, restart_policy: {condition: on-failure, max_attempts: 2},
         resources: {limits: {cpus: '0.5', memory: 1g, pids: 9}, reservations: {memory: 512m}}}}}",
    );
    let a = &project.services["a"];
    assert_eq!((a.scale, a.restart), (3, Restart::OnFailure { max: 2 }));
    assert_eq!((a.resources.nano_cpus, a.resources.memory), (Some(500_000_000), Some(1 << 30)));
    assert_eq!((a.resources.pids, a.resources.memory_reservation), (Some(9), Some(512 << 20)));
}

#[test]
fn links_and_namespaces_of_services_are_dependencies() {
    let project = project(
        "services: {a: {image: i, links: ['b:x'], network_mode: 'service:c', volumes_from: ['d:ro']}, b: {image: i}, c: {image: i}, d: {image: i}}",
    );
    let needs: Vec<_> =
        project.services["a"].depends_on.iter().map(|(name, need)| (name.as_str(), need.restart)).collect();
    assert_eq!(needs, [("b", true), ("c", true), ("d", false)]);
}

#[test]
fn services_of_profiles_that_are_not_active_are_set_aside_until_they_are_asked_for() {
    let compose = "services: {a: {image: i}, b: {image: i, profiles: [p], depends_on: [c]}, c: {image: i, profiles: [p]}, d: {image: i, profiles: [q]}}";
    let names = |services: &[&str]| {
        let options =
            Options { services: services.iter().map(|name| (*name).to_owned()).collect(), ..Options::default() };
        let project = load_with(compose, &[], &options).unwrap().model.project().unwrap();
        let names = |map: &std::collections::BTreeMap<_, _>| {
            map.keys().map(|name: &xcompose::values::names::ServiceName| name.to_string()).collect::<Vec<_>>().join(" ")
        };
        (names(&project.services), names(&project.disabled))
    };
    assert_eq!(names(&[]), ("a".into(), "b c d".into()));
    assert_eq!(names(&["b"]), ("b c".into(), "a d".into()));
}

#[test]
fn two_services_of_one_container_name_are_refused_together_and_fine_alone() {
    let both = "services: {a: {image: i, container_name: one}, b: {image: i, container_name: one}}";
    let told = load_with(both, &[], &Options::default()).unwrap_err().to_string();
    assert!(told.contains(r#"container name "one" is already in use by service "a""#), "{told}");
    let alone = Options { services: vec!["b".into()], ..Options::default() };
    assert_eq!(load_with(both, &[], &alone).unwrap().model.project().unwrap().services.len(), 1);
    // Commands on what is there look after whichever of the two that is.
    assert!(load_with(both, &[], &Options { keep_others: true, ..Options::default() }).is_ok());
}

#[test]
fn env_files_stand_below_the_environment_and_the_later_wins() {
    let compose = "services: {a: {image: i, env_file: [one, {path: two, format: raw}, {path: gone, required: false}], environment: {B: own, N: }}}";
    let files = [("one", "A=1\nB=1\nC=\"x y\"\n"), ("two", "C=\"$A\"\nD=$A\n")];
    let project = load_with(compose, &files, &Options::default()).unwrap().model.project().unwrap();
    let environment: Vec<_> = project.services["a"].environment.iter().map(|(k, v)| format!("{k}={v:?}")).collect();
    assert_eq!(environment, ["A=Some(\"1\")", "B=Some(\"own\")", "C=Some(\"\\\"$A\\\"\")", "D=Some(\"$A\")", "N=None"]);
}

#[test]
fn a_key_without_effect_is_named_at_its_place() {
    let loaded = load("services:\n  a:\n    image: i\n    isolation: default\n");
    let warnings = loaded.model.unhonoured();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].to_string().contains("compose.yaml:4:5"), "{}", warnings[0]);
    assert!(loaded.warnings.is_empty());
}

#[test]
fn logging_that_comes_to_nothing_is_named_at_its_place() {
    let loaded = load(
        "services:
  a: {image: i, logging: {driver: syslog, options: {syslog-address: 'tcp://h:1'}}}
  b: {image: i, logging: {driver: local, options: {max-size: lots, max-file: few, tag: x}}}
  c: {image: i, logging: {options: {max-size: 10m, max-file: 3}}}
  d: {image: i, logging: {driver: none}}
",
    );
    let warnings: Vec<String> = loaded.model.unhonoured().iter().map(ToString::to_string).collect();
    let wanted = [
        ("compose.yaml:2:35", "services.a.logging.driver: `syslog` is not supported"),
        ("compose.yaml:3:62", "services.b.logging.options: `max-size` is no size"),
        ("compose.yaml:3:78", "services.b.logging.options: `max-file` is no number"),
        ("compose.yaml:3:83", "services.b.logging.options: `tag` is not supported"),
    ];
    assert_eq!(warnings.len(), wanted.len(), "{warnings:?}");
    for (at, text) in wanted {
        assert!(warnings.iter().any(|said| said.contains(at) && said.contains(text)), "{at} {text}: {warnings:?}");
    }
}

#[test]
fn a_label_file_sees_no_variable_but_its_own() {
    let compose = "services: {a: {image: x, label_file: l}}";
    let files = [("l", "A=1\nB=${A}\nC=${HOME:-none}\nHOME\n")];
    let loaded = load_with(compose, &files, &Options::default()).unwrap();
    let text = loaded.model.print(Format::Json).unwrap();
    let printed: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(printed["services"]["a"]["labels"], serde_json::json!({"A": "1", "B": "1", "C": "none"}));
}

#[test]
fn a_config_that_is_said_not_to_be_external_needs_no_source() {
    load("services: {a: {image: x}}\nconfigs: {c: {external: false}}");
}

#[test]
fn a_variable_knows_every_place_that_names_it() {
    let compose = "services:\n  a:\n    image: \"x:${TAG:-1}\"\n    command: [echo, $TAG]\n";
    let raw = Options { interpolate: false, ..Options::default() };
    let variables = load_with(compose, &[], &raw).unwrap().model.variables();
    let places: Vec<String> = variables["TAG"].places.iter().map(|(path, at)| format!("{path} {at}")).collect();
    assert_eq!(places, ["services.a.image compose.yaml:3:15", "services.a.command.[1] compose.yaml:4:21"]);
}

#[test]
fn what_runs_before_a_start_and_whose_credentials_are_used_have_types() {
    let loaded = load(
        "services:\n  a: {image: x, pre_start: [{command: [migrate], image: tool, per_replica: true}]}\n  b: {image: x, credential_spec: {file: f.json}}\n",
    );
    let project = loaded.model.project().unwrap();
    let service = |name: &str| &project.services[name];
    assert_eq!(service("b").credential_spec, Some(CredentialSpec::File("f.json".to_owned())));
    let before = &service("a").pre_start[0];
    assert_eq!(before.image.as_ref().map(ToString::to_string).as_deref(), Some("tool"));
    assert_eq!((before.hook.command.as_slice(), before.per_replica), (&["migrate".to_owned()][..], true));
}
