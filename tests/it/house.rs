//! The rules of the house: who may import whom, where an outside crate lives, where unsafe code is.

use std::path::{Path, PathBuf};

/// A module and the modules of this crate it may name.
const MAY_IMPORT: [(&str, &[&str]); 9] = [
    ("values", &[]),
    ("dns", &["values"]),
    ("engine", &["values"]),
    ("spec", &["values"]),
    ("planner", &["values", "engine", "spec"]),
    ("executor", &["values", "engine", "planner"]),
    ("docker", &["values", "engine"]),
    ("runtime", &["values", "engine", "dns"]),
    ("cli", &["values", "dns", "engine", "spec", "planner", "executor", "docker", "runtime"]),
];

/// An outside crate and the only places that may name it.
const HOMES: [(&str, &[&str]); 11] = [
    ("petgraph", &["planner/graph"]),
    ("rtnetlink", &["runtime/network/netlink"]),
    ("netlink_bindings", &["runtime/network/"]),
    ("netlink_socket2", &["runtime/network/"]),
    ("hickory_proto", &["dns/"]),
    ("nix", &["runtime/"]),
    ("libc", &["runtime/"]),
    ("clap", &["cli/"]),
    ("notify", &["cli/watch"]),
    ("crossterm", &["cli/"]),
    ("tar", &["runtime/"]),
];

fn sources() -> Vec<(String, PathBuf)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &mut found);
    found.sort();
    found.into_iter().map(|path| (path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(), path)).collect()
}

/// The lines of code with their numbers: no comments, and no tests at the file's end.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| (number + 1, line.to_owned()))
        .collect()
}

/// Where `word` stands in `line` as a whole path segment.
fn names<'a>(line: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> + 'a {
    line.match_indices(prefix).filter_map(move |(at, _)| {
        let before = line[..at].chars().next_back();
        let free = !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
        let rest = &line[at + prefix.len()..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        free.then(|| &rest[..end])
    })
}

#[test]
fn modules_import_only_what_the_design_allows() {
    let mut wrong = Vec::new();
    for (name, path) in sources() {
        let module = name.split(['/', '.']).next().unwrap();
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(known, _)| *known == module) else {
            assert!(["main", "lib"].contains(&module), "{name}: the design does not know this module");
            continue;
        };
        for (number, line) in code(&path) {
            for target in names(&line, "crate::") {
                let other = MAY_IMPORT.iter().any(|(known, _)| *known == target);
                if other && target != module && !allowed.contains(&target) {
                    wrong.push(format!("src/{name}:{number}: {module} may not name {target}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_outside_crate_has_one_home() {
    let mut wrong = Vec::new();
    for (name, path) in sources() {
        for (number, line) in code(&path) {
            for (outside, homes) in HOMES {
                let named = names(&line, outside).any(|rest| rest.is_empty()) && line.contains(&format!("{outside}::"));
                if named && !homes.iter().any(|home| name.starts_with(home)) {
                    wrong.push(format!("src/{name}:{number}: {outside} lives in {}", homes.join(", ")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_is_in_one_place() {
    let mut wrong = Vec::new();
    for (name, path) in sources() {
        if name.starts_with("runtime/sys") {
            continue;
        }
        for (number, line) in code(&path) {
            if names(&line, "unsafe").any(str::is_empty) {
                wrong.push(format!("src/{name}:{number}"));
            }
        }
    }
    assert!(wrong.is_empty(), "unsafe outside runtime/sys: {}", wrong.join(", "));
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|(_, path)| !std::fs::read_to_string(path).unwrap().starts_with("//! "))
        .map(|(name, _)| name)
        .collect();
    assert!(silent.is_empty(), "no header: {}", silent.join(", "));
}
