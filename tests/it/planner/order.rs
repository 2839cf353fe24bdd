//! What starts after what, and what is waited for.

use std::time::Duration;

use xcompose::planner::request::*;
use xcompose::spec::project::network::Link;
use xcompose::spec::project::service::{Condition, Service};
use xcompose::values::health::Health;

use crate::planner::machine::{Machine, exited, running};
use crate::planner::stack::*;

fn up() -> Request {
    Request::up(&[], Up::default())
}

#[test]
fn dependents_of_the_same_condition_share_one_wait() {
    let machine = Machine::new();
    let project = project([
        service("a").needs("db", Condition::Healthy),
        service("b").needs("db", Condition::Healthy),
        service("db").probed().scaled(2),
    ]);
    insta::assert_snapshot!(machine.plan(&project, &up()).unwrap(), @r"
    #0 create network p_default (missing)
    #1 create container p-db-1 from busybox (missing) after #0
    #2 create container p-db-2 from busybox (missing) after #0
    #3 create container p-a-1 from busybox (missing) after #0
    #4 create container p-b-1 from busybox (missing) after #0
    #5 start container p-db-1 (missing) after #1
    #6 start container p-db-2 (missing) after #2
    #7 wait until db is healthy (needed by a, b) after #5 #6
    #8 start container p-a-1 (missing) after #3 #7
    #9 start container p-b-1 (missing) after #4 #7
    ");
}

#[test]
fn a_job_completes_before_its_dependents_start_and_runs_again_on_each_up() {
    let machine = Machine::new();
    let project = project([service("web").needs("job", Condition::Completed), service("job")]);
    machine.on_start("p-job-1", exited(0));
    machine.apply(&project, &up());
    insta::assert_snapshot!(machine.plan(&project, &up()).unwrap(), @r"
    #0 start container p-job-1 (not running)
    #1 wait until job has completed successfully (needed by web) after #0
    ");
}

#[test]
fn an_optional_dependency_is_waited_for_only_as_far_as_it_goes() {
    let machine = Machine::new();
    let project = project([service("web").likes("cache", Condition::Healthy), service("cache").probed()]);
    machine.on_start("p-cache-1", exited(1));
    insta::assert_snapshot!(machine.apply(&project, &up()), @r"
    #0 create network p_default (missing)
    #1 create container p-cache-1 from busybox (missing) after #0
    #2 create container p-web-1 from busybox (missing) after #0
    #3 start container p-cache-1 (missing) after #1
    #4 wait until cache is healthy, if it can (needed by web) after #3
    #5 start container p-web-1 (missing) after #2 #4
    ");
    assert_eq!(machine.containers(), ["p-cache-1 exited 1", "p-web-1 running"]);
}

#[test]
fn a_dependency_that_is_no_longer_healthy_is_waited_for_again() {
    let machine = Machine::new();
    let project = project([service("web").needs("db", Condition::Healthy), service("db").probed()]);
    machine.apply(&project, &up());
    machine.alter("p-db-1", |container| container.state = running(Some(Health::Unhealthy)));
    let plan = machine.plan(&project, &up()).unwrap();
    insta::assert_snapshot!(plan, @"#0 wait until db is healthy (needed by web)");
    let failed = machine.run(&plan).unwrap_err();
    assert_eq!(failed.to_string(), "dependency failed to start: container p-db-1 is unhealthy");
}

#[test]
fn a_dependency_without_health_check_can_never_be_healthy() {
    let machine = Machine::new();
    let project = project([service("web").needs("db", Condition::Healthy), service("db")]);
    let failed = machine.run(&machine.plan(&project, &up()).unwrap()).unwrap_err();
    let told = "dependency failed to start: container p-db-1 has no healthcheck configured";
    assert_eq!(failed.to_string(), told);
    assert_eq!(machine.containers(), ["p-db-1 running", "p-web-1 created"]);
}

#[test]
fn a_dependency_that_ends_is_told_with_its_status() {
    let machine = Machine::new();
    let stack = project([service("web").needs("db", Condition::Healthy), service("db").probed()]);
    machine.on_start("p-db-1", exited(1));
    let failed = machine.run(&machine.plan(&stack, &up()).unwrap()).unwrap_err();
    assert_eq!(failed.to_string(), "dependency failed to start: container p-db-1 exited (1)");

    let machine = Machine::new();
    let stack = project([service("web").needs("job", Condition::Completed), service("job")]);
    machine.on_start("p-job-1", exited(4));
    let failed = machine.run(&machine.plan(&stack, &up()).unwrap()).unwrap_err();
    assert_eq!(failed.to_string(), "service \"job\" didn't complete successfully: exit 4");
}

#[test]
fn waiting_for_all_waits_for_jobs_to_complete_and_for_others_to_be_healthy() {
    let machine = Machine::new();
    let project = project([service("web").needs("job", Condition::Completed).probed(), service("job")]);
    let wait = Wait::Yes { timeout: Some(Duration::from_secs(3)) };
    let up = Request::up(&[], Up { until: Until::Started(wait), ..Up::default() });
    insta::assert_snapshot!(machine.plan(&project, &up).unwrap(), @r"
    #0 create network p_default (missing)
    #1 create container p-job-1 from busybox (missing) after #0
    #2 create container p-web-1 from busybox (missing) after #0
    #3 start container p-job-1 (missing) after #1
    #4 wait until job has completed successfully within 3s (needed by web) after #3
    #5 start container p-web-1 (missing) after #2 #4
    #6 wait until web runs and is healthy within 3s (asked) after #5
    ");
}

#[test]
fn with_everything_running_there_is_nothing_to_wait_for() {
    let machine = Machine::new();
    let project = project([service("web").probed(), service("plain")]);
    machine.apply(&project, &up());
    let up = Request::up(&[], Up { until: Until::Started(Wait::Yes { timeout: None }), ..Up::default() });
    let plan = machine.plan(&project, &up).unwrap();
    assert!(plan.is_empty(), "{plan}");
}

#[test]
fn start_brings_dependencies_and_makes_nothing() {
    let machine = Machine::new();
    let project = project([service("web").needs("db", Condition::Healthy), service("db").probed(), service("other")]);
    let told = machine.plan(&project, &Request::start(&names(&["web"]), Wait::No)).unwrap_err();
    assert_eq!(told.to_string(), "service \"web\" has no container to start");
    machine.apply(&project, &Request::up(&[], Up { until: Until::Created, ..Up::default() }));
    insta::assert_snapshot!(machine.apply(&project, &Request::start(&names(&["web"]), Wait::No)), @r"
    #0 start container p-db-1 (not running)
    #1 wait until db is healthy (needed by web) after #0
    #2 start container p-web-1 (not running) after #1
    ");
    assert_eq!(machine.containers(), ["p-db-1 running", "p-other-1 created", "p-web-1 running"]);
    let again = machine.plan(&project, &Request::start(&names(&["web"]), Wait::No)).unwrap();
    assert!(again.is_empty(), "{again}");
}

#[test]
fn start_skips_what_was_never_made_but_not_what_is_needed_healthy() {
    let machine = Machine::new();
    let stack = |condition| project([service("web").needs("db", condition), service("db").probed()]);
    let alone = Up { dependencies: Dependencies::Exclude, until: Until::Created, ..Up::default() };
    machine.apply(&stack(Condition::Started), &Request::up(&names(&["web"]), alone));
    let start = Request::start(&[], Wait::No);
    let told = machine.plan(&stack(Condition::Healthy), &start).unwrap_err();
    assert_eq!(told.to_string(), "web is missing dependency db");
    machine.apply(&stack(Condition::Started), &start);
    assert_eq!(machine.containers(), ["p-web-1 running"]);
}

#[test]
fn restart_takes_running_and_stopped_ones_and_dependents_that_asked_for_it() {
    let machine = Machine::new();
    let project = project([service("db").probed(), service("web").restarts_with("db"), service("log").after("db")]);
    machine.apply(&project, &up());
    machine.alter("p-db-1", |container| container.state = exited(0));
    let restart =
        |dependents| Request { services: names(&["db"]), operation: Operation::Restart { grace: None, dependents } };
    insta::assert_snapshot!(machine.plan(&project, &restart(Dependents::Include)).unwrap(), @r"
    #0 restart container p-db-1 (asked)
    #1 restart container p-web-1 (db is restarted) after #0
    ");
    insta::assert_snapshot!(machine.plan(&project, &restart(Dependents::Exclude)).unwrap(), @"#0 restart container p-db-1 (asked)");
}

#[test]
fn a_restart_reaches_those_who_asked_for_it_through_others() {
    let machine = Machine::new();
    let project = project([service("db"), service("web").restarts_with("db"), service("side").restarts_with("web")]);
    machine.apply(&project, &up());
    let restart = Operation::Restart { grace: None, dependents: Dependents::Include };
    let plan = machine.plan(&project, &Request { services: names(&["db"]), operation: restart }).unwrap();
    insta::assert_snapshot!(plan, @r"
    #0 restart container p-db-1 (asked)
    #1 restart container p-web-1 (db is restarted) after #0
    #2 restart container p-side-1 (web is restarted) after #1
    ");
}

#[test]
fn links_name_the_containers_of_their_targets() {
    let machine = Machine::new();
    let link = |s: &mut Service| s.links.push(Link { service: name("db"), alias: "database".to_owned() });
    let project = project([service("web").after("db").with(link), service("db").scaled(2)]);
    machine.apply(&project, &up());
    let xcompose::engine::NetworkMode::Networks(attached) = machine.find("p-web-1").unwrap().config.network else {
        panic!("it is on a network");
    };
    let targets: Vec<_> = attached[0].links["database"].iter().map(|name| name.as_str()).collect();
    assert_eq!(targets, ["p-db-1", "p-db-2"]);
    assert!(machine.plan(&project, &up()).unwrap().is_empty());
}
