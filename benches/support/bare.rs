//! What starting and stopping containers costs by itself.
//!
//! The same network namespaces, links, overlays, mounts, filters and processes as `up` and `down` make, on two threads,
//! but no compose file, no record of a container, no keeper, no supervisor and no log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use xcompose::engine::{Attachment, ContainerId, NetworkConfig, ProcessIo, Resources, Security};
use xcompose::runtime::cgroup::{Cgroup, DeviceAccess, Tree};
use xcompose::runtime::layout::Layout;
use xcompose::runtime::network::Networks;
use xcompose::runtime::network::connect::{ConnectRequest, Connection, Connector};
use xcompose::runtime::network::published::Published;
use xcompose::runtime::start::program::Parentage;
use xcompose::runtime::start::request::{
    Durability, EtcFiles, Namespace, Network, Process, Request, Rootfs, SHM_SIZE, Shm,
};
use xcompose::runtime::start::{compile, rootfs};

use crate::busybox;

/// The kernel lets two threads start containers 1.2 to 1.5 times as fast as one, and a third adds nothing.
const WORKERS: usize = 2;

/// Milliseconds that so many containers take up and down: medians.
pub fn medians(count: usize, runs: usize) -> (f64, f64) {
    // The first round warms the caches.
    let mut figures: Vec<_> = (0..=runs).map(|_| round(count)).skip(1).collect();
    let mut median = |of: fn(&(f64, f64)) -> f64| {
        figures.sort_by(|a, b| of(a).total_cmp(&of(b)));
        of(&figures[figures.len() / 2])
    };
    (median(|figure| figure.0), median(|figure| figure.1))
}

struct Running {
    pid: i32,
    id: ContainerId,
    connection: Connection,
    cgroup: Cgroup,
}

/// Milliseconds up and down.
fn round(count: usize) -> (f64, f64) {
    let folder = tempfile::Builder::new().prefix("xc-kernel-").tempdir().unwrap();
    let image = unpacked(folder.path());
    let networks = Networks::new(Layout::new(folder.path().join("data"), folder.path().join("run")));
    let start = Instant::now();
    networks.create(&network()).unwrap();
    let running = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (networks, running, folder, image) = (&networks, &running, folder.path(), &image);
            scope.spawn(move || {
                let mut connector = Connector::new(networks.clone(), Published::default()).unwrap();
                for number in (worker..count).step_by(WORKERS) {
                    let one = start_one(&mut connector, folder, image, number);
                    running.lock().unwrap().push(one);
                }
            });
        }
    });
    let up = start.elapsed();
    let running = running.into_inner().unwrap();
    let start = Instant::now();
    for one in &running {
        kill(Pid::from_raw(one.pid), Signal::SIGKILL).unwrap();
    }
    for one in running {
        waitpid(Pid::from_raw(one.pid), None).unwrap();
        one.cgroup.remove().unwrap();
        networks.disconnect(&one.id, &one.connection.endpoints).unwrap();
    }
    networks.remove(&network().name).unwrap();
    (up.as_secs_f64() * 1e3, start.elapsed().as_secs_f64() * 1e3)
}

fn start_one(connector: &mut Connector, folder: &Path, image: &Path, number: usize) -> Running {
    let id = ContainerId(format!("{:064x}", (std::process::id() as usize) << 16 | number));
    let name = format!("kernel-{number}").parse().unwrap();
    let attachment = Attachment {
        network: network().name,
        aliases: Vec::new(),
        links: BTreeMap::new(),
        ipv4_address: None,
        ipv6_address: None,
        link_local_ips: Vec::new(),
        mac_address: None,
        interface_name: None,
        gw_priority: 0,
        driver_opts: BTreeMap::new(),
    };
    let connection = connector
        .connect(&ConnectRequest {
            container: &id,
            name: &name,
            project: &"kernel".parse().unwrap(),
            slot: &format!("s/{number}"),
            hostname: "kernel",
            attachments: &[attachment],
            ports: &[],
            sysctls: &BTreeMap::new(),
        })
        .unwrap();
    let cgroup = Tree::detect().unwrap().cgroup(None, &id.0);
    cgroup.create(&Resources::default(), &DeviceAccess::Default(Vec::new())).unwrap();
    let [upper, work] = ["upper", "work"].map(|part| folder.join(number.to_string()).join(part));
    std::fs::create_dir_all(&upper).unwrap();
    std::fs::create_dir_all(&work).unwrap();
    let program = compile(&Request {
        rootfs: Rootfs {
            lower: vec![folder.join("init"), image.to_owned()],
            upper,
            work,
            durability: Durability::Durable,
            read_only: false,
        },
        process: Process {
            argv: vec!["/bin/sleep".to_owned(), "1000000".to_owned()],
            env: Vec::new(),
            working_dir: "/".to_owned(),
            user: None,
            groups: Vec::new(),
            security: Security::default(),
        },
        hostname: "kernel".to_owned(),
        domainname: None,
        init: None,
        mounts: Vec::new(),
        files: Vec::new(),
        etc: EtcFiles::default(),
        network: Network::Prepared,
        ipc: Namespace::New,
        shm: Shm::Size(SHM_SIZE),
        pid: Namespace::New,
        uts: Namespace::New,
        cgroup: Namespace::Host,
        devices: Vec::new(),
        sysctls: BTreeMap::new(),
        ulimits: BTreeMap::new(),
        oom_score_adj: None,
        join: cgroup.join_files(),
        cgroup_view: cgroup.view(),
        io: ProcessIo::Files { stdin: None, stdout: None, stderr: None },
    })
    .unwrap();
    let started = program.run(Parentage::Child).unwrap();
    connector.leave().unwrap();
    Running { pid: started.pid, id, connection, cgroup }
}

fn unpacked(folder: &Path) -> PathBuf {
    let image = folder.join("image");
    let archive = busybox::busybox_archive(folder);
    tar::Archive::new(std::fs::File::open(archive).unwrap()).unpack(&image).unwrap();
    rootfs::make_init_layer(&folder.join("init")).unwrap();
    image
}

fn network() -> NetworkConfig {
    NetworkConfig {
        name: "kernel_default".parse().unwrap(),
        labels: BTreeMap::new(),
        driver: "bridge".to_owned(),
        driver_opts: BTreeMap::new(),
        internal: false,
        attachable: false,
        enable_ipv4: true,
        enable_ipv6: false,
        pools: Vec::new(),
    }
}
