//! What no honest file holds ends in a sentence: bombs, depths, sizes, circles through files.

use super::{faults, load_with};
use xcompose::spec::Options;

/// The faults of a directory with these files.
fn told(compose: &str, files: &[(&str, &str)]) -> String {
    match load_with(compose, files, &Options::default()) {
        Ok(loaded) => panic!("loaded: {:?}", loaded.model),
        Err(fault) => fault.to_string(),
    }
}

#[test]
fn anchors_that_multiply_end_at_a_count_of_values() {
    let mut text = "x-0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..10 {
        let list = vec![format!("*a{}", n - 1); 10].join(", ");
        text += &format!("x-{n}: &a{n} [{list}]\n");
    }
    assert!(faults(&text).contains("the file holds more than 2000000 values"));
}

#[test]
fn a_file_of_lists_in_lists_ends_at_a_depth() {
    let lists = |depth: usize| faults(&format!("x-a: {}{}\n", "[".repeat(depth), "]".repeat(depth)));
    assert!(lists(300).contains("nested too deeply"));
    assert!(lists(1_000_000).contains("nested too deeply"));
}

#[test]
fn a_default_in_a_default_in_a_default_ends_at_a_depth() {
    let text = format!("services: {{a: {{image: '{}x{}'}}}}", "${A:-".repeat(20_000), "}".repeat(20_000));
    assert!(faults(&text).contains("services.a.image"), "{}", faults(&text));
}

#[test]
fn a_file_past_the_limit_is_refused_before_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(dir.path().join("compose.yaml")).unwrap();
    // A hole: nothing of it lies on the disk.
    file.set_len(100 << 20).unwrap();
    let source = xcompose::spec::source::Source { current_dir: dir.path().to_owned(), ..Default::default() };
    let fault = xcompose::spec::load(&source, &Options::default()).unwrap_err().to_string();
    assert_eq!(fault, "error: compose.yaml: larger than 32 MiB");
}

#[test]
fn files_that_include_each_other_are_told_all_the_way_round() {
    let files = [("b.yaml", "include: [c.yaml]\n"), ("c.yaml", "include: [b.yaml]\n")];
    let told = told("include: [b.yaml]\nservices: {a: {image: x}}\n", &files);
    assert!(told.contains("include cycle detected:\nb.yaml\n include c.yaml\n include b.yaml"), "{told}");
}

#[test]
fn services_that_extend_each_other_through_files_are_told_all_the_way_round() {
    let back = "services: {b: {extends: {file: compose.yaml, service: a}}}\n";
    let told = told("services: {a: {extends: {file: b.yaml, service: b}}}\n", &[("b.yaml", back)]);
    assert!(told.contains("Circular reference") && told.contains("extends b in b.yaml"), "{told}");
}

#[test]
fn a_chain_of_extensions_is_as_long_as_it_may_be() {
    let mut text = "services:\n  s0: {image: x}\n".to_owned();
    for n in 1..2_000 {
        text += &format!("  s{n}: {{extends: s{}}}\n", n - 1);
    }
    let loaded = super::load(&text);
    assert_eq!(loaded.model.image_names().iter().filter(|image| *image == "x").count(), 2_000);
}
