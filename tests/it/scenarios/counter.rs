//! The sample `counter`: Flask, Redis and PostgreSQL, built by our own builder from a Debian image.

use std::net::TcpStream;

use crate::support::{Machine, cannot_run, finish, free_port, http_get, sample};

#[test]
fn visits_survive_down_and_up_and_go_with_the_volumes() {
    if cannot_run() {
        return;
    }
    let machine = Machine::new();
    machine.import_debian();
    let port = free_port().to_string();
    let file = sample("counter/compose.yaml");
    let run = |words: &[&str]| {
        let base = ["-f", &file, "-p", "counter"];
        finish(machine.command(base.iter().chain(words)).env("COUNTER_PORT", &port))
    };
    let visit = || {
        let answer = http_get(&format!("127.0.0.1:{port}"), "/");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 "), "{answer}");
        body.to_owned()
    };
    run(&["up", "-d", "--build", "--wait"]).ok();
    assert_eq!(visit(), "Hello! This page was seen 1 times; 1 visits are on record.\n");
    assert_eq!(visit(), "Hello! This page was seen 2 times; 2 visits are on record.\n");
    run(&["down"]).ok();
    assert!(TcpStream::connect(format!("127.0.0.1:{port}")).is_err(), "the port is closed");
    run(&["up", "-d", "--wait"]).ok();
    assert_eq!(visit(), "Hello! This page was seen 3 times; 3 visits are on record.\n");
    run(&["down", "-v"]).ok();
    run(&["up", "-d", "--wait"]).ok();
    assert_eq!(visit(), "Hello! This page was seen 1 times; 1 visits are on record.\n");
    run(&["down", "-v"]).ok();
}
