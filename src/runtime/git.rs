//! Git repositories as build contexts, as sources of `ADD` and as places of compose files, by the `git` program.
//!
//! `https://host/repository.git#reference:folder`, `git@host:…`, `ssh://…`, `git://…`, `github.com/…`; in place of the fragment
//! `?ref=…&subdir=…` (Docker's documentation, "Git repositories"). Nothing of a repository runs here: its hooks are off, and it can
//! lead to no other protocol.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::runtime::build::copy::relative;

/// How often whoever waits is asked whether they still do.
const CALLER_CHECK: u16 = 250;

/// A repository, and what of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repository {
    /// Where it is.
    pub url: String,
    /// A branch, a tag, a commit; `None` is its default branch.
    pub reference: Option<String>,
    /// A folder within.
    pub folder: Option<PathBuf>,
    /// What the commit must be.
    pub checksum: Option<String>,
    /// Whether repositories within it are fetched too.
    pub submodules: Submodules,
}

/// What becomes of repositories within a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Submodules {
    /// They are fetched with it.
    #[default]
    Fetched,
    /// They are left out.
    Left,
}

/// What becomes of the folder `.git`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It goes.
    Nothing,
    /// It stays (`ADD --keep-git-dir`).
    History,
}

/// Why a repository can't be had.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no program.
    #[error("the program git can't be started, which fetches repositories")]
    NoProgram(#[source] io::Error),
    /// Git says why.
    #[error("git {what}: {said}")]
    Failed {
        /// The command.
        what: &'static str,
        /// Its own words.
        said: String,
    },
    /// Nobody waits any more.
    #[error("cancelled")]
    Cancelled,
    /// It has no such folder.
    #[error("the repository has no folder {}", .0.display())]
    NoFolder(PathBuf),
    /// It is at another commit.
    #[error("the commit is {found}, not {expected}")]
    Checksum {
        /// Where it is.
        found: String,
        /// Where it has to be.
        expected: String,
    },
    /// A call failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Repository {
    /// `None` if the address is none of a repository; an error if it is one that can't be understood.
    pub fn parse(address: &str) -> Option<Result<Repository, String>> {
        let (before, fragment) = address.split_once('#').map_or((address, None), |(url, rest)| (url, Some(rest)));
        let (url, query) = before.split_once('?').map_or((before, None), |(url, rest)| (url, Some(rest)));
        let web = url.starts_with("http://") || url.starts_with("https://");
        let own = ["git://", "ssh://", "git@"].iter().any(|start| url.starts_with(start));
        let url = match (web && url.ends_with(".git"), own, url.starts_with("github.com/")) {
            (true, ..) | (_, true, _) => url.to_owned(),
            (_, _, true) => format!("https://{url}"),
            _ => return None,
        };
        let mut repository = Repository { url, ..Repository::default() };
        Some(repository.select(fragment, query).map(|()| repository))
    }

    fn select(&mut self, fragment: Option<&str>, query: Option<&str>) -> Result<(), String> {
        let (reference, folder) = fragment.unwrap_or("").split_once(':').unwrap_or((fragment.unwrap_or(""), ""));
        let mut set = |reference: &str, folder: &str| {
            if !reference.is_empty() {
                self.reference = Some(reference.to_owned());
            }
            if !folder.is_empty() {
                self.folder = Some(relative(Path::new(folder)));
            }
        };
        set(reference, folder);
        for pair in query.unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "ref" | "branch" | "tag" => set(value, ""),
                "subdir" => set("", value),
                "checksum" | "commit" => self.checksum = Some(value.to_owned()),
                "submodules" if matches!(value, "false" | "0") => self.submodules = Submodules::Left,
                "submodules" | "keep-git-dir" => {}
                other => return Err(format!("a repository's address knows no {other:?} behind its question mark")),
            }
        }
        // It stands where an option could.
        match &self.reference {
            Some(reference) if reference.starts_with('-') || reference.contains([' ', '\n', '^', '~', ':']) => {
                Err(format!("{reference:?} can't be the name of a branch, tag or commit"))
            }
            _ => Ok(()),
        }
    }

    fn asked(&self) -> &str {
        self.reference.as_deref().unwrap_or("HEAD")
    }
}

/// The commit that a repository is at now.
pub fn commit(repository: &Repository, cancelled: &dyn Fn() -> bool) -> Result<String, GitError> {
    let asked = repository.asked();
    if asked.len() == 40 && asked.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(asked.to_owned());
    }
    let listed =
        git(None, "ls-remote", &["ls-remote", "--", &repository.url, asked, &format!("{asked}^{{}}")], cancelled)?;
    let line = |wanted: &dyn Fn(&str) -> bool| {
        listed
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .find(|(_, name)| wanted(name))
            .map(|(id, _)| id.to_owned())
    };
    // What an annotated tag leads to goes before the tag; a branch before what merely ends with its name.
    let found = line(&|name| name.ends_with("^{}"))
        .or_else(|| {
            line(&|name| name == asked || name == format!("refs/heads/{asked}") || name == format!("refs/tags/{asked}"))
        })
        .or_else(|| line(&|_| true));
    found.ok_or_else(|| GitError::Failed {
        what: "ls-remote",
        said: format!("{} has no branch or tag {asked}", repository.url),
    })
}

/// Fetches a repository into `place`, which does not exist yet; gives the folder that was asked for.
pub fn fetch(
    repository: &Repository,
    place: &Path,
    keep: Keep,
    cancelled: &dyn Fn() -> bool,
) -> Result<PathBuf, GitError> {
    let asked = repository.asked();
    std::fs::create_dir(place)?;
    let within = |what, arguments: &[&str]| git(Some(place), what, arguments, cancelled);
    within("init", &["init", "-q"])?;
    within("remote", &["remote", "add", "origin", &repository.url])?;
    let one = within("fetch", &["fetch", "-q", "--no-tags", "--depth", "1", "origin", asked]);
    let at = match one {
        Ok(_) => "FETCH_HEAD",
        Err(GitError::Failed { .. }) if repository.reference.is_some() => {
            // A server need not hand out single commits: then all of it comes.
            within("fetch", &["fetch", "-q", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*"])?;
            asked
        }
        Err(error) => return Err(error),
    };
    within("checkout", &["checkout", "-q", "--detach", at, "--"])?;
    if let Some(expected) = &repository.checksum {
        let found = within("rev-parse", &["rev-parse", "HEAD"])?.trim().to_owned();
        if !found.starts_with(expected.as_str()) {
            return Err(GitError::Checksum { found, expected: expected.clone() });
        }
    }
    if repository.submodules == Submodules::Fetched && place.join(".gitmodules").is_file() {
        within("submodule", &["submodule", "update", "-q", "--init", "--recursive", "--depth", "1"])?;
    }
    if keep == Keep::Nothing {
        std::fs::remove_dir_all(place.join(".git"))?;
    }
    let Some(folder) = &repository.folder else { return Ok(place.to_owned()) };
    let missing = || GitError::NoFolder(folder.clone());
    // A link must not lead out of the repository.
    let root = crate::runtime::image::tree::open_directory(place).map_err(io::Error::from)?;
    let found = crate::runtime::image::tree::open_directory_in(&root, folder).map_err(|_| missing())?;
    let found = std::fs::canonicalize(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&found)))?;
    Ok(found)
}

/// Runs git; gives what it printed.
fn git(
    folder: Option<&Path>,
    what: &'static str,
    arguments: &[&str],
    cancelled: &dyn Fn() -> bool,
) -> Result<String, GitError> {
    let mut command = Command::new("git");
    if let Some(folder) = folder {
        command.arg("-C").arg(folder);
    }
    command.args([
        "-c",
        "core.hooksPath=/dev/null",
        "-c",
        "init.defaultBranch=main",
        "-c",
        "advice.detachedHead=false",
    ]);
    command.args(arguments).stdin(Stdio::null());
    command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_ALLOW_PROTOCOL", "git:http:https:ssh").env("LC_ALL", "C");
    if std::env::var_os("GIT_SSH_COMMAND").is_none() {
        command.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes");
    }
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(variable);
    }
    let (mut output, stdout) = io::pipe()?;
    let (errors, stderr) = io::pipe()?;
    let mut child = command.stdout(stdout).stderr(stderr).spawn().map_err(GitError::NoProgram)?;
    // Its copies of the pipes' ends would keep them open.
    drop(command);
    let said = std::thread::spawn(move || {
        let mut text = Vec::new();
        // What git complains of is for people; it is short.
        let _ = errors.take(64 * 1024).read_to_end(&mut text);
        text
    });
    let mut printed = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        if cancelled() {
            child.kill()?;
            child.wait()?;
            return Err(GitError::Cancelled);
        }
        let mut ready = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::from(CALLER_CHECK)) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => continue,
            other => other.map_err(io::Error::from)?,
        };
        match output.read(&mut buffer)? {
            0 => break,
            count => printed.extend_from_slice(&buffer[..count]),
        }
    }
    let status = child.wait()?;
    let said = said.join().unwrap_or_default();
    if status.success() {
        return Ok(String::from_utf8_lossy(&printed).into_owned());
    }
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> =
        said.lines().map(|line| line.trim_start_matches("fatal: ")).filter(|line| !line.is_empty()).collect();
    Err(GitError::Failed { what, said: if lines.is_empty() { status.to_string() } else { lines.join("; ") } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_repositories_have_references_and_folders() {
        let parse = |text: &str| Repository::parse(text).map(|parsed| parsed.unwrap());
        let all = |text: &str| {
            let found = parse(text).unwrap();
            (found.url, found.reference.unwrap_or_default(), found.folder.unwrap_or_default().display().to_string())
        };
        let owned = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(all("https://h/r.git"), owned("https://h/r.git", "", ""));
        assert_eq!(all("https://h/r.git#main:a/b"), owned("https://h/r.git", "main", "a/b"));
        assert_eq!(all("https://h/r.git#:../a"), owned("https://h/r.git", "", "a"));
        assert_eq!(all("git@h:me/r#v1"), owned("git@h:me/r", "v1", ""));
        assert_eq!(all("github.com/me/r#x"), owned("https://github.com/me/r", "x", ""));
        assert_eq!(all("https://h/r.git?ref=v2&subdir=s"), owned("https://h/r.git", "v2", "s"));
        assert_eq!(parse("https://h/archive.tar.gz"), None);
        assert_eq!(parse("./folder"), None);
        assert!(Repository::parse("https://h/r.git#--upload-pack=x").unwrap().is_err());
        assert!(Repository::parse("https://h/r.git?nonsense=1").unwrap().is_err());
    }
}
