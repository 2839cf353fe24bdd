//! What is refused, with its place, all faults of a stage at once.

use xcompose::spec::Options;
use xcompose::spec::print::Format;

use super::{faults, load, load_with};

#[test]
fn every_unknown_key_and_wrong_type_is_named_at_once() {
    insta::assert_snapshot!(faults(
        "services:\n  web:\n    imge: nginx\n    restart: 5\n    ports: 80\n    cgroup: hosts\n    volumes: [{type: bnd, target: /t}]\n    cap_add: [A, A]\nnetwork: {}\n"
    ), @r#"
    3:5: services.web: unknown key `imge` (did you mean `image`?)
    4:14: services.web.restart must be a string, not an integer (put it in quotes: "5")
    5:12: services.web.ports must be a list, not an integer
    6:13: services.web.cgroup: "hosts" is not allowed here; use one of `host`, `private` (did you mean `host`?)
    7:22: services.web.volumes.[0].type: "bnd" is not allowed here; use one of `bind`, `volume`, `tmpfs`, `cluster`, `npipe`, `image` (did you mean `bind`?)
    9:1: unknown key `network` (did you mean `networks`?)
    "#);
}

#[test]
fn what_can_not_become_a_value_is_named_with_it() {
    insta::assert_snapshot!(faults(
        "services: {a: {image: i, mem_limit: 5x, stop_grace_period: '5', command: \"a 'b\", healthcheck: {retries: -1}, extra_hosts: [x]}}"
    ), @r#"
    1:37: services.a.mem_limit: invalid size: '5x'
    1:60: services.a.stop_grace_period: time: missing unit in duration "5"
    1:74: services.a.command: invalid command line: a quote, a backslash or a parenthesis is not closed (write it as a list, or use `sh -c '…'`)
    1:105: services.a.healthcheck.retries: -1 may not be negative
    1:124: extra_hosts: "x" has no address (write host=address)
    "#);
}

#[test]
fn names_that_lead_nowhere_are_named_with_what_was_meant() {
    insta::assert_snapshot!(faults(
        "services: {web: {image: i, depends_on: [bd], networks: [frnt], volumes: ['data:/d'], secrets: [s]}, db: {image: i}}\nnetworks: {front: {}}\n"
    ), @r#"
    1:57: service "web" refers to undefined network frnt (did you mean `front`?)
    1:74: service "web" refers to undefined volume data (define it under the top-level `volumes:`)
    1:96: service "web" refers to undefined secret s (define it under the top-level `secrets:`)
    1:41: service "web" depends on undefined service "bd" (did you mean `db`?)
    "#);
}

#[test]
fn a_cycle_is_told_all_the_way_round() {
    assert_eq!(
        faults("services: {a: {image: i, depends_on: [b]}, b: {image: i, depends_on: [c]}, c: {image: i, links: [b]}}"),
        "1:98: dependency cycle detected: b -> c -> b\n"
    );
}

#[test]
fn a_long_chain_of_dependencies_is_no_cycle_and_overflows_nothing() {
    let service = |n: u32| format!("  s{n}: {{image: i, depends_on: [s{}]}}\n", n + 1);
    let chain: String = (0..3000).map(service).collect();
    load(&format!("services:\n{chain}  s3000: {{image: i}}\n"));
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    insta::assert_snapshot!(faults(
        "services: {a: {image: i, cpus: 1, scale: 2, container_name: one, deploy: {replicas: 3, resources: {limits: {cpus: 2}}}, tmpfs: /x, volumes: ['/x']}, b: {image: i, network_mode: host, networks: [default]}}"
    ), @r#"
    1:32: services.a: can't set distinct values on 'cpus' and 'deploy.resources.limits.cpus'
    1:42: services.a.scale: can't set container_name, as 2 containers can't share a name
    1:85: services.a.deploy.replicas: can't set container_name, as 3 containers can't share a name
    1:42: services.a: can't set distinct values on 'scale' and 'deploy.replicas'
    1:142: services.a.volumes[0]: target /x already mounted as services.a.tmpfs[0]
    1:184: service "b" declares mutually exclusive `network_mode` and `networks`
    "#);
}

#[test]
fn what_only_the_engine_would_refuse_is_a_fine_model_and_no_project() {
    let loaded = load(
        "services: {a: {image: 'A:', restart: sometimes, stop_signal: NOPE, volumes: ['ab:rel'], ports: [{target: 80, published: 99999}]}}\nvolumes: {ab: {}}\n",
    );
    let messages: Vec<String> =
        loaded.model.project().unwrap_err().0.iter().map(|fault| fault.message.clone()).collect();
    insta::assert_snapshot!(messages.join("\n"), @r#"
    services.a: image: invalid image reference "A:": a tag has at most 128 letters, digits, `_`, `.` and `-`
    services.a: stop_signal: invalid signal: NOPE
    services.a: restart: invalid restart policy "sometimes": use no, always, unless-stopped or on-failure[:max-retries]
    services.a.ports[0]: published: "99999" is no port nor range of ports
    services.a.volumes[0]: mount path "rel" must be absolute
    "#);
}

#[test]
fn a_model_of_which_nothing_is_left_is_refused() {
    for nothing in ["{}", "version: '3'", "services: !reset {a: {image: x}}"] {
        assert!(faults(nothing).contains("empty compose file"), "{nothing}");
    }
}

#[test]
fn a_label_file_is_read_even_when_env_files_are_not() {
    let compose = "services: {a: {image: x, label_file: no.labels, env_file: no.env}}";
    let options = Options { env_files: false, ..Options::default() };
    let fault = load_with(compose, &[], &options).unwrap_err().to_string();
    assert!(fault.contains("label file: ") && !fault.contains("env file: "), "{fault}");
}

#[test]
fn what_a_tag_promises_must_be_so() {
    insta::assert_snapshot!(faults("x-a: !!binary '?'\nx-b: !!timestamp x\nx-c: !!int x\n"), @r#"
    1:15: yaml: !!binary value contains invalid base64 data, or what is no text
    2:18: yaml: cannot decode `x` as a !!timestamp
    3:12: yaml: cannot decode `x` as a !!int
    "#);
}

#[test]
fn a_bind_mount_without_a_source_is_refused() {
    insta::assert_snapshot!(faults("services: {a: {image: x, volumes: [{type: bind, target: /t}]}}"), @r#"1:36: services.a.volumes: invalid mount config for type "bind": field Source must not be empty"#);
}

#[test]
fn a_volume_of_one_letter_is_taken_for_a_drive_and_its_long_form_told() {
    let loaded = load("services: {a: {image: i, volumes: ['v:/x']}}\nvolumes: {v: {}}");
    let told = loaded.model.project().unwrap_err().to_string();
    let hint = r#"mount path "v:/x" must be absolute; one letter and a colon are a drive: for the volume "v" write `{type: volume, source: v, target: /x}`"#;
    assert!(told.contains(hint), "{told}");
}

#[test]
fn what_json_can_not_say_is_refused_where_it_stands() {
    let model = load("services: {a: {image: x}}\nx-a: {b: .inf}\n").model;
    let fault = model.print(Format::Json).unwrap_err().to_string();
    assert!(fault.starts_with("compose.yaml:2:10: error: json: unsupported value"), "{fault}");
    assert!(model.print(Format::Yaml).unwrap().contains("b: .inf"));
}

#[test]
fn an_include_of_nothing_is_a_warning() {
    let loaded = load_with(
        "include: [null, {env_file: e}, empty.yaml]\nservices: {a: {image: x}}\n",
        &[("empty.yaml", "")],
        &Options::default(),
    )
    .unwrap();
    let told: Vec<String> = loaded.warnings.iter().map(|one| one.message.clone()).collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    include: an entry without a `path` includes nothing
    include: an entry without a `path` includes nothing
    include: what is included is empty
    ");
}
