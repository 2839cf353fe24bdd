//! What goes wrong: each fault gets one clear message that names the thing, the right exit code, and leaves nothing half-made.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use xcompose::runtime::cgroup::{Cgroup, Tree};

use super::leftovers;
use crate::support::{Machine, cannot_run, eventually};

const SLEEPER: &str = "services: {a: {image: busybox, command: [sleep, '100000'], stop_signal: SIGKILL}}";

fn machine(file: &str) -> Machine {
    let machine = Machine::new();
    machine.import_busybox();
    machine.write("compose.yaml", file);
    machine
}

#[track_caller]
fn told(machine: &Machine, arguments: &[&str], parts: &[&str]) {
    let text = machine.xcompose(arguments).fails(1).stderr();
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn files_that_cannot_be_used_are_named_with_the_place() {
    let machine = Machine::new();
    told(&machine, &["up"], &["no configuration file provided: not found"]);
    told(&machine, &["-f", "nope.yaml", "up"], &["nope.yaml", "no such file or directory"]);
    machine.write("compose.yaml", "services:\n  web:\n    image: [busybox\n");
    told(&machine, &["config"], &["compose.yaml:"]);
    machine.write("compose.yaml", "services:\n  web:\n    imge: busybox\n");
    told(&machine, &["config"], &["compose.yaml:3:5", "imge", "image"]);
    machine.write("compose.yaml", "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: [a]}\n");
    told(&machine, &["config"], &["dependency cycle detected", "a -> b -> a"]);
}

#[test]
fn names_that_do_not_exist_are_named() {
    if cannot_run() {
        return;
    }
    let machine = machine(SLEEPER);
    told(&machine, &["up", "-d", "nosuch"], &["no such service: nosuch"]);
    told(&machine, &["up", "-d", "--scale", "nosuch=2"], &["no such service: nosuch"]);
    machine.write("compose.yaml", "services: {a: {image: nosuchimage}}");
    told(&machine, &["up", "-d"], &["nosuchimage"]);
    assert_eq!(machine.xcompose(["ps", "-a", "-q"]).ok().stdout(), "", "nothing half-made");
    machine.write("compose.yaml", "services: {a: {image: busybox, command: [nosuchprogram]}}");
    told(&machine, &["up", "-d"], &["nosuchprogram", "not found"]);
    assert!(machine.xcompose(["ps", "-a"]).ok().stdout().contains("Created"));
    machine.xcompose(["down", "-v"]).ok();
    leftovers::none(&machine, &[], &Default::default());
}

/// The process of ours whose command line has this word.
fn ours(machine: &Machine, role: &str) -> Option<i32> {
    leftovers::processes(machine).into_iter().find(|(_, command)| command.contains(role)).map(|(pid, _)| pid)
}

#[test]
fn a_killed_supervisor_or_keeper_is_replaced_and_containers_run_on() {
    if cannot_run() {
        return;
    }
    let machine = machine(
        "services: {a: {image: busybox, command: [sh, -c, 'trap \"exit 3\" USR1; while true; do sleep 0.1; done'], stop_signal: SIGKILL}}",
    );
    machine.xcompose(["up", "-d"]).ok();
    let pid_of = || {
        let rows = machine.xcompose(["top"]).ok().stdout();
        rows.lines().find(|line| line.contains("while true")).map(str::to_owned)
    };
    let container = pid_of().expect("the container runs");
    for role in ["supervisor", "keeper"] {
        let old = eventually(role, || ours(&machine, role));
        kill(Pid::from_raw(old), Signal::SIGKILL).unwrap();
        eventually("a new process in its place", || ours(&machine, role).filter(|pid| *pid != old));
        let still = pid_of().expect("the container runs on");
        assert_eq!(still.split_whitespace().nth(3), container.split_whitespace().nth(3), "{role}: the same process");
        assert_eq!(machine.xcompose(["exec", "-T", "a", "echo", "here"]).ok().stdout(), "here\n");
    }
    machine.xcompose(["kill", "-s", "USR1"]).ok();
    eventually("the exit code is known", || {
        machine.xcompose(["ps", "-a"]).ok().stdout().contains("Exited (3)").then_some(())
    });
    machine.xcompose(["down", "-v"]).ok();
    leftovers::none(&machine, &[], &Default::default());
}

#[test]
fn when_both_are_killed_the_next_command_brings_names_and_ports_back() {
    if cannot_run() {
        return;
    }
    let machine = machine(
        "services:
  a: {image: busybox, command: [httpd, -f, -p, '8080'], stop_signal: SIGKILL, ports: ['127.0.0.1::8080']}
  b: {image: busybox, command: [sleep, '100000'], stop_signal: SIGKILL}",
    );
    machine.xcompose(["up", "-d"]).ok();
    let published: SocketAddr = machine.xcompose(["port", "a", "8080"]).ok().stdout().trim().parse().unwrap();
    let both: Vec<Pid> = ["supervisor", "keeper"]
        .map(|role| Pid::from_raw(eventually(role, || ours(&machine, &format!("--{role}")))))
        .to_vec();
    // Stopped first: neither may see the other die.
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        both.iter().for_each(|pid| kill(*pid, signal).unwrap());
    }
    // A process lets go of its folder after the control socket, and of the port at about that time.
    let gone = || both.iter().all(|pid| !Path::new(&format!("/proc/{pid}/cwd/.")).exists());
    eventually("both are gone", || gone().then(|| TcpListener::bind(published).ok()).flatten());
    // A command that needs a supervisor; `ps` reads records, and may not.
    let found = machine.xcompose(["exec", "-T", "b", "nslookup", "a"]).ok().stdout();
    assert!(found.contains("127.0.0.11"), "{found}");
    let taken = TcpListener::bind(published).map(drop).map_err(|error| error.kind());
    assert_eq!(taken, Err(std::io::ErrorKind::AddrInUse), "the port is held again");
    TcpStream::connect(published).expect("the port leads to the container");
    machine.xcompose(["down", "-v"]).ok();
    leftovers::none(&machine, &[], &Default::default());
}

#[test]
fn two_ups_at_once_make_one_stack() {
    if cannot_run() {
        return;
    }
    let machine = machine(SLEEPER);
    let start = || machine.command(["up", "-d"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let both = [start(), start(), start()].map(|child| child.wait_with_output().unwrap());
    for output in &both {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(machine.xcompose(["ps", "-q"]).ok().stdout().lines().count(), 1);
    machine.xcompose(["down", "-v"]).ok();
}

/// A cgroup above others: what is in those stands still, even when it is killed, until this goes.
struct Frozen(Cgroup);

impl Frozen {
    fn new(name: &str) -> Frozen {
        let cgroup = Tree::detect().unwrap().cgroup(None, name);
        cgroup.freeze(true).unwrap();
        Frozen(cgroup)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.0.freeze(false).unwrap();
    }
}

#[test]
fn what_a_killed_command_was_ending_is_started_by_the_next_up_however_slowly_it_ends() {
    if cannot_run() {
        return;
    }
    let parent = format!("xcompose-test-{}", std::process::id());
    let machine = machine(&format!(
        "services: {{a: {{image: busybox, command: [sleep, '100000'], cgroup_parent: xcompose/{parent}}}}}"
    ));
    for ending in [&["stop", "-t", "0"][..], &["kill"]] {
        machine.xcompose(["up", "-d"]).ok();
        let frozen = Frozen::new(&parent);
        let signals =
            || machine.xcompose(["events", "--since", "1h", "--until", "0s"]).stdout().matches(" kill ").count();
        let before = signals();
        let mut command = machine.command(ending).stderr(Stdio::null()).spawn().unwrap();
        eventually("its end is asked for", || (signals() > before).then_some(()));
        command.kill().unwrap();
        command.wait().unwrap();
        let mut up = machine.command(["up", "-d"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut told = BufReader::new(up.stderr.take().unwrap()).lines().map(Result::unwrap);
        let starts = told.by_ref().any(|line| line.contains("Starting"));
        drop(frozen);
        assert!(starts, "{ending:?}: `up` takes what is about to end for something that runs on");
        let rest: Vec<String> = told.collect();
        assert!(up.wait().unwrap().success(), "{rest:?}");
        let running = machine.xcompose(["ps", "--status", "running", "-q"]).ok().stdout();
        assert_eq!(running.lines().count(), 1, "{ending:?}");
    }
    machine.xcompose(["down", "-v", "-t", "0"]).ok();
    leftovers::none(&machine, &[], &Default::default());
    Tree::detect().unwrap().cgroup(None, &parent).remove().unwrap();
}

#[test]
fn without_root_the_message_says_so() {
    if cannot_run() {
        return;
    }
    use std::os::unix::process::CommandExt;
    let machine = machine(SLEEPER);
    // The folders of a test are its user's own; the program must get as far as the question who runs it.
    for folder in [machine.project(), machine.project().parent().unwrap().to_owned()] {
        std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let command = machine.command(["up", "-d"]);
    let program = machine.project().join("xcompose");
    machine.copy_program(&program);
    let mut plain = std::process::Command::new(program);
    plain.args(["up", "-d"]).current_dir(machine.project()).uid(65534).gid(65534);
    plain.envs(command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))));
    let output = plain.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("root"), "{text}");
}

#[test]
fn a_full_disk_is_named_and_leaves_the_store_whole() {
    if cannot_run() {
        return;
    }
    let machine = Machine::new();
    let _disk = SmallDisk::new(&machine, "256k");
    let archive = crate::support::busybox_archive(&machine.project());
    let text = machine.xcompose(["image", "import", archive.to_str().unwrap(), "busybox"]).fails(1).stderr();
    assert!(text.contains("No space left") || text.contains("ENOSPC"), "{text}");
    assert_eq!(machine.xcompose(["image", "ls", "-q"]).stdout(), "", "nothing half-visible");
}

#[test]
fn what_fills_the_disk_can_be_stopped_and_removed() {
    if cannot_run() {
        return;
    }
    let machine = Machine::new();
    let disk = SmallDisk::new(&machine, "16m");
    machine.import_busybox();
    machine.write(
        "compose.yaml",
        "services: {web: {image: busybox, init: true, command: [sh, -c, 'yes > /full; sleep 1000']}}",
    );
    for last in [&["stop"][..], &[]] {
        machine.xcompose(["up", "-d"]).ok();
        eventually("the disk is full", || (disk.free() == 0).then_some(()));
        machine.xcompose(["exec", "-T", "web", "true"]).ok();
        told(&machine, &["up", "-d", "--force-recreate"], &["No space left on device"]);
        assert_eq!(machine.xcompose(["ps", "--services"]).ok().stdout(), "web\n", "the old one stays");
        if !last.is_empty() {
            machine.xcompose(last).ok();
            assert_eq!(machine.xcompose(["ps", "--services"]).ok().stdout(), "");
        }
        machine.xcompose(["down"]).ok();
        assert_eq!(machine.xcompose(["ps", "-aq"]).ok().stdout(), "");
        assert!(disk.free() > 8 << 20, "{} bytes are free", disk.free());
    }
}

/// The machine's disk, a small one; it is there until the end of the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(machine: &Machine, size: &str) -> SmallDisk {
        let (path, size) = (machine.data(), format!("size={size}"));
        nix::mount::mount(Some("tmpfs"), &path, Some("tmpfs"), nix::mount::MsFlags::empty(), Some(size.as_str()))
            .unwrap();
        SmallDisk(path)
    }

    fn free(&self) -> u64 {
        let disk = nix::sys::statvfs::statvfs(&self.0).unwrap();
        disk.blocks_available() * disk.fragment_size()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_file_system_that_a_volume_shows_is_mounted_no_longer_than_its_containers_exist() {
    if cannot_run() {
        return;
    }
    let machine = machine(
        "services:
  a: {image: busybox, command: [sleep, '100000'], stop_signal: SIGKILL, volumes: ['data:/v']}
  b: {image: busybox, command: [sleep, '100000'], stop_signal: SIGKILL, volumes: ['data:/v']}
volumes: {data: {driver_opts: {type: tmpfs, device: tmpfs, o: 'size=1m'}}}",
    );
    machine.xcompose(["up", "-d"]).ok();
    machine.xcompose(["exec", "-T", "a", "touch", "/v/here"]).ok();
    machine.xcompose(["rm", "-s", "-f", "a"]).ok();
    assert_eq!(machine.xcompose(["exec", "-T", "b", "ls", "/v"]).ok().stdout(), "here\n");
    machine.xcompose(["down"]).ok();
    leftovers::none(&machine, &[], &Default::default());
}
