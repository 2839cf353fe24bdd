//! What a user asks afterwards, and what comes back: `why`, earlier runs, a restart of the machine.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::leftovers;
use crate::support::{Machine, cannot_run, eventually};

fn machine(file: &str) -> Machine {
    let machine = Machine::new();
    machine.import_busybox();
    machine.write("compose.yaml", file);
    machine
}

fn exited(machine: &Machine, service: &str) {
    let state = || machine.xcompose(["ps", "-a", "--format", "{{.State}}", service]).ok().stdout();
    eventually("it has ended", || (state() == "exited\n").then_some(()));
}

#[test]
fn why_tells_how_it_ended_its_last_words_and_the_line_to_blame() {
    if cannot_run() {
        return;
    }
    let machine = machine(
        "
services:
  fails: {image: busybox, command: [sh, -c, 'echo no database >&2; exit 7']}
  lost:
    image: busybox
    command: [nosuchprogram]
  greedy:
    image: busybox
    mem_limit: 16m
    command: [sh, -c, 'x=aaaaaaaaaaaaaaaa; while :; do x=$$x$$x; done']
  deaf:
    image: busybox
    command: [sleep, '1000']
",
    );
    let why = |service: &str| machine.xcompose(["why", service]).ok().stdout();
    machine.xcompose(["up", "-d", "fails", "greedy", "deaf"]).ok();
    assert!(machine.xcompose(["up", "-d", "lost"]).fails(1).stderr().contains("nosuchprogram"));
    for service in ["fails", "greedy"] {
        exited(&machine, service);
    }
    let told = why("fails");
    assert!(told.contains("It ended by itself with code 7.") && told.contains("\n  | no database\n"), "{told}");
    let told = why("lost");
    assert!(told.contains("its command is not in the image"), "{told}");
    assert!(told.contains("compose.yaml:6:15  command: [nosuchprogram]"), "{told}");
    let told = why("greedy");
    assert!(told.contains("its limit is 16.8MB") && told.contains("mem_limit: 16m"), "{told}");
    let stopped = machine.xcompose(["stop", "deaf"]).ok().stderr();
    assert!(stopped.contains("Stopped (killed at once: its first process can't see its stop signal"), "{stopped}");
    assert!(why("deaf").contains("With \"init: true\" it could."));
    let none = machine.xcompose(["why", "nosuch"]).fails(1).stderr();
    assert!(none.contains("no such service: nosuch"), "{none}");
    machine.xcompose(["down", "-t", "0"]).ok();
}

#[test]
fn why_tells_who_ended_it_and_what_kept_it_from_being_started() {
    if cannot_run() {
        return;
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let machine = machine(&format!(
        "
services:
  polite: {{image: busybox, command: [sh, -c, 'trap \"exit 0\" TERM; echo ready; while :; do sleep 0.1; done']}}
  fails: {{image: busybox, command: [sh, -c, 'exit 4']}}
  waits:
    image: busybox
    command: [sleep, '1000']
    depends_on: {{fails: {{condition: service_completed_successfully}}}}
  taken:
    image: busybox
    command: [sleep, '1000']
    ports: ['127.0.0.1:{port}:80']
"
    ));
    let why = |service: &str| machine.xcompose(["why", service]).ok().stdout();
    machine.xcompose(["up", "-d", "polite"]).ok();
    let ready = || (machine.xcompose(["logs", "polite"]).ok().stdout().contains("ready")).then_some(());
    eventually("it can be asked to end", ready);
    assert!(why("polite").contains("  It runs.\n"));
    machine.xcompose(["stop", "polite"]).ok();
    let told = why("polite");
    assert!(told.contains("It was asked to end, and ended successfully (0)."), "{told}");
    machine.xcompose(["up", "-d", "waits"]).fails(1);
    let told = why("waits");
    let reason = "It was made and not started: fails, on which it depends, did not end successfully.";
    assert!(told.contains(reason) && told.contains("compose.yaml:8:"), "{told}");
    machine.xcompose(["up", "-d", "taken"]).fails(1);
    let told = why("taken");
    assert!(told.contains("port is already allocated") && told.contains("  ports: ['127.0.0.1:"), "{told}");
    assert!(!told.contains("  image: busybox"), "{told}");
    machine.xcompose(["down", "-t", "0"]).ok();
}

#[test]
fn why_tells_what_keeps_a_container_from_being_made() {
    if cannot_run() {
        return;
    }
    let machine = machine(
        "
services:
  away: {image: '127.0.0.1:1/no/such:1', command: [sleep, '1000']}
  bind:
    image: busybox
    volumes: [{type: bind, source: ./nosuch, target: /x, bind: {create_host_path: false}}]
  network: {image: busybox, networks: [elsewhere]}
  volume: {image: busybox, volumes: ['elsewhere:/x']}
  fine: {image: busybox, command: [sleep, '1000']}
networks: {elsewhere: {external: true}}
volumes: {elsewhere: {external: true}}
",
    );
    for (service, cause, line) in [
        ("away", "image 127.0.0.1:1/no/such:1 is not here", "compose.yaml:3:"),
        ("bind", "nosuch does not exist, and is to be mounted at /x", "compose.yaml:6:"),
        ("network", "network elsewhere declared as external, but could not be found", "compose.yaml:7:"),
        ("volume", "external volume \"elsewhere\" not found", "compose.yaml:8:"),
        ("fine", "nothing has made a container of it: xcompose up fine", ""),
    ] {
        let told = machine.xcompose(["why", service]).fails(1).stderr();
        assert!(told.contains(cause) && told.contains(line), "{service}: {told}");
        assert_eq!(machine.xcompose(["up", "-d", service]).code() == 0, service == "fine");
    }
    machine.xcompose(["down"]).ok();
}

#[test]
fn the_run_before_the_last_one_can_be_read() {
    if cannot_run() {
        return;
    }
    let script = "n=$$(cat /n 2>/dev/null || echo 1); echo this is run $$n; echo $$((n + 1)) > /n";
    let machine = machine(&format!("services:\n  a: {{image: busybox, command: [sh, -c, '{script}']}}\n"));
    let logs = |run: &str| machine.xcompose(["logs", "--no-log-prefix", "--run", run, "a"]).ok().stdout();
    machine.xcompose(["up", "-d"]).ok();
    exited(&machine, "a");
    machine.xcompose(["start"]).ok();
    eventually("the second run has written", || (logs("0") == "this is run 2\n").then_some(()));
    assert_eq!(logs("-1"), "this is run 1\n");
    assert_eq!(logs("-2"), "", "there is no run before the first");
    let wrong = machine.xcompose(["logs", "--run", "1", "a"]).fails(1).stderr();
    assert!(wrong.contains("0 is the last run, -1 the one before"), "{wrong}");
    machine.xcompose(["down"]).ok();
}

#[test]
fn a_slow_follower_gets_every_line_although_the_log_is_rotated_under_it() {
    if cannot_run() {
        return;
    }
    let machine = machine(
        "
services:
  a:
    image: busybox
    command: [sh, -c, 'echo ready; until [ -e /go ]; do sleep 0.02; done; seq 1 60000']
    logging: {driver: json-file, options: {max-size: 10k, max-file: '2'}}
",
    );
    machine.xcompose(["up", "-d"]).ok();
    let mut follower = machine.command(["logs", "-f", "--no-log-prefix", "a"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "ready");
    machine.xcompose(["exec", "-T", "a", "touch", "/go"]).ok();
    // Nothing is read until all is written: the container does not wait for that.
    exited(&machine, "a");
    for number in 1..=60_000 {
        assert_eq!(lines.next().unwrap(), number.to_string());
    }
    assert_eq!(lines.next().unwrap(), "a-1 exited with code 0");
    assert!(follower.wait().unwrap().success());
    machine.xcompose(["down"]).ok();
}

/// Kills everything of the machine, empties what is gone at boot, and lets the records be of another boot.
fn restart(machine: &Machine) {
    let mut doomed: Vec<i32> = leftovers::processes(machine).into_iter().map(|(pid, _)| pid).collect();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let records: Vec<_> = std::fs::read_dir(machine.data().join("projects/project/containers"))
        .unwrap()
        .map(|container| container.unwrap().path().join("state.json"))
        .collect();
    let read = |path: &std::path::PathBuf| std::fs::read_to_string(path).unwrap();
    // Stopped first: none may see another one die.
    let send = |pids: &[i32], signal| pids.iter().for_each(|pid| kill(Pid::from_raw(*pid), signal).unwrap());
    send(&doomed, Signal::SIGSTOP);
    for record in &records {
        let state: serde_json::Value = serde_json::from_str(&read(record)).unwrap();
        doomed.extend(state["state"]["running"]["pid"].as_i64().map(|pid| i32::try_from(pid).unwrap()));
    }
    send(&doomed, Signal::SIGKILL);
    let dead = |pid: &i32| !std::path::Path::new(&format!("/proc/{pid}/cwd/.")).exists();
    eventually("all are dead", || doomed.iter().all(dead).then_some(()));
    for record in &records {
        std::fs::write(record, read(record).replace(boot.trim(), "another")).unwrap();
    }
    std::fs::remove_dir_all(machine.run()).unwrap();
    std::fs::create_dir(machine.run()).unwrap();
}

#[test]
fn after_a_restart_of_the_machine_resume_brings_back_what_its_policy_says_in_order() {
    if cannot_run() {
        return;
    }
    let machine = machine(
        "
services:
  db:
    image: busybox
    restart: always
    command: [sleep, '1000']
    healthcheck: {test: [CMD, 'true'], interval: 1s}
  web:
    image: busybox
    restart: unless-stopped
    command: [sleep, '1000']
    depends_on: {db: {condition: service_healthy}}
  resting: {image: busybox, restart: unless-stopped, command: [sleep, '1000']}
  plain: {image: busybox, command: [sleep, '1000']}
",
    );
    machine.xcompose(["up", "-d"]).ok();
    machine.xcompose(["stop", "-t", "0", "resting"]).ok();
    restart(&machine);
    let listed = || machine.xcompose(["ps", "-a", "--format", "{{.Service}} {{.Status}}"]).ok().stdout();
    let before = listed();
    assert!(!before.contains(" Up "), "looking brings nothing back: {before}");
    for service in ["db", "plain", "web"] {
        assert!(before.contains(&format!("{service} Exited (unknown)")), "{before}");
    }
    assert!(machine.xcompose(["why", "plain"]).ok().stdout().contains("the machine was restarted"));
    let told = machine.command(["resume"]).current_dir("/").output().unwrap();
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    let place = |text: &str| told.find(text).unwrap_or_else(|| panic!("no {text:?} in {told}"));
    assert!(place("project-db-1 Healthy") < place("project-web-1 Starting"), "{told}");
    let after = listed();
    assert!(after.contains("db Up ") && after.contains("web Up "), "{after}");
    assert!(after.contains("plain Exited") && after.contains("resting Exited"), "{after}");
    machine.xcompose(["down", "-t", "0"]).ok();
}

#[test]
fn what_a_shutdown_suspends_in_order_comes_back_and_what_a_user_stopped_does_not() {
    if cannot_run() {
        return;
    }
    let say = "echo $$0 >> /shared/ends; exit 0";
    let machine = machine(&format!(
        "
x-base: &base {{image: busybox, restart: unless-stopped, volumes: ['./shared:/shared'], stop_grace_period: 1h}}
services:
  db:
    <<: *base
    command: [sh, -c, 'trap \"{say}\" TERM; touch /shared/$$0.up; while :; do sleep 0.02; done', db]
  web:
    <<: *base
    command: [sh, -c, 'trap \"sleep 0.2; {say}\" TERM; touch /shared/$$0.up; while :; do sleep 0.02; done', web]
    depends_on: [db]
  resting: {{<<: *base, command: [sleep, '1000']}}
  waiting: {{image: busybox, restart: always, command: ['false']}}
  later: {{<<: *base, command: [sleep, '1000'], stop_grace_period: 0s}}
"
    ));
    machine.write("shared/ends", "");
    machine.xcompose(["up", "-d"]).ok();
    machine.xcompose(["stop", "resting"]).ok();
    let up = |service: &str| machine.project().join(format!("shared/{service}.up")).exists().then_some(());
    eventually("both can hear", || up("db").and(up("web")));
    machine.xcompose(["-p", "project", "suspend"]).ok();
    assert_eq!(std::fs::read_to_string(machine.project().join("shared/ends")).unwrap(), "web\ndb\n");
    assert_eq!(machine.xcompose(["ps", "-q"]).ok().stdout(), "");
    machine.xcompose(["stop", "later"]).ok();
    restart(&machine);
    machine.xcompose(["-p", "project", "resume"]).ok();
    let after = machine.xcompose(["ps", "-a", "--format", "{{.Service}} {{.State}}"]).ok().stdout();
    assert!(after.contains("db running") && after.contains("web running"), "{after}");
    assert!(after.contains("resting exited") && after.contains("later exited"), "{after}");
    assert!(!after.contains("waiting exited"), "{after}");
    machine.xcompose(["down", "-t", "0"]).ok();
}

#[test]
fn a_project_is_enabled_and_disabled_for_the_machine_below_a_folder() {
    let machine = Machine::new();
    let root = machine.project().join("root");
    let root = root.to_str().unwrap();
    let told = machine.xcompose(["-p", "shop", "enable", "--root", root]).ok();
    assert!(told.stdout().starts_with("shop comes back at boot: "), "{}", told.stdout());
    assert!(told.stderr().contains("has no containers yet"), "{}", told.stderr());
    let unit = std::path::Path::new(root).join("etc/systemd/system/multi-user.target.wants/xcompose-shop.service");
    let text = std::fs::read_to_string(&unit).unwrap();
    assert!(text.contains("--project-name shop resume\n"), "{text}");
    assert!(text.contains("--project-name shop suspend\n"), "{text}");
    let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().unwrap();
    let told = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && !told.contains("xcompose-shop"), "{told}");
    machine.xcompose(["-p", "shop", "disable", "--root", root]).ok();
    assert!(!unit.exists());
    let again = machine.xcompose(["-p", "shop", "disable", "--root", root]).ok().stdout();
    assert_eq!(again, "shop was not enabled\n");
}
