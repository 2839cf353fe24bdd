//! Published ports as a user sees them: replicas behind one port, ports that are taken, what `port` and `ps` say.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Machine, PATIENCE, cannot_run, eventually, free_port};

/// A service that tells its container's name on port 80.
fn teller(port: &str, replicas: u8) -> String {
    format!(
        "services:\n  web:\n    image: busybox\n    init: true\n    stop_grace_period: 0s\n    \
         command: [sh, -c, 'hostname > /index.html; sleep 0.3; exec httpd -f -p 80 -h /']\n    \
         ports: [{port:?}]\n    deploy: {{replicas: {replicas}}}\n"
    )
}

/// The name of the container that answers there.
fn say(port: u16) -> Option<String> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).ok()?;
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(connection, "GET /index.html HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).filter(|body| !body.is_empty())
}

#[test]
fn replicas_behind_one_port_share_it_and_scaling_never_closes_it() {
    if cannot_run() {
        return;
    }
    let machine = Machine::new();
    machine.import_busybox();
    let port = free_port();
    machine.write("compose.yaml", &teller(&format!("{port}:80"), 4));
    machine.xcompose(["-p", "p", "up", "-d"]).ok();
    let mut seen = BTreeSet::new();
    eventually("all four answer", || {
        seen.extend(say(port));
        (seen.len() == 4).then_some(())
    });
    for index in ["1", "4"] {
        let told = machine.xcompose(["-p", "p", "port", "--index", index, "web", "80"]).ok();
        assert_eq!(told.stdout(), format!("0.0.0.0:{port}\n"));
    }
    let unknown = machine.xcompose(["-p", "p", "port", "--protocol", "udp", "web", "80"]).fails(1);
    assert!(unknown.stderr().starts_with("no port 80/udp for container p-web-1: "), "{}", unknown.stderr());
    machine.xcompose(["-p", "p", "up", "-d", "--scale", "web=1"]).ok();
    let left: BTreeSet<String> = (0..20).map(|_| say(port).expect("the port stays open")).collect();
    assert_eq!(left.len(), 1);
    // Those that come are called only when they listen.
    let calling = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let calls = scope.spawn(|| {
            let mut all = BTreeSet::new();
            while calling.load(Ordering::Relaxed) {
                all.insert(say(port).expect("an answer to each call"));
            }
            all
        });
        machine.xcompose(["-p", "p", "up", "-d", "--scale", "web=3"]).ok();
        eventually("all three answer", || {
            seen.extend(say(port).filter(|name| !left.contains(name)));
            (seen.len() >= 6).then_some(())
        });
        calling.store(false, Ordering::Relaxed);
        assert!(!calls.join().unwrap().is_empty());
    });
    // Somebody else's are named, with one that is free.
    machine.write("other.yaml", &teller(&format!("{port}:80"), 1));
    let taken = machine.xcompose(["-p", "q", "-f", "other.yaml", "up", "-d"]).fails(1);
    let words = format!("Bind for 0.0.0.0:{port} (tcp) failed: port is already allocated: container p-web-");
    assert!(taken.stderr().contains(&words), "{}", taken.stderr());
    assert!(say(port).is_some());
    machine.xcompose(["-p", "p", "down"]).ok();
    assert_eq!(say(port), None);
    // A kind of port that can't be published is named.
    machine.write("other.yaml", &teller("80/sctp", 1));
    let refused = machine.xcompose(["-p", "q", "-f", "other.yaml", "up", "-d"]).fails(1);
    assert!(refused.stderr().contains("cannot publish 80/sctp: only tcp and udp"), "{}", refused.stderr());
}

#[test]
fn of_a_range_each_replica_has_a_port_of_its_own_which_it_keeps() {
    if cannot_run() {
        return;
    }
    let machine = Machine::new();
    machine.import_busybox();
    // In a row, so that no other test takes one in between.
    let first = std::iter::repeat_with(free_port).find(|first| (1..5).all(|next| free_port() == first + next)).unwrap();
    machine.write("compose.yaml", &teller(&format!("{first}-{}:80", first + 4), 3));
    let ports = || {
        let listed = machine.xcompose(["-p", "p", "ps", "--format", "json"]).ok().stdout();
        let ports = listed.lines().map(|line| {
            let container: serde_json::Value = serde_json::from_str(line).unwrap();
            let publishers = container["Publishers"].as_array().unwrap();
            let number = |at: &serde_json::Value| at["PublishedPort"].as_u64().unwrap();
            assert!(publishers.iter().all(|publisher| number(publisher) == number(&publishers[0])), "{line}");
            number(&publishers[0])
        });
        ports.collect::<Vec<u64>>()
    };
    machine.xcompose(["-p", "p", "up", "-d"]).ok();
    let before = ports();
    assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), 3, "{before:?}");
    machine.xcompose(["-p", "p", "up", "-d", "--force-recreate"]).ok();
    assert_eq!(ports(), before);
    // A random one is the same again even after everything was taken down.
    machine.write("compose.yaml", &teller("80", 2));
    machine.xcompose(["-p", "p", "up", "-d"]).ok();
    let random = ports();
    machine.xcompose(["-p", "p", "down"]).ok();
    machine.xcompose(["-p", "p", "up", "-d"]).ok();
    assert_eq!(ports(), random);
}
