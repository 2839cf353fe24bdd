//! Commands on containers that run, where what counts is the command line's own part: streams, terminals, signals.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;

use crate::scenarios::leftovers;
use crate::support::{Machine, cannot_run, eventually};

const STACK: &str = "
services:
  web:
    image: busybox
    command: [sh, -c, 'trap \"exit 5\" TERM; echo ready; while true; do sleep 0.05; done']
    depends_on: [db]
  db:
    image: busybox
    command: [sh, -c, 'trap \"\" TERM; while true; do sleep 0.05; done']
  tools:
    image: busybox
    profiles: [debug]
    command: [sleep, '1000']
    stop_signal: SIGKILL
";

fn machine() -> Machine {
    let machine = Machine::new();
    machine.import_busybox();
    machine.write("compose.yaml", STACK);
    machine
}

/// A program at a terminal of its own, and what it has printed there.
struct AtTerminal {
    child: Child,
    master: File,
    slave: OwnedFd,
    printed: String,
}

impl AtTerminal {
    fn new(machine: &Machine, arguments: &[&str]) -> AtTerminal {
        AtTerminal::with(&mut machine.command(arguments))
    }

    fn with(command: &mut Command) -> AtTerminal {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(&size, None).unwrap();
        let stream = || Stdio::from(slave.try_clone().unwrap());
        let child = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().unwrap();
        AtTerminal { child, master: master.into(), slave, printed: String::new() }
    }

    /// Reads until this text has been printed.
    #[track_caller]
    fn until(&mut self, text: &str) {
        let mut buffer = [0; 1024];
        while !self.printed.contains(text) {
            let read = self.master.read(&mut buffer).unwrap_or_else(|error| panic!("{error}: {}", self.printed));
            self.printed.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    }

    fn type_in(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(self.slave.as_fd()).unwrap().local_flags.contains(LocalFlags::ICANON)
    }
}

#[test]
fn exec_at_a_terminal_is_interactive_and_leaves_the_terminal_as_it_was() {
    if cannot_run() {
        return;
    }
    let machine = machine();
    machine.xcompose(["up", "-d"]).ok();
    let mut shell = AtTerminal::new(&machine, &["exec", "web", "sh"]);
    shell.until("# ");
    assert!(shell.is_raw());
    shell.type_in("test -t 0 && echo a-$((1+1))-terminal\r");
    shell.until("a-2-terminal");
    shell.type_in("sh -c 'echo is-$((1+2))-asleep; exec sleep 1000'\r");
    shell.until("is-3-asleep");
    // To the process in the container, not to us.
    shell.type_in("\x03");
    shell.type_in("exit 9\r");
    assert_eq!(shell.child.wait().unwrap().code(), Some(9));
    assert!(!shell.is_raw(), "restored");

    let mut killed = AtTerminal::new(&machine, &["exec", "web", "sh"]);
    killed.until("# ");
    kill(Pid::from_raw(killed.child.id().cast_signed()), Signal::SIGHUP).unwrap();
    killed.child.wait().unwrap();
    assert!(!killed.is_raw(), "restored after a signal, too");
    machine.xcompose(["down", "-t", "0"]).ok();
}

#[test]
fn whoever_is_asked_can_say_stop() {
    if cannot_run() {
        return;
    }
    let machine = machine();
    machine.xcompose(["create", "db"]).ok();
    let mut rm = AtTerminal::new(&machine, &["rm"]);
    rm.until("[y/N] ");
    kill(Pid::from_raw(rm.child.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(rm.child.wait().unwrap().code(), Some(130));
    let mut again = AtTerminal::new(&machine, &["rm"]);
    again.until("[y/N] ");
    again.type_in("maybe\r");
    again.until("maybe\r\nGoing to remove project-db-1 [y/N] ");
    again.type_in("y\r");
    assert_eq!(again.child.wait().unwrap().code(), Some(0));
    assert_eq!(machine.xcompose(["ps", "-aq"]).ok().stdout(), "");
    machine.xcompose(["down"]).ok();
}

#[test]
fn the_first_interrupt_stops_and_the_second_kills_and_what_was_not_named_runs_on() {
    if cannot_run() {
        return;
    }
    let machine = machine();
    machine.xcompose(["up", "-d", "db"]).ok();
    let mut up = machine.command(["up", "web"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = up.stdout.take().unwrap();
    let mut seen = String::new();
    let mut buffer = [0; 1024];
    while !seen.contains("web-1  | ready") {
        let read = out.read(&mut buffer).unwrap();
        assert!(read > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    let interrupt = |child: &Child| kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    interrupt(&up);
    assert_eq!(up.wait().unwrap().code(), Some(130));
    out.read_to_string(&mut seen).unwrap();
    assert!(seen.starts_with("Attaching to web-1\n") && seen.ends_with("web-1 exited with code 5\n"), "{seen}");
    assert_eq!(machine.xcompose(["ps", "--services"]).ok().stdout(), "db\n", "the dependency runs on");

    let up = machine.command(["up", "db"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut up = up;
    let mut errors = up.stderr.take().unwrap();
    let mut told = String::new();
    while !told.contains("Running") {
        let read = errors.read(&mut buffer).unwrap();
        told.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    interrupt(&up);
    while !told.contains("p-db-1 Stopping") && !told.contains("db-1 Stopping") {
        let read = errors.read(&mut buffer).unwrap();
        assert!(read > 0, "{told}");
        told.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    assert!(told.contains("Gracefully Stopping... press Ctrl+C again to force"), "{told}");
    interrupt(&up);
    assert_eq!(up.wait().unwrap().code(), Some(130));
    let states = machine.xcompose(["ps", "-a", "--format", "{{.Service}} {{.ExitCode}}"]).ok().stdout();
    assert!(states.contains("db 137"), "{states}");
    machine.xcompose(["down", "-t", "0"]).ok();
}

#[test]
fn an_interrupt_does_not_wait_until_a_flood_has_been_shown() {
    if cannot_run() {
        return;
    }
    let machine = machine();
    machine.write(
        "compose.yaml",
        "services: {flood: {image: busybox, init: true, command: [sh, -c, 'yes 0123456789012345678901234567890123456789 | head -n 3000000; echo done; sleep 1000']}}",
    );
    let mut command = machine.command(["up"]);
    let mut up = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let last = || machine.xcompose(["logs", "--no-log-prefix", "--tail", "1"]).stdout();
    eventually("all has been written", || (last() == "done\n").then_some(()));
    kill(Pid::from_raw(up.id().cast_signed()), Signal::SIGINT).unwrap();
    // A terminal that draws each letter.
    let shown = std::io::BufReader::with_capacity(1, up.stdout.take().unwrap()).bytes().count();
    assert_eq!(up.wait().unwrap().code(), Some(130));
    let mut told = String::new();
    up.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(told.contains("There is more output; `xcompose logs` shows it."), "{told}");
    assert!(shown < 3_000_000 * 41, "{shown}");
    machine.xcompose(["down"]).ok();
}

#[test]
fn the_first_exit_ends_up_when_that_is_asked_for_and_gives_its_code() {
    if cannot_run() {
        return;
    }
    let machine = Machine::new();
    machine.import_busybox();
    machine.write(
        "compose.yaml",
        "
services:
  fails: {image: busybox, command: [sh, -c, 'exit 7']}
  ends:
    image: busybox
    command: ['true']
    depends_on: {stays: {condition: service_healthy, required: false}}
  stays:
    image: busybox
    command: [sh, -c, 'trap \"exit 3\" TERM; touch /ready; while true; do sleep 0.05; done']
    # Its code counts only if it answers a stop: so it is ready before the other ends.
    healthcheck: {test: [CMD, test, -f, /ready], interval: 50ms, retries: 1000}
",
    );
    let up = |flags: &[&str]| machine.xcompose(["up"].iter().chain(flags));
    up(&["--abort-on-container-exit", "fails", "stays"]).fails(7);
    up(&["--abort-on-container-failure", "fails", "ends", "stays"]).fails(7);
    up(&["--exit-code-from", "stays", "ends", "stays"]).fails(3);
    let all = up(&["--no-deps", "fails", "ends"]).ok();
    assert!(all.stdout().contains("fails-1 exited with code 7\n"), "{}", all.stdout());
    assert_eq!(machine.xcompose(["ps", "-q"]).ok().stdout(), "", "nothing runs");
    machine.xcompose(["down"]).ok();
}

#[test]
fn run_puts_mounts_ports_environment_and_entrypoint_over_its_service() {
    if cannot_run() {
        return;
    }
    let machine = machine();
    machine.write("shared/file", "content\n");
    let output =
        |arguments: &[&str]| machine.xcompose(["run", "--rm", "--no-deps"].iter().chain(arguments)).ok().stdout();
    assert_eq!(output(&["-v", "./shared:/shared:ro", "web", "cat", "/shared/file"]), "content\n");
    assert_eq!(output(&["--entrypoint", "echo 'a b'", "web", "c"]), "a b c\n");
    assert_eq!(output(&["-e", "A=1", "web", "sh", "-c", "echo $A"]), "1\n");
    assert_eq!(output(&["-u", "1000", "-w", "/tmp", "web", "sh", "-c", "id -u; pwd"]), "1000\n/tmp\n");
    let port = crate::support::free_port();
    machine.xcompose(["run", "-d", "--name", "one", "-p", &format!("{port}:80"), "--no-deps", "web"]).ok();
    assert!(machine.xcompose(["ps"]).ok().stdout().contains(&format!("0.0.0.0:{port}->80/tcp")));
    assert!(machine.xcompose(["port", "web", "80"]).ok().stdout().ends_with(&format!(":{port}\n")));
    machine.xcompose(["down", "--remove-orphans", "-t", "0", "-v"]).ok();
}

#[test]
fn a_service_behind_a_profile_is_meant_when_it_is_named() {
    if cannot_run() {
        return;
    }
    let machine = machine();
    machine.xcompose(["up", "-d", "tools"]).ok();
    assert_eq!(machine.xcompose(["ps", "--services"]).ok().stdout(), "tools\n");
    machine.xcompose(["stop", "tools"]).ok();
    assert_eq!(machine.xcompose(["ps", "-q"]).ok().stdout(), "");
    machine.xcompose(["start", "tools"]).ok();
    assert_eq!(machine.xcompose(["ps", "--services"]).ok().stdout(), "tools\n");
    machine.xcompose(["stop", "nosuch"]).fails(1);
    machine.xcompose(["--profile", "debug", "down"]).ok();
}

#[test]
fn followed_logs_take_up_containers_that_start_later_and_end_with_the_last() {
    if cannot_run() {
        return;
    }
    let machine = machine();
    machine.xcompose(["up", "-d", "--no-deps", "web"]).ok();
    let mut logs = machine.command(["logs", "-f", "web"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = logs.stdout.take().unwrap();
    let (mut seen, mut buffer) = (String::new(), [0; 1024]);
    let mut until = |seen: &mut String, text: &str| {
        while !seen.contains(text) {
            let read = out.read(&mut buffer).unwrap();
            assert!(read > 0, "{seen}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    };
    until(&mut seen, "web-1  | ready");
    machine.xcompose(["scale", "--no-deps", "web=2"]).ok();
    until(&mut seen, "web-2  | ready");
    machine.xcompose(["stop"]).ok();
    until(&mut seen, "web-2 exited with code 5");
    eventually("the follower ends", || logs.try_wait().unwrap());
    machine.xcompose(["down"]).ok();
}

#[test]
fn output_without_a_log_is_shown_to_who_is_attached_and_to_nobody_later() {
    if cannot_run() {
        return;
    }
    let machine = machine();
    machine.write(
        "compose.yaml",
        "
services:
  mute:
    image: busybox
    command: [sh, -c, 'seq 1 50000; read line; echo got $$line; exit 3']
    stdin_open: true
    logging: {driver: none}
",
    );
    let mut up = machine.command(["up", "--no-log-prefix"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(up.stdout.take().unwrap());
    let mut lines = String::new();
    while !lines.ends_with("\n50000\n") {
        assert!(out.read_line(&mut lines).unwrap() > 0, "{lines}");
    }
    let told: Vec<&str> = lines.lines().filter(|line| line.parse::<u32>().is_ok()).collect();
    assert!(told.iter().copied().eq((1..=50_000).map(|n| n.to_string())), "{} of 50000 lines", told.len());
    let mut attach = machine.command(["attach", "mute"]);
    let mut attach = attach.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    attach.stdin.take().unwrap().write_all(b"words\n").unwrap();
    let attached = attach.wait_with_output().unwrap();
    assert_eq!((attached.status.code(), attached.stdout.as_slice()), (Some(3), b"got words\n".as_slice()));
    out.read_to_string(&mut lines).unwrap();
    assert!(lines.contains("got words\n"));
    assert_eq!(up.wait().unwrap().code(), Some(0));
    let logs = machine.xcompose(["logs"]).ok();
    assert_eq!(logs.stdout(), "");
    assert!(logs.stderr().contains("configured logging driver does not support reading"), "{}", logs.stderr());
    machine.xcompose(["down"]).ok();
}

#[test]
fn attach_types_into_the_container_leaves_by_its_keys_and_ends_with_its_code() {
    if cannot_run() {
        return;
    }
    let machine = machine();
    machine.write(
        "compose.yaml",
        "
services:
  shell: {image: busybox, command: [sh], stdin_open: true, tty: true}
  reads: {image: busybox, command: [sh, -c, 'read line; echo got $$line; exit 3'], stdin_open: true}
",
    );
    machine.xcompose(["up", "-d"]).ok();
    let mut shell = AtTerminal::new(&machine, &["attach", "shell"]);
    shell.type_in("echo a-$((1+1))-b\r");
    shell.until("a-2-b");
    assert!(shell.is_raw());
    shell.type_in("\x10\x11");
    assert_eq!(shell.child.wait().unwrap().code(), Some(1), "as with Docker");
    assert!(!shell.is_raw(), "restored");
    let mut again = AtTerminal::new(&machine, &["attach", "--detach-keys", "ctrl-x", "shell"]);
    again.type_in("echo c-$((1+2))-d\r");
    again.until("c-3-d");
    again.type_in("exit 7\r");
    assert_eq!(again.child.wait().unwrap().code(), Some(7));

    let mut reads = machine.command(["attach", "reads"]);
    let mut reads = reads.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    reads.stdin.take().unwrap().write_all(b"words\n").unwrap();
    let finished = reads.wait_with_output().unwrap();
    assert_eq!(finished.status.code(), Some(3));
    assert_eq!(String::from_utf8_lossy(&finished.stdout), "got words\n");
    assert!(machine.xcompose(["attach", "reads"]).fails(1).stderr().contains("service \"reads\" is not running"));
    assert!(machine.xcompose(["attach", "--detach-keys", "xyz", "reads"]).fails(1).stderr().contains("detach keys"));
    machine.xcompose(["down"]).ok();
}

#[test]
fn the_keys_to_leave_hold_in_run_and_exec_and_what_was_left_goes_on() {
    if cannot_run() {
        return;
    }
    let machine = machine();
    machine.write(
        "compose.yaml",
        "services: {web: {image: busybox, command: [sleep, '1000'], stop_signal: SIGKILL, volumes: ['./shared:/shared']}}",
    );
    machine.write("shared/empty", "");
    machine.write("docker/config.json", r#"{"detachKeys": "ctrl-x"}"#);
    machine.xcompose(["up", "-d"]).ok();
    // Far more than a terminal holds, once it has been left.
    let script = "echo here; while [ ! -e /shared/left ]; do sleep 0.02; done; seq 1 20000; hostname >> /shared/done";
    let mut exec = AtTerminal::new(&machine, &["exec", "web", "sh", "-c", script]);
    exec.until("here");
    exec.type_in("\x10\x11");
    exec.until("read escape sequence");
    assert_eq!(exec.child.wait().unwrap().code(), Some(1), "as with Docker");
    let mut run = AtTerminal::new(&machine, &["run", "--rm", "--name", "one", "web", "sh", "-c", script]);
    run.until("here");
    run.type_in("\x10\x11");
    assert_eq!(run.child.wait().unwrap().code(), Some(0));
    let supervisor = || {
        let found = leftovers::processes(&machine).into_iter().filter(|(_, line)| line.contains("--supervisor"));
        found.map(|(pid, _)| pid).next()
    };
    let old = supervisor().unwrap();
    kill(Pid::from_raw(old), Signal::SIGKILL).unwrap();
    eventually("another one reads", || supervisor().filter(|pid| *pid != old));
    let first = || machine.xcompose(["ps", "-a", "--format", "{{.Name}} {{.State}}"]).ok().stdout();
    eventually("it runs on", || first().contains("one running").then_some(()));
    machine.write("shared/left", "");
    let done = || std::fs::read_to_string(machine.project().join("shared/done")).unwrap_or_default();
    eventually("both could write all", || (done().lines().count() == 2).then_some(()));
    eventually("what was run is gone", || (!first().contains("one ")).then_some(()));
    machine.xcompose(["down", "--remove-orphans", "-t", "0"]).ok();
    eventually("nothing is left", || leftovers::processes(&machine).is_empty().then_some(()));

    let mut configured = AtTerminal::with(
        machine.command(["run", "--rm", "web", "sh"]).env("DOCKER_CONFIG", machine.project().join("docker")),
    );
    configured.until("#");
    configured.type_in("\x18");
    assert_eq!(configured.child.wait().unwrap().code(), Some(0));

    machine.write("docker/config.json", r#"{"detachKeys": "ctrl-nothing"}"#);
    let mut wrong = machine.command(["run", "--name", "wrong", "web", "true"]);
    let told = wrong.env("DOCKER_CONFIG", machine.project().join("docker")).output().unwrap();
    assert!(String::from_utf8_lossy(&told.stderr).contains("invalid detach keys (ctrl-nothing)"), "{told:?}");
    assert!(!first().contains("wrong "), "nothing is made for keys that are none");
    machine.xcompose(["down", "--remove-orphans", "-t", "0"]).ok();
}

#[test]
fn stats_shows_what_runs_once_or_in_a_given_form() {
    if cannot_run() {
        return;
    }
    let machine = machine();
    machine.xcompose(["up", "-d", "--no-deps", "web"]).ok();
    let table = machine.xcompose(["stats", "--no-stream"]).ok().stdout();
    assert!(table.starts_with("CONTAINER ID   NAME"), "{table}");
    assert_eq!(table.lines().count(), 2, "{table}");
    let json = machine.xcompose(["stats", "--no-stream", "--format", "json", "web"]).ok().stdout();
    assert!(json.contains("\"Name\":\"project-web-1\"") && json.contains("MiB / ") | json.contains("KiB / "), "{json}");
    machine.xcompose(["stats", "--no-stream", "nosuch"]).fails(1);
    machine.xcompose(["down", "-t", "0"]).ok();
}
