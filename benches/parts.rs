//! The parts that need no kernel: `cargo bench --bench parts`. Loading, planning and resolving, at sizes that show how they grow.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use xcompose::dns::names::{Family, Member, Names};
use xcompose::dns::{Asker, Resolver, Sockets};
use xcompose::engine::*;
use xcompose::planner::plan::Action;
use xcompose::planner::request::{Request, Up};
use xcompose::planner::{self, Wanted};
use xcompose::spec::project::Project;
use xcompose::spec::source::Source;
use xcompose::spec::{self, Options};
use xcompose::values::health::Health;
use xcompose::values::image_ref::ImageRef;

fn main() {
    divan::main();
}

/// A folder with a stack of so many services, each like those people write.
fn stack(services: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut text = "services:\n".to_owned();
    for number in 0..services {
        writeln!(
            text,
            "  s{number}:\n    image: example/s{number}:${{TAG:-1.0}}\n    environment:\n      A: one\n      B: ${{HOME}}\n    ports: ['{}:80']\n    volumes: ['data:/var/lib/s', './conf:/etc/s:ro']\n    healthcheck:\n      test: curl -f http://localhost/\n      interval: 5s\n    restart: unless-stopped",
            20_000 + number
        )
        .unwrap();
        if number > 0 {
            writeln!(text, "    depends_on: [s{}]", number / 2).unwrap();
        }
    }
    text.push_str("volumes: {data: }\n");
    std::fs::write(folder.path().join("compose.yaml"), text).unwrap();
    folder
}

fn source(folder: &tempfile::TempDir) -> Source {
    Source {
        current_dir: folder.path().to_owned(),
        environment: BTreeMap::from([("HOME".to_owned(), "/root".to_owned())]),
        files: Vec::new(),
        project_directory: None,
        project_name: Some("bench".to_owned()),
        env_files: Vec::new(),
        profiles: Vec::new(),
    }
}

#[divan::bench(args = [20, 200, 2_000, 5_000], sample_count = 10)]
fn load(bencher: Bencher<'_, '_>, services: usize) {
    let folder = stack(services);
    let source = source(&folder);
    bencher.counter(ItemsCount::new(services)).bench(|| spec::load(&source, &Options::default()).unwrap());
}

/// A project of so many services, and a machine that has their images and nothing else.
fn project(services: usize) -> (Project, Observed) {
    let folder = stack(services);
    let project = spec::load(&source(&folder), &Options::default()).unwrap().model.project().unwrap();
    let image = |name: ImageRef| {
        let image = ObservedImage {
            id: ImageId("sha256:1".to_owned()),
            names: vec![name.clone()],
            size: 0,
            created: 0,
            tagged: 0,
            platform: "linux/amd64".to_owned(),
            labels: BTreeMap::new(),
            volumes: Vec::new(),
        };
        (name, image)
    };
    let images = planner::images::named(&project).into_iter().map(image).collect();
    (project, Observed { images, ..Observed::default() })
}

#[divan::bench(args = [20, 200, 2_000], sample_count = 10)]
fn plan_up(bencher: Bencher<'_, '_>, services: usize) {
    let (project, observed) = project(services);
    let request = Request::up(&[], Up::default());
    bencher
        .counter(ItemsCount::new(services))
        .bench(|| planner::plan(Wanted::Project(&project), &observed, &request).unwrap());
}

/// The same when everything runs as it should.
#[divan::bench(args = [20, 200, 2_000], sample_count = 10)]
fn plan_nothing_to_do(bencher: Bencher<'_, '_>, services: usize) {
    let (project, mut observed) = project(services);
    let request = Request::up(&[], Up::default());
    let plan = planner::plan(Wanted::Project(&project), &observed, &request).unwrap();
    for (number, step) in plan.steps().iter().enumerate() {
        match &step.action {
            Action::CreateNetwork(config) => {
                let config = NetworkConfig::clone(config);
                observed.networks.push(ObservedNetwork {
                    id: config.name.to_string(),
                    config,
                    subnets: Vec::new(),
                    trouble: None,
                });
            }
            Action::CreateVolume(config) => {
                let config = VolumeConfig::clone(config);
                observed.volumes.push(ObservedVolume { config, mountpoint: "/".into(), anonymous: false });
            }
            Action::CreateContainer { config, .. } => observed.containers.push(running(config, number)),
            _ => {}
        }
    }
    assert!(planner::plan(Wanted::Project(&project), &observed, &request).unwrap().is_empty());
    bencher
        .counter(ItemsCount::new(services))
        .bench(|| planner::plan(Wanted::Project(&project), &observed, &request).unwrap());
}

/// A container as it stands once it has been started.
fn running(config: &ContainerConfig, number: usize) -> ObservedContainer {
    let networks = match &config.network {
        NetworkMode::Networks(attachments) => attachments.as_slice(),
        _ => &[],
    };
    let endpoint = |attachment: &Attachment| Endpoint {
        network: attachment.network.clone(),
        network_id: attachment.network.to_string(),
        ipv4: None,
        ipv6: None,
        mac: String::new(),
    };
    let volume = |mount: &Mount| match &mount.source {
        MountSource::Volume { name, .. } => Some((mount.target.clone(), name.clone())),
        _ => None,
    };
    ObservedContainer {
        id: ContainerId(format!("{number:064x}")),
        config: config.clone(),
        image: ImageId("sha256:1".to_owned()),
        command_line: Vec::new(),
        created: 0,
        state: ContainerState::Running {
            pid: 1,
            since: 1,
            health: Some(Health::Healthy),
            paused: false,
            stopping: false,
        },
        restart_count: 0,
        endpoints: networks.iter().map(endpoint).collect(),
        published: Vec::new(),
        exposed: Vec::new(),
        volumes: config.mounts.iter().filter_map(volume).collect(),
        anonymous_volumes: Vec::new(),
    }
}

fn members(count: usize) -> Vec<Member> {
    (0..count)
        .map(|number| Member {
            network: "n".to_owned(),
            network_name: "bench_default".to_owned(),
            container: format!("bench-s{number}-1"),
            names: vec![format!("s{number}")],
            addresses: vec![Ipv4Addr::from(0x0a00_0000 + u32::try_from(number).unwrap()).into()],
        })
        .collect()
}

fn asker() -> Asker {
    Asker { networks: vec!["n".to_owned()], ..Asker::default() }
}

#[divan::bench(args = [20, 1_000])]
fn look_a_name_up(bencher: Bencher<'_, '_>, count: usize) {
    let names = Names::new(&members(count));
    let asker = asker();
    bencher.bench(|| names.lookup(&asker, "s7", Family::V4));
}

/// One question and its answer over loopback, the resolver on a thread of its own: the time a container waits.
#[divan::bench(sample_count = 2_000, sample_size = 1)]
fn ask_the_resolver(bencher: Bencher<'_, '_>) {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = udp.local_addr().unwrap();
    let tcp = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut resolver = Resolver::new(Arc::new(Names::new(&members(20))));
            resolver.serve("c", asker(), Sockets { udp: udp.into(), tcp: tcp.into() }).unwrap();
            std::future::pending::<()>().await;
        });
    });
    let mut question = Message::new(1, MessageType::Query, OpCode::Query);
    question.add_query(Query::query(Name::from_ascii("s7.").unwrap(), RecordType::A));
    let question = question.to_vec().unwrap();
    let client = UdpSocket::bind((IpAddr::from(Ipv4Addr::LOCALHOST), 0)).unwrap();
    client.connect(address).unwrap();
    let mut answer = [0; 512];
    bencher.bench_local(|| {
        client.send(&question).unwrap();
        client.recv(&mut answer).unwrap()
    });
}
