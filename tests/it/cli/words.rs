//! What is said to a person: once, in full, and with the names that the person wrote.

use crate::support::{Machine, cannot_run, finish};

fn machine(stack: &str) -> Machine {
    let machine = Machine::new();
    machine.import_busybox();
    machine.write("compose.yaml", stack);
    machine
}

#[test]
fn a_fault_is_told_once_and_without_the_number_of_the_system() {
    if cannot_run() {
        return;
    }
    let machine = machine("services: {web: {image: busybox, command: nosuch}}");
    let told = machine.xcompose(["-p", "p", "up", "-d"]).fails(1).stderr();
    assert_eq!(told.matches("executable file not found in $PATH").count(), 1, "{told}");
    assert!(told.contains(" Container p-web-1 Error\n"), "{told}");
    let told = machine.xcompose(["-p", "p", "--progress", "json", "up", "-d"]).fails(1).stderr();
    assert!(told.contains(r#""status":"Error","text":"Error","details":"cannot start container p-web-1"#), "{told}");
    let code = ["-p", "p", "ps", "-a", "--format", "{{.State}} {{.ExitCode}}"];
    assert_eq!(machine.xcompose(code).ok().stdout(), "created 127\n");
    machine.write("built.yaml", "services: {web: {build: ./nowhere}}");
    let told = machine.xcompose(["-f", "built.yaml", "build"]).fails(1).stderr();
    assert!(told.contains("nowhere: No such file or directory\n"), "{told}");
}

#[test]
fn a_stopped_project_is_listed_only_when_all_are_asked_for_and_names_are_found_by_expression() {
    if cannot_run() {
        return;
    }
    let machine = machine("services: {web: {image: busybox, command: sleep 1000, stop_signal: KILL}}");
    machine.xcompose(["-p", "made", "create"]).ok();
    for project in ["first", "second"] {
        machine.xcompose(["-p", project, "up", "-d"]).ok();
    }
    let listed = |arguments: &[&str]| machine.xcompose(arguments).ok().stdout();
    assert_eq!(listed(&["ls", "-q"]), "first\nsecond\n");
    assert_eq!(listed(&["ls", "-aq"]), "first\nmade\nsecond\n");
    assert_eq!(listed(&["ls", "-q", "--filter", "name=^(fi|se).*t$"]), "first\n");
    machine.xcompose(["ls", "--filter", "name=("]).fails(1);
}

#[test]
fn a_taken_container_name_is_told_with_who_has_it() {
    if cannot_run() {
        return;
    }
    let machine = machine("services: {web: {image: busybox, container_name: mine, command: ls}}");
    machine.xcompose(["-p", "first", "create"]).ok();
    let told = machine.xcompose(["-p", "second", "create"]).fails(1).stderr();
    let id = machine.xcompose(["-p", "first", "ps", "-aq"]).ok().stdout();
    let holder = format!("container name \"mine\" is already in use by container {} (project first)\n", &id[..12]);
    assert!(told.contains(&holder), "{told}");
}

#[test]
fn a_mistyped_service_leads_to_the_one_that_is_meant() {
    if cannot_run() {
        return;
    }
    let machine = machine("services: {web: {image: busybox}, other: {image: busybox}}");
    for command in [&["stop", "wbe"][..], &["logs", "wbe"], &["exec", "wbe", "ls"], &["why", "wbe"], &["dns", "wbe"]] {
        let told = machine.xcompose(command).fails(1).stderr();
        assert!(told.contains("wbe") && told.ends_with("did you mean web?\n"), "{command:?}: {told}");
    }
    let told = machine.xcompose(["stop", "nothing"]).fails(1).stderr();
    assert_eq!(told, "no such service: nothing\n");
    // One that is there, only not running, is what was meant.
    assert!(!machine.xcompose(["exec", "web", "ls"]).fails(1).stderr().contains("mean"));
}

#[test]
fn events_of_the_past_are_lines_or_objects() {
    if cannot_run() {
        return;
    }
    let machine = machine(
        "services: {web: {image: busybox, command: sleep 1000, labels: {own: label}}, other: {image: busybox}}",
    );
    machine.xcompose(["-p", "p", "up", "-d", "web"]).ok();
    machine.xcompose(["-p", "p", "kill"]).ok();
    let events = |more: &[&str]| {
        let told =
            machine.xcompose(["-p", "p", "events", "--since", "1h", "--until", "0s"].iter().chain(more)).fails(1);
        assert_eq!(told.stderr(), "EOF\n", "as with Docker Compose");
        told.stdout()
    };
    let objects: Vec<serde_json::Value> =
        events(&["--json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said: Vec<_> = objects.iter().map(|object| object["action"].as_str().unwrap()).collect();
    assert_eq!(said, ["create", "start", "kill", "die"]);
    let died = &objects[3];
    assert_eq!((&died["service"], &died["type"]), (&"web".into(), &"container".into()));
    let told = serde_json::json!({"exitCode": "137", "image": "busybox", "name": "p-web-1", "own": "label"});
    assert_eq!(died["attributes"], told);
    assert!(events(&["web"]).contains("(exitCode=137, image=busybox, name=p-web-1, own=label)\n\n"));
    assert_eq!(events(&["other"]), "");
    let unknown = machine.xcompose(["events", "nosuch"]).fails(1).stderr();
    assert!(unknown.contains("no such service: nosuch"), "{unknown}");
}

#[test]
fn what_the_user_set_for_dockers_command_line_holds() {
    if cannot_run() {
        return;
    }
    let machine = machine("services: {web: {image: busybox, command: ls}}");
    machine.xcompose(["create"]).ok();
    let config = machine.write("docker/config.json", r#"{"psFormat": "{{.Service}}: {{.State}}"}"#);
    let ps = |more: &[&str]| {
        let mut command = machine.command(["ps", "-a"].iter().chain(more));
        finish(command.env("DOCKER_CONFIG", config.parent().unwrap())).ok()
    };
    assert_eq!(ps(&[]).stdout(), "web: created\n");
    assert_eq!(ps(&["--format", "{{.Service}}"]).stdout(), "web\n");
    machine.write("docker/config.json", "{");
    assert!(ps(&[]).stderr().contains("config.json"), "a file that can't be read is told, and no more");
}

#[test]
fn ps_names_the_image_as_the_file_does() {
    if cannot_run() {
        return;
    }
    let machine = machine("services: {a: {image: busybox, command: ls}, b: {image: 'busybox:latest', command: ls}}");
    machine.xcompose(["create"]).ok();
    let shown = machine.xcompose(["ps", "-a", "--format", "{{.Service}} {{.Image}}"]).ok().stdout();
    assert_eq!(shown, "a busybox\nb busybox:latest\n");
}

#[test]
fn what_comes_to_nothing_is_told_with_its_place_and_an_empty_file_by_its_name() {
    if cannot_run() {
        return;
    }
    let options = "networks: {default: {driver_opts: {com.docker.network.driver.mtu: 1400, mut: 9000}}}";
    let machine = machine(&format!("services: {{a: {{image: busybox, command: ls}}}}\n{options}\n"));
    let told = machine.xcompose(["create"]).ok().stderr();
    assert!(told.contains("networks.default.driver_opts: `mut` is not supported and has no effect"), "{told}");
    assert!(told.contains("compose.yaml:2:"), "{told}");
    assert!(!told.contains("mtu` is"), "{told}");
    machine.write("empty.yaml", "");
    let told = machine.xcompose(["-f", "empty.yaml", "config"]).fails(1).stderr();
    assert_eq!(told, "error: empty.yaml: empty compose file\n");
    machine.write("absent.yaml", "services: {a: {image: nosuch, pull_policy: never}}");
    let told = machine.xcompose(["-f", "absent.yaml", "up"]).fails(1).stderr();
    assert_eq!(told, "No such image: nosuch (service a)\n");
}

#[test]
fn lines_of_builds_say_whose_they_are() {
    if cannot_run() {
        return;
    }
    let machine = machine("services: {a: {build: a}, b: {build: b}}");
    for name in ["a", "b"] {
        machine.write(&format!("{name}/Dockerfile"), &format!("FROM busybox\nRUN echo from-{name}\n"));
    }
    let told = machine.xcompose(["-p", "p", "build"]).ok().stderr();
    for name in ["a", "b"] {
        let whose = |line: &&str| line.starts_with(&format!("p-{name} #")) && line.ends_with(&format!(" from-{name}"));
        assert!(told.lines().any(|line| whose(&line)), "{told}");
    }
}

#[test]
fn convert_is_an_older_name_of_config() {
    let machine = Machine::new();
    machine.write("compose.yaml", "services: {a: {image: busybox}}");
    assert_eq!(machine.xcompose(["convert", "--services"]).ok().stdout(), "a\n");
}

#[test]
fn a_graph_shows_who_depends_on_whom() {
    let machine = Machine::new();
    machine.write(
        "compose.yaml",
        "
services:
  web: {image: nginx, depends_on: [db], networks: [front, back], ports: ['8080:80', '127.0.0.1:90:9/udp', '70']}
  db: {image: 'postgres:9', networks: [back]}
networks: {front: {}, back: {}}
",
    );
    insta::assert_snapshot!(machine.xcompose(["viz", "--networks", "--ports", "--image", "--spaces"]).ok().stdout(), @r#"
    digraph "project" {
     layout=dot;
     "db" [style="filled" label=<<font point-size="15">db</font><font point-size="10"><br/><br/><b>Networks:</b><br/>back</font><font point-size="10"><br/><br/><b>Image:</b><br/>postgres:9</font>>];
     "web" [style="filled" label=<<font point-size="15">web</font><font point-size="10"><br/><br/><b>Networks:</b><br/>back<br/>front</font><font point-size="10"><br/><br/><b>Ports:</b><br/>8080:80 (tcp, ingress)<br/>127.0.0.1:90:9 (udp, ingress)<br/>:70 (tcp, ingress)</font><font point-size="10"><br/><br/><b>Image:</b><br/>nginx</font>>];

     "web" -> "db";
    }
    "#);
    let plain = machine.xcompose(["alpha", "viz"]).ok();
    assert!(plain.stdout().contains("\t\"web\" -> \"db\";\n"), "{}", plain.stdout());
    assert!(plain.stderr().contains("viz command is EXPERIMENTAL"));
}
