//! One file up in many copies at once, each on a loopback address of its own.

use std::collections::BTreeSet;

use crate::network::stacks::machine;
use crate::scenarios::leftovers;
use crate::support::{Machine, cannot_run, finish, free_port, http_get};

/// A server that tells its project's name, on a fixed port.
fn server(port: u16, local: u16) -> String {
    format!(
        "services:\n  web-1:\n    image: busybox\n    hostname: ${{COMPOSE_PROJECT_NAME}}\n    stop_signal: SIGKILL\n    \
         command: [httpd, -f, -p, '80', -h, /etc]\n    ports: ['{port}:80', '127.0.0.1:{local}:80']\n"
    )
}

fn exported(machine: &Machine, project: &str, name: &str) -> String {
    let text = machine.xcompose(["-p", project, "env", "export"]).ok().stdout();
    let prefix = format!("export {name}=");
    text.lines()
        .find_map(|line| line.strip_prefix(&prefix))
        .unwrap_or_else(|| panic!("no {name} in:\n{text}"))
        .to_owned()
}

#[test]
fn a_file_is_up_in_many_copies_at_once_with_its_ports_unchanged() {
    if cannot_run() {
        return;
    }
    let (port, local) = (free_port(), free_port());
    let machine = machine(&server(port, local));
    let copies = ["one", "two", "three"];
    let ups: Vec<_> = copies
        .map(|copy| {
            machine.command(["-p", copy, "up", "-d", "--loopback"]).stderr(std::process::Stdio::piped()).spawn()
        })
        .into_iter()
        .map(|started| started.unwrap().wait_with_output().unwrap())
        .collect();
    for up in &ups {
        assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    }
    let mut hosts = BTreeSet::new();
    for copy in copies {
        let host = exported(&machine, copy, "WEB_1_HOST");
        assert!(host.starts_with("127."), "{host}");
        for (port, name) in [(port, "WEB_1_PORT"), (port, "WEB_1_PORT_80")] {
            assert_eq!(exported(&machine, copy, name), port.to_string());
        }
        assert!(http_get(&format!("{host}:{port}"), "/hostname").ends_with(&format!("{copy}\n")));
        assert!(http_get(&format!("{host}:{local}"), "/hostname").ends_with(&format!("{copy}\n")));
        let table = machine.xcompose(["-p", copy, "addr"]).ok().stdout();
        assert!(table.contains(&format!("{copy}-web-1-1")) && table.contains(&format!("{host}:{port}")), "{table}");
        hosts.insert(host);
    }
    assert_eq!(hosts.len(), copies.len());
    let all = machine.xcompose(["addr", "--all", "--format", "json"]).ok().stdout();
    assert!(hosts.iter().all(|host| all.contains(host)), "{all}");
    assert!(std::net::TcpListener::bind(("127.0.0.1", port)).is_ok(), "the usual address is free");
    // The address is the same again, whichever way it is asked for.
    let before = exported(&machine, "two", "WEB_1_HOST");
    machine.xcompose(["-p", "two", "down"]).ok();
    finish(machine.command(["-p", "two", "up", "-d"]).env("XCOMPOSE_LOOPBACK", "1")).ok();
    assert_eq!(exported(&machine, "two", "WEB_1_HOST"), before);
    machine.write("compose.yaml", &format!("x-xcompose: {{loopback: auto}}\n{}", server(port, local)));
    let again = machine.xcompose(["-p", "two", "up", "-d"]).ok().stderr();
    assert!(again.contains("Container two-web-1-1 Running"), "{again}");
    for copy in copies {
        machine.xcompose(["-p", copy, "down"]).ok();
    }
    leftovers::none(&machine, &[], &Default::default());
}

#[test]
fn without_it_the_second_copy_is_told_who_has_the_port_and_a_wrong_word_is_named() {
    if cannot_run() {
        return;
    }
    let (port, local) = (free_port(), free_port());
    let machine = machine(&server(port, local));
    machine.xcompose(["-p", "one", "up", "-d"]).ok();
    assert_eq!(exported(&machine, "one", "WEB_1_HOST"), "127.0.0.1");
    let refused = machine.xcompose(["-p", "two", "up", "-d"]).fails(1).stderr();
    assert!(refused.contains("port is already allocated") && refused.contains("one-web-1-1"), "{refused}");
    for copy in ["one", "two"] {
        machine.xcompose(["-p", copy, "down"]).ok();
    }
    leftovers::none(&machine, &[], &Default::default());
    machine.write("compose.yaml", "x-xcompose:\n  loopback: yes please\nservices: {a: {image: busybox}}\n");
    let refused = machine.xcompose(["up", "-d"]).fails(1).stderr();
    assert!(refused.contains("compose.yaml:2:13") && refused.contains("loopback: use `auto` or `false`"), "{refused}");
}
