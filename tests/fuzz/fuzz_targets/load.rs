//! Any bytes are a project: the load ends with a model or with faults, never in a panic, a hang or a full memory.
//!
//! The input is cut at lines of `%%%`: the main file, a file laid over it, one to include or extend (`c.yaml`), and `.env`.
//! What loads is also printed, read back, made into a project and listed, so that these see the same inputs.

#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use xcompose::spec::print::Format;
use xcompose::spec::source::Source;
use xcompose::spec::{Options, load};

const NAMES: [&str; 4] = ["a.yaml", "b.yaml", "c.yaml", ".env"];

/// One directory for the whole run: making one for each input would cost more than the load.
static DIRECTORY: LazyLock<TempDir> = LazyLock::new(|| TempDir::new().expect("a directory for the inputs"));

fuzz_target!(|bytes: &[u8]| {
    let directory = DIRECTORY.path();
    let mut parts = split(bytes);
    let mut given = Vec::new();
    for name in NAMES {
        let path = directory.join(name);
        match parts.next() {
            Some(part) => {
                std::fs::write(&path, part).expect("write an input");
                given.push(name);
            }
            None => drop(std::fs::remove_file(&path)),
        }
    }
    let files: Vec<&str> = given.into_iter().filter(|name| ["a.yaml", "b.yaml"].contains(name)).collect();
    loads(directory, &files, &Options::default());
    let raw = Options { interpolate: false, normalize: false, consistency: false, ..Options::default() };
    loads(directory, &files, &raw);
});

fn loads(directory: &Path, files: &[&str], options: &Options) {
    let source = Source {
        current_dir: directory.to_path_buf(),
        project_name: Some("p".to_owned()),
        files: files.iter().map(Into::into).collect(),
        ..Source::default()
    };
    match load(&source, options) {
        Ok(loaded) => {
            let model = &loaded.model;
            let _ = (model.variables(), model.origins(), model.unhonoured(), model.print_raw(Format::Yaml));
            if options.interpolate {
                let _ = model.project();
                let _ = (model.print(Format::Yaml), model.print(Format::Json), model.service_names());
            }
            drop(loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>());
        }
        Err(error) => drop(error.to_string()),
    }
}

fn split(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let text = rest?;
        let cut = text.windows(5).position(|window| window == b"\n%%%\n");
        rest = cut.map(|at| &text[at + 5..]);
        Some(cut.map_or(text, |at| &text[..=at]))
    })
}
