//! A newer program takes a running stack over while others use and follow it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use super::leftovers;
use crate::support::{Machine, PATIENCE, cannot_run, eventually};

const STACK: &str = "
services:
  echo: {image: busybox, command: [nc, -ll, -p, '7000', -e, cat], ports: ['127.0.0.1::7000'], stop_signal: SIGKILL}
  ticker:
    image: busybox
    command: [sh, -c, 'n=0; while :; do n=$$((n + 1)); echo $$n; usleep 2000; done']
    stop_signal: SIGKILL
  sick:
    image: busybox
    command: [sh, -c, 'touch /well; exec sleep 1000']
    healthcheck: {test: [CMD, test, -e, /well], interval: 100ms, retries: 1, start_period: 60s, start_interval: 100ms}
  again: {image: busybox, command: [sh, -c, 'echo again; exit 1'], restart: always}
  ends: {image: busybox, command: [sh, -c, 'while [ ! -e /end ]; do usleep 2000; done; exit 9']}
";

fn supervisor(machine: &Machine) -> Option<i32> {
    let found = leftovers::processes(machine).into_iter().filter(|(_, line)| line.contains(" --supervisor "));
    found.map(|(pid, _)| pid).next()
}

#[test]
fn nobody_who_uses_or_follows_a_stack_notices_that_a_newer_program_takes_it_over() {
    if cannot_run() {
        return;
    }
    let machine = Machine::new();
    machine.import_busybox();
    machine.write("compose.yaml", STACK);
    machine.xcompose(["up", "-d"]).ok();
    let inside = |service: &str, script: &str| machine.xcompose(["exec", "-T", service, "sh", "-c", script]);
    let address = machine.xcompose(["port", "echo", "7000"]).ok().stdout().trim().to_owned();
    let connect = || {
        let connection = eventually("echo listens", || TcpStream::connect(&address).ok());
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        BufReader::new(connection)
    };
    let answers = |connection: &mut BufReader<TcpStream>, words: &str| {
        connection.get_mut().write_all(format!("{words}\n").as_bytes()).unwrap();
        let mut line = String::new();
        connection.read_line(&mut line).unwrap();
        assert_eq!(line, format!("{words}\n"));
    };
    let mut old = connect();
    answers(&mut old, "before");
    let mut follower = machine.command(["logs", "-f", "--no-log-prefix", "ticker"]);
    let mut follower = follower.stdout(Stdio::piped()).spawn().unwrap();
    let mut ticks = BufReader::new(follower.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(ticks.next().unwrap(), "1");
    let mut attached = machine.command(["attach", "--no-stdin", "ends"]).stdout(Stdio::null()).spawn().unwrap();
    let waits = machine.command(["wait", "ends"]).stdout(Stdio::piped()).spawn().unwrap();
    let connected = || {
        // Neither has anything to show for it.
        let lines = leftovers::processes(&machine);
        let there = |word: &str| lines.iter().any(|(_, line)| line.contains(word));
        (there("attach --no-stdin") && there("wait ends")).then_some(())
    };
    eventually("both are there", connected);

    for round in 1..=3 {
        let before = supervisor(&machine).unwrap();
        std::fs::write(machine.run().join("projects/project/version"), "\"0.0.1\"").unwrap();
        eventually("another one has come", || {
            assert_eq!(inside("echo", "nslookup ticker > /dev/null && echo found").stdout(), "found\n");
            supervisor(&machine).filter(|pid| *pid != before)
        });
        answers(&mut old, &format!("{round}"));
        answers(&mut connect(), "after");
    }

    let times = || machine.xcompose(["logs", "again"]).ok().stdout().lines().count();
    let so_far = times();
    eventually("policies go on", || (times() > so_far).then_some(()));
    let state = |service: &str| machine.xcompose(["ps", "-a", "--format", "{{.Status}}", service]).ok().stdout();
    eventually("probes go on", || state("sick").contains("(healthy)").then_some(()));
    inside("sick", "rm /well").ok();
    eventually("probes go on", || state("sick").contains("(unhealthy)").then_some(()));
    inside("ends", "touch /end").ok();
    assert_eq!(attached.wait().unwrap().code(), Some(9));
    let waited = waits.wait_with_output().unwrap();
    assert_eq!((waited.status.code(), waited.stdout.is_empty()), (Some(9), false));
    assert!(state("ends").starts_with("Exited (9)"), "{}", state("ends"));
    machine.xcompose(["stop", "ticker"]).ok();
    let seen: Vec<String> = ticks.collect();
    let (last, numbers) = seen.split_last().unwrap();
    assert_eq!(last, "ticker-1 exited with code 137");
    assert!(numbers.iter().zip(2..).all(|(line, number)| *line == number.to_string()), "{} lines", numbers.len());
    assert!(follower.wait().unwrap().success());
    machine.xcompose(["down", "-t", "0"]).ok();
    let mut rest = String::new();
    old.read_to_string(&mut rest).unwrap_or_default();
    assert_eq!(rest, "");
    leftovers::none(&machine, &[], &Default::default());
}
