//! Commands of the file that run after starts and before stops.

use crate::support::{Machine, cannot_run};

fn machine(file: &str) -> Machine {
    let machine = Machine::new();
    machine.import_busybox();
    machine.write("compose.yaml", file);
    machine
}

const STACK: &str = "
services:
  web:
    image: busybox
    command: [sleep, '1000']
    stop_signal: SIGKILL
    volumes: ['notes:/notes']
    environment: {BASE: base}
    post_start:
      - {command: [sh, -c, 'echo $BASE $$EXTRA $(id -u) $(pwd) >> /notes/started'], user: '7', working_dir: /tmp, environment: [EXTRA=more]}
      - {command: [sh, -c, 'echo second >> /notes/started; echo said']}
    pre_stop:
      - {command: [sh, -c, 'echo stopped >> /notes/stopped']}
  after: {image: busybox, command: [sh, -c, 'cat /notes/started'], volumes: ['notes:/notes'], depends_on: [web]}
volumes: {notes: {}}
";

fn notes(machine: &Machine, file: &str) -> String {
    machine.xcompose(["run", "--rm", "-T", "--no-deps", "after", "cat", &format!("/notes/{file}")]).ok().stdout()
}

#[test]
fn hooks_run_after_starts_and_before_stops_and_dependents_wait_for_them() {
    if cannot_run() {
        return;
    }
    let machine = machine(&STACK.replace("$BASE", "$$BASE").replace("$(", "$$("));
    let folder = "mkdir -p /notes; chmod 777 /notes";
    machine.xcompose(["run", "--rm", "-T", "--no-deps", "after", "sh", "-c", folder]).ok();
    let up = machine.xcompose(["up", "-d"]).ok();
    assert!(up.stderr().contains("web-1 ->  | said"), "{}", up.stderr());
    let started = "base more 7 /tmp\nsecond\n";
    assert!(machine.xcompose(["logs", "--no-log-prefix", "after"]).ok().stdout().contains(started));
    machine.xcompose(["restart", "-t", "0", "web"]).ok();
    assert_eq!(notes(&machine, "started"), started.repeat(2));
    assert_eq!(notes(&machine, "stopped"), "stopped\n");
    machine.xcompose(["stop"]).ok();
    machine.xcompose(["stop"]).ok();
    assert_eq!(notes(&machine, "stopped"), "stopped\n".repeat(2), "a container at rest has no hook to run");
    machine.xcompose(["start", "web"]).ok();
    machine.xcompose(["kill"]).ok();
    assert_eq!(notes(&machine, "stopped"), "stopped\n".repeat(2), "a kill asks nobody");
    let waits = "until test $(grep -c second /notes/started) = 4; do sleep 0.05; done";
    machine.xcompose(["run", "--rm", "-T", "web", "sh", "-c", waits]).ok();
    machine.xcompose(["run", "--rm", "-T", "web", "true"]).ok();
    machine.xcompose(["down", "-v"]).ok();
}

#[test]
fn beside_the_output_of_containers_what_hooks_say_is_a_part_of_it() {
    if cannot_run() {
        return;
    }
    let machine = machine(
        "
services:
  job: {image: busybox, command: [sleep, '0.1']}
  web:
    image: busybox
    command: [sh, -c, 'trap \"echo bye; exit\" TERM; while :; do sleep 0.1; done']
    pre_stop: [{command: [echo, closing]}]
",
    );
    let up = machine.xcompose(["up", "--abort-on-container-exit"]).ok();
    assert!(up.stdout().contains("web-1 ->  | closing\n") && up.stdout().contains("web-1  | bye\n"), "{}", up.stdout());
    assert!(!up.stderr().contains("closing"), "{}", up.stderr());
    machine.xcompose(["down"]).ok();
}

#[test]
fn a_failing_hook_fails_its_command_and_says_its_last_words() {
    if cannot_run() {
        return;
    }
    let file = |hooks: &str| {
        format!("services: {{test: {{image: busybox, command: [sleep, '1000'], stop_signal: SIGKILL, {hooks}}}}}")
    };
    let machine = machine(&file("post_start: [{command: [nosuchprogram]}]"));
    let told = machine.xcompose(["up", "-d"]).fails(1).stderr();
    assert!(told.contains("test hook exited with status 127"), "{told}");
    assert_eq!(machine.xcompose(["ps", "--services"]).ok().stdout(), "test\n", "it runs on");
    machine.xcompose(["down"]).ok();
    machine.write("compose.yaml", &file("post_start: [{command: [sh, -c, 'echo out; echo last words >&2; exit 3']}]"));
    let told = machine.xcompose(["up", "-d"]).fails(1).stderr();
    assert!(told.contains("test hook exited with status 3: last words"), "{told}");
    machine.xcompose(["down"]).ok();
    machine.write("compose.yaml", &file("pre_stop: [{command: [sh, -c, 'exit 9']}]"));
    machine.xcompose(["up", "-d"]).ok();
    let told = machine.xcompose(["down"]).fails(1).stderr();
    assert!(told.contains("test hook exited with status 9"), "{told}");
    assert_eq!(machine.xcompose(["ps", "--services"]).ok().stdout(), "test\n", "the stop was given up");
    machine.write("compose.yaml", &file("init: true"));
    machine.xcompose(["down"]).ok();
}

#[test]
fn a_provider_is_asked_and_what_it_sets_reaches_its_dependents() {
    if cannot_run() {
        return;
    }
    let machine = machine(
        "
services:
  secrets:
    provider: {type: vault, options: {mode: fast, names: [one, two], unknown: x}}
  web:
    image: busybox
    command: [sh, -c, 'echo $$SECRETS_URL $$CLOUD_REGION; sleep 1000']
    stop_signal: SIGKILL
    environment: {CLOUD_REGION: own}
    depends_on: [secrets]
",
    );
    let script = "#!/bin/sh
echo \"$@\" >> asked
[ \"$2\" = metadata ] && echo '{\"up\": {\"parameters\": [{\"name\": \"mode\", \"required\": true}, {\"name\": \"names\"}]}, \"stop\": {}}' && exit
[ \"$3\" = up ] || exit 0
echo '{\"type\": \"info\", \"message\": \"working\"}'
echo '{\"type\": \"setenv\", \"message\": \"URL=http://secret\"}'
echo '{\"type\": \"rawsetenv\", \"message\": \"CLOUD_REGION=far\"}'
[ ! -e fail ] || { echo '{\"type\": \"error\", \"message\": \"no more vaults\"}'; exit 1; }
";
    let program = machine.write("bin/docker-vault", script);
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let run = |arguments: &[&str]| crate::support::finish(machine.command(arguments).env("PATH", &path));
    let told = run(&["up", "-d"]).ok().stderr();
    assert!(told.contains("overrides environment variable CLOUD_REGION"), "{told}");
    crate::support::eventually("its output", || {
        run(&["logs", "--no-log-prefix", "web"]).ok().stdout().contains("http://secret far\n").then_some(())
    });
    assert!(run(&["up", "-d"]).ok().stderr().contains("web-1 Running"), "the same answers change nothing");
    run(&["stop"]).ok();
    run(&["down"]).ok();
    let asked = std::fs::read_to_string(machine.project().join("asked")).unwrap();
    for line in [
        "compose --project-name=project up --mode=fast --names=one --names=two secrets",
        "compose --project-name=project stop",
        "compose --project-name=project down",
    ] {
        assert!(asked.contains(line), "{line} in\n{asked}");
    }
    machine.write("fail", "");
    let told = run(&["up", "-d"]).fails(1).stderr();
    assert!(told.contains("failed to create service provider: no more vaults"), "{told}");
    let told = machine.xcompose(["up", "-d"]).fails(1).stderr();
    assert!(told.contains("docker-vault"), "{told}");
}

#[test]
fn containers_run_before_the_first_one_of_a_service_and_stay_if_they_fail() {
    if cannot_run() {
        return;
    }
    let file = |second: &str, scale: u32| {
        format!(
            "
services:
  web:
    image: busybox
    command: [sh, -c, 'cat /notes/log; sleep 1000']
    stop_signal: SIGKILL
    scale: {scale}
    volumes: ['notes:/notes']
    pre_start:
      - {{command: [sh, -c, 'echo first $$WHO >> /notes/log'], environment: {{WHO: me}}}}
      - {{command: [sh, -c, '{second}']}}
volumes: {{notes: {{}}}}
"
        )
    };
    let machine = machine(&file("echo second >> /notes/log", 1));
    machine.xcompose(["up", "-d"]).ok();
    let log = || machine.xcompose(["exec", "-T", "web", "cat", "/notes/log"]).ok().stdout();
    assert_eq!(log(), "first me\nsecond\n");
    machine.xcompose(["up", "-d"]).ok();
    machine.xcompose(["up", "-d", "--scale", "web=2"]).ok();
    assert_eq!(log(), "first me\nsecond\n", "once, while something runs");
    machine.xcompose(["up", "-d", "--force-recreate"]).ok();
    assert_eq!(log(), "first me\nsecond\n".repeat(2));
    assert_eq!(machine.xcompose(["ps", "-a", "-q"]).ok().stdout().lines().count(), 1, "nothing is left of them");
    machine.write("compose.yaml", &file("echo why >&2; exit 17", 1));
    let told = machine.xcompose(["up", "-d"]).fails(1).stderr();
    assert!(told.contains("service \"web\" pre_start[1] exited with code 17: why (hook container"), "{told}");
    assert!(machine.xcompose(["ps", "-a"]).ok().stdout().contains("project-web-pre_start-1"), "retained");
    machine.write("compose.yaml", &file("true", 1));
    machine.xcompose(["up", "-d"]).ok();
    assert_eq!(machine.xcompose(["ps", "-a", "-q"]).ok().stdout().lines().count(), 1);
    machine.write("compose.yaml", &file("exit 1", 1));
    machine.xcompose(["up", "-d"]).fails(1);
    machine.xcompose(["down", "-v"]).ok();
    assert_eq!(machine.xcompose(["ps", "-a", "-q"]).ok().stdout(), "");
    let each = "services: {web: {image: busybox, pre_start: [{command: ['true'], per_replica: true}]}}";
    machine.write("compose.yaml", each);
    assert!(machine.xcompose(["up", "-d"]).fails(1).stderr().contains("per_replica"));
}
