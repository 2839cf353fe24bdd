//! Where a build's files come from: named contexts, archives, repositories.

use std::fs;
use std::process::Command;

use xcompose::engine::ContextSource;

use crate::images::raw::chain;
use crate::images::registries::{Answer, Scripted};

use super::workshop::{Workshop, exists, read};
use crate::support::git::Repositories;
use crate::support::{cannot_run, finish};

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

#[test]
fn an_address_of_the_web_is_a_context_as_an_archive_or_as_a_dockerfile_alone() {
    if cannot_run() {
        return;
    }
    let mut shop = Workshop::new();
    shop.write("Dockerfile", "FROM scratch\nCOPY dir /\n");
    shop.write("dir/file", "from afar");
    let packed =
        finish(Command::new("tar").args(["-czf", "-", "-C"]).arg(&shop.context).arg(".")).ok().bytes().to_vec();
    let server = Scripted::new(move |asked, _| match asked.path.as_str() {
        "/context.tar.gz" => Answer::new("200 OK", packed.clone()),
        "/plain" => Answer::new("200 OK", "FROM busybox\nRUN echo alone > /told\n"),
        _ => Answer::new("404 Not Found", ""),
    });
    let address = |path: &str| ContextSource::Remote(format!("http://{}/{path}", server.address));
    shop.config.context = address("context.tar.gz");
    let (image, _) = shop.build("");
    assert_eq!(read(&image, "file"), "from afar");
    shop.config.context = address("plain");
    let (image, _) = shop.build("");
    assert_eq!(read(&image, "told"), "alone\n");
    shop.config.context = address("nowhere");
    let error = chain(&shop.try_build("").0.unwrap_err());
    assert!(error.contains("/nowhere") && error.contains("404"), "{error}");
}

#[test]
fn repositories_are_contexts_and_sources() {
    if cannot_run() {
        return;
    }
    let mut shop = Workshop::new();
    let repositories = Repositories::serve(&shop.folder.path().join("git"));
    let first =
        repositories.commit("one.git", &[("app/Dockerfile", "FROM scratch\nCOPY file /\n"), ("app/file", "first")]);
    repositories.git("one.git", &["tag", "-am", "tagged", "v1"]);
    repositories.commit("one.git", &[("app/file", "second")]);

    let url = repositories.url("one.git");
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
