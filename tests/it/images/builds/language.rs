//! What a Dockerfile may say, and what comes of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use xcompose::engine::Entitlement;

use super::workshop::{Workshop, exists, find, read};
use crate::support::cannot_run;

#[test]
fn arguments_reach_the_stages_that_follow_and_the_platform_is_known() {
    if cannot_run() {
        return;
    }
    let mut shop = Workshop::new();
    shop.config.args = BTreeMap::from([("given".into(), "by hand".into())]);
    let (image, _) = shop.build(
        "ARG base=busybox\nARG outer=global\nFROM $base AS one\nARG outer\nARG given=default\nARG TARGETARCH BUILDPLATFORM\n\
         RUN echo \"$outer,$given,$TARGETARCH,$BUILDPLATFORM\" > /one\n\
         FROM one\nRUN echo \"$outer,$given\" > /two\nENV given=\"environment\"\nARG given=argument\nRUN echo \"$given\" > /three\n",
    );
    let arch = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    assert_eq!(read(&image, "one"), format!("global,by hand,{arch},linux/{arch}\n"));
    assert_eq!(read(&image, "two"), "global,by hand\n");
    assert_eq!(read(&image, "three"), "environment\n");
}

#[test]
fn variables_are_replaced_in_all_their_forms() {
    if cannot_run() {
        return;
    }
    let shop = Workshop::new();
    shop.write("a.txt", "a");
    let (image, _) = shop.build(
        "FROM scratch\nENV file=a.txt path=/x/y/z.tar.gz\nENV stem=${path##*/} base=${path%%.*} swap=${path//\\//_} none=${nothing:-d} some=${path:+s}\n\
         LABEL \"a b\"='$path' c=\"$stem\" \\\n  d=\\$stem\nCOPY ${file} /$stem\nWORKDIR /w/${none}\nEXPOSE ${port:-8080} 9000-9001/udp\nSTOPSIGNAL ${sig:-SIGUSR1}\nUSER ${u:-7}:8\nVOLUME [\"/data\", \"/v w\"]\n",
    );
    let config = image.config();
    let env = |name: &str| config.env.iter().find_map(|entry| entry.strip_prefix(&format!("{name}="))).unwrap();
    assert_eq!([env("stem"), env("base"), env("swap")], ["z.tar.gz", "/x/y/z", "_x_y_z.tar.gz"]);
    assert_eq!([env("none"), env("some")], ["d", "s"]);
    assert_eq!([&config.labels["a b"], &config.labels["c"], &config.labels["d"]], ["$path", "z.tar.gz", "$stem"]);
    assert_eq!(read(&image, "z.tar.gz"), "a");
    assert_eq!(
        (config.working_dir.as_str(), config.stop_signal.as_str(), config.user.as_str()),
        ("/w/d", "SIGUSR1", "7:8")
    );
    assert_eq!(config.exposed_ports.keys().collect::<Vec<_>>(), ["8080/tcp", "9000/udp", "9001/udp"]);
    assert_eq!(config.volumes.keys().collect::<Vec<_>>(), ["/data", "/v w"]);
}

#[test]
fn documents_become_files_scripts_and_programs_of_their_own() {
    if cannot_run() {
        return;
    }
    let shop = Workshop::new();
    let (image, _) = shop.build(
        "FROM busybox\nARG who=me\nCOPY --chmod=640 <<one <<'two' /etc/made/\nfor $who\none\nfor $who\ntwo\n\
         RUN <<EOF\nset -e\nx=1\necho \"$who $x\" > /said\nEOF\n\
         RUN <<-EOF cat > /cat\n\ttabs go\n\tEOF\n\
         RUN <<EOF\n#!/bin/cat\nitself\nEOF\n",
    );
    assert_eq!((read(&image, "etc/made/one"), read(&image, "etc/made/two")), ("for me\n".into(), "for $who\n".into()));
    assert_eq!(fs::metadata(find(&image, "etc/made/one")).unwrap().mode() & 0o7777, 0o640);
    assert_eq!((read(&image, "said"), read(&image, "cat")), ("me 1\n".into(), "tabs go\n".into()));
    let (_, told) = shop.build("FROM busybox\nRUN <<EOF\n#!/bin/cat\nshown by cat\nEOF\n");
    assert_eq!(told.output, "#!/bin/cat\nshown by cat\n");
}

#[test]
fn what_is_put_off_is_done_in_the_next_build() {
    if cannot_run() {
        return;
    }
    let mut shop = Workshop::new();
    shop.config.tags = vec!["base".parse().unwrap()];
    let (base, _) = shop.build("FROM busybox\nONBUILD COPY file /copied\nONBUILD RUN <<EOF\necho done > /done\nEOF\n");
    assert_eq!(base.config().on_build.len(), 2);
    assert!(!exists(&base, "done"));
    shop.write("file", "x");
    shop.config.tags = vec!["child".parse().unwrap()];
    let (child, told) = shop.build("FROM base\nENV a=b\n");
    assert_eq!((read(&child, "copied"), read(&child, "done")), ("x".into(), "done\n".into()));
    assert!(child.config().on_build.is_empty());
    assert!(told.steps.iter().any(|(text, _)| text.contains("ONBUILD COPY file /copied")), "{:?}", told.steps);
}

#[test]
fn copies_keep_folders_leave_out_patterns_and_change_modes() {
    if cannot_run() {
        return;
    }
    let shop = Workshop::new();
    for path in ["src/a/one.c", "src/a/one.h", "src/b/two.c", "src/b/skip/three.c", "tool"] {
        shop.write(path, path);
    }
    fs::set_permissions(shop.context.join("tool"), fs::Permissions::from_mode(0o700)).unwrap();
    let (image, _) = shop.build(
        "FROM scratch\nCOPY --parents src/*/*.c /p/\nCOPY --parents src/./b /q/\nCOPY --exclude=**/*.h --exclude=**/skip src /e/\n\
         COPY --chmod=u=rwX,go=rX src/a tool /m/\nCOPY missing* tool /t/\nCOPY --exclude=to* s* t* /x/\n\
         COPY --parents --exclude=src/b --exclude=a src /y/\n",
    );
    for path in [
        "p/src/a/one.c",
        "p/src/b/two.c",
        "q/b/skip/three.c",
        "e/a/one.c",
        "e/b/two.c",
        "m/one.h",
        "t/tool",
        "x/a/one.c",
        "y/src/a/one.c",
    ] {
        assert!(exists(&image, path), "{path}");
    }
    for path in ["p/src/a/one.h", "q/src", "e/a/one.h", "e/b/skip", "x/tool", "y/src/b"] {
        assert!(!exists(&image, path), "{path}");
    }
    let mode = |path| fs::metadata(find(&image, path)).unwrap().mode() & 0o7777;
    assert_eq!([mode("m/tool"), mode("m/one.h")], [0o755, 0o644]);
}

#[test]
fn a_linked_copy_is_known_whatever_lies_below_it() {
    if cannot_run() {
        return;
    }
    let shop = Workshop::new();
    shop.write("file", "x");
    let text =
        |first: &str| format!("FROM busybox\nRUN echo {first} > /first\nCOPY --link --chown=3:4 file /deep/in/\n");
    shop.build(&text("one"));
    let (image, told) = shop.build(&text("two"));
    assert_eq!(told.steps.iter().map(|(_, cached)| *cached).collect::<Vec<_>>(), [true, false, true]);
    let status = fs::metadata(find(&image, "deep/in/file")).unwrap();
    assert_eq!((status.uid(), status.gid(), read(&image, "first")), (3, 4, "two\n".into()));
}

#[test]
fn only_who_may_has_all_rights_and_the_machines_network() {
    if cannot_run() {
        return;
    }
    let mut shop = Workshop::new();
    let text = "FROM busybox\nRUN --security=insecure mkdir /m && mount -t tmpfs none /m && umount /m && rmdir /m\nRUN --network=host ip link | grep -c . > /links\n";
    assert!(shop.fails(text).contains("security.insecure"));
    shop.config.entitlements = [Entitlement::SecurityInsecure, Entitlement::NetworkHost].into();
    let (image, _) = shop.build(text);
    assert_ne!(read(&image, "links"), "0\n");
}

#[test]
fn stages_that_do_not_need_each_other_run_together() {
    if cannot_run() {
        return;
    }
    let mut shop = Workshop::new();
    // Each of the two waits for a sign of the other, in a cache that both have: one after the other they would never end.
    let wait = |own: &str, other: &str| {
        format!(
            "FROM busybox AS {own}\nRUN --mount=type=cache,id=both,target=/both touch /both/{own}; until test -e /both/{other}; do sleep 0.01; done; echo {own} > /{own}\n"
        )
    };
    let text = format!(
        "{}{}FROM nosuch AS unneeded\nFROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /\n",
        wait("a", "b"),
        wait("b", "a")
    );
    let (image, _) = shop.build(&text);
    assert_eq!((read(&image, "a"), read(&image, "b")), ("a\n".into(), "b\n".into()));
    // A stage that fails ends one that would never.
    shop.config.no_cache = true;
    let error = shop.fails(
        "FROM busybox AS endless\nRUN sleep 1000000\nFROM busybox AS wrong\nRUN exit 3\nFROM scratch\nCOPY --from=endless / /\nCOPY --from=wrong / /\n",
    );
    assert!(error.contains("exit code: 3"), "{error}");
}

#[test]
fn with_a_time_given_the_same_files_are_the_same_image() {
    if cannot_run() {
        return;
    }
    let mut shop = Workshop::new();
    shop.config.args = BTreeMap::from([("SOURCE_DATE_EPOCH".into(), "1000000000".into())]);
    shop.config.no_cache = true;
    shop.write("file", "x");
    let text = "FROM busybox\nCOPY file /\nRUN mkdir /made && echo x > /made/file\nENV a=b\n";
    let (first, _) = shop.build(text);
    fs::File::options()
        .write(true)
        .open(shop.context.join("file"))
        .unwrap()
        .set_modified(std::time::SystemTime::now())
        .unwrap();
    let (second, _) = shop.build(text);
    assert_eq!(first.id, second.id);
    assert_eq!(fs::metadata(find(&second, "made/file")).unwrap().mtime(), 1_000_000_000);
    shop.config.args = BTreeMap::from([("SOURCE_DATE_EPOCH".into(), "soon".into())]);
    assert!(shop.fails(text).contains("SOURCE_DATE_EPOCH is a number of seconds"));
}
