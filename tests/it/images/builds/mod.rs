//! Dockerfiles to images.

mod caches;
mod command;
mod compose;
mod language;
mod mounts;
mod sources;
mod workshop;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use tokio::sync::mpsc;
use xcompose::engine::{EngineError, Progress};
use xcompose::runtime::build::build;

use self::workshop::{Told, Workshop, exists, find, read};
use super::raw::store;
use crate::support::cannot_run;

#[test]
fn an_image_from_nothing_has_what_was_copied_and_says_how_to_run_it() {
    if cannot_run() {
        return;
    }
    let shop = Workshop::new();
    let server = shop.write("server", "binary");
    fs::set_permissions(server, fs::Permissions::from_mode(0o755)).unwrap();
    let (image, _) = shop.build("FROM scratch\nCOPY server .\nEXPOSE 8080\nENTRYPOINT [\"./server\"]\n");
    let status = fs::metadata(find(&image, "server")).unwrap();
    assert_eq!((status.mode() & 0o7777, status.uid(), status.gid()), (0o755, 0, 0));
    assert_eq!(image.config().entrypoint, ["./server"]);
    assert!(image.config().exposed_ports.contains_key("8080/tcp"));
    assert_eq!(image.names, ["result".parse().unwrap()]);
    assert_eq!(image.layers.len(), 1);

    let mut saved = Vec::new();
    shop.store.save(&image.names, &mut saved).unwrap();
    let (_folder, other, _) = store();
    let names = other.load_archive(&saved[..]).unwrap();
    assert_eq!(other.resolve(&names[0]).unwrap().unwrap().id, image.id);
}

#[test]
fn a_command_runs_in_a_container_and_what_it_changes_is_the_layer() {
    if cannot_run() {
        return;
    }
    let shop = Workshop::new();
    let (image, told) = shop.build(
        "FROM busybox\nARG WHO=world\nENV GREETING=\"hello $WHO\"\nWORKDIR /work\n\
         RUN echo \"$GREETING $WHO\" > greeting; rm /etc/group; id -u; pwd; hostname; mkdir -p /a/b\n\
         USER alice\nRUN id -un > /tmp/who\n",
    );
    assert_eq!(read(&image, "work/greeting"), "hello world world\n");
    assert_eq!(read(&image, "tmp/who"), "alice\n");
    assert_eq!(told.output, "0\n/work\nbuildkitsandbox\n");
    let top = &image.layers[image.layers.len() - 2];
    let hidden = fs::symlink_metadata(top.join("etc/group")).unwrap();
    assert_eq!(hidden.rdev(), 0);
    let mut there: Vec<_> = fs::read_dir(top).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    there.sort();
    assert_eq!(there, ["a", "etc", "work"], "what is mounted leaves no trace");
    assert_eq!(image.config().working_dir, "/work");
    assert_eq!(image.config().user, "alice");
}

#[test]
fn a_failing_command_shows_its_last_lines_its_place_and_its_exit_code() {
    if cannot_run() {
        return;
    }
    let shop = Workshop::new();
    let error = shop.fails("FROM busybox\n\nRUN seq 1 50; \\\n  echo oops >&2; exit 7\n");
    assert!(error.starts_with(" > 32\n > 33\n"), "{error}");
    assert!(error.contains(" > 50\n > oops\nDockerfile:3: process \"/bin/sh -c seq 1 50;"), "{error}");
    assert!(error.ends_with("did not complete successfully: exit code: 7"), "{error}");
    let error = shop.fails("FROM busybox\nRUN [\"nosuch\"]\n");
    assert!(error.contains("executable file not found") && error.ends_with("exit code: 127"), "{error}");
    assert!(shop.store.find("result").unwrap().is_none());
}

#[test]
fn a_second_build_does_nothing_and_a_change_does_only_what_follows_it() {
    if cannot_run() {
        return;
    }
    let shop = Workshop::new();
    shop.write("one", "1");
    let two = shop.write("two", "2");
    let text = "FROM busybox\nCOPY one /\nRUN cat /one > /copy\nCOPY two /\nRUN cat /two > /copy\nENV a=b\n";
    let (first, _) = shop.build(text);
    let cached = |told: &Told| told.steps.iter().map(|(_, cached)| *cached).collect::<Vec<_>>();
    fs::File::options().write(true).open(&two).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let (second, told) = shop.build(text);
    assert_eq!(cached(&told), [true; 6]);
    assert_eq!(second.id, first.id, "the same image, to the last byte");

    shop.write("two", "changed");
    let (third, told) = shop.build(text);
    assert_eq!(cached(&told), [true, true, true, false, false, true]);
    assert_eq!(read(&third, "copy"), "changed");
    assert!(shop.store.find(&first.id.0).unwrap().is_some_and(|image| image.names.is_empty()));
}

#[test]
fn a_result_that_a_power_cut_may_have_torn_is_made_again() {
    if cannot_run() {
        return;
    }
    let shop = Workshop::new();
    let text = "FROM busybox AS made\nRUN echo whole > /file && touch -d '2001-01-01 00:00' /file\nFROM scratch\nCOPY --from=made /file /copied\n";
    shop.build(text);
    // The first stage's layer belongs to no image. As found after a boot: begun in a former one, its content gone.
    let mut torn = Vec::new();
    for layer in fs::read_dir(shop.folder.path().join("data/images/layers")).unwrap() {
        let record = layer.unwrap().path().join("layer.json");
        let mut value: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
        if value.get("made_in").is_some() {
            value["made_in"] = "another boot".into();
            fs::write(&record, value.to_string()).unwrap();
            fs::write(record.with_file_name("diff").join("file"), "").unwrap();
            torn.push(record);
        }
    }
    assert_eq!(torn.len(), 1, "layers of listed images are on disk");
    let (again, told) = shop.build(text);
    let known: Vec<_> = told.steps.iter().map(|(_, cached)| *cached).collect();
    // Whether the last step is known depends on the second in which the file system's root was touched anew.
    assert_eq!(known[..3], [true, false, true]);
    assert_eq!(read(&again, "copied"), "whole\n");
}

#[test]
fn only_arguments_that_are_declared_change_what_is_known() {
    if cannot_run() {
        return;
    }
    let mut shop = Workshop::new();
    let text = "FROM busybox\nRUN echo 1 > /one\nARG version\nRUN echo $version > /version\n";
    let (image, _) = shop.build(text);
    assert_eq!(read(&image, "version"), "\n");
    shop.config.args = BTreeMap::from([("version".into(), "5".into()), ("other".into(), "x".into())]);
    let (image, told) = shop.build(text);
    assert_eq!(read(&image, "version"), "5\n");
    assert!(told.steps[1].1 && !told.steps[3].1);
    shop.config.no_cache = true;
    let (_, told) = shop.build(text);
    assert!(!told.steps[1].1);
}

#[test]
fn a_stage_takes_files_from_another_with_their_owners() {
    if cannot_run() {
        return;
    }
    let mut shop = Workshop::new();
    let text = "FROM busybox AS build\nRUN mkdir /out && echo made > /out/file && chown 1000:1000 /out/file && ln -s file /out/link\n\
                FROM busybox AS unused\nRUN exit 1\n\
                FROM scratch AS final\nCOPY --from=build /out /kept\nCOPY --from=build --chown=7:8 --chmod=600 /out/file /own/\nCOPY --from=0 /out/link /followed\n";
    let (image, told) = shop.build(text);
    let status = |path: &str| {
        let status = fs::symlink_metadata(find(&image, path)).unwrap();
        (status.uid(), status.gid(), status.mode() & 0o7777)
    };
    assert_eq!(status("kept/file"), (1000, 1000, 0o644));
    assert_eq!(status("own/file"), (7, 8, 0o600));
    assert_eq!(fs::read_link(find(&image, "kept/link")).unwrap(), Path::new("file"));
    assert_eq!(read(&image, "followed"), "made\n");
    assert!(told.steps.iter().all(|(text, _)| !text.contains("unused")));
    assert!(told.steps[0].0.starts_with("[build 1/2] FROM busybox"), "{}", told.steps[0].0);
    assert!(shop.build(text).1.steps.iter().all(|(_, cached)| *cached));
    shop.config.target = Some("build".into());
    assert!(exists(&shop.build(text).0, "out/file"));
    shop.config.target = Some("biuld".into());
    assert!(shop.fails(text).contains("did you mean build?"));
}

#[test]
fn copies_go_where_dockers_go() {
    if cannot_run() {
        return;
    }
    let shop = Workshop::new();
    for file in ["dir/a.txt", "dir/sub/b.txt", "dir/.hidden", "top.txt", "top.md", "skip/me", "skip/but/not/me"] {
        shop.write(file, file);
    }
    shop.write(".dockerignore", "# comment\nskip\n!skip/but/not\n**/*.md\n");
    symlink("../top.txt", shop.context.join("dir/link")).unwrap();
    fs::create_dir(shop.context.join("dir/empty")).unwrap();
    let (image, _) = shop.build(
        "FROM busybox\nRUN mkdir -p /real && ln -s real /alias\n\
         COPY dir /folder\nCOPY top.txt /as-file\nCOPY top.txt /into/\nCOPY *.txt dir/sub /many/\nCOPY dir/ /alias/\n\
         COPY dir/link /linked\nCOPY . /all\nWORKDIR /w\nCOPY top.txt .\nCOPY [\"top.txt\", \"with space\"]\n\
         COPY --parents dir/sub/b.txt /parents/\nCOPY <<one <<'two' /docs/\n$HOME \"quoted\"\none\n$HOME\ntwo\n",
    );
    for (path, content) in [
        ("folder/a.txt", "dir/a.txt"),
        ("folder/sub/b.txt", "dir/sub/b.txt"),
        ("folder/.hidden", "dir/.hidden"),
        ("as-file", "top.txt"),
        ("into/top.txt", "top.txt"),
        ("many/top.txt", "top.txt"),
        ("many/b.txt", "dir/sub/b.txt"),
        ("real/a.txt", "dir/a.txt"),
        ("linked", "top.txt"),
        ("all/skip/but/not/me", "skip/but/not/me"),
        ("w/top.txt", "top.txt"),
        ("w/with space", "top.txt"),
        ("parents/dir/sub/b.txt", "dir/sub/b.txt"),
        ("docs/one", " \"quoted\"\n"),
        ("docs/two", "$HOME\n"),
    ] {
        assert_eq!(read(&image, path), content, "{path}");
    }
    assert_eq!(fs::read_link(find(&image, "folder/link")).unwrap(), Path::new("../top.txt"));
    assert!(find(&image, "folder/empty").is_dir());
    for absent in ["all/skip/me", "all/top.md"] {
        assert!(!exists(&image, absent), "{absent}");
    }
}

#[test]
fn what_cannot_be_copied_is_named_with_its_place() {
    if cannot_run() {
        return;
    }
    let shop = Workshop::new();
    shop.write("file", "x");
    shop.write("dir/file", "x");
    shop.write(".dockerignore", "secret\n");
    shop.write("secret", "x");
    for (line, words) in [
        (
            "COPY nothing /",
            "Dockerfile:2:6: nothing does not exist in the build context\n 2 | COPY nothing /\n   |      ^^^^^^^",
        ),
        ("COPY secret /", ".dockerignore leaves it out"),
        ("COPY fi[-l]e /", "the pattern \"fi[-l]e\" has a [ that is malformed"),
        ("COPY ../file /", "leads out of the build context"),
        ("COPY --from=other file /", "the image other is not in the store"),
        ("COPY --from=busybox /nothing /", "/nothing does not exist in busybox"),
        ("COPY --chown=nobody-here file /", "the image has no user or group nobody-here"),
        ("COPY --chmod=rwx file /", "--chmod takes an octal number"),
        ("COPY --from=$x file /", "--from knows no variables"),
        ("COPY dir /etc/passwd", "is a file, not a directory"),
        ("COPY ${x:?needed} /", "x: needed\n 2 | COPY ${x:?needed} /\n   |      ^^^^^^^^^^^^"),
        ("USER ${u", "a substitution lacks its closing }\n 2 | USER ${u\n   |      ^^^"),
        ("EXPOSE 99999", "invalid port"),
        ("RUN --mount=type=secret,id=x,required cat", "the secret x is required, and not given"),
        ("RUN --mount=type=ssh,required=true ls", "the SSH agent default is required, and not given"),
        ("RUN --mount=type=cache,targte=/x ls", "a mount of type cache has no option targte (did you mean target?)"),
        ("RUN --mount=type=bind,source=absent,target=/x ls", "absent does not exist in the build context"),
        ("RUN --network=host ls", "only for builds that allow it"),
        ("RUN --security=insecure ls", "only for builds that allow it"),
    ] {
        let error = shop.fails(&format!("FROM busybox\n{line}\n"));
        assert!(error.starts_with("Dockerfile:2:") && error.contains(words), "{line}: {error}");
    }
    let error = shop.fails("FROM nosuch:1\n");
    assert!(error.starts_with("Dockerfile:1:6: the image nosuch:1 is not in the store"), "{error}");
    let outside = shop.folder.path().join("outside");
    fs::write(&outside, "outside").unwrap();
    symlink(&outside, shop.context.join("escape")).unwrap();
    assert!(shop.fails("FROM busybox\nCOPY escape /\n").contains("escape does not exist"));
}

#[test]
fn archives_are_unpacked_by_add_alone() {
    if cannot_run() {
        return;
    }
    let shop = Workshop::new();
    let archive = super::raw::Raw::default().folder("d").file("d/x", "inside").file(".wh.plain", "no mark").end();
    fs::write(shop.context.join("a.tar"), &archive).unwrap();
    fs::write(shop.context.join("a.tar.zst"), zstd::encode_all(&archive[..], 1).unwrap()).unwrap();
    let mut packed = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    packed.write_all(&archive).unwrap();
    fs::write(shop.context.join("a.tbz"), packed.finish().unwrap()).unwrap();
    shop.write("plain.txt", "plain");
    let (image, _) = shop
        .build("FROM scratch\nADD a.tar /one\nADD a.tar.zst /two/\nADD a.tbz /three/\nADD plain.txt /\nCOPY a.tar /\n");
    for folder in ["one", "two", "three"] {
        assert_eq!(read(&image, &format!("{folder}/d/x")), "inside");
    }
    assert_eq!(read(&image, "one/.wh.plain"), "no mark");
    assert_eq!(read(&image, "plain.txt"), "plain");
    assert_eq!(fs::read(find(&image, "a.tar")).unwrap(), archive);
}

#[test]
fn what_an_image_puts_off_is_done_in_builds_on_it() {
    if cannot_run() {
        return;
    }
    let mut shop = Workshop::new();
    shop.config.tags = vec!["base".parse().unwrap()];
    let (base, _) = shop.build("FROM busybox\nONBUILD COPY file /file\nONBUILD RUN cat /file > /done\n");
    assert_eq!(base.config().on_build.len(), 2);
    shop.config.tags = vec!["derived".parse().unwrap()];
    shop.write("file", "content");
    let (derived, _) = shop.build("FROM base\nENV x=y\n");
    assert_eq!(read(&derived, "done"), "content");
    assert!(derived.config().on_build.is_empty());
}

#[test]
fn mounts_of_a_command_are_not_part_of_its_layer() {
    if cannot_run() {
        return;
    }
    let shop = Workshop::new();
    shop.write("given", "from the context");
    let (image, told) = shop.build(
        "FROM busybox AS other\nRUN echo other > /from-other\nFROM busybox\n\
         RUN --mount=type=cache,target=/cache --mount=type=tmpfs,target=/scratch --mount=target=/context \
         --mount=type=bind,from=other,source=/from-other,target=/other \
         echo kept >> /cache/list; echo gone > /scratch/x; cat /context/given /other; touch /result; ! touch /context/no 2>/dev/null\n\
         RUN --mount=type=cache,target=/cache cat /cache/list\n",
    );
    assert_eq!(told.output, "from the contextother\nkept\n");
    assert!(exists(&image, "result"));
    for absent in ["cache", "scratch", "context", "other"] {
        assert!(!exists(&image, absent), "{absent}");
    }
}

#[test]
fn nobody_listening_ends_the_command_and_leaves_nothing() {
    if cannot_run() {
        return;
    }
    let shop = Workshop::new();
    shop.write("Dockerfile", "FROM busybox\nRUN echo begun; sleep 1000\n");
    let (sender, mut receiver) = mpsc::channel(64);
    let result = std::thread::scope(|scope| {
        let builder = scope.spawn(|| build(&shop.layout, &shop.config, &sender));
        while let Some(news) = receiver.blocking_recv() {
            if matches!(news, Progress::Output { .. }) {
                break;
            }
        }
        drop(receiver);
        builder.join().unwrap()
    });
    assert!(matches!(result, Err(EngineError::State { .. })), "{result:?}");
    assert_eq!(fs::read_dir(shop.folder.path().join("data/images/tmp")).unwrap().count(), 0);
    assert_eq!(
        fs::read_dir(shop.layout.builds()).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count(),
        0
    );
}

#[test]
fn a_command_reaches_the_machine_by_its_bridge_and_has_a_resolver() {
    if cannot_run() {
        return;
    }
    let mut shop = Workshop::new();
    shop.config.extra_hosts = vec![("gate".into(), "host-gateway".into()), ("fixed".into(), "192.0.2.7".into())];
    let text = "FROM busybox\nRUN cat /etc/resolv.conf /etc/hosts; ip -4 -o addr show eth0; wget -q -O - http://gate:1 2>&1 | grep -o refused\n";
    let (_, told) = shop.build(text);
    assert!(told.output.contains("nameserver 127.0.0.11"), "{}", told.output);
    assert!(told.output.contains("192.0.2.7\tfixed"), "{}", told.output);
    assert!(told.output.contains("eth0") && told.output.contains("refused"), "{}", told.output);
    shop.config.network = Some("none".into());
    let (_, told) =
        shop.build("FROM busybox\nRUN ip -o link | grep -c .; ip -o addr show lo | grep -o 'inet 127.0.0.1/8'\n");
    assert_eq!(told.output, "1\ninet 127.0.0.1/8\n", "loopback alone, and that is up");
}
