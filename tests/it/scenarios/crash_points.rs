//! Commands and supervisors are killed at their first, second, third… write of each kind to the file system: the next
//! command always recovers, and in the end nothing is left.
//!
//! By strace, which kills at the call that is named and lets go of whatever program is executed. A part of all points is
//! tried; `XCOMPOSE_CRASH_POINTS=all tests/run --test it -- crash_points` tries every one.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::leftovers;
use crate::support::{Machine, cannot_run, eventually};

const STACK: &str = "
services:
  a: {image: busybox, command: [sleep, '1000'], stop_signal: SIGKILL, volumes: ['data:/data']}
  b: {image: busybox, command: [sleep, '1000'], stop_signal: SIGKILL, depends_on: [a]}
  c: {image: busybox, command: [sleep, '1000'], stop_signal: SIGKILL, profiles: [more]}
volumes: {data: }
";

/// What changes the disk, the last few of them in one, since there are few of each.
pub(super) const CALLS: [&str; 6] = [
    "write,pwrite64",
    "mkdir,mkdirat",
    "rename,renameat,renameat2",
    "unlink,unlinkat,rmdir",
    "link,linkat,symlink,symlinkat,mknod,mknodat",
    "ftruncate,fdatasync,fsync,splice",
];

/// Whether every point is tried.
pub(super) fn all() -> bool {
    std::env::var_os("XCOMPOSE_CRASH_POINTS").is_some_and(|text| text == "all")
}

/// Which of the calls are tried, from the first on.
fn points(every: usize) -> impl Iterator<Item = usize> {
    (1..).step_by(if all() { 1 } else { every })
}

pub(super) fn strace(calls: &str, number: usize) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-b", "execve", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
    command.args(["-e", &format!("inject={calls}:signal=KILL:when={number}")]);
    command
}

pub(super) fn stack() -> Machine {
    let machine = Machine::new();
    machine.import_busybox();
    machine.write("compose.yaml", STACK);
    machine
}

fn assert_runs(machine: &Machine, services: &[&str]) {
    let up = || {
        let listed = machine.xcompose(["ps", "--format", "{{.Service}} {{.State}}"]).ok().stdout();
        let mut up: Vec<&str> = listed.lines().filter_map(|line| line.strip_suffix(" running")).collect();
        up.sort_unstable();
        (up == services).then_some(())
    };
    eventually("what was brought up runs", up);
}

#[track_caller]
pub(super) fn assert_nothing_is_left(machine: &Machine, after: &str) {
    machine.xcompose(["--profile", "more", "down", "-v", "-t", "0"]).ok();
    leftovers::none(machine, &[], &Default::default());
    let claims = std::fs::read_dir(machine.data().join("containers")).unwrap();
    let claims: Vec<_> = claims.flatten().map(|entry| entry.file_name()).collect();
    assert!(claims.is_empty(), "after {after}: {claims:?}");
}

#[test]
fn a_command_that_is_killed_at_any_write_is_made_good_by_the_next_one() {
    if cannot_run() {
        return;
    }
    let machine = stack();
    let mut tried = 0;
    for words in [&["up", "-d"][..], &["up", "-d", "--force-recreate", "-t", "0"], &["down", "-v", "-t", "0"]] {
        for calls in CALLS {
            for number in points(9) {
                if words[0] != "up" || words.len() > 2 {
                    machine.xcompose(["up", "-d"]).ok();
                }
                let plain = machine.command(words);
                let mut traced = strace(calls, number);
                traced.arg("-qq").arg(plain.get_program()).args(plain.get_args()).current_dir(machine.project());
                traced.env("XCOMPOSE_DATA", machine.data()).env("XCOMPOSE_RUN", machine.run());
                let ended = traced.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
                // It came to its end before it made that many of these calls.
                let survived = ended.success();
                machine.xcompose(["up", "-d"]).ok();
                assert_runs(&machine, &["a", "b"]);
                assert_nothing_is_left(&machine, &format!("{words:?} was killed at its {number}th of {calls}"));
                if survived {
                    break;
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 5, "only {tried} commands were killed");
    eprintln!("{tried} crash points of commands");
}

#[test]
fn a_supervisor_that_is_killed_at_any_write_has_a_successor_that_goes_on() {
    if cannot_run() {
        return;
    }
    let machine = stack();
    let mut tried = 0;
    for calls in CALLS {
        for number in points(5) {
            machine.xcompose(["up", "-d"]).ok();
            let supervisor = |(_, command): &(i32, String)| command.contains("--supervisor");
            let (pid, _) = leftovers::processes(&machine).into_iter().find(supervisor).unwrap();
            let mut traced = strace(calls, number);
            traced.args(["-p", &pid.to_string()]).stdin(Stdio::null()).stderr(Stdio::piped());
            let mut traced = traced.spawn().unwrap();
            let mut told = BufReader::new(traced.stderr.take().unwrap());
            let mut line = String::new();
            told.read_line(&mut line).unwrap();
            assert!(line.contains("attached"), "{line}");
            // What it prints later nobody reads, and it must not wait for that.
            let told = std::thread::spawn(move || told.lines().count());
            machine.xcompose(["--profile", "more", "up", "-d"]).ok();
            assert_runs(&machine, &["a", "b", "c"]);
            machine.xcompose(["stop", "-t", "0", "b"]).ok();
            assert_runs(&machine, &["a", "c"]);
            let survived = leftovers::processes(&machine).iter().any(|(now, _)| *now == pid);
            assert_nothing_is_left(&machine, &format!("a supervisor was killed at its {number}th of {calls}"));
            traced.wait().unwrap();
            told.join().unwrap();
            if survived {
                break;
            }
            tried += 1;
        }
    }
    assert!(tried > 3, "only {tried} supervisors were killed");
    eprintln!("{tried} crash points of supervisors");
}
