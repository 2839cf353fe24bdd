//! Networks and volumes: made, made anew, foreign, external; configs and secrets.

use std::collections::BTreeMap;

use xcompose::engine::{MountSource as Source, NetworkConfig, ObservedNetwork, ObservedVolume, VolumeConfig};
use xcompose::planner::plan::Question;
use xcompose::planner::request::*;
use xcompose::spec::project::Project;
use xcompose::spec::project::files::{FileMount, FileObject, FileOrigin};
use xcompose::spec::project::keys::SecretKey;
use xcompose::spec::project::mounts::Volume;
use xcompose::spec::project::network::{Network, Pool};

use crate::planner::machine::Machine;
use crate::planner::stack::*;

fn up() -> Request {
    Request::up(&[], Up::default())
}

fn foreign_network(machine: &Machine, name: &str, project: Option<&str>) {
    let labels = project.map(|project| ("com.docker.compose.project".to_owned(), project.to_owned()));
    let config = NetworkConfig {
        name: name.parse().unwrap(),
        labels: labels.into_iter().collect(),
        driver: "bridge".to_owned(),
        driver_opts: BTreeMap::new(),
        internal: false,
        attachable: false,
        enable_ipv4: true,
        enable_ipv6: false,
        pools: Vec::new(),
    };
    machine.change(|observed| {
        observed.networks.push(ObservedNetwork {
            id: "foreign".to_owned(),
            config,
            subnets: Vec::new(),
            trouble: None,
        });
    });
}

fn foreign_volume(machine: &Machine, name: &str, project: Option<&str>) {
    let labels = project.map(|project| ("com.docker.compose.project".to_owned(), project.to_owned()));
    let config = VolumeConfig {
        name: name.parse().unwrap(),
        labels: labels.into_iter().collect(),
        driver: "local".to_owned(),
        driver_opts: BTreeMap::new(),
    };
    machine.change(|observed| {
        observed.volumes.push(ObservedVolume { config, mountpoint: "/".into(), anonymous: false });
    });
}

#[test]
fn a_network_of_other_settings_is_made_anew_and_its_containers_stay_themselves() {
    let machine = Machine::new();
    let before = project([service("web"), service("db"), service("alone").on("other")]);
    machine.apply(&before, &up());
    let web = machine.id("p-web-1");
    let mut after = before.clone();
    let pool = Pool { subnet: Some("10.5.0.0/24".parse().unwrap()), ..Pool::default() };
    after.networks.get_mut("default").unwrap().pools.push(pool);
    insta::assert_snapshot!(machine.apply(&after, &up()), @r"
    #0 stop container p-db-1 (network p_default is recreated)
    #1 stop container p-web-1 (network p_default is recreated)
    #2 remove network p_default (changed: ipam) after #0 #1
    #3 create network p_default after #2
    #4 start container p-db-1 (network p_default is recreated) after #0 #3
    #5 start container p-web-1 (network p_default is recreated) after #1 #3
    ");
    assert_eq!(machine.id("p-web-1"), web);
    assert!(machine.plan(&after, &up()).unwrap().is_empty());
}

#[test]
fn what_runs_on_a_network_made_anew_comes_back_even_if_it_was_not_meant() {
    let machine = Machine::new();
    let before = project([service("web"), service("db")]);
    machine.apply(&before, &up());
    let mut after = before.clone();
    after.networks.get_mut("default").unwrap().labels.insert("a".to_owned(), "1".to_owned());
    insta::assert_snapshot!(machine.apply(&after, &Request::up(&names(&["web"]), Up::default())), @r"
    #0 stop container p-db-1 (network p_default is recreated)
    #1 stop container p-web-1 (network p_default is recreated)
    #2 remove network p_default (changed: labels.a) after #0 #1
    #3 create network p_default after #2
    #4 start container p-web-1 (network p_default is recreated) after #1 #3
    #5 start container p-db-1 (network p_default is recreated) after #0 #3
    ");
}

#[test]
fn a_network_of_another_name_replaces_the_old_one() {
    let machine = Machine::new();
    let before = project([service("web")]);
    machine.apply(&before, &up());
    let mut after = before.clone();
    after.networks.get_mut("default").unwrap().name = "fresh".parse().unwrap();
    insta::assert_snapshot!(machine.apply(&after, &up()), @r"
    #0 create network fresh (missing)
    #1 create container 000000000002_p-web-1 from busybox to replace p-web-1 (changed: networks) after #0
    #2 stop container p-web-1 after #1
    #3 remove container p-web-1 after #1 #2
    #4 rename container to p-web-1 after #3
    #5 remove network p_default (changed: name) after #3
    #6 start container p-web-1 (changed: networks) after #4
    ");
    assert_eq!(machine.observed().networks.len(), 1);
}

#[test]
fn a_running_container_off_its_network_is_replaced() {
    let machine = Machine::new();
    let project = project([service("web")]);
    machine.apply(&project, &up());
    machine.alter("p-web-1", |container| container.endpoints[0].network_id = "gone".to_owned());
    let plan = machine.plan(&project, &up()).unwrap().to_string();
    assert!(plan.contains("(not connected to network p_default)"), "{plan}");
}

#[test]
fn foreign_networks_are_used_with_a_warning() {
    for owner in [None, Some("q")] {
        let machine = Machine::new();
        foreign_network(&machine, "p_default", owner);
        let plan = machine.plan(&project([service("web")]), &up()).unwrap();
        assert!(!plan.to_string().contains("network"), "{plan}");
        let told = plan.warnings[0].to_string();
        assert!(told.contains("a network with name p_default exists but was not created"), "{told}");
        assert_eq!(told.contains("for project \"p\""), owner.is_some(), "{told}");
    }
}

#[test]
fn networks_and_volumes_without_a_hash_were_made_by_another_tool_and_stay() {
    let machine = Machine::new();
    foreign_network(&machine, "p_default", Some("p"));
    foreign_volume(&machine, "p_data", Some("p"));
    let plan = machine.plan(&project([service("web").mounts("data", "/data")]), &up()).unwrap();
    assert!(plan.warnings.is_empty() && plan.questions.is_empty());
    assert_eq!(plan.steps().len(), 2, "{plan}");
}

#[test]
fn external_networks_and_volumes_must_exist_if_they_are_used() {
    let machine = Machine::new();
    let mut stack = project([service("web").on("front"), service("db").mounts("data", "/data"), service("plain")]);
    stack.networks.insert("front".into(), Network { external: true, ..network("foo_bar") });
    stack.volumes.insert("data".into(), Volume { external: true, ..volume("my_data") });
    let told = machine.plan(&stack, &Request::up(&names(&["web"]), Up::default())).unwrap_err().to_string();
    assert_eq!(told, "network foo_bar declared as external, but could not be found");
    let told = machine.plan(&stack, &Request::up(&names(&["db"]), Up::default())).unwrap_err().to_string();
    assert_eq!(told, "external volume \"my_data\" not found");
    machine.apply(&stack, &Request::up(&names(&["plain"]), Up::default()));
    foreign_network(&machine, "foo_bar", None);
    foreign_volume(&machine, "my_data", None);
    assert!(machine.apply(&stack, &up()).warnings.is_empty());
    machine.apply(&stack, &Request::down(&[], Down { volumes: Volumes::Remove, ..Down::default() }));
    assert_eq!((machine.observed().networks.len(), machine.observed().volumes.len()), (1, 1));
}

#[test]
fn unused_networks_and_volumes_are_made_when_asked_for() {
    let machine = Machine::new();
    let mut stack = project([service("web")]);
    stack.networks.insert("idle".into(), network("p_idle"));
    stack.volumes.insert("spare".into(), volume("p_spare"));
    assert!(!machine.plan(&stack, &up()).unwrap().to_string().contains("p_idle"));
    let all = Up { unused_resources: UnusedResources::Create, ..Up::default() };
    machine.apply(&stack, &Request::up(&[], all));
    assert_eq!((machine.observed().networks.len(), machine.observed().volumes.len()), (2, 1));
}

#[test]
fn data_is_lost_only_when_the_user_agrees() {
    let machine = Machine::new();
    let before =
        project([service("db").mounts("data", "/data"), service("backup").mounts("data", "/in"), service("web")]);
    machine.apply(&before, &up());
    let mut after = before.clone();
    after.volumes.get_mut("data").unwrap().labels.insert("a".to_owned(), "1".to_owned());
    let unasked = machine.plan(&after, &up()).unwrap();
    assert!(unasked.is_empty(), "{unasked}");
    insta::assert_snapshot!(unasked.questions[0], @r#"Volume "p_data" exists but doesn't match configuration in compose file. Recreate (data will be lost)?"#);
    let question = Question::RecreateVolume("p_data".parse().unwrap());
    let no = Up { answers: Answers::Given([(question, false)].into()), ..Up::default() };
    let declined = machine.plan(&after, &Request::up(&[], no)).unwrap();
    assert!(declined.is_empty() && declined.questions.is_empty(), "{declined}");
    let yes = Up { answers: Answers::Yes, ..Up::default() };
    insta::assert_snapshot!(machine.apply(&after, &Request::up(&[], yes)), @r"
    #0 stop container p-backup-1 (volume p_data is recreated)
    #1 remove container p-backup-1 (volume p_data is recreated) after #0
    #2 stop container p-db-1 (volume p_data is recreated)
    #3 remove container p-db-1 (volume p_data is recreated) after #2
    #4 remove volume p_data (changed: labels.a) after #1 #3
    #5 create volume p_data after #4
    #6 create container p-backup-1 from busybox (volume p_data is recreated) after #1 #5
    #7 create container p-db-1 from busybox (volume p_data is recreated) after #3 #5
    #8 start container p-backup-1 (volume p_data is recreated) after #6
    #9 start container p-db-1 (volume p_data is recreated) after #7
    ");
    assert!(machine.plan(&after, &up()).unwrap().questions.is_empty());
}

#[test]
fn another_volume_on_the_same_path_replaces_the_container() {
    let machine = Machine::new();
    machine.apply(&project([service("db").mounts("one", "/data")]), &up());
    let plan = machine.apply(&project([service("db").mounts("two", "/data")]), &up()).to_string();
    assert!(plan.contains("(changed: volumes)"), "{plan}");
    assert_eq!(machine.observed().volumes.len(), 2, "the old data stays");
}

#[test]
fn foreign_volumes_are_used_with_a_warning_and_survive_down() {
    for owner in [None, Some("q")] {
        let machine = Machine::new();
        foreign_volume(&machine, "p_data", owner);
        let stack = project([service("db").mounts("data", "/data")]);
        let plan = machine.apply(&stack, &up());
        let told = plan.warnings[0].to_string();
        assert!(told.starts_with("volume \"p_data\" already exists but was "), "{told}");
        machine.apply(&stack, &Request::down(&[], Down { volumes: Volumes::Remove, ..Down::default() }));
        assert_eq!(machine.observed().volumes.len(), 1);
    }
}

fn with_secret(origin: FileOrigin, read_only: bool) -> Project {
    let mount = |key: &str| FileMount {
        source: SecretKey::from(key),
        target: format!("/run/secrets/{key}"),
        uid: None,
        gid: None,
        mode: None,
        location: somewhere(),
    };
    let mut stack = project([service("web").with(|s| {
        s.secrets.push(mount("key"));
        s.read_only = read_only;
    })]);
    stack.secrets.insert("key".into(), FileObject { name: "p_key".to_owned(), origin, location: somewhere() });
    stack
}

fn variable(value: Option<&str>) -> FileOrigin {
    FileOrigin::Environment { variable: "KEY".to_owned(), value: value.map(str::to_owned) }
}

#[test]
fn a_secret_is_a_read_only_mount_of_its_file_or_a_file_written_inside() {
    let machine = Machine::new();
    machine.apply(&with_secret(FileOrigin::File("/home/me/key".into()), true), &up());
    let config = machine.find("p-web-1").unwrap().config;
    let Source::Bind { source, create: false, .. } = &config.mounts[0].source else { panic!("{:?}", config.mounts) };
    assert_eq!((source.to_str(), config.mounts[0].read_only), (Some("/home/me/key"), true));

    let machine = Machine::new();
    machine.apply(&with_secret(variable(Some("geheim")), false), &up());
    let config = machine.find("p-web-1").unwrap().config;
    assert_eq!((config.files[0].content.as_slice(), config.files[0].mode), (b"geheim".as_slice(), 0o444));
    let plan = machine.plan(&with_secret(variable(Some("other")), false), &up()).unwrap();
    assert!(plan.is_empty(), "new content recreates nothing: {plan}");
}

#[test]
fn secrets_that_cannot_be_given_are_refused() {
    let machine = Machine::new();
    let told = machine.plan(&with_secret(variable(Some("x")), true), &up()).unwrap_err().to_string();
    assert_eq!(told, "cannot create secret \"p_key\" in read-only service web: `file` is the sole supported option");
    let told = machine.plan(&with_secret(variable(None), false), &up()).unwrap_err().to_string();
    assert!(told.contains("environment variable \"KEY\" required by secret"), "{told}");
}
