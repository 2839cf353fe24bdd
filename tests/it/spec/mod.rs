//! Compose files to models and projects: what is printed, what is refused and where, what a project holds.

mod limits;
mod printing;
mod projects;
mod refusals;

use std::collections::BTreeMap;

use xcompose::spec::diagnostic::SpecError;
use xcompose::spec::source::Source;
use xcompose::spec::{self, Loaded, Options};

/// Loads a directory with this compose file and these other files, as project `demo`.
fn load_with(compose: &str, files: &[(&str, &str)], options: &Options) -> Result<Loaded, SpecError> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("compose.yaml"), compose).unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let source = Source {
        current_dir: dir.path().to_owned(),
        environment: BTreeMap::from([("HOME".to_owned(), "/home/user".to_owned())]),
        project_name: Some("demo".to_owned()),
        ..Source::default()
    };
    spec::load(&source, options)
}

/// The same, the whole project, which must load.
fn load(compose: &str) -> Loaded {
    load_with(compose, &[], &Options::default()).unwrap_or_else(|fault| panic!("{fault}"))
}

/// The faults of a compose file that must not load.
fn faults(compose: &str) -> String {
    match load_with(compose, &[], &Options::default()) {
        Ok(loaded) => panic!("loaded: {:?}", loaded.model),
        Err(SpecError(faults)) => faults
            .iter()
            .map(|fault| {
                let at = fault.at.as_ref().map_or(String::new(), |at| format!("{}:{}: ", at.line, at.column));
                let help = fault.help.as_ref().map_or(String::new(), |help| format!(" ({help})"));
                format!("{at}{}{help}\n", fault.message)
            })
            .collect(),
    }
}
