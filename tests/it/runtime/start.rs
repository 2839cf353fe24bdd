//! A container starts, and is what was asked for.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::Arc;

use xcompose::engine::{InjectedFile, ProcessIo};
use xcompose::runtime::start::program::Parentage;
use xcompose::runtime::start::request::{ExecRequest, Mount, MountSource, Namespace, Network, Propagation, Shm};
use xcompose::runtime::start::{StartError, compile, compile_exec};
use xcompose::values::ulimit::Ulimit;

use super::sandbox::{Sandbox, wait};
use crate::support::cannot_run;

#[test]
fn a_command_runs_as_process_one_with_its_own_names_and_nothing_of_the_host() {
    if cannot_run() {
        return;
    }
    let sandbox = Sandbox::new();
    let script = "echo $$; hostname; pwd; id; ls /; cat /proc/1/cmdline";
    let out = sandbox.sh(script).ok();
    assert!(out.starts_with("1\nbox\n/\nuid=0(root) gid=0(root) groups=0(root)\nbin\ndev\netc\n"), "{out}");
    assert_eq!(sandbox.sh("exit 42").status, 42);
    assert_eq!(sandbox.sh("kill -9 $$; exit 1").status, 1, "process 1 can't be killed from within");
}

#[test]
fn commands_that_cannot_run_are_dockers_126_and_127() {
    if cannot_run() {
        return;
    }
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("image/bin/plain"), "#!/bin/sh\n").unwrap();
    let says = |argv: &[&str]| match sandbox.run(sandbox.request(argv)) {
        Err(StartError::Command { code, reason }) => (code, reason),
        other => panic!("{other:?}"),
    };
    assert_eq!(says(&["nope"]), (127, r#"exec: "nope": executable file not found in $PATH"#.to_owned()));
    assert_eq!(says(&["/nope"]), (127, r#"exec: "/nope": stat /nope: no such file or directory"#.to_owned()));
    assert_eq!(says(&["/bin/plain"]), (126, r#"exec: "/bin/plain": permission denied"#.to_owned()));
    assert_eq!(says(&["/etc"]), (126, r#"exec: "/etc": permission denied"#.to_owned()));
    let mut request = sandbox.shell("true");
    request.process.user = Some("nosuch".to_owned());
    let error = sandbox.run(request).unwrap_err().to_string();
    assert_eq!(error, "unable to find user nosuch: no matching entries in passwd file");
}

#[test]
fn user_environment_directory_limits_and_files_are_as_asked() {
    if cannot_run() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut request = sandbox.shell("id; pwd; env; ulimit -n; cat /run/secrets/key; stat -c '%a %u %g' /run/secrets/key; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; touch /nope; umask; ls -l /.dockerenv | wc -l");
    request.process.user = Some("web".to_owned());
    request.process.groups = vec!["log".to_owned(), "77".to_owned()];
    request.process.working_dir = "/srv/app".to_owned();
    request.process.env = vec!["A=1".to_owned()];
    request.ulimits.insert("nofile".to_owned(), Ulimit { soft: 100, hard: 200 });
    let file =
        InjectedFile { target: "/run/secrets/key".into(), content: b"s3\n".to_vec(), uid: 1000, gid: 5, mode: 0o440 };
    request.files = vec![file];
    request.rootfs.read_only = true;
    let ended = sandbox.run(request).unwrap();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let id = "uid=1000(web) gid=1000(web) groups=44(log),77,1000(web)";
    // The shell adds SHLVL and PWD to its children.
    let mut lines: Vec<&str> =
        ended.stdout.lines().filter(|line| !line.starts_with("SHLVL") && !line.starts_with("PWD")).collect();
    lines[2..6].sort_unstable();
    let expected =
        [id, "/srv/app", "A=1", "HOME=/home/web", "HOSTNAME=box", path, "100", "s3", "440 1000 5", "0", "0022", "1"];
    assert_eq!(lines, expected);
    assert!(ended.stderr.contains("/nope: Read-only file system"), "{ended:?}");
}

#[test]
fn mounts_lie_where_they_were_asked_for_the_deeper_ones_on_top() {
    if cannot_run() {
        return;
    }
    let sandbox = Sandbox::new();
    for folder in ["outer", "inner/sub/deep"] {
        fs::create_dir_all(sandbox.path(folder)).unwrap();
    }
    fs::write(sandbox.path("inner/sub/deep/file"), "deep\n").unwrap();
    fs::write(sandbox.path("hosts"), "127.0.0.1 localhost\n").unwrap();
    let bind = |source: &str, subpath: Option<&str>, target: &str, read_only| Mount {
        target: target.to_owned(),
        read_only,
        source: MountSource::Bind {
            source: sandbox.path(source),
            subpath: subpath.map(str::to_owned),
            propagation: Propagation::Private,
            recursive: true,
        },
    };
    let tmpfs = |target: &str, options: &[&str]| Mount {
        target: target.to_owned(),
        read_only: false,
        source: MountSource::Tmpfs {
            size: Some(1 << 20),
            mode: None,
            options: options.iter().map(|option| (*option).to_owned()).collect(),
        },
    };
    let script = "cat /data/a/file; touch /data/a/x /data/y; stat -c %a /tmp /new; cat /etc/hosts; echo more >> /etc/hosts; \
                  dd if=/dev/zero of=/new/big bs=1M count=3 2>/dev/null; stat -c %s /new/big; cat /img/bin/none; ls /img";
    let mut request = sandbox.shell(script);
    request.mounts = vec![
        bind("inner", Some("sub/deep"), "/data/a", true),
        bind("outer", None, "/data", false),
        tmpfs("/tmp", &[]),
        tmpfs("/new", &["uid=5"]),
        Mount {
            target: "/img".into(),
            read_only: true,
            source: MountSource::Layers { lower: vec![sandbox.path("image")], subpath: Some("etc".into()) },
        },
    ];
    request.etc.hosts = Some(sandbox.path("hosts"));
    let ended = sandbox.run(request).unwrap();
    assert_eq!(ended.stdout, "deep\n755\n1777\n127.0.0.1 localhost\n1048576\ngroup\npasswd\n", "{ended:?}");
    assert!(ended.stderr.contains("/data/a/x: Read-only file system"), "{ended:?}");
    assert!(sandbox.path("outer/y").exists() && sandbox.path("outer/a").is_dir());
    assert_eq!(fs::read_to_string(sandbox.path("hosts")).unwrap(), "127.0.0.1 localhost\nmore\n");

    let mut request = sandbox.shell("true");
    request.mounts = vec![bind("missing", None, "/x", false)];
    let error = sandbox.run(request).unwrap_err().to_string();
    assert!(error.starts_with("invalid mount config for type \"bind\": bind source path does not exist: /"), "{error}");
}

#[test]
fn init_starts_the_command_forwards_signals_and_reaps_what_is_left_behind() {
    if cannot_run() {
        return;
    }
    let sandbox = Sandbox::new();
    let program = File::open(env!("CARGO_BIN_EXE_xcompose")).unwrap();
    let with_init = |script: &str| {
        let mut request = sandbox.shell(script);
        request.init = Some(Arc::new(program.try_clone().unwrap().into()));
        request
    };
    let out = sandbox
        .run(with_init(
            "cat /proc/1/cmdline | head -c 18; echo; grep -E '^Cap(Eff|Bnd)' /proc/1/status; test $$ != 1; exit 3",
        ))
        .unwrap();
    assert_eq!(out.stdout, "/sbin/docker-init\0\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\n");
    assert_eq!(out.status, 3);
    // A grandchild whose parent is gone becomes a child of process 1, and no zombie stays.
    let orphans = "for i in 1 2 3; do (true & true); done; while grep -q Z /proc/[0-9]*/stat; do :; done; echo none";
    assert_eq!(sandbox.run(with_init(orphans)).unwrap().ok(), "none\n");
    let mut missing = with_init("");
    missing.process.argv = vec!["nope".to_owned()];
    let out = sandbox.run(missing).unwrap();
    assert!(out.status == 127 && out.stderr.contains("exec nope failed"), "{out:?}");

    // Without init, process 1 would ignore it.
    let mut request = with_init("echo ready; exec sleep 1000");
    let (read, write) = std::io::pipe().unwrap();
    request.io = ProcessIo::Files { stdin: None, stdout: Some(write.into()), stderr: None };
    let started = compile(&request).unwrap().run(Parentage::Child).unwrap();
    drop(request);
    let mut line = String::new();
    BufReader::new(read).read_line(&mut line).unwrap();
    xcompose::runtime::sys::pidfd_signal(&started.pidfd, 15).unwrap();
    assert_eq!(wait(&started), 128 + 15);
}

#[test]
fn a_terminal_controls_its_container_and_has_the_size_asked_for() {
    if cannot_run() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut request = sandbox.shell(
        "tty; stty size; echo to-console > /dev/console; env | grep TERM; read line; echo got $line; trap 'exit 9' INT; echo trapped; while :; do :; done",
    );
    request.io = ProcessIo::Terminal { rows: 24, columns: 91 };
    let started = compile(&request).unwrap().run(Parentage::Child).unwrap();
    let mut terminal = File::from(started.terminal.as_ref().unwrap().try_clone().unwrap());
    let mut seen = String::new();
    let mut until = |terminal: &mut File, text: &str| {
        let mut buffer = [0; 512];
        while !seen.contains(text) {
            let length = terminal.read(&mut buffer).unwrap();
            seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    };
    until(&mut terminal, "/dev/pts/0\r\n24 91\r\nto-console\r\nTERM=xterm\r\n");
    terminal.write_all(b"hello\n").unwrap();
    until(&mut terminal, "got hello\r\ntrapped");
    terminal.write_all(b"\x03").unwrap();
    assert_eq!(wait(&started), 9, "the interrupt key reaches process 1 and its child");
}

#[test]
fn another_process_joins_a_running_container_with_its_rights_and_terminal() {
    if cannot_run() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut request = sandbox.shell("echo up; read line");
    let (stdin, keep) = std::io::pipe().unwrap();
    let (read, write) = std::io::pipe().unwrap();
    request.io = ProcessIo::Files { stdin: Some(stdin.into()), stdout: Some(write.into()), stderr: None };
    let started = compile(&request).unwrap().run(Parentage::Child).unwrap();
    drop(request);
    BufReader::new(read).read_line(&mut String::new()).unwrap();
    let pidfd = Arc::new(started.pidfd.try_clone().unwrap());
    let exec = |script: &str, user: &str, io: ProcessIo| {
        let mut process = sandbox.shell(script).process;
        process.user = Some(user.to_owned());
        let request = ExecRequest {
            container: pidfd.clone(),
            pid: started.pid,
            process,
            hostname: "box".to_owned(),
            ulimits: Default::default(),
            join: Vec::new(),
            io,
        };
        compile_exec(&request).and_then(|program| program.run(Parentage::Child))
    };
    let output = |script: &str, user: &str| {
        let (read, write) = std::io::pipe().unwrap();
        let started =
            exec(script, user, ProcessIo::Files { stdin: None, stdout: Some(write.into()), stderr: None }).unwrap();
        let mut text = String::new();
        BufReader::new(read).read_to_string(&mut text).unwrap();
        (wait(&started), text)
    };
    let (status, text) = output(
        "hostname; id -u; ps | grep -c '[r]ead line'; grep -E '^(CapEff|Seccomp:)' /proc/self/status; ls /proc/self/fd | wc -l; exit 7",
        "",
    );
    assert_eq!(text, "box\n0\n1\nCapEff:\t00000000a80425fb\nSeccomp:\t2\n4\n");
    assert_eq!(status, 7);
    assert_eq!(output("id -un; echo $HOME", "web").1, "web\n/home/web\n");
    let missing = exec("", "", ProcessIo::Files { stdin: None, stdout: None, stderr: None });
    assert_eq!(wait(&missing.unwrap()), 0);

    let shell = exec("tty; stty size; exit 5", "", ProcessIo::Terminal { rows: 30, columns: 70 }).unwrap();
    let mut text = Vec::new();
    // The end of a terminal is an error of its own (EIO).
    let _ = File::from(shell.terminal.as_ref().unwrap().try_clone().unwrap()).read_to_end(&mut text);
    assert_eq!(String::from_utf8(text).unwrap(), "/dev/pts/0\r\n30 70\r\n");
    assert_eq!(wait(&shell), 5);
    drop(keep);
    wait(&started);
}

#[test]
fn a_program_prints_the_whole_sandbox() {
    if cannot_run() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut request = sandbox.shell("true");
    request.process.user = Some("web".to_owned());
    let text = compile(&request).unwrap().to_string();
    let text = text.replace(sandbox.path("").to_str().unwrap(), "SANDBOX/");
    // How long the filter is and which paths of /sys are hidden is this machine's business.
    let lines = text.lines().filter(|line| !line.contains("filter system calls") && !line.contains("thermal_throttle"));
    let text: Vec<&str> = lines.map(|line| line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ')).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn a_privileged_container_has_all_rights_and_devices_and_nothing_hidden() {
    if cannot_run() {
        return;
    }
    let sandbox = Sandbox::new();
    let script = "grep -E '^(CapEff|Seccomp:)' /proc/self/status; mount -t tmpfs none /tmp && echo mounted; ls /dev/kmsg; \
                  touch /proc/sys/kernel/panic && echo writable; hostname other && hostname";
    let mut request = sandbox.shell(script);
    request.process.security.privileged = true;
    // All that this process has itself.
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let all = status.lines().find(|line| line.starts_with("CapEff")).unwrap();
    let expected = format!("{all}\nSeccomp:\t0\nmounted\n/dev/kmsg\nwritable\nother\n");
    assert_eq!(sandbox.run(request).unwrap().stdout, expected);
}

#[test]
fn a_container_may_live_in_the_namespaces_of_another() {
    if cannot_run() {
        return;
    }
    let (first, second) = (Sandbox::new(), Sandbox::new());
    let mut request = first.shell("echo shared > /dev/shm/note; echo up; read line");
    let (stdin, keep) = std::io::pipe().unwrap();
    let (read, write) = std::io::pipe().unwrap();
    request.io = ProcessIo::Files { stdin: Some(stdin.into()), stdout: Some(write.into()), stderr: None };
    let started = compile(&request).unwrap().run(Parentage::Child).unwrap();
    drop(request);
    BufReader::new(read).read_line(&mut String::new()).unwrap();

    let pidfd = Arc::new(started.pidfd.try_clone().unwrap());
    let mut request = second.shell("cat /dev/shm/note; echo $$; ps | grep -c '[r]ead line'; kill -9 1; for name in ipc net uts; do readlink /proc/self/ns/$name; done");
    request.hostname = "ignored".to_owned();
    request.ipc = Namespace::Join(pidfd.clone());
    request.shm = Shm::Join(pidfd.clone());
    request.uts = Namespace::Join(pidfd.clone());
    request.network = Network::Join(pidfd.clone());
    request.pid = Namespace::Join(pidfd);
    let out = second.run(request).unwrap().stdout;
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((lines[0], lines[2]), ("shared", "1"), "{out}");
    assert_ne!(lines[1], "1");
    let namespace = |name: &str| fs::read_link(format!("/proc/{}/ns/{name}", started.pid)).unwrap();
    let own = ["ipc", "net", "uts"].map(|name| namespace(name).to_string_lossy().into_owned());
    assert_eq!(lines[3..], own);
    drop(keep);
    wait(&started);

    // With the host's, its own names and interfaces are the machine's.
    let mut request = second.shell("for name in net pid uts ipc; do readlink /proc/self/ns/$name; done");
    request.network = Network::Host;
    request.pid = Namespace::Host;
    request.uts = Namespace::Host;
    request.ipc = Namespace::Host;
    request.shm = Shm::Host;
    let out = second.run(request).unwrap().ok();
    let host = ["net", "pid", "uts", "ipc"]
        .map(|name| fs::read_link(format!("/proc/self/ns/{name}")).unwrap().to_string_lossy().into_owned());
    assert_eq!(out.lines().collect::<Vec<_>>(), host);
}

#[test]
fn settings_of_namespaces_that_are_not_its_own_are_refused() {
    if cannot_run() {
        return;
    }
    let sandbox = Sandbox::new();
    let with = |name: &str, network: Network| {
        let mut request = sandbox.shell("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni");
        request.network = network;
        request.sysctls.insert(name.to_owned(), "1".to_owned());
        sandbox.run(request).map(|ended| ended.stdout).map_err(|error| error.to_string())
    };
    assert!(with("net.ipv4.ip_forward", Network::New).unwrap().starts_with("1\n"));
    assert!(with("net/ipv4/ip_forward", Network::New).unwrap().starts_with("1\n"));
    assert!(with("kernel.shmmni", Network::New).unwrap().ends_with("\n1\n"));
    for name in ["kernel.panic", "vm.swappiness", "net/../kernel/panic", "net...kernel.panic", "kernel.hostname"] {
        assert_eq!(with(name, Network::New), Err(format!("sysctl {name:?} is not in a separate kernel namespace")));
    }
    let error = with("net.ipv4.ip_forward", Network::Host).unwrap_err();
    assert_eq!(error, "sysctl \"net.ipv4.ip_forward\" is not in a separate kernel namespace");
}
