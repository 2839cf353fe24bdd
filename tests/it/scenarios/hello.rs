//! The sample `hello`: a server in an image of one file, greeted by a client.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::leftovers;
use crate::support::{Machine, cannot_run, sample};

#[test]
fn the_greeting_is_printed_with_the_services_prefix_and_everything_goes_again() {
    if cannot_run() {
        return;
    }
    let machine = Machine::new();
    machine.import_debian();
    let file = sample("hello/compose.yaml");
    let base = ["-f", &file, "-p", "testproject"].map(str::to_owned);
    let command = |words: &[&str]| machine.command(base.iter().map(String::as_str).chain(words.iter().copied()));

    let mut up = command(&["up", "--build"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut seen = String::new();
    let errors = BufReader::new(up.stderr.take().unwrap());
    let errors = std::thread::spawn(move || errors.lines().map_while(Result::ok).collect::<Vec<_>>().join("\n"));
    for line in BufReader::new(up.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        seen.push_str(&line);
        seen.push('\n');
        if line.contains("curl-1 exited with code 0") {
            kill(Pid::from_raw(up.id().cast_signed()), Signal::SIGINT).unwrap();
        }
    }
    let status = up.wait().unwrap();
    let errors = errors.join().unwrap();
    assert!(
        seen.lines().any(|line| line.starts_with("curl-1") && line.ends_with(r#"| {"message":"Hello Nic"}"#)),
        "{seen}\n{errors}"
    );
    assert_eq!(status.code(), Some(130), "{seen}\n{errors}");
    let running = command(&["ps", "-q"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&running.stdout), "", "Ctrl-C stops both");

    let containers = lines(command(&["ps", "-a", "-q"]));
    assert_eq!(containers.len(), 2);
    let bridges = leftovers::bridges(&machine);
    assert_eq!(bridges.len(), 1);
    assert!(command(&["rm", "-f", "-v"]).status().unwrap().success());
    assert_eq!(lines(command(&["ps", "-a", "-q"])).len(), 0);
    assert!(command(&["down", "-v"]).status().unwrap().success());
    leftovers::none(&machine, &containers, &bridges);
}

fn lines(mut command: Command) -> Vec<String> {
    let output = command.output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}
