//! What commands of a build see besides their layers.

use std::fs;
use std::os::unix::net::UnixListener;

use xcompose::engine::{BuildSecret, SecretSource};

use super::workshop::{Workshop, exists, read};
use crate::support::cannot_run;

#[test]
fn secrets_are_seen_by_their_command_and_left_nowhere() {
    if cannot_run() {
        return;
    }
    let mut shop = Workshop::new();
    let file = shop.folder.path().join("token");
    fs::write(&file, "from-a-file").unwrap();
    let secret = |source| BuildSecret { source, uid: None, gid: None, mode: None };
    shop.config.secrets.insert("file".into(), secret(SecretSource::File(file)));
    let value = SecretSource::Value("from-a-variable".into());
    shop.config.secrets.insert("value".into(), BuildSecret { uid: Some(1000), mode: Some(0o440), ..secret(value) });
    let (image, told) = shop.build(
        "FROM busybox\nRUN --mount=type=secret,id=file --mount=type=secret,id=value,target=/etc/token,gid=10 \
         cat /run/secrets/file /etc/token && stat -c ' %u %g %a' /run/secrets/file /etc/token\n\
         RUN --mount=type=secret,id=value,env=TOKEN echo \" $TOKEN\"; test ! -e /run/secrets/value\n\
         RUN --mount=type=secret,id=nobody-gave-it test ! -e /run/secrets/nobody-gave-it && env | grep -c TOKEN || true\n\
         RUN find / -xdev -name '*ecret*' 2>/dev/null; echo from > /sign\n",
    );
    assert_eq!(told.output, "from-a-filefrom-a-variable 0 0 400\n 1000 10 440\n from-a-variable\n0\n");
    assert!(exists(&image, "sign") && !exists(&image, "run/secrets") && !exists(&image, "etc/token"));
    assert!(!format!("{:?}", shop.config).contains("from-a-variable"), "no trace shows it");
    let runs = shop.layout.run().join("builds");
    let left: Vec<_> = fs::read_dir(runs).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["lock"]);
}

#[test]
fn an_agent_is_there_for_whoever_runs_the_command() {
    if cannot_run() {
        return;
    }
    let mut shop = Workshop::new();
    let socket = shop.folder.path().join("agent");
    let _agent = UnixListener::bind(&socket).unwrap();
    shop.config.ssh.insert("default".into(), Some(socket));
    let (_, told) = shop.build(
        "FROM busybox\nUSER alice\nRUN --mount=type=ssh,uid=1000 test -S $SSH_AUTH_SOCK && stat -c '%n %u %a' $SSH_AUTH_SOCK\n\
         RUN --mount=type=ssh,target=/agent,mode=0666 stat -c '%n %u %a' $SSH_AUTH_SOCK\nRUN test -z \"$SSH_AUTH_SOCK\"\n",
    );
    assert_eq!(told.output, "/run/buildkit/ssh_agent.0 1000 600\n/agent 0 666\n");
    shop.config.ssh.insert("default".into(), Some(shop.folder.path().join("nothing")));
    let error = shop.fails("FROM busybox\nRUN --mount=type=ssh true\n");
    assert!(error.starts_with("Dockerfile:2:") && error.contains("nothing: No such file"), "{error}");
}

#[test]
fn bound_files_hide_what_is_ignored_and_lose_what_is_written() {
    if cannot_run() {
        return;
    }
    let shop = Workshop::new();
    for path in ["seen/file", "hidden/file", "part/kept", "part/gone", ".dockerignore"] {
        shop.write(path, "hidden\npart/*\n!part/kept\n");
    }
    let (image, told) = shop.build(
        "FROM busybox AS other\nRUN mkdir /o && echo other > /o/file\nFROM busybox\n\
         RUN --mount=target=/c cd /c && ls . part; touch /c/x 2>&1 | grep -o 'Read-only.*'\n\
         RUN --mount=target=/c,rw --mount=from=other,source=/o,target=/o,rw echo new > /c/seen/file; cat /c/seen/file /o/file; rm /o/file; rm -r /c/part\n\
         RUN --mount=type=tmpfs,target=/t,size=1m --mount=from=other,source=o/file,target=/f cat /f; touch /t/x; echo done > /done\n",
    );
    assert_eq!(told.output, ".:\nDockerfile\npart\nseen\n\npart:\nkept\nRead-only file system\nnew\nother\nother\n");
    assert!(exists(&image, "done") && !exists(&image, "t") && !exists(&image, "c") && !exists(&image, "f"));
    assert!(fs::read_to_string(shop.context.join("seen/file")).unwrap().starts_with("hidden"));
    // What is hidden makes no difference, what is seen does.
    let text = "FROM busybox\nRUN --mount=target=/c cat /c/part/kept > /kept\n";
    shop.build(text);
    shop.write("part/gone", "changed");
    assert!(shop.build(text).1.steps[1].1);
    shop.write("part/kept", "changed");
    let (image, told) = shop.build(text);
    assert_eq!((told.steps[1].1, read(&image, "kept").as_str()), (false, "changed"));
}

#[test]
fn caches_begin_with_what_they_are_told_and_are_shared_as_they_are_told() {
    if cannot_run() {
        return;
    }
    let shop = Workshop::new();
    let append = |id: &str, sharing: &str, name: &str| {
        format!(
            "FROM busybox AS {name}\nRUN --mount=type=cache,id={id},target=/c,sharing={sharing} test ! -e /c/busy && touch /c/busy && sleep 0.2 && rm /c/busy && echo {name} >> /c/list\n"
        )
    };
    let ends = "FROM scratch\nCOPY --from=a / /\nCOPY --from=b / /\n";
    for sharing in ["locked", "private"] {
        shop.build(&format!("{}{}{ends}", append(sharing, sharing, "a"), append(sharing, sharing, "b")));
    }
    let (image, _) = shop.build(
        "FROM busybox AS model\nRUN mkdir /m && echo begun > /m/file\nFROM busybox\n\
         RUN --mount=type=cache,id=locked,target=/c,sharing=locked grep -c . /c/list > /lines\n\
         RUN --mount=type=cache,target=/n,from=model,source=/m,uid=1000,mode=0700 cat /n/file > /begun; stat -c '%u %a' /n > /owner\n",
    );
    assert_eq!(read(&image, "lines"), "2\n");
    assert_eq!((read(&image, "begun"), read(&image, "owner")), ("begun\n".into(), "1000 700\n".into()));
}
