//! A stack's life: up, again, changed, scaled, stopped, started, looked at, removed.

use crate::support::{Finished, Machine, cannot_run, eventually, free_port};

const STACK: &str = "
services:
  web:
    image: busybox
    command: [httpd, -f, -p, '80', -h, /etc]
    stop_signal: SIGKILL
    depends_on: [db]
  db:
    image: busybox
    command: [sleep, '100000']
    stop_signal: SIGKILL
    volumes: ['data:/data']
volumes: {data: }
";

fn machine(file: &str) -> Machine {
    let machine = Machine::new();
    machine.import_busybox();
    machine.write("compose.yaml", file);
    machine
}

fn ids(machine: &Machine) -> Vec<String> {
    let listed = machine.xcompose(["ps", "-a", "-q"]).ok().stdout();
    let mut ids: Vec<_> = listed.lines().map(str::to_owned).collect();
    ids.sort();
    ids
}

fn exec(machine: &Machine, service: &str, line: &str) -> Finished {
    machine.xcompose(["exec", "-T", service, "sh", "-c", line])
}

#[test]
fn a_second_up_changes_nothing_and_a_changed_service_alone_is_recreated() {
    if cannot_run() {
        return;
    }
    let machine = machine(STACK);
    machine.xcompose(["up", "-d"]).ok();
    let first = ids(&machine);
    assert_eq!(first.len(), 2);
    machine.xcompose(["up", "-d"]).ok();
    assert_eq!(ids(&machine), first);
    machine.write("compose.yaml", &STACK.replace("command: [httpd", "environment: {A: b}\n    command: [httpd"));
    machine.xcompose(["up", "-d"]).ok();
    let second = ids(&machine);
    assert_eq!(second.iter().filter(|id| first.contains(id)).count(), 1, "only web is new");
    assert_eq!(exec(&machine, "web", "echo $A").ok().stdout(), "b\n");
    machine.xcompose(["down", "-v"]).ok();
}

#[test]
fn services_reach_each_other_by_name_and_the_world_by_its_address() {
    if cannot_run() {
        return;
    }
    let machine = machine(STACK);
    machine.xcompose(["up", "-d"]).ok();
    let ask = || Some(exec(&machine, "db", "wget -q -O - http://web/hostname")).filter(|asked| asked.code() == 0);
    let page = eventually("web listens and answers", ask).stdout();
    let listed = machine.xcompose(["ps", "-q", "web"]).ok().stdout();
    assert_eq!(page.trim(), &listed[..12], "the page is web's own host name, its short id");
    exec(&machine, "db", "nslookup nosuchname").fails(1);
    machine.xcompose(["down", "-v"]).ok();
}

#[test]
fn two_projects_from_one_file_do_not_see_each_other() {
    if cannot_run() {
        return;
    }
    let machine = machine(STACK);
    for project in ["one", "two"] {
        machine.xcompose(["-p", project, "up", "-d"]).ok();
    }
    let address = |project: &str| {
        let line = "ip -4 -o addr show eth0 | tr -s ' ' | cut -d' ' -f4 2>/dev/null || ip -4 -o addr show eth0";
        machine.xcompose(["-p", project, "exec", "-T", "web", "sh", "-c", line]).stdout()
    };
    assert_ne!(address("one"), address("two"));
    let of_one = machine.xcompose(["-p", "one", "ps", "--format", "json"]).ok().stdout();
    assert!(of_one.contains("one-web-1") && !of_one.contains("two-"), "{of_one}");
    machine.xcompose(["-p", "one", "exec", "-T", "db", "nslookup", "two-web-1"]).fails(1);
    machine.xcompose(["-p", "one", "down", "-v"]).ok();
    assert_eq!(machine.xcompose(["-p", "two", "ps", "-q"]).ok().stdout().lines().count(), 2);
    machine.xcompose(["-p", "two", "down", "-v"]).ok();
}

#[test]
fn stop_start_restart_and_scale_keep_what_they_should() {
    if cannot_run() {
        return;
    }
    let machine = machine(STACK);
    machine.xcompose(["up", "-d"]).ok();
    let first = ids(&machine);
    exec(&machine, "db", "echo kept > /data/file").ok();
    machine.xcompose(["stop"]).ok();
    assert_eq!(machine.xcompose(["ps", "-q"]).ok().stdout(), "");
    machine.xcompose(["start"]).ok();
    machine.xcompose(["restart"]).ok();
    assert_eq!(ids(&machine), first);
    machine.xcompose(["up", "-d", "--scale", "web=3"]).ok();
    let names = machine.xcompose(["ps", "--format", "json"]).ok().stdout();
    for number in 1..=3 {
        assert!(names.contains(&format!("web-{number}\"")), "{names}");
    }
    machine.xcompose(["up", "-d"]).ok();
    assert_eq!(ids(&machine), first);
    machine.xcompose(["down"]).ok();
    machine.xcompose(["up", "-d"]).ok();
    assert_eq!(exec(&machine, "db", "cat /data/file").ok().stdout(), "kept\n");
    machine.xcompose(["down", "-v"]).ok();
    machine.xcompose(["up", "-d"]).ok();
    exec(&machine, "db", "cat /data/file").fails(1);
    machine.xcompose(["down", "-v"]).ok();
}

#[test]
fn a_published_port_answers_on_localhost_and_a_taken_one_says_who_holds_it() {
    if cannot_run() {
        return;
    }
    let port = free_port();
    let machine = machine(&STACK.replace("depends_on: [db]", &format!("ports: ['{port}:80']")));
    machine.xcompose(["up", "-d"]).ok();
    let answer = crate::support::http_get(&format!("127.0.0.1:{port}"), "/hostname");
    assert!(answer.contains(" 200 "), "{answer}");
    let shown = machine.xcompose(["port", "web", "80"]).ok().stdout();
    assert_eq!(shown.trim(), format!("0.0.0.0:{port}"));

    let clash = machine.xcompose(["-p", "other", "up", "-d", "--no-deps", "web"]).fails(1);
    let told = clash.stderr();
    assert!(told.contains(&port.to_string()) && told.contains("project"), "{told}");
    machine.xcompose(["-p", "other", "down", "-v"]).ok();
    machine.xcompose(["down", "-v"]).ok();

    let holder = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let told = machine.xcompose(["up", "-d"]).fails(1).stderr();
    assert!(told.contains(&std::process::id().to_string()), "names the holder's pid: {told}");
    drop(holder);
    machine.xcompose(["down", "-v"]).ok();
}

#[test]
fn logs_hold_every_line_and_know_their_service() {
    if cannot_run() {
        return;
    }
    let machine = machine("services: {talk: {image: busybox, command: [sh, -c, 'seq 3; echo oops >&2']}}");
    let up = machine.xcompose(["up"]).ok();
    assert!(
        up.stdout().contains("talk-1  | 3\n") && up.stdout().contains("talk-1 exited with code 0"),
        "{}",
        up.stdout()
    );
    assert!(up.stderr().contains("talk-1  | oops"), "{}", up.stderr());
    let mut lines: Vec<_> = machine.xcompose(["logs"]).ok().stdout().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["talk-1  | 1", "talk-1  | 2", "talk-1  | 3", "talk-1  | oops"]);
    assert_eq!(machine.xcompose(["logs", "--tail", "1", "--no-log-prefix"]).ok().stdout().lines().count(), 1);
    let none = machine.xcompose(["logs", "--index", "3", "talk"]).fails(1).stderr();
    assert!(none.contains("service \"talk\" is not running container #3"), "{none}");
    machine.xcompose(["down", "-v"]).ok();
}

#[test]
fn a_line_of_ten_megabytes_and_bytes_of_every_kind_come_back_whole() {
    if cannot_run() {
        return;
    }
    let machine = machine(
        "
services:
  odd:
    image: busybox
    command: [sh, -c, 'cat /bytes; head -c 10485760 /dev/zero | tr \"\\000\" x; echo; cat /bytes']
    volumes: ['./bytes:/bytes']
",
    );
    // Every pair of bytes, and an end.
    let pairs = (0..=255_u8).flat_map(|one| (0..=255_u8).flat_map(move |other| [one, other]));
    let bytes: Vec<u8> = pairs.chain(*b"\n").collect();
    std::fs::write(machine.project().join("bytes"), &bytes).unwrap();
    let long = [vec![b'x'; 10 << 20], b"\n".to_vec()].concat();
    let whole = [&bytes[..], &long, &bytes].concat();
    machine.xcompose(["up", "-d"]).ok();
    let same = |told: &Finished| told.bytes() == whole;
    let followed = machine.xcompose(["logs", "-f", "--no-log-prefix"]).ok();
    let told = followed.bytes().strip_suffix(b"odd-1 exited with code 0\n").unwrap_or(followed.bytes());
    assert!(told == whole, "{} of {} bytes", told.len(), whole.len());
    assert!(same(&machine.xcompose(["logs", "--no-log-prefix"]).ok()));
    let last = machine.xcompose(["logs", "--no-log-prefix", "--tail", "1"]).ok();
    assert!(whole.ends_with(last.bytes()) && last.bytes().len() < bytes.len(), "{} bytes", last.bytes().len());
    machine.xcompose(["down"]).ok();
}

#[test]
fn run_gives_the_commands_output_and_exit_code_and_leaves_nothing_with_rm() {
    if cannot_run() {
        return;
    }
    let machine = machine(STACK);
    let run = machine.xcompose(["run", "--rm", "-T", "-e", "X=y", "web", "sh", "-c", "echo $X; exit 7"]).fails(7);
    assert_eq!(run.stdout(), "y\n");
    assert_eq!(ids(&machine).len(), 1, "db was started for it and stays");
    machine.xcompose(["run", "--rm", "-T", "--no-deps", "web", "nosuchprogram"]).fails(1);
    machine.xcompose(["down", "-v"]).ok();
}

#[test]
fn exec_codes_are_the_commands_own() {
    if cannot_run() {
        return;
    }
    let machine = machine(STACK);
    machine.xcompose(["up", "-d"]).ok();
    exec(&machine, "web", "exit 5").fails(5);
    machine.xcompose(["exec", "-T", "web", "nosuchprogram"]).fails(127);
    machine.xcompose(["exec", "-T", "web", "/etc/passwd"]).fails(126);
    let who = machine.xcompose([
        "exec",
        "-T",
        "-u",
        "alice",
        "-w",
        "/tmp",
        "-e",
        "A=1",
        "web",
        "sh",
        "-c",
        "id -u; pwd; echo $A",
    ]);
    assert_eq!(who.ok().stdout(), "1000\n/tmp\n1\n");
    machine.xcompose(["stop", "web"]).ok();
    assert!(exec(&machine, "web", "true").fails(1).stderr().contains(r#"service "web" is not running"#));
    machine.xcompose(["down", "-v"]).ok();
}

#[test]
fn health_conditions_hold_dependents_back_and_failures_are_named() {
    if cannot_run() {
        return;
    }
    let file = |probe: &str| {
        format!(
            "
services:
  db:
    image: busybox
    command: [sleep, '100000']
    stop_signal: SIGKILL
    healthcheck: {{test: [CMD, '{probe}'], interval: 100ms, retries: 2}}
  job:
    image: busybox
    command: ['true']
    depends_on: {{db: {{condition: service_healthy}}}}
  web:
    image: busybox
    command: [sleep, '100000']
    stop_signal: SIGKILL
    depends_on: {{job: {{condition: service_completed_successfully}}}}
"
        )
    };
    let machine = machine(&file("true"));
    machine.xcompose(["up", "-d"]).ok();
    assert!(machine.xcompose(["ps", "web"]).ok().stdout().contains("Up "));
    assert!(machine.xcompose(["ps", "db"]).ok().stdout().contains("(healthy)"));
    machine.xcompose(["down"]).ok();
    machine.write("compose.yaml", &file("false"));
    let told = machine.xcompose(["up", "-d"]).fails(1).stderr();
    assert!(told.contains("db-1 is unhealthy"), "{told}");
    machine.xcompose(["down"]).ok();
}
