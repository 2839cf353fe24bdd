//! What staying up costs: `cargo bench --bench staying` (needs root and Debian's busybox-static). How long after its back-off
//! a crashed container runs again, and what probing a hundred containers every second takes of a core besides the probes.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its table")]

#[path = "../tests/it/support/busybox.rs"]
mod busybox;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How many containers are probed.
const PROBED: usize = 100;
/// For how long.
const WATCHED: Duration = Duration::from_secs(20);
/// How often a crashed container is started again.
const STARTS: usize = 5;

fn main() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("the benchmark starts containers: run it as root");
        std::process::exit(1);
    }
    let folder = tempfile::Builder::new().prefix("xc-bench-").tempdir().unwrap();
    let archive = busybox::busybox_archive(folder.path());
    xcompose(folder.path(), &["image", "import", archive.to_str().unwrap(), "busybox"]);
    restarts(folder.path());
    probes(folder.path());
}

fn xcompose(folder: &Path, arguments: &[&str]) -> String {
    ended(folder, arguments, 0)
}

/// What a command prints that ends with this code.
fn ended(folder: &Path, arguments: &[&str], code: i32) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xcompose"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command.env("XCOMPOSE_DATA", folder.join("data")).env("XCOMPOSE_RUN", folder.join("run"));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Each start against the end before it and the pause that was announced then.
fn restarts(folder: &Path) {
    let file =
        format!("services: {{c: {{image: busybox, command: sh -c 'exit 1', restart: 'on-failure:{STARTS}'}}}}\n");
    fs::write(folder.join("compose.yaml"), file).unwrap();
    xcompose(folder, &["-p", "restarts", "up", "-d"]);
    let events = loop {
        std::thread::sleep(Duration::from_millis(500));
        // Its stream is over when `--until` has come, which is an error as with Docker Compose.
        let events = ended(folder, &["-p", "restarts", "events", "--json", "--since", "1m", "--until", "0s"], 1);
        if events.matches("\"action\":\"die\"").count() > STARTS {
            break events;
        }
    };
    xcompose(folder, &["-p", "restarts", "down"]);
    let events: Vec<serde_json::Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let time = |event: &serde_json::Value| -> jiff::Timestamp { event["time"].as_str().unwrap().parse().unwrap() };
    let late = events.windows(2).filter(|pair| pair[0]["action"] == "die").map(|pair| {
        let announced = pair[0]["attributes"]["xcompose.next"].as_str().unwrap();
        let pause = announced.rsplit(' ').next().unwrap().trim_end_matches("ms").parse::<f64>();
        let pause = pause.unwrap_or_else(|_| {
            announced.rsplit(' ').next().unwrap().trim_end_matches('s').parse::<f64>().unwrap() * 1e3
        });
        time(&pair[1]).duration_since(time(&pair[0])).as_secs_f64() * 1e3 - pause
    });
    let mut late: Vec<f64> = late.collect();
    late.sort_by(f64::total_cmp);
    let (median, most) = (late[late.len() / 2], late[late.len() - 1]);
    println!("crashed container runs again, after its back-off   {median:>6.1} ms (most {most:.1} ms)    ≤ 10 ms");
}

/// The processor time of keeper and supervisor; that of the probes is theirs.
fn probes(folder: &Path) {
    let mut file = "services:\n".to_owned();
    for number in 0..PROBED {
        // Writing to a string does not fail.
        let _ = writeln!(
            file,
            "  s{number}: {{image: busybox, command: sleep 1000000, stop_signal: SIGKILL, network_mode: none, \
             healthcheck: {{test: [CMD, 'true'], interval: 1s}}}}"
        );
    }
    fs::write(folder.join("compose.yaml"), file).unwrap();
    xcompose(folder, &["-p", "probes", "up", "-d", "--wait"]);
    let before = ticks();
    std::thread::sleep(WATCHED);
    let ticks = ticks() - before;
    xcompose(folder, &["-p", "probes", "down"]);
    // Fields of proc(5) count in hundredths of a second on every machine that Linux runs on today.
    let percent = f64::from(ticks) / WATCHED.as_secs_f64();
    println!("{PROBED} containers probed every second, of a core       {percent:>6.1} %                   ≤ 3 %");
}

/// User and system time of the project's own processes, in clock ticks.
fn ticks() -> u32 {
    let mut sum = 0;
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0).skip(1);
        let role = words.next().unwrap_or_default();
        if (role == b"--supervisor" || role == b"--keeper") && words.next() == Some(b"probes") {
            let stat = fs::read_to_string(process.path().join("stat")).unwrap();
            let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
            sum += fields[11].parse::<u32>().unwrap() + fields[12].parse::<u32>().unwrap();
        }
    }
    sum
}
