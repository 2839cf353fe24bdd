//! `watch`: files of the host change, and containers follow.

use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Machine, cannot_run, eventually};

/// A session of watching whose output goes to a file.
struct Watching {
    child: Child,
    machine: Machine,
}

impl Watching {
    fn new(machine: Machine, arguments: &[&str]) -> Watching {
        let out = std::fs::File::create(machine.project().join("../out")).unwrap();
        let errors = out.try_clone().unwrap();
        let child = machine.command(arguments).stdin(Stdio::null()).stdout(out).stderr(errors).spawn().unwrap();
        Watching { child, machine }
    }

    fn told(&self) -> String {
        std::fs::read_to_string(self.machine.project().join("../out")).unwrap()
    }

    #[track_caller]
    fn until(&self, text: &str) {
        eventually(text, || self.told().contains(text).then_some(()));
    }

    fn inside(&self, service: &str, script: &str) -> Option<String> {
        let run = self.machine.xcompose(["exec", "-T", service, "sh", "-c", script]);
        (run.code() == 0).then(|| run.stdout())
    }

    #[track_caller]
    fn becomes(&self, service: &str, script: &str, wanted: &str) {
        eventually(script, || (self.inside(service, script).as_deref() == Some(wanted)).then_some(()));
    }
}

fn machine(file: &str) -> Machine {
    let machine = Machine::new();
    machine.import_busybox();
    machine.write("compose.yaml", file);
    machine
}

#[test]
fn what_changes_is_copied_and_what_has_to_follow_follows() {
    if cannot_run() {
        return;
    }
    let machine = machine(
        "
services:
  web:
    image: busybox
    command: [sh, -c, 'echo run >> /runs; trap \"exit 0\" TERM; while true; do sleep 0.05; done']
    volumes: ['./bound:/bound']
    develop:
      watch:
        - {path: app, action: sync, target: /app, ignore: [node/, '*.log'], initial_sync: true}
        - {path: only, action: sync, target: /only, include: '*.test'}
        - {path: bound, action: sync, target: /bound}
        - {path: conf, action: sync+restart, target: /conf}
        - {path: run, action: sync+exec, target: /run-it, exec: {command: [sh, -c, 'cat /run-it/file']}}
",
    );
    machine.write("app/first", "one");
    for folder in ["bound", "conf", "run", "only"] {
        std::fs::create_dir(machine.project().join(folder)).unwrap();
    }
    let mut watching = Watching::new(machine, &["watch"]);
    watching.until("Watch enabled");
    watching.until("declared by a bind mount volume, this path won't be monitored");
    watching.becomes("web", "cat /app/first", "one");
    let machine = &watching.machine;
    let told = machine.xcompose(["watch"]).fails(1).stderr();
    assert!(told.contains("cannot take exclusive lock for project"), "{told}");

    machine.write("app/node/ignored", "x");
    machine.write("app/x.log", "x");
    machine.write("only/B", "x");
    machine.write("only/A.test", "yes");
    machine.write("app/new/deep/file", "deep");
    watching.becomes("web", "cat /app/new/deep/file /only/A.test", "deepyes");
    assert_eq!(watching.inside("web", "ls /app /only").unwrap(), "/app:\nfirst\nnew\n\n/only:\nA.test\n");
    std::fs::remove_dir_all(machine.project().join("app/new")).unwrap();
    watching.becomes("web", "ls /app", "first\n");
    machine.write("conf/file", "c");
    watching.until("service(s) [\"web\"] restarted");
    watching.becomes("web", "cat /conf/file /runs", "crun\nrun\n");
    machine.write("run/file", "its output");
    watching.until("web-1 ->  | its output");

    kill(Pid::from_raw(watching.child.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(watching.child.wait().unwrap().code(), Some(130));
    assert!(watching.told().ends_with("Watch disabled\n"), "{}", watching.told());
    assert_eq!(watching.machine.xcompose(["ps", "--services"]).ok().stdout(), "web\n", "it runs on");
    watching.machine.xcompose(["down", "-t", "0"]).ok();
}

#[test]
fn a_service_is_built_and_made_anew_and_a_failing_build_does_not_end_it() {
    if cannot_run() {
        return;
    }
    let machine = machine(
        "
services:
  built:
    build: {context: ., dockerfile: Dockerfile}
    stop_signal: SIGKILL
    develop: {watch: [{path: version, action: rebuild}]}
",
    );
    machine
        .write("Dockerfile", "FROM busybox\nCOPY version /version\nRUN test $(cat /version) != bad\nCMD sleep 1000\n");
    machine.write("version", "1");
    let mut watching = Watching::new(machine, &["up", "--watch"]);
    watching.until("Watch enabled");
    watching.becomes("built", "cat /version", "1");
    watching.machine.write("version", "bad");
    watching.until("Build failed. Error:");
    watching.machine.write("version", "2");
    watching.until("service(s) [\"built\"] successfully built");
    watching.becomes("built", "cat /version", "2");
    let images = watching.machine.xcompose(["image", "ls"]).ok().stdout();
    assert!(!images.contains("<none>"), "{images}");
    kill(Pid::from_raw(watching.child.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(watching.child.wait().unwrap().code(), Some(130));
    watching.machine.xcompose(["down"]).ok();
}

#[test]
fn without_rules_there_is_nothing_to_watch() {
    let machine = Machine::new();
    machine.write("compose.yaml", "services: {web: {image: busybox}}");
    let told = machine.xcompose(["watch"]).fails(1).stderr();
    assert!(told.contains("none of the selected services is configured for watch"), "{told}");
    let told = machine.xcompose(["up", "--no-build", "--watch"]).fails(1).stderr();
    assert!(told.contains("--no-build and --watch are incompatible"), "{told}");
    let rebuild = "services: {web: {image: busybox, develop: {watch: [{path: ., action: rebuild}]}}}";
    machine.write("compose.yaml", rebuild);
    let told = machine.xcompose(["watch"]).fails(1).stderr();
    assert!(told.contains("can't watch service \"web\" with action rebuild without a build context"), "{told}");
}
