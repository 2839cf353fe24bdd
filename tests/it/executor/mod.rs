//! How a plan is carried out: what runs together, what failure and cancelling mean, what is told.

use std::num::NonZeroUsize;
use std::time::Duration;

use xcompose::executor;
use xcompose::planner::plan::Plan;
use xcompose::planner::request::*;
use xcompose::spec::project::service::Condition;
use xcompose::values::health::Health;

use crate::planner::machine::{Machine, Told, exited, running};
use crate::planner::stack::*;

/// Far longer than anything here takes; only a test that fails waits for it.
const LONG: Duration = Duration::from_secs(60);

fn up() -> Request {
    Request::up(&[], Up::default())
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LONG, work).await.expect("the test hangs") })
}

fn told(machine: &Machine, plan: &Plan) -> Vec<String> {
    let told = Told::default();
    // What failed is among what was told.
    let _ = block_on(executor::run(plan, machine, None, &told));
    told.0.into_inner().unwrap()
}

#[test]
fn independent_starts_are_in_flight_together() {
    let machine = Machine::new();
    let project = project([service("a"), service("b"), service("c")]);
    let gates: Vec<_> = ["a", "b", "c"].map(|service| machine.hold(&format!("start p-{service}-1"))).into();
    let plan = machine.plan(&project, &up()).unwrap();
    let told = Told::default();
    block_on(async {
        let release = async {
            for service in ["a", "b", "c"] {
                machine.called(&format!("start p-{service}-1")).await;
            }
            gates.iter().for_each(|gate| gate.add_permits(1));
        };
        let (result, ()) = futures_util::future::join(executor::run(&plan, &machine, None, &told), release).await;
        result.unwrap();
    });
}

#[test]
fn a_start_is_asked_for_before_unrelated_containers_are_made() {
    let machine = Machine::new();
    machine.apply(&project([service("a"), service("b")]), &up());
    let calls = machine.calls();
    let place = |call: &str| calls.iter().position(|made| made == call).unwrap();
    assert!(place("start p-a-1") < place("create p-b-1"), "{calls:?}");
}

#[test]
fn a_slow_creation_holds_up_nobody_else() {
    let machine = Machine::new();
    let project = project([service("slow"), service("web")]);
    let gate = machine.hold("create p-slow-1");
    let plan = machine.plan(&project, &up()).unwrap();
    let told = Told::default();
    block_on(async {
        let release = async {
            machine.called("start p-web-1").await;
            gate.add_permits(1);
        };
        futures_util::future::join(executor::run(&plan, &machine, None, &told), release).await.0.unwrap();
    });
}

#[test]
fn no_more_steps_than_allowed_are_in_flight() {
    let machine = Machine::new();
    let project = project([service("a"), service("b"), service("c")]);
    let gates: Vec<_> = ["a", "b", "c"].map(|service| machine.hold(&format!("create p-{service}-1"))).into();
    let plan = machine.plan(&project, &up()).unwrap();
    let told = Told::default();
    let two = NonZeroUsize::new(2);
    block_on(async {
        let release = async {
            machine.called("create p-b-1").await;
            assert!(!machine.calls().contains(&"create p-c-1".to_owned()));
            gates.iter().for_each(|gate| gate.add_permits(1));
        };
        futures_util::future::join(executor::run(&plan, &machine, two, &told), release).await.0.unwrap();
    });
}

#[test]
fn after_a_failure_nothing_begins_and_what_has_begun_is_completed() {
    let machine = Machine::new();
    let project = project([service("a"), service("b"), service("c").after("b")]);
    machine.fail("start p-a-1");
    let (a, b) = (machine.hold("start p-a-1"), machine.hold("start p-b-1"));
    let plan = machine.plan(&project, &up()).unwrap();
    let told = Told::default();
    let failed = block_on(async {
        let release = async {
            machine.called("start p-b-1").await;
            a.add_permits(1);
            tokio::task::yield_now().await;
            b.add_permits(1);
        };
        futures_util::future::join(executor::run(&plan, &machine, None, &told), release).await.0.unwrap_err()
    });
    assert_eq!(failed.errors.len(), 1);
    assert_eq!(machine.containers(), ["p-a-1 created", "p-b-1 running", "p-c-1 created"]);
    assert_eq!(failed.outcome.made.len(), 3);
}

#[test]
fn after_a_failure_nobody_waits_for_health_any_more() {
    let machine = Machine::new();
    let project = project([service("a"), service("web").needs("db", Condition::Healthy), service("db").probed()]);
    machine.on_start("p-db-1", running(Some(Health::Starting)));
    machine.fail("start p-a-1");
    let gate = machine.hold("start p-a-1");
    let plan = machine.plan(&project, &up()).unwrap();
    let told = Told::default();
    let failed = block_on(async {
        let release = async {
            machine.called("wait p-db-1").await;
            gate.add_permits(1);
        };
        futures_util::future::join(executor::run(&plan, &machine, None, &told), release).await.0.unwrap_err()
    });
    assert_eq!(failed.errors.len(), 1, "the wait is given up, not failed: {failed}");
}

#[test]
fn a_dependent_starts_on_the_event_of_health() {
    let machine = Machine::new();
    let project = project([service("web").needs("db", Condition::Healthy), service("db").probed()]);
    machine.on_start("p-db-1", running(Some(Health::Starting)));
    let plan = machine.plan(&project, &up()).unwrap();
    let told = Told::default();
    block_on(async {
        let healthy = async {
            machine.called("wait p-db-1").await;
            assert!(!machine.calls().contains(&"start p-web-1".to_owned()));
            machine.alter("p-db-1", |container| container.state = running(Some(Health::Healthy)));
        };
        futures_util::future::join(executor::run(&plan, &machine, None, &told), healthy).await.0.unwrap();
    });
    assert_eq!(machine.containers(), ["p-db-1 running", "p-web-1 running"]);
}

#[test]
fn the_limit_of_a_wait_is_told_in_compose_words() {
    let machine = Machine::new();
    let stack = project([service("db").probed()]);
    machine.on_start("p-db-1", running(Some(Health::Starting)));
    let wait = Wait::Yes { timeout: Some(Duration::from_millis(1)) };
    let request = Request::up(&[], Up { until: Until::Started(wait), ..Up::default() });
    let failed = machine.run(&machine.plan(&stack, &request).unwrap()).unwrap_err();
    assert_eq!(failed.to_string(), "application not healthy after 1ms");
    let stack = project([service("db").probed(), service("web").needs("db", Condition::Healthy)]);
    let failed = machine.run(&machine.plan(&stack, &request).unwrap()).unwrap_err();
    assert_eq!(failed.to_string(), "timeout waiting for dependencies");
}

#[test]
fn a_dropped_run_begins_nothing_more() {
    let machine = Machine::new();
    let stack = project([service("web")]);
    let gate = machine.hold("create p-web-1");
    let plan = machine.plan(&stack, &up()).unwrap();
    let told = Told::default();
    block_on(async {
        tokio::select! {
            _ = executor::run(&plan, &machine, None, &told) => panic!("it is held"),
            () = machine.called("create p-web-1") => {}
        }
        gate.add_permits(1);
        tokio::task::yield_now().await;
    });
    assert!(machine.containers().is_empty());
}

#[test]
fn what_happens_is_told_in_compose_words() {
    let machine = Machine::new();
    let stack =
        |value: &str| project([service("web").needs("db", Condition::Healthy), service("db").probed().env("A", value)]);
    insta::assert_snapshot!(told(&machine, &machine.plan(&stack("1"), &up()).unwrap()).join("\n"), @r"
    Network p_default Creating
    Network p_default Created
    Container p-db-1 Creating
    Container p-db-1 Created
    Container p-db-1 Starting
    Container p-db-1 Started
    Container p-web-1 Creating
    Container p-web-1 Created
    Container p-db-1 Waiting
    Container p-db-1 Healthy
    Container p-web-1 Starting
    Container p-web-1 Started
    ");
    insta::assert_snapshot!(told(&machine, &machine.plan(&stack("2"), &up()).unwrap()).join("\n"), @r"
    Container p-db-1 Recreate
    Container p-db-1 Recreated
    Container p-db-1 Starting
    Container p-db-1 Started
    Container p-db-1 Waiting
    Container p-db-1 Healthy
    ");
    let down = Request::down(&[], Down::default());
    insta::assert_snapshot!(told(&machine, &machine.plan(&stack("2"), &down).unwrap()).join("\n"), @r"
    Container p-web-1 Stopping
    Container p-web-1 Stopped
    Container p-web-1 Removing
    Container p-web-1 Removed
    Container p-db-1 Stopping
    Container p-db-1 Stopped
    Container p-db-1 Removing
    Container p-db-1 Removed
    Network p_default Removing
    Network p_default Removed
    ");
}

#[test]
fn failures_are_told_where_they_happen() {
    let machine = Machine::new();
    let stack = project([service("web").likes("cache", Condition::Healthy), service("cache").probed()]);
    machine.on_start("p-cache-1", exited(3));
    insta::assert_snapshot!(told(&machine, &machine.plan(&stack, &up()).unwrap()).join("\n"), @r#"
    Network p_default Creating
    Network p_default Created
    Container p-cache-1 Creating
    Container p-cache-1 Created
    Container p-cache-1 Starting
    Container p-cache-1 Started
    Container p-web-1 Creating
    Container p-web-1 Created
    Container p-cache-1 Waiting
    Container p-cache-1 Warning container p-cache-1 exited (3)
    Service cache Warning optional dependency "cache" failed to start: container p-cache-1 exited (3)
    Container p-web-1 Starting
    Container p-web-1 Started
    "#);
    let machine = Machine::new();
    machine.fail("create p-cache-1");
    insta::assert_snapshot!(told(&machine, &machine.plan(&stack, &up()).unwrap()).join("\n"), @r"
    Network p_default Creating
    Network p_default Created
    Container p-cache-1 Creating
    Container p-cache-1 Error container create p-cache-1: the test wants it to fail
    ");
}

#[test]
fn a_network_that_others_use_stays_with_a_warning() {
    let machine = Machine::new();
    let stack = project([service("web"), service("other")]);
    machine.apply(&stack, &up());
    let down = Request::down(&names(&["web"]), Down::default());
    insta::assert_snapshot!(told(&machine, &machine.plan(&stack, &down).unwrap()).join("\n"), @r"
    Container p-web-1 Stopping
    Container p-web-1 Stopped
    Container p-web-1 Removing
    Container p-web-1 Removed
    Network p_default Removing
    Network p_default Resource is still in use network p_default is in use by container p-other-1
    ");
}

#[test]
fn what_is_gone_already_or_there_already_is_no_failure() {
    let machine = Machine::new();
    let stack = project([service("web")]);
    let plan = machine.plan(&stack, &up()).unwrap();
    machine.apply(
        &project([service("web").scaled(0)]),
        &Request::up(&[], Up { unused_resources: UnusedResources::Create, ..Up::default() }),
    );
    machine.run(&plan).unwrap();
    let down = machine.plan(&stack, &Request::down(&[], Down::default())).unwrap();
    machine.change(|observed| {
        observed.containers.clear();
        observed.networks.clear();
    });
    machine.run(&down).unwrap();
}

#[test]
fn the_outcome_names_what_was_made() {
    let machine = Machine::new();
    let stack = |value: &str| project([service("web").env("A", value)]);
    machine.apply(&stack("1"), &up());
    let outcome = machine.run(&machine.plan(&stack("2"), &up()).unwrap()).unwrap();
    assert_eq!(outcome.made.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["p-web-1"]);
    assert_eq!(outcome.made.values().next(), Some(&machine.id("p-web-1")));
}
