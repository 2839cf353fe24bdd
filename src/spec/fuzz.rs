//! No bytes make the loader panic: random ones, and random mixtures of what compose files are made of.

use proptest::prelude::*;

use super::diagnostic::SpecError;
use super::print::Format;
use super::source::Source;
use super::{Loaded, Options, load};

/// Loads the `*.yaml` among `files`, in a directory of their own.
pub(in crate::spec) fn loaded(files: &[(&str, &[u8])]) -> Result<Loaded, SpecError> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let source = Source {
        current_dir: dir.path().to_path_buf(),
        project_name: Some("p".into()),
        files: files.iter().filter(|(name, _)| name.ends_with("yaml")).map(|(name, _)| name.into()).collect(),
        ..Source::default()
    };
    load(&source, &Options::default())
}

/// Pieces of compose files, put together at random: more of it gets past the scanner than of random bytes.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "services:\n",
        "  a:\n",
        "    image: x\n",
        "    ports: [\"80:80\", 1-3:4-6/udp]\n",
        "    build: .\n",
        "    environment: {A: 1, B: }\n",
        "    extends: a\n",
        "    volumes: ['a:/b:ro', {type: bind}]\n",
        "    <<: *x\n",
        "x-a: &x {image: y}\n",
        "    deploy: {resources: {limits: {cpus: '1'}}}\n",
        "    healthcheck: {test: x, retries: ${R:-3}}\n",
        "networks: {n: {ipam: {config: [{subnet: s}]}}}\n",
        "    networks: [n]\n",
        "include: [a.yaml]\n",
        "---\n",
        "    depends_on: [a]\n",
        "    command: a ' b\n",
        "    !reset x: y\n",
        "    ulimits: {n: 1}\n",
        "  ",
        "- ",
        ": ",
        "null\n",
        "${",
        "$A",
        "]",
        "{",
        "\t",
        "\"",
    ]);
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

/// Attributes of a service that load by themselves, in forms short and long.
fn attributes() -> impl Strategy<Value = String> {
    let attribute = prop::sample::select(vec![
        "build: {context: ., args: [A=$$1, B], ssh: [default]}",
        "command: echo 'a  b' $$HOME \"#\"",
        "entrypoint: ''",
        "cpus: 0.5",
        "deploy: {resources: {limits: {memory: 1.5g, cpus: '0.5'}}, labels: [a=b]}",
        "depends_on: [b]",
        "dns: 1.1.1.1",
        "environment: {A: 1.50, B: null, C: 'yes', D: \"a\\nb\", E: 0o17}",
        "extra_hosts: {h: [1.2.3.4, '::1']}",
        "healthcheck: {test: curl x, interval: 90s, retries: 3}",
        "labels: [a, b=c, 'd= e ']",
        "mem_limit: 1.5g",
        "networks: {n: {aliases: [x], priority: 3}, default: }",
        "ports: ['80', '127.0.0.1:8000-8002:90-92/udp', {target: 5, published: 6}]",
        "pull_policy: if_not_present",
        "secrets: [s, {source: s, target: t, mode: 0440}]",
        "stop_grace_period: 1m30s",
        "tmpfs: /t",
        "ulimits: {nofile: 5, nproc: {soft: 1, hard: 2}}",
        "user: '0'",
        "volumes: ['v:/v:ro', './x:/y', '/anon', {type: tmpfs, target: /q, tmpfs: {size: 1m}}]",
        "x-own: {b: 1, a: [null, 1e3]}",
    ]);
    let line = |set: std::collections::BTreeSet<&str>| set.iter().map(|one| format!("    {one}\n")).collect();
    prop::collection::btree_set(attribute, 0..8).prop_map(line)
}

proptest! {
    #[test]
    fn what_is_printed_is_printed_the_same_when_it_is_read_back(attributes in attributes()) {
        let rest = "  b: {image: b}\nnetworks: {n: {}}\nvolumes: {v: {}}\nsecrets: {s: {file: ./s}}\n";
        let text = format!("services:\n  a:\n    image: a\n{attributes}{rest}");
        let print = |text: &str| loaded(&[("a.yaml", text.as_bytes())]).unwrap().model.print(Format::Yaml).unwrap();
        let printed = print(&text);
        prop_assert_eq!(print(&printed), printed);
    }

    #[test]
    fn no_compose_file_panics_the_load(text in pieces(), env in "[A-C=$\\{\\}'\"\n]{0,20}") {
        let _ = loaded(&[("a.yaml", text.as_bytes()), (".env", env.as_bytes())]);
    }

    #[test]
    fn no_bytes_panic_the_load(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = loaded(&[("a.yaml", &bytes)]);
    }
}
