//! No bytes make the loader panic: random ones, and random mixtures of what compose files are made of.

use proptest::prelude::*;

use super::diagnostic::SpecError;
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

proptest! {
    #[test]
    fn no_compose_file_panics_the_load(text in pieces(), env in "[A-C=$\\{\\}'\"\n]{0,20}") {
        let _ = loaded(&[("a.yaml", text.as_bytes()), (".env", env.as_bytes())]);
    }

    #[test]
    fn no_bytes_panic_the_load(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = loaded(&[("a.yaml", &bytes)]);
    }
}
