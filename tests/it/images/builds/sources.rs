//! Where a build's files come from: named contexts, archives, repositories.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use xcompose::engine::ContextSource;

use super::workshop::{Workshop, exists, read};
use crate::support::{cannot_run, eventually, finish, free_port};

#[test]
fn named_contexts_go_before_stages_and_images() {
    if cannot_run() {
        return;
    }
    let mut shop = Workshop::new();
    let more = shop.folder.path().join("more");
    fs::create_dir_all(more.join("sub")).unwrap();
    fs::write(more.join("sub/file"), "more").unwrap();
    fs::write(more.join("ignored"), "").unwrap();
    fs::write(more.join(".dockerignore"), "ignored").unwrap();
    shop.config.contexts.insert("more".into(), ContextSource::Directory(more));
    shop.config.contexts.insert("docker.io/library/alpine".into(), ContextSource::Image("busybox".parse().unwrap()));
    let (image, told) = shop.build(
        "FROM nosuch AS more\nFROM alpine AS tools\nRUN echo tools > /tools\nFROM alpine:latest\nCOPY --from=more . /m/\nCOPY --from=tools /tools /\n\
         RUN --mount=from=more,target=/x ls /x\nCOPY --from=alpine /etc/group /g\n",
    );
    assert_eq!((read(&image, "m/sub/file"), read(&image, "tools")), ("more".into(), "tools\n".into()));
    assert!(exists(&image, "g") && !exists(&image, "m/ignored"));
    assert_eq!(told.output, "sub\n");
    let (image, _) = shop.build("FROM more\nENV a=b\n");
    assert_eq!(read(&image, "sub/file"), "more");
}

#[test]
fn an_archive_is_a_context() {
    if cannot_run() {
        return;
    }
    let mut shop = Workshop::new();
    let archive = shop.folder.path().join("context.tar.gz");
    shop.write("Dockerfile", "FROM scratch\nCOPY dir /\n");
    shop.write("dir/file", "packed");
    finish(Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(&shop.context).arg(".")).ok();
    shop.config.context = ContextSource::Archive(archive);
    let (image, _) = shop.build("");
    assert_eq!(read(&image, "file"), "packed");
}

/// Serves the repositories below a folder on loopback, until it is dropped.
struct GitDaemon(Child);

impl Drop for GitDaemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args([
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@t.test",
        "-c",
        "init.defaultBranch=main",
    ]);
    finish(command.args(arguments)).ok().stdout().trim().to_owned()
}

#[test]
fn repositories_are_contexts_and_sources() {
    if cannot_run() {
        return;
    }
    let mut shop = Workshop::new();
    let repositories = shop.folder.path().join("git");
    let one = repositories.join("one.git");
    fs::create_dir_all(one.join("app")).unwrap();
    fs::write(one.join("app/Dockerfile"), "FROM scratch\nCOPY file /\n").unwrap();
    fs::write(one.join("app/file"), "first").unwrap();
    git(&one, &["init", "-q"]);
    git(&one, &["add", "."]);
    git(&one, &["commit", "-qm", "first"]);
    let first = git(&one, &["rev-parse", "HEAD"]);
    git(&one, &["tag", "-am", "tagged", "v1"]);
    fs::write(one.join("app/file"), "second").unwrap();
    git(&one, &["commit", "-qam", "second"]);
    let port = free_port();
    let mut daemon = Command::new("git");
    daemon.args(["daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1", &format!("--port={port}")]);
    daemon.arg(format!("--base-path={}", repositories.display())).arg(&repositories);
    let _daemon = GitDaemon(daemon.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    eventually("the repositories are served", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());

    let url = format!("git://127.0.0.1:{port}/one.git");
    for (address, expected) in [
        (format!("{url}#main:app"), "second"),
        (format!("{url}#v1:app"), "first"),
        (format!("{url}#{first}:app"), "first"),
        (format!("{url}?ref=v1&subdir=app"), "first"),
    ] {
        shop.config.context = ContextSource::Remote(address.clone());
        let (image, _) = shop.build("");
        assert_eq!(read(&image, "file"), expected, "{address}");
    }
    for (address, words) in [
        (format!("{url}#nosuch:app"), "nosuch"),
        (format!("{url}#main:nosuch"), "no folder nosuch"),
        (format!("{url}#--upload-pack=x"), "can't be the name"),
    ] {
        shop.config.context = ContextSource::Remote(address.clone());
        let error = shop.fails("");
        assert!(error.contains(words), "{address}: {error}");
    }

    shop.config.context = ContextSource::Directory(shop.context.clone());
    let text = format!(
        "FROM scratch\nADD {url}#v1:app /v1/\nADD --keep-git-dir=true --checksum={first} {url}#{first} /all/\n"
    );
    let (image, _) = shop.build(&text);
    assert_eq!((read(&image, "v1/file"), read(&image, "all/app/file")), ("first".into(), "first".into()));
    assert!(exists(&image, "all/.git/HEAD") && !exists(&image, "v1/.git"));
    assert!(shop.build(&text).1.steps.iter().all(|(_, cached)| *cached), "a commit is known by its name");
    let error = shop.fails(&format!("FROM scratch\nADD --checksum={first} {url} /\n"));
    assert!(error.starts_with("Dockerfile:2:") && error.contains(&format!("not {first}")), "{error}");
}
