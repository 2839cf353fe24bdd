//! `run` and `build`.

use std::collections::BTreeMap;

use xcompose::engine::NetworkMode as Connected;
use xcompose::planner::images;
use xcompose::planner::request::*;
use xcompose::spec::project::Project;
use xcompose::spec::project::service::{Condition, Service};
use xcompose::values::restart::Restart;

use crate::planner::machine::Machine;
use crate::planner::stack::*;

fn run(run: Run) -> Request {
    let run = Run { slug: "0123456789abcdef".repeat(4), ..run };
    Request { services: names(&["web"]), operation: Operation::Run(run) }
}

fn stack() -> Project {
    let more = |s: &mut Service| {
        s.restart = Restart::Always;
        s.container_name = Some("mine".parse().unwrap());
        s.command = Some(vec!["serve".to_owned()]);
        s.entrypoint = Some(vec!["/entry".to_owned()]);
        s.cap_drop = vec!["NET_RAW".to_owned()];
    };
    project([
        service("web").needs("db", Condition::Healthy).publishes(80).env("A", "1").with(more),
        service("db").probed(),
        service("other"),
    ])
}

#[test]
fn run_brings_dependencies_up_and_makes_one_container_besides() {
    let machine = Machine::new();
    insta::assert_snapshot!(machine.plan(&stack(), &run(Run::default())).unwrap(), @r"
    #0 create network p_default (missing)
    #1 create container p-db-1 from busybox (missing) after #0
    #2 create container p-web-run-0123456789ab from busybox (asked) after #0
    #3 start container p-db-1 (missing) after #1
    #4 wait until db is healthy (needed by web) after #3
    ");
    let detached = run(Run { start: RunStart::Detached, ..Run::default() });
    insta::assert_snapshot!(machine.apply(&stack(), &detached), @r"
    #0 create network p_default (missing)
    #1 create container p-db-1 from busybox (missing) after #0
    #2 create container p-web-run-0123456789ab from busybox (asked) after #0
    #3 start container p-db-1 (missing) after #1
    #4 wait until db is healthy (needed by web) after #3
    #5 start container p-web-run-0123456789ab (asked) after #2 #4
    ");
    assert_eq!(machine.containers(), ["p-db-1 running", "p-web-run-0123456789ab running"]);
}

#[test]
fn run_without_dependencies_touches_nothing_else() {
    let machine = Machine::new();
    let alone = run(Run { dependencies: Dependencies::Exclude, start: RunStart::Detached, ..Run::default() });
    machine.apply(&stack(), &alone);
    assert_eq!(machine.containers(), ["p-web-run-0123456789ab running"]);
}

#[test]
fn a_one_off_has_no_ports_no_restart_and_only_its_own_name() {
    let machine = Machine::new();
    machine.apply(&stack(), &run(Run::default()));
    let config = machine.find("p-web-run-0123456789ab").unwrap().config;
    assert!(config.ports.is_empty() && config.restart == Restart::No && !config.auto_remove);
    let Connected::Networks(attached) = &config.network else { panic!("it is on a network") };
    assert!(attached[0].aliases.is_empty());
    assert_eq!(config.labels["com.docker.compose.oneoff"], "True");
    assert_eq!(config.labels["com.docker.compose.slug"].len(), 64);
    assert!(!config.labels.contains_key("com.docker.compose.container-number"));
}

#[test]
fn run_changes_what_it_is_told_to() {
    let machine = Machine::new();
    let asked = Run {
        name: Some("mine-too".parse().unwrap()),
        entrypoint: Some(vec!["sh".to_owned()]),
        environment: BTreeMap::from([("A".to_owned(), Some("2".to_owned())), ("B".to_owned(), None)]),
        labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        user: Some("nobody".to_owned()),
        working_dir: Some("/work".to_owned()),
        cap_add: vec!["NET_RAW".to_owned()],
        ports: RunPorts::Service,
        aliases: RunAliases::Service,
        after_exit: AfterExit::Remove,
        ..Run::default()
    };
    machine.apply(&stack(), &run(asked));
    let config = machine.find("mine-too").unwrap().config;
    assert_eq!((config.command, config.entrypoint), (None, Some(vec!["sh".to_owned()])));
    assert_eq!(config.environment["A"].as_deref(), Some("2"));
    assert_eq!(config.environment["B"], None);
    assert_eq!((config.user.as_deref(), config.working_dir.as_deref()), (Some("nobody"), Some("/work")));
    assert_eq!(config.security.cap_add, ["NET_RAW"]);
    assert!(config.security.cap_drop.is_empty() && config.ports.len() == 1 && config.auto_remove);
    assert_eq!(config.labels["a"], "b");
}

#[test]
fn a_command_keeps_the_entrypoint() {
    let machine = Machine::new();
    machine.apply(&stack(), &run(Run { command: Some(vec!["true".to_owned()]), ..Run::default() }));
    let config = machine.find("p-web-run-0123456789ab").unwrap().config;
    assert_eq!((config.command, config.entrypoint), (Some(vec!["true".to_owned()]), Some(vec!["/entry".to_owned()])));
}

fn builds(machine: &Machine, project: &Project, request: &Request) -> Vec<String> {
    let plan = images::plan(project, &machine.observed(), request).unwrap();
    plan.steps().iter().map(|step| format!("{} ({})", step.action, step.cause)).collect()
}

#[test]
fn missing_images_are_built_once_and_others_on_request() {
    let machine = Machine::new();
    let project =
        project([service("a").built("one"), service("b").built("one"), service("c").built("two"), service("plain")]);
    machine.image("two", "1");
    assert_eq!(builds(&machine, &project, &Request::up(&[], Up::default())), ["build image one (missing)"]);
    let always = Up { build: BuildPolicy::Always, ..Up::default() };
    assert_eq!(
        builds(&machine, &project, &Request::up(&[], always)),
        ["build image one (asked)", "build image two (asked)"]
    );
    let never = Up { build: BuildPolicy::Never, ..Up::default() };
    assert!(builds(&machine, &project, &Request::up(&[], never)).is_empty());
    assert!(builds(&machine, &project, &Request::up(&names(&["plain"]), Up::default())).is_empty());
}

#[test]
fn build_builds_what_is_named() {
    let machine = Machine::new();
    let project = project([service("a").built("one").after("b"), service("b").built("two")]);
    let build = |dependencies| Request {
        services: names(&["a"]),
        operation: Operation::Build(Build { dependencies, ..Default::default() }),
    };
    assert_eq!(builds(&machine, &project, &build(Dependencies::Exclude)), ["build image one (asked)"]);
    assert_eq!(builds(&machine, &project, &build(Dependencies::Include)).len(), 2);
}

#[test]
fn arguments_of_the_command_line_go_over_those_of_the_file() {
    let machine = Machine::new();
    let project = project([service("a").built("one")]);
    let asked = Build { args: BTreeMap::from([("A".to_owned(), "2".to_owned())]), ..Default::default() };
    let plan = machine.plan(&project, &Request { services: vec![], operation: Operation::Build(asked) }).unwrap();
    let xcompose::planner::plan::Action::Build { config, .. } = &plan.steps()[0].action else { panic!("{plan}") };
    assert_eq!(config.args["A"], "2");
    assert_eq!(config.labels["com.docker.compose.service"], "a");
}

#[test]
fn an_image_built_anew_replaces_its_containers() {
    let machine = Machine::new();
    let project = project([service("a").built("one")]);
    let up = Request::up(&[], Up::default());
    machine.run(&images::plan(&project, &machine.observed(), &up).unwrap()).unwrap();
    machine.apply(&project, &up);
    assert!(machine.plan(&project, &up).unwrap().is_empty());
    machine.image("one", "other");
    assert!(machine.plan(&project, &up).unwrap().to_string().contains("(image changed)"));
}

#[test]
fn builds_and_what_follows_read_as_one_plan() {
    let machine = Machine::new();
    let project = project([service("web").built("one").needs("db", Condition::Healthy), service("db").probed()]);
    let up = Request::up(&[], Up::default());
    let images = images::plan(&project, &machine.observed(), &up).unwrap();
    insta::assert_snapshot!(images.followed_by(machine.plan(&project, &up).unwrap()), @r"
    #0 build image one (missing)
    #1 create network p_default (missing)
    #2 create container p-db-1 from busybox (missing) after #1
    #3 create container p-web-1 from one (missing) after #0 #1
    #4 start container p-db-1 (missing) after #2
    #5 wait until db is healthy (needed by web) after #4
    #6 start container p-web-1 (missing) after #3 #5
    ");
}
