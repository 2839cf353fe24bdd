//! `up` on an empty machine, scale, orphans, what is refused.

use xcompose::engine::ContainerState;
use xcompose::planner::request::*;
use xcompose::spec::project::service::Condition;

use crate::planner::machine::{Machine, exited};
use crate::planner::stack::*;

fn up() -> Request {
    Request::up(&[], Up::default())
}

fn up_with(up: Up) -> Request {
    Request::up(&[], up)
}

fn scale(service: &str, scale: u32) -> Request {
    up_with(Up { scale: [(name(service), scale)].into(), ..Up::default() })
}

#[test]
fn a_fresh_stack_is_networks_volumes_containers_and_starts_with_nothing_waiting_in_vain() {
    let project = project([
        service("web").after("api"),
        service("api").needs("db", Condition::Healthy).after("cache"),
        service("cache"),
        service("db").probed().mounts("data", "/data"),
    ]);
    let machine = Machine::new();
    insta::assert_snapshot!(machine.apply(&project, &up()), @r"
    #0 create network p_default (missing)
    #1 create volume p_data (missing)
    #2 create container p-cache-1 from busybox (missing) after #0
    #3 create container p-db-1 from busybox (missing) after #0 #1
    #4 create container p-api-1 from busybox (missing) after #0
    #5 create container p-web-1 from busybox (missing) after #0
    #6 start container p-cache-1 (missing) after #2
    #7 start container p-db-1 (missing) after #3
    #8 wait until db is healthy (needed by api) after #7
    #9 start container p-api-1 (missing) after #4 #6 #8
    #10 start container p-web-1 (missing) after #5 #9
    ");
    assert_eq!(machine.containers(), ["p-api-1 running", "p-cache-1 running", "p-db-1 running", "p-web-1 running"]);
}

#[test]
fn an_unchanged_stack_is_left_alone() {
    let project = project([service("web").after("db"), service("db").probed()]);
    let machine = Machine::new();
    machine.apply(&project, &up());
    let plan = machine.plan(&project, &up()).unwrap();
    assert!(plan.is_empty(), "{plan}");
    assert_eq!(plan.unchanged.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["p-db-1", "p-web-1"]);
}

#[test]
fn named_services_bring_their_dependencies_and_nobody_else() {
    let project = project([service("web").after("db"), service("db"), service("other")]);
    let machine = Machine::new();
    machine.apply(&project, &Request::up(&names(&["web"]), Up::default()));
    assert_eq!(machine.containers(), ["p-db-1 running", "p-web-1 running"]);
}

#[test]
fn without_dependencies_only_the_named_services_come_up() {
    let project = project([service("web").needs("db", Condition::Healthy), service("db").probed()]);
    let machine = Machine::new();
    let up = Up { dependencies: Dependencies::Exclude, ..Up::default() };
    insta::assert_snapshot!(machine.apply(&project, &Request::up(&names(&["web"]), up)), @r"
    #0 create network p_default (missing)
    #1 create container p-web-1 from busybox (missing) after #0
    #2 start container p-web-1 (missing) after #1
    ");
}

#[test]
fn create_starts_nothing() {
    let project = project([service("web")]);
    let machine = Machine::new();
    machine.apply(&project, &up_with(Up { until: Until::Created, ..Up::default() }));
    assert_eq!(machine.containers(), ["p-web-1 created"]);
    insta::assert_snapshot!(machine.plan(&project, &up()).unwrap(), @"#0 start container p-web-1 (not running)");
}

#[test]
fn an_exited_container_is_started_again_and_a_restarting_one_is_left() {
    let project = project([service("job"), service("loop")]);
    let machine = Machine::new();
    machine.apply(&project, &up());
    machine.alter("p-job-1", |container| container.state = exited(0));
    machine.alter("p-loop-1", |container| container.state = ContainerState::Restarting { status: 1, finished: 1 });
    insta::assert_snapshot!(machine.plan(&project, &up()).unwrap(), @"#0 start container p-job-1 (not running)");
}

#[test]
fn a_paused_container_is_the_users_to_thaw() {
    let project = project([service("web")]);
    let machine = Machine::new();
    machine.apply(&project, &up());
    machine.apply(&project, &Request { services: vec![], operation: Operation::Pause });
    let error = machine.plan(&project, &up()).unwrap_err();
    assert!(error.to_string().contains("cannot start a paused container, try unpause instead"), "{error}");
}

#[test]
fn scaling_goes_up_from_the_highest_number_and_down_from_it() {
    let project = project([service("web")]);
    let machine = Machine::new();
    machine.apply(&project, &up());
    insta::assert_snapshot!(machine.apply(&project, &scale("web", 3)), @r"
    #0 create container p-web-2 from busybox (missing)
    #1 create container p-web-3 from busybox (missing)
    #2 start container p-web-2 (missing) after #0
    #3 start container p-web-3 (missing) after #1
    ");
    insta::assert_snapshot!(machine.apply(&project, &scale("web", 1)), @r"
    #0 stop container p-web-2 (surplus)
    #1 remove container p-web-2 (surplus) after #0
    #2 stop container p-web-3 (surplus)
    #3 remove container p-web-3 (surplus) after #2
    ");
    machine.apply(&project, &scale("web", 2));
    assert_eq!(machine.containers(), ["p-web-1 running", "p-web-2 running"]);
}

#[test]
fn a_number_below_the_highest_is_not_filled_again() {
    let project = project([service("web").scaled(3)]);
    let machine = Machine::new();
    machine.apply(&project, &up());
    let second = machine.id("p-web-2");
    machine.change(|observed| observed.containers.retain(|container| container.id != second));
    machine.apply(&project, &up());
    assert_eq!(machine.containers(), ["p-web-1 running", "p-web-3 running", "p-web-4 running"]);
}

#[test]
fn a_service_removed_by_hand_starts_again_at_number_one() {
    let project = project([service("web")]);
    let machine = Machine::new();
    machine.apply(&project, &up());
    machine.change(|observed| observed.containers.clear());
    machine.apply(&project, &up());
    assert_eq!(machine.containers(), ["p-web-1 running"]);
}

#[test]
fn scaling_down_removes_obsolete_containers_first() {
    let project = project([service("web").scaled(2)]);
    let machine = Machine::new();
    machine.apply(&project, &up());
    machine.image("busybox", "2");
    let more = Up { scale: [(name("web"), 4)].into(), recreate: Recreate::Never, ..Up::default() };
    machine.apply(&project, &up_with(more));
    assert_eq!(machine.containers().len(), 4);
    machine.apply(&project, &scale("web", 2));
    assert_eq!(machine.containers(), ["p-web-3 running", "p-web-4 running"]);
}

#[test]
fn scale_zero_removes_all_and_is_not_waited_for() {
    let project = project([service("web").needs("db", Condition::Healthy), service("db").probed()]);
    let machine = Machine::new();
    machine.apply(&project, &scale("db", 0));
    assert_eq!(machine.containers(), ["p-web-1 running"]);
    machine.apply(&project, &up());
    machine.apply(&project, &scale("db", 0));
    assert_eq!(machine.containers(), ["p-web-1 running"]);
}

#[test]
fn a_container_name_of_its_own_allows_one_container() {
    let own = service("web").with(|service| service.container_name = Some("mine".parse().unwrap()));
    let project = project([own.clone()]);
    let machine = Machine::new();
    machine.apply(&project, &up());
    assert_eq!(machine.containers(), ["mine running"]);
    insta::assert_snapshot!(machine.plan(&project, &scale("web", 2)).unwrap_err(), @r#"WARNING: The "web" service is using the custom container name "mine". Docker requires each container to have a unique name. Remove the custom name to scale the service"#);
    let twin = own.with(|service| service.name = name("twin"));
    let both = crate::planner::stack::project([
        service("web").with(|service| service.container_name = Some("mine".parse().unwrap())),
        twin,
    ]);
    insta::assert_snapshot!(machine.plan(&both, &up()).unwrap_err(), @r#"container name "mine" is already in use by service twin and service web"#);
    let alone = Request::up(&names(&["web"]), Up::default());
    assert!(machine.plan(&both, &alone).is_ok());
}

#[test]
fn orphans_are_named_kept_silent_about_or_removed() {
    let machine = Machine::new();
    machine.apply(&project([service("web"), service("old")]), &up());
    let project = project([service("web")]);
    let warned = machine.plan(&project, &up()).unwrap();
    assert!(warned.is_empty(), "{warned}");
    insta::assert_snapshot!(warned.warnings[0], @"Found orphan containers (p-old-1) for this project. If you removed or renamed this service in your compose file, you can run this command with the --remove-orphans flag to clean it up.");
    let silent = machine.plan(&project, &up_with(Up { orphans: Orphans::Ignore, ..Up::default() })).unwrap();
    assert!(silent.warnings.is_empty());
    let removed = machine.apply(&project, &up_with(Up { orphans: Orphans::Include, ..Up::default() }));
    insta::assert_snapshot!(removed, @r"
    #0 stop container p-old-1 (orphan)
    #1 remove container p-old-1 (orphan) after #0
    ");
}

#[test]
fn services_of_inactive_profiles_are_no_orphans() {
    let machine = Machine::new();
    machine.apply(&project([service("web"), service("tool")]), &up());
    let mut project = project([service("web")]);
    project.disabled.insert(name("tool"), service("tool"));
    assert!(machine.plan(&project, &up()).unwrap().warnings.is_empty());
}

#[test]
fn a_start_waits_for_the_stop_of_what_holds_its_port() {
    let machine = Machine::new();
    machine.apply(&project([service("old").publishes(80), service("web")]), &up());
    let project = project([service("web").publishes(80)]);
    let plan = machine.apply(&project, &up_with(Up { orphans: Orphans::Include, ..Up::default() }));
    insta::assert_snapshot!(plan, @r"
    #0 stop container p-old-1 (orphan)
    #1 remove container p-old-1 (orphan) after #0
    #2 create container 000000000003_p-web-1 from busybox to replace p-web-1 (changed: ports)
    #3 stop container p-web-1 after #2
    #4 remove container p-web-1 after #2 #3
    #5 rename container to p-web-1 after #4
    #6 start container p-web-1 (changed: ports) after #0 #5
    ");
}

#[test]
fn a_missing_image_is_refused_before_anything_is_done() {
    let machine = Machine::new();
    let project = project([service("web").with(|service| service.image = "nosuch:1".parse().unwrap())]);
    insta::assert_snapshot!(machine.plan(&project, &up()).unwrap_err(), @"No such image: nosuch:1 (service web)");
}

#[test]
fn unknown_services_and_empty_projects_are_refused() {
    let machine = Machine::new();
    let unknown = Request::up(&names(&["nope"]), Up::default());
    assert_eq!(machine.plan(&project([service("web")]), &unknown).unwrap_err().to_string(), "no such service: nope");
    assert_eq!(machine.plan(&project([]), &up()).unwrap_err().to_string(), "no service selected");
    let cycle = project([service("a").after("b"), service("b").after("a")]);
    let told = machine.plan(&cycle, &up()).unwrap_err().to_string();
    assert_eq!(told, "dependency cycle detected: a -> b -> a");
}
