//! How names resolve in containers, as a user sees it: by `nslookup` inside, and by `xcompose dns` outside.

use std::net::{IpAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::network::support::inside;
use crate::support::{Machine, cannot_run, eventually, free_port};

const STACK: &str = "
name: shop
x-base: &base {image: busybox, init: true, stop_grace_period: 0s, command: [sleep, '1000']}
services:
  web:
    <<: *base
    hostname: front-door
    networks: {default: {aliases: [www, Mixed.Case]}}
    deploy: {replicas: 2}
  db: {<<: *base, networks: [back]}
  client:
    <<: *base
    links: ['web:shop-window']
    extra_hosts: ['somewhere:192.0.2.7', 'here:host-gateway']
    dns: [127.53.2.1]
    dns_search: [lan.example]
    dns_opt: [use-vc]
    domainname: example.org
  sealed: {<<: *base, networks: [inner]}
networks:
  back:
  inner: {internal: true}
";

fn stack() -> Machine {
    let machine = Machine::new();
    machine.import_busybox();
    machine.write("compose.yaml", STACK);
    machine.xcompose(["up", "-d"]).ok();
    machine
}

/// What a container is told: the addresses, or nothing if there is no such name.
fn lookup(machine: &Machine, service: &str, name: &str) -> Vec<String> {
    let told = machine.xcompose(["exec", "-T", service, "nslookup", name, "127.0.0.11"]).stdout();
    let answer = told.split_once("\n\n").map_or("", |(_, answer)| answer);
    let lines = answer.lines().filter_map(|line| line.strip_prefix("Address"));
    let mut addresses: Vec<String> = lines.filter_map(|line| Some(line.split_once(": ")?.1.to_owned())).collect();
    addresses.sort();
    addresses.dedup();
    addresses
}

#[test]
fn every_name_of_a_container_resolves_where_it_is_seen_and_the_files_say_the_rest() {
    if cannot_run() {
        return;
    }
    let machine = stack();
    let both = lookup(&machine, "client", "web");
    assert_eq!(both.len(), 2, "{both:?}");
    for name in ["www", "mixed.case", "WEB", "shop-window", "front-door", "web.shop_default"] {
        assert_eq!(lookup(&machine, "client", name), both, "{name}");
    }
    let ids = machine.xcompose(["ps", "-q", "web"]).ok().stdout();
    let short = ids.lines().next().unwrap().get(..12).unwrap();
    for name in ["shop-web-1", short, "shop-web-2.shop_default"] {
        let one = lookup(&machine, "client", name);
        assert!(one.len() == 1 && both.contains(&one[0]), "{name}: {one:?}");
    }
    for (asker, name) in
        [("client", "db"), ("db", "web"), ("sealed", "web"), ("web", "shop-window"), ("sealed", "example.org")]
    {
        assert_eq!(lookup(&machine, asker, name), [""; 0], "{asker} asks for {name}");
    }
    assert_eq!(lookup(&machine, "sealed", "sealed").len(), 1, "an internal network has names, too");
    let read = |path: &str| machine.xcompose(["exec", "-T", "client", "cat", path]).ok().stdout();
    assert_eq!(read("/etc/resolv.conf"), "nameserver 127.0.0.11\nsearch lan.example\noptions ndots:0 use-vc\n");
    let hosts = read("/etc/hosts");
    assert!(hosts.contains("\n192.0.2.7\tsomewhere\n"), "{hosts}");
    assert!(hosts.lines().any(|line| line.ends_with("\there")), "{hosts}");
    assert!(
        hosts.lines().any(|line| line.ends_with(".example.org client") || line.contains(".example.org ")),
        "{hosts}"
    );
    machine.xcompose(["down"]).ok();
}

#[test]
fn a_service_at_rest_does_not_exist_although_an_upstream_server_has_every_name() {
    if cannot_run() {
        return;
    }
    // As those of hotels and of some providers.
    let stranger = UdpSocket::bind("127.53.2.2:53").unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = stranger.recv_from(&mut buffer) {
            let question = Message::from_vec(&buffer[..length]).unwrap();
            let name = question.queries[0].name().clone();
            let mut answer = question.into_response();
            answer.add_answer(Record::from_rdata(name, 60, RData::A(std::net::Ipv4Addr::new(192, 0, 2, 66).into())));
            stranger.send_to(&answer.to_vec().unwrap(), from).unwrap();
        }
    });
    let machine = Machine::new();
    machine.import_busybox();
    machine.write("compose.yaml", &STACK.replace("127.53.2.1", "127.53.2.2"));
    machine.xcompose(["up", "-d"]).ok();
    let running = lookup(&machine, "client", "web");
    assert_eq!(running.len(), 2);
    machine.xcompose(["stop", "web"]).ok();
    for name in ["web", "WEB", "shop-web-1", "web.shop_default"] {
        assert_eq!(lookup(&machine, "client", name), [""; 0], "{name}");
    }
    // Others' names are theirs, also those of services on networks where the asker is not.
    for name in ["example.org", "elsewhere", "db"] {
        assert_eq!(lookup(&machine, "client", name), ["192.0.2.66"], "{name}");
    }
    machine.xcompose(["start", "web"]).ok();
    assert_eq!(lookup(&machine, "client", "web"), running);
    machine.xcompose(["down"]).ok();
}

#[test]
fn dns_shows_who_is_answered_what_and_what_was_asked() {
    if cannot_run() {
        return;
    }
    let machine = stack();
    let both = lookup(&machine, "client", "web");
    assert_eq!(lookup(&machine, "sealed", "nobody"), [""; 0]);
    let shown = machine.xcompose(["dns", "client", "sealed"]).ok().stdout();
    assert!(shown.starts_with("ASKER"), "{shown}");
    let row = |asker: &str, name: &str| {
        let rows = shown.lines().filter(|line| line.starts_with(&format!("shop-{asker}-1 ")));
        rows.filter(|line| line.split([' ', ',']).any(|word| word == name)).map(str::to_owned).collect::<Vec<_>>()
    };
    let web = row("client", "web");
    assert!(web.len() == 1 && both.iter().all(|address| web[0].contains(address)), "{shown}");
    assert!(row("client", "(others)")[0].ends_with("asked of 127.53.2.1"), "{shown}");
    assert!(row("sealed", "(others)")[0].ends_with("do not exist"), "{shown}");
    assert!(row("sealed", "web").is_empty() && row("web", "web").is_empty(), "{shown}");
    let log = machine.xcompose(["dns", "--log"]).ok().stdout();
    let asked = |words: &str| log.lines().any(|line| line.contains(words));
    assert!(asked("shop-client-1 A web: ") && asked("shop-sealed-1 A nobody: NXDOMAIN"), "{log}");
    let lines = machine.xcompose(["dns", "--log", "--json", "sealed"]).ok().stdout();
    for line in lines.lines() {
        let question: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(question["asker"], "shop-sealed-1");
    }
    machine.xcompose(["dns", "no-such-service"]).fails(1);
    machine.xcompose(["down"]).ok();
    assert_eq!(machine.xcompose(["dns"]).ok().stdout().lines().count(), 1, "nobody asks any more");
}

/// The network namespace of a service's first container.
fn netns(machine: &Machine, service: &str) -> OwnedFd {
    let top = machine.xcompose(["top", service]).ok().stdout();
    let pid = top.lines().nth(1).and_then(|line| line.split_whitespace().nth(3)).unwrap();
    std::fs::File::open(format!("/proc/{pid}/ns/net")).unwrap().into()
}

/// One question as a stub resolver asks it, given up after a moment.
fn ask(netns: &OwnedFd, name: &str) -> Option<Vec<IpAddr>> {
    let mut question = Message::new(7, MessageType::Query, OpCode::Query);
    question.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    let question = question.to_vec().unwrap();
    inside(netns, || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        socket.send_to(&question, "127.0.0.11:53").ok()?;
        let mut buffer = [0; 1024];
        let length = socket.recv(&mut buffer).ok()?;
        let answer = Message::from_vec(&buffer[..length]).unwrap();
        Some(answer.answers.iter().filter_map(|record| record.data.ip_addr()).collect())
    })
}

#[test]
fn a_supervisor_killed_while_it_is_asked_comes_back_with_names_and_ports() {
    if cannot_run() {
        return;
    }
    let machine = Machine::new();
    machine.import_busybox();
    let port = free_port();
    machine.write(
        "compose.yaml",
        &format!(
            "services:\n  web:\n    image: busybox\n    init: true\n    stop_grace_period: 0s\n    \
             command: [httpd, -f, -p, '80']\n    ports: ['{port}:80']\n    deploy: {{replicas: 2}}\n"
        ),
    );
    machine.xcompose(["up", "-d"]).ok();
    let netns = netns(&machine, "web");
    let open = || TcpStream::connect(("127.0.0.1", port)).is_ok();
    let mut before = eventually("an answer", || ask(&netns, "web."));
    before.sort();
    assert_eq!(before.len(), 2);
    eventually("the port answers", || open().then_some(()));
    let supervisor = || {
        let all = crate::scenarios::leftovers::processes(&machine);
        all.into_iter().find(|(_, command)| command.contains("--supervisor")).map(|(pid, _)| pid)
    };
    for _ in 0..3 {
        let old = eventually("a supervisor", supervisor);
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(old), nix::sys::signal::Signal::SIGKILL).unwrap();
        assert!(open(), "the firewall needs nobody");
        let mut after = eventually("an answer again", || ask(&netns, "web."));
        after.sort();
        assert_eq!(after, before);
        assert!(open());
    }
    // What is left of it is one port for both, as before.
    machine.xcompose(["up", "-d", "--scale", "web=1"]).ok();
    assert!(open());
    assert_eq!(eventually("an answer", || ask(&netns, "web.")).len(), 1);
    machine.xcompose(["down"]).ok();
    assert!(!open());
}
