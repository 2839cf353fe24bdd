//! Stopping, killing, pausing, removing; with a file and with nothing but a name.

use xcompose::engine::Rest;
use xcompose::planner::plan::OnFailure;
use xcompose::planner::request::*;
use xcompose::spec::project::Project;
use xcompose::values::signal::Signal;

use crate::planner::machine::{Machine, exited};
use crate::planner::stack::*;

fn up() -> Request {
    Request::up(&[], Up::default())
}

fn chain() -> Project {
    project([
        service("web").after("api"),
        service("api").after("db"),
        service("db").mounts("data", "/data").anonymous("/tmp"),
    ])
}

fn request(services: &[&str], operation: Operation) -> Request {
    Request { services: names(services), operation }
}

#[test]
fn down_stops_dependents_first_and_keeps_volumes() {
    let machine = Machine::new();
    machine.apply(&chain(), &up());
    let plan = machine.apply(&chain(), &Request::down(&[], Down::default()));
    insta::assert_snapshot!(plan, @r"
    #0 stop container p-web-1 (asked)
    #1 remove container p-web-1 (asked) after #0
    #2 stop container p-api-1 (asked) after #0
    #3 remove container p-api-1 (asked) after #2
    #4 stop container p-db-1 (asked) after #2
    #5 remove container p-db-1 (asked) after #4
    #6 remove network p_default (asked) after #0 #2 #4
    ");
    assert_eq!(plan.on_failure, OnFailure::GoOn);
    let left = machine.observed();
    assert_eq!((left.containers.len(), left.networks.len(), left.volumes.len()), (0, 0, 1));
}

#[test]
fn down_takes_volumes_and_images_along_when_asked() {
    let machine = Machine::new();
    let mut stack = chain();
    stack.services.get_mut("web").unwrap().image_named = false;
    machine.apply(&stack, &up());
    let down = Down { volumes: Volumes::Remove, images: RemoveImages::Local, ..Down::default() };
    insta::assert_snapshot!(machine.apply(&stack, &Request::down(&[], down)), @r"
    #0 stop container p-web-1 (asked)
    #1 remove container p-web-1 and its anonymous volumes (asked) after #0
    #2 stop container p-api-1 (asked) after #0
    #3 remove container p-api-1 and its anonymous volumes (asked) after #2
    #4 stop container p-db-1 (asked) after #2
    #5 remove container p-db-1 and its anonymous volumes (asked) after #4
    #6 remove network p_default (asked) after #0 #2 #4
    #7 remove image busybox (asked) after #1 #3 #5
    #8 remove volume p_data (asked) after #1 #3 #5
    ");
    assert_eq!(machine.observed().volumes.len(), 0);
}

#[test]
fn down_by_name_alone_reads_order_from_labels() {
    let machine = Machine::new();
    machine.apply(&chain(), &up());
    let down = Request::down(&[], Down { volumes: Volumes::Remove, ..Down::default() });
    let by_file = machine.plan(&chain(), &down).unwrap().to_string();
    assert_eq!(machine.plan_by_name(&down).unwrap().to_string(), by_file);
}

#[test]
fn down_of_a_service_takes_its_dependents_along() {
    let machine = Machine::new();
    machine.apply(&chain(), &up());
    machine.apply(&chain(), &Request::down(&names(&["api"]), Down::default()));
    assert_eq!(machine.containers(), ["p-db-1 running"]);
    assert_eq!(machine.observed().networks.len(), 1, "it is in use and stays");
}

#[test]
fn down_with_nothing_there_is_silent_and_of_an_unknown_project_says_so() {
    let machine = Machine::new();
    let down = Request::down(&[], Down::default());
    let plan = machine.plan(&chain(), &down).unwrap();
    assert!(plan.is_empty() && plan.warnings.is_empty());
    let plan = machine.plan_by_name(&down).unwrap();
    assert_eq!(plan.warnings[0].to_string(), "No resource found to remove for project \"p\".");
}

#[test]
fn unknown_services_are_refused_but_for_down_by_name() {
    let machine = Machine::new();
    machine.apply(&chain(), &up());
    let down = Request::down(&names(&["nope"]), Down::default());
    assert_eq!(machine.plan(&chain(), &down).unwrap_err().to_string(), "no such service: nope");
    assert!(machine.plan_by_name(&down).unwrap().is_empty());
    for operation in [
        Operation::Stop { grace: None, rest: Rest::UntilStarted },
        Operation::Pause,
        Operation::Start { wait: Wait::No },
    ] {
        let told = machine.plan_by_name(&request(&["nope"], operation)).unwrap_err().to_string();
        assert_eq!(told, "no such service: nope");
    }
}

#[test]
fn making_things_needs_files() {
    let machine = Machine::new();
    assert_eq!(machine.plan_by_name(&up()).unwrap_err().to_string(), "no configuration file provided: not found");
}

#[test]
fn orphans_go_down_when_asked() {
    let machine = Machine::new();
    machine.apply(&project([service("web"), service("old")]), &up());
    let stack = project([service("web")]);
    let kept = machine.plan(&stack, &Request::down(&[], Down::default())).unwrap();
    assert!(!kept.to_string().contains("p-old-1"), "{kept}");
    let down = Down { orphans: Orphans::Include, volumes: Volumes::Remove, ..Down::default() };
    insta::assert_snapshot!(machine.apply(&stack, &Request::down(&[], down)), @r"
    #0 stop container p-web-1 (asked)
    #1 remove container p-web-1 and its anonymous volumes (asked) after #0
    #2 stop container p-old-1 (orphan)
    #3 remove container p-old-1 (orphan) after #2
    #4 remove network p_default (asked) after #0 #2
    ");
}

#[test]
fn one_offs_stay_unless_orphans_go() {
    let machine = Machine::new();
    let stack = project([service("web")]);
    let run = Run { slug: "0123456789abcdef".repeat(4), start: RunStart::Detached, ..Run::default() };
    machine.apply(&stack, &request(&["web"], Operation::Run(run)));
    machine.apply(&stack, &Request::down(&[], Down::default()));
    assert_eq!(machine.containers(), ["p-web-run-0123456789ab running"]);
    let down = Down { orphans: Orphans::Include, ..Down::default() };
    machine.apply(&stack, &Request::down(&[], down));
    assert!(machine.containers().is_empty());
}

#[test]
fn stop_goes_backwards_and_tells_of_what_is_stopped_already() {
    let machine = Machine::new();
    machine.apply(&chain(), &up());
    machine.alter("p-api-1", |container| container.state = exited(0));
    insta::assert_snapshot!(machine.apply(&chain(), &Request::stop(&[], None)), @r"
    #0 stop container p-web-1 (asked)
    #1 stop container p-api-1 (asked) after #0
    #2 stop container p-db-1 (asked) after #1
    ");
    assert_eq!(machine.containers(), ["p-api-1 exited 0", "p-db-1 exited 143", "p-web-1 exited 143"]);
    machine.apply(&chain(), &Request::start(&[], Wait::No));
    machine.apply(&chain(), &Request::stop(&names(&["web"]), None));
    assert_eq!(machine.containers(), ["p-api-1 running", "p-db-1 running", "p-web-1 exited 143"]);
}

#[test]
fn stop_with_one_file_leaves_services_of_another() {
    let machine = Machine::new();
    machine.apply(&project([service("web"), service("other")]), &up());
    machine.apply(&project([service("web")]), &Request::stop(&[], None));
    assert_eq!(machine.containers(), ["p-other-1 running", "p-web-1 exited 143"]);
}

#[test]
fn kill_reaches_what_runs() {
    let machine = Machine::new();
    machine.apply(&project([service("web"), service("done"), service("old")]), &up());
    machine.alter("p-done-1", |container| container.state = exited(0));
    let stack = project([service("web"), service("done")]);
    let kill = |orphans| request(&[], Operation::Kill { signal: Signal::KILL, orphans });
    insta::assert_snapshot!(machine.plan(&stack, &kill(Orphans::Include)).unwrap(), @r"
    #0 send SIGKILL to container p-web-1 (asked)
    #1 send SIGKILL to container p-old-1 (asked)
    ");
    insta::assert_snapshot!(machine.apply(&stack, &kill(Orphans::Warn)), @"#0 send SIGKILL to container p-web-1 (asked)");
    let nothing = machine.plan(&stack, &kill(Orphans::Warn)).unwrap();
    assert_eq!(nothing.warnings[0].to_string(), "No container to kill");
}

#[test]
fn pause_and_unpause_reach_what_runs_and_the_engine_refuses_what_is_so() {
    let machine = Machine::new();
    let stack = project([service("a"), service("b")]);
    machine.apply(&stack, &up());
    machine.apply(&stack, &request(&["a"], Operation::Pause));
    assert_eq!(machine.containers(), ["p-a-1 paused", "p-b-1 running"]);
    let twice = machine.run(&machine.plan(&stack, &request(&["a"], Operation::Pause)).unwrap()).unwrap_err();
    assert!(twice.to_string().contains("already paused"), "{twice}");
    machine.apply(&stack, &request(&["a"], Operation::Unpause));
    assert_eq!(machine.containers(), ["p-a-1 running", "p-b-1 running"]);
    let empty = Machine::new();
    assert!(empty.plan(&stack, &request(&[], Operation::Pause)).unwrap().is_empty());
}

#[test]
fn rm_asks_and_takes_stopped_containers() {
    let machine = Machine::new();
    let stack = project([service("web").anonymous("/data"), service("job")]);
    machine.apply(&stack, &up());
    let nothing = machine.plan(&stack, &request(&[], Operation::Remove(Remove::default()))).unwrap();
    assert_eq!(nothing.warnings[0].to_string(), "No stopped containers");
    machine.alter("p-job-1", |container| container.state = exited(0));
    let asked = machine.plan(&stack, &request(&[], Operation::Remove(Remove::default()))).unwrap();
    assert!(asked.is_empty());
    insta::assert_snapshot!(asked.questions[0], @"Going to remove p-job-1");
    let stop = Remove { running: Running::Stop, volumes: Volumes::Remove, answers: Answers::Yes };
    insta::assert_snapshot!(machine.apply(&stack, &request(&[], Operation::Remove(stop))), @r"
    #0 stop container p-web-1 (asked)
    #1 stop container p-job-1 (asked)
    #2 remove container p-job-1 and its anonymous volumes (asked) after #1
    #3 remove container p-web-1 and its anonymous volumes (asked) after #0
    ");
    assert!(machine.containers().is_empty());
}

#[test]
fn a_failure_in_taking_down_leaves_only_what_waits_for_it() {
    let machine = Machine::new();
    let stack = project([service("a"), service("b")]);
    machine.apply(&stack, &up());
    machine.fail("stop p-a-1");
    let failed = machine.run(&machine.plan(&stack, &Request::down(&[], Down::default())).unwrap()).unwrap_err();
    assert_eq!(failed.errors.len(), 1);
    assert_eq!(machine.containers(), ["p-a-1 running"]);
}
