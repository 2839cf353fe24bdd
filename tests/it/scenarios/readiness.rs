//! Services without a health check that say, or show, when they are ready.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use crate::support::{Machine, cannot_run, eventually};

/// A server that begins to serve when the file `go` is there, and its dependent, which asks it once.
const STACK: &str = "\
services:
  api:
    image: busybox
    command: sh -c 'until [ -e /gate/go ]; do usleep 10000; done; echo serving now; mkdir /w; echo yes > /w/ready; exec httpd -f -p 8080 -h /w'
    volumes: ['./gate:/gate']
    stop_signal: KILL
READY
  web:
    image: busybox
    command: sh -c 'until wget -qO /tmp/told http://api:8080/ready; do [ -n \"$$PATIENT\" ] || exit 7; done; cat /tmp/told'
    depends_on: [api]
ENVIRONMENT
";

/// Brings the stack up; opens the gate once `up` waits for it, and no sooner.
fn up(ready: &str, environment: &str, flags: &[&str]) -> String {
    let machine = Machine::new();
    machine.import_busybox();
    machine.write("gate/.keep", "");
    machine.write("compose.yaml", &STACK.replace("READY", ready).replace("ENVIRONMENT", environment));
    let mut command = machine.command([&["up", "-d"], flags].concat());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.contains("api-1 Waiting") {
            assert!(!told.contains("web-1 Starting"), "{told}");
            fs::write(machine.project().join("gate/go"), "").unwrap();
        }
        told += &line;
        told.push('\n');
    }
    assert!(child.wait().unwrap().success(), "{told}");
    assert!(told.contains("api-1 Ready"), "{told}");
    let answer = || machine.xcompose(["logs", "--no-log-prefix", "web"]).ok().stdout();
    eventually("web has asked", || (answer() == "yes\n").then_some(()));
    machine.xcompose(["down", "-t", "0"]).ok();
    told
}

#[test]
fn a_dependent_starts_when_a_declared_port_is_listened_on() {
    if cannot_run() {
        return;
    }
    up("    expose: ['8080']", "", &["--ready", "auto"]);
}

#[test]
fn a_dependent_starts_when_a_service_shows_what_it_said_it_would() {
    if cannot_run() {
        return;
    }
    up("    x-ready: {tcp: 8080}", "", &[]);
    up("    x-ready: {http: 'http://localhost:8080/ready'}", "", &[]);
    // A line is written before anybody listens.
    up("    x-ready: {log: serving now}", "    environment: {PATIENT: 'yes'}", &[]);
}

#[test]
fn what_never_gets_ready_is_a_warning_that_names_it_and_holds_nobody_up() {
    if cannot_run() {
        return;
    }
    let machine = Machine::new();
    machine.import_busybox();
    let file = "services:\n  \
                late: {image: busybox, command: sleep 1000, stop_signal: KILL, x-ready: {tcp: 99, timeout: 100ms}}\n  \
                gone: {image: busybox, command: 'true', x-ready: {log: hello}}\n  \
                plain: {image: busybox, command: sleep 1000, stop_signal: KILL}\n  \
                web: {image: busybox, command: sleep 1000, stop_signal: KILL, depends_on: [late, gone, plain]}\n";
    machine.write("compose.yaml", file);
    let told = machine.xcompose(["up", "-d", "--ready", "auto"]).ok().stderr();
    for words in [
        "service \"late\" does not show that it is ready: waited 100ms until somebody listens on port 99, in vain",
        "service \"gone\" does not show that it is ready: it has ended before it writes \"hello\"",
        "plain-1 Ready",
        "web-1 Started",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let plan = machine.xcompose(["plan", "--force-recreate"]).ok().stdout();
    assert!(plan.contains("wait until late is ready: somebody listens on port 99 (needed by web)"), "{plan}");
    assert!(!plan.contains("wait until plain"), "{plan}");
    machine.xcompose(["kill", "web"]).ok();
    let again = machine.xcompose(["up", "-d", "web"]).ok().stderr();
    assert!(again.contains("service \"late\" does not show"), "it ran before, and is not ready: {again}");
    let waited = machine.xcompose(["up", "--wait", "--force-recreate", "late"]).ok().stderr();
    assert!(waited.contains("service \"late\" does not show") && waited.contains("late-1 Healthy"), "{waited}");
}

#[test]
fn what_can_not_be_a_sign_is_refused_with_its_place() {
    let machine = Machine::new();
    for (ready, words) in [
        ("soon", "x-ready: use `auto`, `false`, a port, or a mapping of tcp, log, http, timeout"),
        ("{tcp: 0}", "x-ready.tcp: a port is a number from 1 to 65535"),
        ("{http: 'ftp://x'}", "x-ready.http: write it as http://localhost:8080/path"),
        ("{log: ''}", "x-ready.log: write a part of the line that shows it"),
        ("{log: [a]}", "x-ready.log: write a part of the line that shows it"),
        ("{timeout: 5s}", "x-ready: one of tcp, log and http has to say what shows it"),
        ("{tpc: 1}", "x-ready: unknown key `tpc`; there are tcp, log, http, timeout"),
    ] {
        machine.write("compose.yaml", &format!("services:\n  a:\n    image: x\n    x-ready: {ready}\n"));
        let told = machine.xcompose(["plan"]).fails(1).stderr();
        assert!(told.starts_with("compose.yaml:4:") && told.contains(words), "{told}");
    }
    machine.write("compose.yaml", "services: {a: {image: x}}\n");
    let mut command = machine.command(["plan"]);
    let told = crate::support::finish(command.env("XCOMPOSE_READY", "soon")).fails(1).stderr();
    assert!(told.contains("XCOMPOSE_READY is \"soon\"; it can be auto or off"), "{told}");
}
