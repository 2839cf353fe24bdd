//! Mistakes on the command line: one line each, in Docker Compose's words where it has them, and exit code 1.

use crate::support::Machine;

/// What each command line prints and its exit code, as one text.
fn told(lines: &[&str]) -> String {
    let machine = Machine::new();
    let mut text = String::new();
    for line in lines {
        let done = machine.xcompose(line.split_whitespace());
        text.push_str(&format!("{line} [{}]\n{}", done.code(), done.stderr()));
    }
    text
}

#[test]
fn unknown_flags_and_commands_are_named() {
    insta::assert_snapshot!(told(&[
        "--bogus", "up --bogus", "up -Q", "up -dQ", "nosuch", "bridge", "ls extra",
    ]), @r#"
    --bogus [1]
    unknown flag: --bogus
    up --bogus [1]
    unknown flag: --bogus
    up -Q [1]
    unknown shorthand flag: 'Q' in -Q
    up -dQ [1]
    unknown shorthand flag: 'Q' in -Q
    nosuch [1]
    unknown command: "nosuch"
    bridge [1]
    xcompose does not support the command "bridge" yet
    ls extra [1]
    unexpected argument "extra"
    "#);
}

#[test]
fn values_that_are_missing_or_wrong_are_named() {
    insta::assert_snapshot!(told(&[
        "-f", "up --timeout", "up --timeout x", "up --timeout=x", "up --build=maybe", "logs --index x", "--parallel x ps",
        "--progress loud ps", "--progress tty --ansi never ps", "logs --tail x", "logs --since yesterday", "kill -s NOPE",
        "ps --status gone", "ps --filter status", "ps --filter name=x", "ps --format {{.Name", "ls --filter x",
        "port a b", "down --rmi some", "events --until x", "-p Bad! ps",
    ]), @r#"
    -f [1]
    flag needs an argument: --file
    up --timeout [1]
    flag needs an argument: --timeout
    up --timeout x [1]
    invalid argument "x" for "--timeout" flag: must be a whole number
    up --timeout=x [1]
    invalid argument "x" for "--timeout" flag: must be a whole number
    up --build=maybe [1]
    invalid argument "maybe" for "--build" flag: must be true or false
    logs --index x [1]
    invalid argument "x" for "--index" flag: must be a whole number
    --parallel x ps [1]
    invalid argument "x" for "--parallel" flag: must be a whole number
    --progress loud ps [1]
    unsupported --progress value "loud"
    --progress tty --ansi never ps [1]
    can't use --progress tty while ANSI support is disabled
    logs --tail x [1]
    invalid value for "tail": x
    logs --since yesterday [1]
    invalid time "yesterday": expected a time as 2013-01-02T13:23:37Z, seconds since 1970, or a span as 42m
    kill -s NOPE [1]
    invalid signal: NOPE
    ps --status gone [1]
    unknown status "gone"; there are paused, restarting, removing, running, dead, created, exited
    ps --filter status [1]
    arguments to --filter should be in form KEY=VAL
    ps --filter name=x [1]
    unknown filter name
    ps --format {{.Name [1]
    template parsing error: unclosed action in "{{.Name"
    ls --filter x [1]
    invalid filter 'x'
    port a b [1]
    invalid port "b": not a number up to 65535
    down --rmi some [1]
    invalid value for --rmi: "some"
    events --until x [1]
    invalid time "x": expected a time as 2013-01-02T13:23:37Z, seconds since 1970, or a span as 42m
    -p Bad! ps [1]
    invalid project name "bad!": must consist only of lowercase alphanumeric characters, hyphens, and underscores as well as start with a letter or number
    "#);
}

#[test]
fn too_few_arguments_are_counted() {
    insta::assert_snapshot!(told(&["exec", "exec a", "run", "port", "port a", "scale", "wait", "image tag a"]), @r"
    exec [1]
    requires at least 2 arg(s), only received 0
    exec a [1]
    requires at least 2 arg(s), only received 1
    run [1]
    requires at least 1 arg(s), only received 0
    port [1]
    requires at least 2 arg(s), only received 0
    port a [1]
    requires at least 2 arg(s), only received 1
    scale [1]
    requires at least 1 arg(s), only received 0
    wait [1]
    requires at least 1 arg(s), only received 0
    image tag a [1]
    <NAME> is missing
    ");
}

#[test]
fn flags_of_up_that_exclude_each_other_are_refused_before_any_file_is_read() {
    insta::assert_snapshot!(told(&[
        "up -d --abort-on-container-exit", "up --wait --attach x", "up --build --no-build",
        "up --force-recreate --no-recreate", "up -V --no-recreate", "up --always-recreate-deps --no-recreate",
        "up --attach x --attach-dependencies", "up --wait-timeout -1",
        "up --abort-on-container-exit --abort-on-container-failure", "up --pull bogus", "up --no-build --watch",
        "create --build --no-build", "run --service-ports -p 80 a", "run --tty --no-tty a", "run --tty a",
        "logs --index 2", "logs --index 2 a b", "scale web", "scale web=x",
    ]), @r#"
    up -d --abort-on-container-exit [1]
    --detach cannot be combined with --abort-on-container-exit, --abort-on-container-failure, --attach, --attach-dependencies or --watch
    up --wait --attach x [1]
    --wait cannot be combined with --abort-on-container-exit, --attach or --attach-dependencies
    up --build --no-build [1]
    --build and --no-build are incompatible
    up --force-recreate --no-recreate [1]
    --force-recreate and --no-recreate are incompatible
    up -V --no-recreate [1]
    --no-recreate and --renew-anon-volumes are incompatible
    up --always-recreate-deps --no-recreate [1]
    --always-recreate-deps and --no-recreate are incompatible
    up --attach x --attach-dependencies [1]
    cannot combine --attach and --attach-dependencies
    up --wait-timeout -1 [1]
    --wait-timeout must be a non-negative integer
    up --abort-on-container-exit --abort-on-container-failure [1]
    --abort-on-container-failure cannot be combined with --abort-on-container-exit
    up --pull bogus [1]
    invalid --pull option "bogus"
    up --no-build --watch [1]
    --no-build and --watch are incompatible
    create --build --no-build [1]
    --build and --no-build are incompatible
    run --service-ports -p 80 a [1]
    --service-ports and --publish are incompatible
    run --tty --no-tty a [1]
    --tty and --no-tty can't be used together
    run --tty a [1]
    cannot attach stdin to a TTY-enabled container because stdin is not a terminal
    logs --index 2 [1]
    --index requires one service to be selected
    logs --index 2 a b [1]
    --index requires one service to be selected
    scale web [1]
    invalid scale specifier: web
    scale web=x [1]
    invalid scale specifier: can't parse replica value as int: web=x
    "#);
}

#[test]
fn without_arguments_the_help_is_printed_and_nothing_is_wrong() {
    let machine = Machine::new();
    let none: [&str; 0] = [];
    let bare = machine.xcompose(none).ok();
    assert!(bare.stdout().starts_with("Run Compose files"), "{}", bare.stdout());
    assert_eq!(bare.stderr(), "");
    assert_eq!(bare.stdout(), machine.xcompose(["--help"]).ok().stdout());
    let unknown = machine.xcompose(["nosuch"]).fails(1);
    assert_eq!(unknown.stdout(), bare.stdout(), "the help comes with the mistake");
}

#[test]
fn the_version_has_three_forms_and_reads_no_file() {
    let machine = Machine::new();
    machine.write("compose.yaml", "this is: [no stack");
    let number = env!("CARGO_PKG_VERSION");
    assert_eq!(machine.xcompose(["version"]).ok().stdout(), format!("xcompose version v{number}\n"));
    assert_eq!(machine.xcompose(["-v"]).ok().stdout(), format!("xcompose version v{number}\n"));
    assert_eq!(machine.xcompose(["version", "--short"]).ok().stdout(), format!("{number}\n"));
    assert_eq!(machine.xcompose(["version", "-f", "json"]).ok().stdout(), format!("{{\"version\":\"v{number}\"}}\n"));
}

#[test]
fn switches_take_a_truth_value_as_in_docker_compose() {
    let machine = Machine::new();
    let short = |value: &str| machine.xcompose(["version", &format!("--short={value}")]).ok().stdout();
    assert_eq!(short("true"), short("1"));
    assert_eq!(short("false"), machine.xcompose(["version"]).stdout());
}

#[test]
fn errors_are_objects_where_progress_is() {
    let machine = Machine::new();
    let text = machine.xcompose(["--progress", "json", "up", "-d"]).fails(1).stderr();
    let object: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(object["error"], true);
    assert!(object["message"].as_str().unwrap().contains("no configuration file provided"), "{text}");
}

#[test]
fn a_reader_that_goes_away_is_no_reason_to_panic() {
    use std::process::Stdio;
    let machine = Machine::new();
    let mut child = machine.command(["up", "--help"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    // All was written before the reader left, or it was told to nobody.
    assert!([0, 141].contains(&output.status.code().unwrap()), "{:?}", output.status);
}
