//! `build:` of a compose file, as `build`, `up` and `run` carry it out.

use serde_json::Value;

use crate::support::{Finished, Machine, cannot_run, finish};

fn machine(compose: &str) -> Machine {
    let machine = Machine::new();
    machine.import_busybox();
    machine.write("compose.yaml", compose);
    machine
}

/// What a command in the image of a service prints.
fn run(machine: &Machine, service: &str, command: &str) -> String {
    machine.xcompose(["run", "--rm", "-T", "--no-deps", service, "sh", "-c", command]).ok().stdout()
}

fn images(machine: &Machine) -> Vec<String> {
    let list = machine.xcompose(["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]).ok().stdout();
    let mut names: Vec<String> = list.lines().filter(|name| !name.starts_with(['<', 'b'])).map(str::to_owned).collect();
    names.sort();
    names
}

fn stderr(finished: Finished) -> String {
    finished.ok().stderr()
}

#[test]
fn named_and_unnamed_images_are_built_with_arguments_of_the_file_the_environment_and_the_command_line() {
    if cannot_run() {
        return;
    }
    let machine = machine(
        "name: p\nservices:\n  plain:\n    build: app\n  named:\n    image: own/name:1\n    build:\n      context: app\n      args:\n        A: file\n        B: $$literal\n        C:\n      tags: [\"other:tag\"]\n      labels: {l: v}\n",
    );
    machine.write("app/Dockerfile", "FROM busybox\nARG A B C\nRUN echo \"$A,$B,$C\" > /args\n");
    machine.xcompose(["build"]).ok();
    assert_eq!(images(&machine), ["other:tag", "own/name:1", "p-plain:latest"]);
    assert_eq!(run(&machine, "named", "cat /args"), "file,$literal,\n");
    let mut build = machine.command(["build", "--build-arg", "A=line", "--build-arg", "C", "named"]);
    crate::support::finish(build.env("C", "environment")).ok();
    assert_eq!(run(&machine, "named", "cat /args"), "line,$literal,environment\n");
    let printed: Value = serde_json::from_str(&machine.xcompose(["build", "--print", "named"]).ok().stdout()).unwrap();
    let target = &printed["target"]["named"];
    assert_eq!(target["args"], serde_json::json!({"A": "file", "B": "$literal"}));
    assert_eq!(target["tags"], serde_json::json!(["other:tag", "own/name:1"]));
    assert_eq!(
        (&target["labels"]["l"], &target["labels"]["com.docker.compose.service"]),
        (&"v".into(), &"named".into())
    );
    assert_eq!(printed["group"]["default"]["targets"], serde_json::json!(["named"]));
}

#[test]
fn up_builds_what_is_missing_or_asked_for_and_leaves_alone_what_is_the_same() {
    if cannot_run() {
        return;
    }
    let machine = machine(
        "name: p\nservices:\n  s:\n    build: .\n    command: sleep 1000\n    stop_grace_period: 0s\n    depends_on: [d]\n  d:\n    image: shared\n    pull_policy: build\n    build: {dockerfile_inline: \"FROM busybox\\nRUN echo built > /d\"}\n    command: sleep 1000\n    stop_grace_period: 0s\n  e:\n    image: shared\n    command: sleep 1000\n    stop_grace_period: 0s\n",
    );
    machine.write("Dockerfile", "FROM busybox\nCOPY file /file\n");
    machine.write("file", "one");
    let told = stderr(machine.xcompose(["--progress", "plain", "up", "-d"]));
    assert_eq!(told.matches(" Image shared Building").count(), 1, "{told}");
    let ids = || machine.xcompose(["ps", "-q"]).ok().stdout();
    let before = ids();
    let told = stderr(machine.xcompose(["--progress", "plain", "up", "-d", "s"]));
    assert!(!told.contains("Image p-s Building") && told.contains("Image shared Built"), "{told}");
    let told = stderr(machine.xcompose(["--progress", "plain", "up", "-d", "--build"]));
    assert!(told.contains("CACHED") && told.contains("Image p-s Built"), "{told}");
    assert_eq!(ids(), before, "an image that is the same recreates nothing");
    machine.write("file", "two");
    stderr(machine.xcompose(["up", "-d"]));
    assert_eq!(ids(), before, "what is there is not built again");
    let told = stderr(machine.xcompose(["up", "-d", "--build", "--quiet-build"]));
    assert!(!told.contains("COPY"), "{told}");
    assert_ne!(ids(), before);
    assert_eq!(machine.xcompose(["exec", "-T", "s", "cat", "/file"]).ok().stdout(), "two");
    let told = stderr(machine.xcompose(["--progress", "plain", "run", "--rm", "-T", "--build", "s", "true"]));
    assert_eq!(told.matches(" Image p-s Building").count(), 1, "{told}");
    let finished = machine.xcompose(["build", "-q"]).ok();
    assert_eq!((finished.stdout(), finished.stderr()), (String::new(), String::new()));
    machine.xcompose(["down", "--rmi", "local"]).ok();
    assert_eq!(images(&machine), ["shared:latest"]);
}

#[test]
fn contexts_of_other_services_are_built_before() {
    if cannot_run() {
        return;
    }
    let inline = |text: &str| format!("dockerfile_inline: \"{}\"", text.replace('\n', "\\n"));
    let machine = machine(&format!(
        "name: p\nservices:\n  a:\n    build:\n      {}\n  b:\n    build:\n      {}\n      additional_contexts: {{base: \"service:a\"}}\n  c:\n    build:\n      {}\n      additional_contexts: [\"lower=service:b\", \"files=./more\", \"box=docker-image://busybox\"]\n    depends_on: [other]\n  other:\n    build: {{dockerfile_inline: \"FROM busybox\"}}\n",
        inline("FROM busybox\nRUN echo a > /a"),
        inline("FROM base\nRUN echo b > /b"),
        inline("FROM box\nCOPY --from=lower /a /b /\nCOPY --from=files f /"),
    ));
    machine.write("more/f", "f\n");
    machine.xcompose(["build", "c"]).ok();
    assert_eq!(run(&machine, "c", "cat /a /b /f"), "a\nb\nf\n");
    assert_eq!(images(&machine), ["p-a:latest", "p-b:latest", "p-c:latest"]);
    machine.xcompose(["build", "--with-dependencies", "c"]).ok();
    assert_eq!(images(&machine), ["p-a:latest", "p-b:latest", "p-c:latest", "p-other:latest"]);
}

#[test]
fn secrets_of_files_and_variables_and_everything_about_commands_reach_the_build() {
    if cannot_run() {
        return;
    }
    let machine = machine(
        "name: p\nservices:\n  s:\n    build:\n      dockerfile: |-\n        other.dockerfile\n      secrets: [file, {source: variable, target: id, uid: \"7\", mode: 0440}]\n      extra_hosts: [\"my.host=10.9.8.7\"]\n      shm_size: 3m\n      ulimits: {nofile: {soft: 77, hard: 88}}\n      privileged: true\n      network: none\n      target: wanted\nsecrets:\n  file: {file: ./secret}\n  variable: {environment: FROM_ENV_FILE}\n",
    );
    machine.write("secret", "one");
    machine.write(".env", "FROM_ENV_FILE=two");
    machine.write(
        "other.dockerfile",
        "FROM busybox AS wanted\nRUN --mount=type=secret,id=file --mount=type=secret,id=id cat /run/secrets/file /run/secrets/id > /s; stat -c ' %u %a' /run/secrets/id >> /s\n\
         RUN grep my.host /etc/hosts; ulimit -Sn -Hn; grep shm /proc/mounts | grep -o size=[0-9]*k; ip -o link | grep -v lo: || echo alone\n\
         RUN --security=insecure mount -t tmpfs x /tmp && umount /tmp\nFROM nosuch\n",
    );
    let told = stderr(machine.xcompose(["--progress", "plain", "build"]));
    for words in ["10.9.8.7", "my.host", "77", "size=3072k", "alone"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert_eq!(run(&machine, "s", "cat /s"), "onetwo 7 440\n");
    assert!(!told.contains("WARN"), "{told}");
}

#[test]
fn what_cannot_be_built_is_said_before_anything_is() {
    if cannot_run() {
        return;
    }
    let service =
        |more: &str| format!("name: p\nservices:\n  s:\n    build:\n      dockerfile_inline: FROM busybox\n{more}");
    let host = if cfg!(target_arch = "x86_64") { "linux/amd64" } else { "linux/arm64" };
    let foreign = "linux/s390x";
    let machine = machine("");
    for (more, variable, words) in [
        (
            format!("      platforms: [{host}, {foreign}]\n"),
            "",
            format!("service s: platform {foreign} can't be built here: this machine is {host}"),
        ),
        (format!("    platform: {foreign}\n"), "", format!("platform {foreign} can't be built here")),
        (
            format!("      platforms: [{host}]\n"),
            foreign,
            format!("service \"s\" build.platforms does not support value set by DOCKER_DEFAULT_PLATFORM: {foreign}"),
        ),
        ("      entitlements: [device]\n".to_owned(), "", "unknown entitlement device".to_owned()),
        ("      cache_from: [\"type=local\"]\n".to_owned(), "", "invalid cache \"type=local\"".to_owned()),
        (
            "      secrets: [x]\nsecrets: {x: {environment: NOT_SET_HERE}}\n".to_owned(),
            "",
            "\"NOT_SET_HERE\" required by secret".to_owned(),
        ),
    ] {
        machine.write("compose.yaml", &service(&more));
        let mut build = machine.command(["build"]);
        let finished = crate::support::finish(build.env("DOCKER_DEFAULT_PLATFORM", variable)).fails(1);
        assert!(finished.stderr().contains(&words), "{more}: {}", finished.stderr());
    }
    assert_eq!(images(&machine), Vec::<String>::new());
    // For one that runs here, one of several is enough.
    machine.write("compose.yaml", &service(&format!("      platforms: [{host}, {foreign}]\n    command: \"true\"\n")));
    machine.xcompose(["up"]).ok();

    machine.write("compose.yaml", "name: p\nservices: {s: {image: busybox}}\n");
    assert!(stderr(machine.xcompose(["build"])).contains("No services to build"));
    let finished = machine.xcompose(["build", "--builder", "unknown"]).fails(1);
    assert!(finished.stderr().contains("no builder \"unknown\" found"));
    let finished = machine.xcompose(["build", "--ssh", "x"]).fails(1);
    assert!(finished.stderr().contains("invalid ssh key \"x\""));
}

#[test]
fn proxies_of_dockers_configuration_are_told_to_builds_and_containers_unless_they_have_their_own() {
    if cannot_run() {
        return;
    }
    let machine = machine(
        "services: {web: {build: {context: web, args: {no_proxy: own}}, environment: {HTTP_PROXY: own}, command: env}}\n",
    );
    machine.write("web/Dockerfile", "FROM busybox\nRUN echo $HTTP_PROXY $http_proxy $NO_PROXY $no_proxy > /built\n");
    let settings = machine.write(
        "docker/config.json",
        r#"{"proxies": {"default": {"httpProxy": "http://p:1", "noProxy": "a.example", "ftpProxy": ""}}}"#,
    );
    let run = |arguments: &[&str]| {
        let mut command = machine.command(arguments);
        finish(command.env("DOCKER_CONFIG", settings.parent().unwrap())).ok().stdout()
    };
    run(&["build"]);
    let built = run(&["run", "--rm", "-T", "web", "cat", "/built"]);
    assert_eq!(built, "http://p:1 http://p:1 a.example own\n");
    let environment = run(&["run", "--rm", "-T", "web", "env"]);
    let has = |line: &str| environment.lines().any(|one| one == line);
    assert!(has("HTTP_PROXY=own") && has("http_proxy=http://p:1") && has("no_proxy=a.example"), "{environment}");
    assert!(!environment.contains("FTP_PROXY"), "{environment}");
    run(&["image", "build", "-t", "alone", "--no-cache", "web"]);
    machine.write("alone.yaml", "services: {alone: {image: alone}}\n");
    let built = run(&["-f", "alone.yaml", "run", "--rm", "-T", "alone", "cat", "/built"]);
    assert_eq!(built, "http://p:1 http://p:1 a.example a.example\n");
    run(&["down"]);
}
