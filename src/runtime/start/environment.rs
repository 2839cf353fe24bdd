//! The environment of a process, in Docker's order, and where its command is looked for.

use std::ffi::CString;

use crate::runtime::start::StartError;
use crate::runtime::start::program::{Image, text};

/// What Docker sets where neither image nor user does.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `PATH`, `HOSTNAME`, `TERM` (with a terminal), then what was given, each replacing an earlier one in its place; last
/// `HOME`, unless given.
pub fn merge(given: &[String], hostname: &str, terminal: bool, home: &str) -> Vec<String> {
    let mut all = vec![format!("PATH={PATH}"), format!("HOSTNAME={hostname}")];
    if terminal {
        all.push("TERM=xterm".to_owned());
    }
    for entry in given {
        match all.iter_mut().find(|known| name(known) == name(entry)) {
            Some(known) => known.clone_from(entry),
            None => all.push(entry.clone()),
        }
    }
    if !all.iter().any(|entry| name(entry) == "HOME") {
        all.push(format!("HOME={home}"));
    }
    all
}

fn name(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(name, _)| name)
}

/// Which file a command is: itself, if it has a slash, else the first of that name in the folders of `PATH`.
pub fn command(name_of_it: &str, env: &[String]) -> Result<Image, StartError> {
    if name_of_it.contains('/') {
        return Ok(Image::Path(text(name_of_it)?));
    }
    let path = env
        .iter()
        .find(|entry| name(entry) == "PATH")
        .and_then(|entry| entry.split_once('='))
        .map_or("", |(_, path)| path);
    // A relative folder would make the working directory a place to look for programs; Docker refuses that too.
    let folders = path.split(':').filter(|folder| folder.starts_with('/') && !name_of_it.is_empty());
    let files = folders.map(|folder| text(format!("{}/{name_of_it}", folder.trim_end_matches('/'))));
    Ok(Image::Search(files.collect::<Result<Vec<CString>, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_stand_in_dockers_order_and_replace_in_place() {
        let given = ["A=1", "PATH=/x", "B=2", "A=3", "TERM=dumb"].map(str::to_owned);
        assert_eq!(
            merge(&given, "h", true, "/root"),
            ["PATH=/x", "HOSTNAME=h", "TERM=dumb", "A=3", "B=2", "HOME=/root"]
        );
        assert_eq!(
            merge(&["HOME=/h".to_owned()], "h", false, "/root"),
            [&format!("PATH={PATH}"), "HOSTNAME=h", "HOME=/h"]
        );
    }

    #[test]
    fn a_command_is_looked_for_in_absolute_folders_only() {
        let env = ["PATH=/a::.:/b/".to_owned()];
        let Image::Search(files) = command("sh", &env).unwrap() else { panic!("not searched") };
        assert_eq!(files, [c"/a/sh".to_owned(), c"/b/sh".to_owned()]);
        assert!(matches!(command("./sh", &env).unwrap(), Image::Path(path) if path == *c"./sh"));
    }
}
