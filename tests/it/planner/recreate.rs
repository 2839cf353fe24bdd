//! When a container is made anew, why, and how.

use xcompose::engine::ContainerState;
use xcompose::planner::plan::{Action, Plan};
use xcompose::planner::request::*;
use xcompose::spec::project::mounts::{MountsOf, VolumesFrom};
use xcompose::spec::project::network::NetworkMode;
use xcompose::spec::project::service::{Condition, Dependency, PullPolicy, Service};

use crate::planner::machine::{Machine, exited};
use crate::planner::stack::*;

fn up() -> Request {
    Request::up(&[], Up::default())
}

/// The names of the containers that a plan makes.
fn makes(plan: &Plan) -> Vec<String> {
    let made = plan.steps().iter().filter_map(|step| match &step.action {
        Action::CreateContainer { config, replaces } => {
            Some(replaces.as_ref().map_or(&config.name, |replaced| &replaced.name).to_string())
        }
        _ => None,
    });
    made.collect()
}

#[test]
fn a_changed_service_is_replaced_beside_the_old_one_and_keeps_its_name() {
    let machine = Machine::new();
    machine.apply(&project([service("web").env("A", "1"), service("db")]), &up());
    let (web, db) = (machine.id("p-web-1"), machine.id("p-db-1"));
    let plan = machine.apply(&project([service("web").env("A", "2").env("B", "1"), service("db")]), &up());
    insta::assert_snapshot!(plan, @r"
    #0 create container 000000000003_p-web-1 from busybox to replace p-web-1 (changed: environment.A, environment.B)
    #1 stop container p-web-1 after #0
    #2 remove container p-web-1 after #0 #1
    #3 rename container to p-web-1 after #2
    #4 start container p-web-1 (changed: environment.A, environment.B) after #3
    ");
    assert_eq!(machine.containers(), ["p-db-1 running", "p-web-1 running"]);
    assert_ne!(machine.id("p-web-1"), web);
    assert_eq!(machine.id("p-db-1"), db);
    let labels = machine.find("p-web-1").unwrap().config.labels;
    assert_eq!(labels.get("com.docker.compose.replace").map(String::as_str), Some("web-1"));
}

#[test]
fn each_kind_of_change_is_told_by_its_name_in_the_file() {
    let cases: [(&str, fn(&mut Service)); 13] = [
        ("command", |s| s.command = Some(vec!["true".to_owned()])),
        ("command", |s| s.command = Some(Vec::new())),
        ("environment.A", |s| drop(s.environment.insert("A".to_owned(), Some(String::new())))),
        ("environment.A", |s| drop(s.environment.insert("A".to_owned(), None))),
        ("labels.a", |s| drop(s.labels.insert("a".to_owned(), "1".to_owned()))),
        ("cpus", |s| s.resources.nano_cpus = Some(1)),
        ("mem_limit", |s| s.resources.memory = Some(1 << 30)),
        ("cap_add", |s| s.cap_add.push("NET_ADMIN".to_owned())),
        ("security_opt", |s| s.security_opt.push("no-new-privileges:true".to_owned())),
        ("logging", |s| drop(s.logging.options.insert("max-size".to_owned(), "1m".to_owned()))),
        ("dns_search", |s| s.dns_search = Some(Vec::new())),
        ("volumes", |s| {
            let source = MountsOf::Service(name("data"));
            s.volumes_from.push(VolumesFrom { source, read_only: false, location: somewhere() });
        }),
        ("restart", |s| s.restart = xcompose::values::restart::Restart::Always),
    ];
    for (field, change) in cases {
        let machine = Machine::new();
        let data = service("data").anonymous("/data");
        machine.apply(&project([service("web"), data.clone()]), &up());
        let changed = service("web").after("data").with(change);
        let plan = machine.plan(&project([changed, data]), &up()).unwrap().to_string();
        assert!(plan.contains(&format!("(changed: {field})")), "{field}:\n{plan}");
    }
}

#[test]
fn values_of_variables_are_never_shown() {
    let machine = Machine::new();
    machine.apply(&project([service("web").env("PASSWORD", "before")]), &up());
    let plan = machine.plan(&project([service("web").env("PASSWORD", "geheim")]), &up()).unwrap();
    assert!(!plan.to_string().contains("geheim") && !plan.to_string().contains("before"), "{plan}");
}

#[test]
fn what_makes_no_container_recreates_none() {
    let changes: [fn(&mut Service); 6] = [
        |s| s.profiles.push("debug".to_owned()),
        |s| s.pull_policy = Some(PullPolicy::Always),
        |s| s.attach = false,
        |s| {
            let dependency =
                Dependency { condition: Condition::Started, restart: true, required: true, location: somewhere() };
            s.depends_on.insert(name("db"), dependency);
        },
        |s| s.build = service("x").built("busybox").build,
        |s| s.labels.insert("com.docker.compose.version".to_owned(), "9".to_owned()).map_or((), drop),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let machine = Machine::new();
        machine.apply(&project([service("web"), service("db")]), &up());
        let plan = machine.plan(&project([service("web").with(change), service("db")]), &up()).unwrap();
        assert!(plan.is_empty(), "change {number}:\n{plan}");
    }
    let machine = Machine::new();
    machine.apply(&project([service("web")]), &up());
    let plan = machine.apply(&project([service("web").scaled(2)]), &up());
    assert_eq!(makes(&plan), ["p-web-2"]);
}

#[test]
fn an_image_with_other_content_replaces_its_containers() {
    let machine = Machine::new();
    let project = project([service("web")]);
    machine.apply(&project, &up());
    machine.image("busybox", "2");
    insta::assert_snapshot!(machine.plan(&project, &up()).unwrap(), @r"
    #0 create container 000000000002_p-web-1 from busybox to replace p-web-1 (image changed)
    #1 stop container p-web-1 after #0
    #2 remove container p-web-1 after #0 #1
    #3 rename container to p-web-1 after #2
    #4 start container p-web-1 (image changed) after #3
    ");
}

#[test]
fn force_recreates_targets_and_leaves_dependencies() {
    let machine = Machine::new();
    let project = project([service("web").after("db"), service("db")]);
    machine.apply(&project, &up());
    let force = Up { recreate: Recreate::Always, ..Up::default() };
    assert_eq!(makes(&machine.plan(&project, &Request::up(&[], force.clone())).unwrap()), ["p-db-1", "p-web-1"]);
    assert_eq!(makes(&machine.plan(&project, &Request::up(&names(&["web"]), force.clone())).unwrap()), ["p-web-1"]);
    let both = Up { recreate_dependencies: Recreate::Always, ..force };
    let plan = machine.plan(&project, &Request::up(&names(&["web"]), both)).unwrap();
    assert_eq!(makes(&plan), ["p-db-1", "p-web-1"]);
}

#[test]
fn no_recreate_keeps_what_is_there_and_makes_what_is_missing() {
    let machine = Machine::new();
    machine.apply(&project([service("web")]), &up());
    let never = Up { recreate: Recreate::Never, recreate_dependencies: Recreate::Never, ..Up::default() };
    let changed = project([service("web").env("A", "1"), service("db")]);
    assert_eq!(makes(&machine.apply(&changed, &Request::up(&[], never))), ["p-db-1"]);
}

#[test]
fn anonymous_volumes_go_over_to_the_new_container_unless_renewed() {
    let machine = Machine::new();
    let project = project([service("web").anonymous("/data")]);
    machine.apply(&project, &up());
    let before = machine.find("p-web-1").unwrap().volumes;
    let force = Up { recreate: Recreate::Always, ..Up::default() };
    machine.apply(&project, &Request::up(&[], force.clone()));
    assert_eq!(machine.find("p-web-1").unwrap().volumes, before);
    let renew = Up { anonymous_volumes: AnonymousVolumes::Renew, ..force };
    machine.apply(&project, &Request::up(&[], renew));
    assert_ne!(machine.find("p-web-1").unwrap().volumes, before);
}

#[test]
fn sharers_of_a_namespace_are_replaced_with_their_donor_and_others_are_not() {
    let machine = Machine::new();
    let stack = |value: &str| {
        let shares = |s: &mut Service| s.network = NetworkMode::Service(name("vpn"));
        project([service("vpn").env("A", value), service("app").after("vpn").with(shares), service("web").after("vpn")])
    };
    machine.apply(&stack("1"), &up());
    let web = machine.id("p-web-1");
    insta::assert_snapshot!(machine.apply(&stack("2"), &up()), @r"
    #0 create container 000000000002_p-vpn-1 from busybox to replace p-vpn-1 (changed: environment.A)
    #1 create container 000000000003_p-app-1 from busybox to replace p-app-1 (vpn is recreated) after #0
    #2 stop container p-app-1 after #1
    #3 remove container p-app-1 after #1 #2
    #4 rename container to p-app-1 after #3
    #5 stop container p-vpn-1 after #0
    #6 remove container p-vpn-1 after #0 #5
    #7 rename container to p-vpn-1 after #6
    #8 start container p-vpn-1 (changed: environment.A) after #7
    #9 start container p-app-1 (vpn is recreated) after #4 #8
    ");
    assert_eq!(machine.id("p-web-1"), web);
    let again = machine.plan(&stack("2"), &up()).unwrap();
    assert!(again.is_empty(), "{again}");
}

#[test]
fn a_sharer_older_than_its_donor_was_left_behind_by_a_command_cut_short() {
    let machine = Machine::new();
    let shares = |s: &mut Service| s.network = NetworkMode::Service(name("vpn"));
    let project = project([service("vpn"), service("app").after("vpn").with(shares)]);
    machine.apply(&project, &up());
    machine.alter("p-vpn-1", |container| container.created = 99);
    assert_eq!(makes(&machine.plan(&project, &up()).unwrap()), ["p-app-1"]);
}

#[test]
fn mounts_of_others_are_shared_live_whether_they_have_names_or_not() {
    let machine = Machine::new();
    let from = |donor: &'static str| {
        move |s: &mut Service| {
            let source = MountsOf::Service(name(donor));
            s.volumes_from.push(VolumesFrom { source, read_only: donor == "data", location: somewhere() });
        }
    };
    let stack = |value: &str| {
        project([
            service("data").env("A", value).mounts("named", "/named").anonymous("/nameless"),
            service("app").after("data").with(from("data")),
            service("deep").after("app").with(from("app")),
        ])
    };
    let same = |machine: &Machine| {
        let [data, app, deep] = ["data", "app", "deep"].map(|s| machine.find(&format!("p-{s}-1")).unwrap());
        assert_eq!((&data.volumes, &data.volumes), (&app.volumes, &deep.volumes));
        assert!(app.anonymous_volumes.is_empty() && app.config.mounts.iter().all(|mount| mount.read_only));
        data.volumes
    };
    machine.apply(&project([service("data").anonymous("/nameless"), service("app")]), &up());
    let plan = machine.apply(&stack("1"), &up());
    assert!(plan.to_string().contains("p-app-1 (data is recreated)"), "{plan}");
    let before = same(&machine);
    assert!(machine.plan(&stack("1"), &up()).unwrap().is_empty());
    assert_eq!(makes(&machine.apply(&stack("2"), &up())), ["p-data-1", "p-app-1", "p-deep-1"]);
    assert_eq!(same(&machine), before);
    let renew = Up { recreate: Recreate::Always, anonymous_volumes: AnonymousVolumes::Renew, ..Up::default() };
    machine.apply(&stack("2"), &Request::up(&[], renew));
    assert_ne!(same(&machine), before);
}

#[test]
fn a_missing_donor_is_refused_by_name() {
    let machine = Machine::new();
    let alone = Request::up(&names(&["app"]), Up { dependencies: Dependencies::Exclude, ..Up::default() });
    let shares = |s: &mut Service| s.network = NetworkMode::Service(name("db"));
    let told = machine.plan(&project([service("db"), service("app").with(shares)]), &alone).unwrap_err();
    assert_eq!(told.to_string(), "cannot share network namespace with service db: container missing");
    let from = |s: &mut Service| {
        let source = MountsOf::Service(name("db"));
        s.volumes_from.push(VolumesFrom { source, read_only: false, location: somewhere() });
    };
    let told = machine.plan(&project([service("db"), service("app").with(from)]), &alone).unwrap_err();
    assert_eq!(told.to_string(), "cannot share volume with service db: container missing");
    // One that runs already is no excuse.
    let both = project([service("db"), service("app").after("db").with(from)]);
    machine.apply(&both, &up());
    assert!(machine.plan(&both, &alone).unwrap().is_empty());
    let remove = Remove { running: Running::Stop, volumes: Volumes::Keep, answers: Answers::Yes };
    machine.apply(&both, &Request { services: names(&["db"]), operation: Operation::Remove(remove) });
    let told = machine.plan(&both, &alone).unwrap_err();
    assert_eq!(told.to_string(), "cannot share volume with service db: container missing");
}

#[test]
fn dependents_that_asked_for_it_are_stopped_before_and_started_after() {
    let machine = Machine::new();
    let stack = |value: &str| {
        project([service("db").env("A", value), service("web").restarts_with("db"), service("log").after("db")])
    };
    machine.apply(&stack("1"), &up());
    let (web, log) = (machine.id("p-web-1"), machine.id("p-log-1"));
    insta::assert_snapshot!(machine.apply(&stack("2"), &up()), @r"
    #0 create container 000000000002_p-db-1 from busybox to replace p-db-1 (changed: environment.A)
    #1 stop container p-web-1 (db is recreated) after #0
    #2 stop container p-db-1 after #0 #1
    #3 remove container p-db-1 after #0 #2
    #4 rename container to p-db-1 after #3
    #5 start container p-db-1 (changed: environment.A) after #4
    #6 start container p-web-1 (db is recreated) after #1 #5
    ");
    assert_eq!((machine.id("p-web-1"), machine.id("p-log-1")), (web, log));
}

#[test]
fn who_lives_in_a_container_that_is_restarted_is_restarted_too() {
    let machine = Machine::new();
    let shares = |s: &mut Service| s.network = NetworkMode::Service(name("web"));
    let stack = |value: &str| {
        project([
            service("db").env("A", value),
            service("web").restarts_with("db"),
            service("side").after("web").with(shares),
        ])
    };
    machine.apply(&stack("1"), &up());
    insta::assert_snapshot!(machine.apply(&stack("2"), &up()), @r"
    #0 create container 000000000002_p-db-1 from busybox to replace p-db-1 (changed: environment.A)
    #1 stop container p-side-1 (web is restarted) after #0
    #2 stop container p-web-1 (db is recreated) after #0
    #3 stop container p-db-1 after #0 #2
    #4 remove container p-db-1 after #0 #3
    #5 rename container to p-db-1 after #4
    #6 start container p-db-1 (changed: environment.A) after #5
    #7 start container p-web-1 (db is recreated) after #2 #6
    #8 start container p-side-1 (web is restarted) after #1 #7
    ");
}

#[test]
fn a_replacement_cut_short_before_the_old_one_went_is_undone() {
    let machine = Machine::new();
    machine.apply(&project([service("web")]), &up());
    let changed = project([service("web").env("A", "1")]);
    let plan = machine.plan(&changed, &up()).unwrap();
    machine.fail("remove p-web-1");
    assert!(machine.run(&plan).is_err());
    let before: Vec<_> = machine.containers();
    assert_eq!(before.len(), 2, "{before:?}");
    let rest = machine.plan(&changed, &up()).unwrap();
    insta::assert_snapshot!(rest, @r"
    #0 remove container 000000000002_p-web-1 (left unfinished)
    #1 create container 000000000002_p-web-1 from busybox to replace p-web-1 (changed: environment.A) after #0
    #2 remove container p-web-1 after #1
    #3 rename container to p-web-1 after #2
    #4 start container p-web-1 (changed: environment.A) after #3
    ");
}

#[test]
fn a_replacement_cut_short_before_the_new_name_is_finished() {
    let machine = Machine::new();
    machine.apply(&project([service("web")]), &up());
    let changed = project([service("web").env("A", "1")]);
    let plan = machine.plan(&changed, &up()).unwrap();
    let new = format!("{}_p-web-1", machine.id("p-web-1").short());
    machine.fail(&format!("rename {new} to p-web-1"));
    assert!(machine.run(&plan).is_err());
    assert_eq!(machine.containers(), [format!("{new} created")]);
    let machine = machine.healed();
    insta::assert_snapshot!(machine.apply(&changed, &up()), @r"
    #0 rename container to p-web-1 (left unfinished)
    #1 start container p-web-1 (not running) after #0
    ");
    assert_eq!(machine.containers(), ["p-web-1 running"]);
}

#[test]
fn a_half_removed_container_is_removed_and_made_again() {
    let machine = Machine::new();
    let project = project([service("web")]);
    machine.apply(&project, &up());
    machine.alter("p-web-1", |container| container.state = ContainerState::Dead);
    insta::assert_snapshot!(machine.apply(&project, &up()), @r"
    #0 remove container p-web-1 (left unfinished)
    #1 create container p-web-1 from busybox (left unfinished) after #0
    #2 start container p-web-1 (left unfinished) after #1
    ");
}

#[test]
fn a_failed_creation_leaves_the_old_container_running() {
    let machine = Machine::new();
    machine.apply(&project([service("web")]), &up());
    let changed = project([service("web").env("A", "1")]);
    machine.fail(&format!("create {}_p-web-1", machine.id("p-web-1").short()));
    assert!(machine.run(&machine.plan(&changed, &up()).unwrap()).is_err());
    assert_eq!(machine.containers(), ["p-web-1 running"]);
}

#[test]
fn a_stopped_container_that_changed_is_replaced_without_being_stopped() {
    let machine = Machine::new();
    machine.apply(&project([service("web")]), &up());
    machine.alter("p-web-1", |container| container.state = exited(0));
    let plan = machine.plan(&project([service("web").env("A", "1")]), &up()).unwrap();
    assert!(!plan.to_string().contains("stop"), "{plan}");
}
