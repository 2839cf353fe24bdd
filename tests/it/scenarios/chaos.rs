//! Everything of ours and everything that runs is killed at random, while commands run, logs are written and followed, and
//! names are asked for; then every promise of staying up is checked.
//!
//! `XCOMPOSE_CHAOS_SEED` chooses what happens, `XCOMPOSE_CHAOS_SECONDS` how long (default 6):
//! `XCOMPOSE_CHAOS_SECONDS=300 XCOMPOSE_CHAOS_SEED=7 tests/run --test it -- chaos`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::leftovers;
use crate::support::{Machine, cannot_run, eventually, free_port, http_get};

const STACK: &str = "
services:
  counter:
    image: busybox
    restart: always
    stop_signal: SIGKILL
    command:
      - sh
      - -c
      - |
        read id < /proc/sys/kernel/random/uuid
        i=0
        while :; do i=$$((i+1)); echo $$id $$i; [ $$((i % 50)) = 0 ] && sleep 0.01; done
  crasher: {image: busybox, restart: always, stop_signal: SIGKILL, command: [sh, -c, 'sleep 0.1; exit 3']}
  web:
    image: busybox
    restart: always
    stop_signal: SIGKILL
    ports: ['127.0.0.1:PORT:80']
    command: [httpd, -f, -p, '80', -h, /etc]
  asker:
    image: busybox
    restart: always
    stop_signal: SIGKILL
    depends_on: [web]
    healthcheck: {test: [CMD, 'true'], interval: 1s}
    command: [sh, -c, 'while :; do nslookup web >/dev/null 2>&1; sleep 0.02; done']
";
const SERVICES: [&str; 4] = ["asker", "counter", "crasher", "web"];

/// Numbers that look random and are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// How often what was killed.
#[derive(Debug, Default)]
struct Kills {
    keepers: usize,
    supervisors: usize,
    both: usize,
    commands: usize,
    containers: usize,
}

struct Scene {
    machine: Machine,
    dice: Dice,
    kills: Kills,
    commands: usize,
    upgrades: usize,
}

impl Scene {
    fn ours(&self, role: &str) -> Vec<i32> {
        let processes = leftovers::processes(&self.machine).into_iter();
        processes.filter(|(_, command)| command.contains(role)).map(|(pid, _)| pid).collect()
    }

    fn slay(&self, pids: &[i32]) -> usize {
        // One that has just ended by itself does not count.
        pids.iter().filter(|pid| kill(Pid::from_raw(**pid), Signal::SIGKILL).is_ok()).count()
    }

    /// First processes of the containers, by their records.
    fn containers(&self) -> Vec<i32> {
        let mut found = Vec::new();
        let folder = self.machine.data().join("projects/project/containers");
        for container in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(text) = std::fs::read(container.path().join("state.json")) else { continue };
            let state: serde_json::Value = serde_json::from_slice(&text).unwrap();
            let Some(pid) = state["state"]["running"]["pid"].as_i64() else { continue };
            let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            if groups.contains(container.file_name().to_str().unwrap()) {
                found.push(i32::try_from(pid).unwrap());
            }
        }
        found
    }

    fn one_of(&mut self, pids: Vec<i32>) -> Vec<i32> {
        if pids.is_empty() { pids } else { vec![pids[usize::try_from(self.dice.below(pids.len() as u64)).unwrap()]] }
    }

    fn disturb(&mut self) {
        match self.dice.below(9) {
            0 | 1 => self.kills.supervisors += self.slay(&self.ours("--supervisor")),
            2 | 3 => self.kills.keepers += self.slay(&self.ours("--keeper")),
            4 => self.kills.both += self.slay(&[self.ours("--keeper"), self.ours("--supervisor")].concat()),
            // The next command is of a newer program.
            5 => {
                let version = self.machine.run().join("projects/project/version");
                if version.exists() {
                    std::fs::write(version, "\"0.0.1\"").unwrap();
                    self.upgrades += 1;
                }
            }
            _ => {
                let one = self.one_of(self.containers());
                self.kills.containers += self.slay(&one);
            }
        }
    }

    /// Starts a command, disturbs it, and perhaps kills it; one that lives has to end, and to tell the truth.
    fn command(&mut self) {
        let code = self.dice.below(100);
        let exit = format!("exit {code}");
        let words: Vec<&str> = match self.dice.below(8) {
            0 => vec!["up", "-d"],
            1 => vec!["ps"],
            2 => vec!["logs", "--tail", "3"],
            3 => vec!["restart", "-t", "0", "web"],
            4 => vec!["stop", "-t", "0", "crasher", "asker"],
            5 => vec!["start"],
            6 => vec!["exec", "-T", "asker", "sh", "-c", &exit],
            _ => vec!["run", "--rm", "--no-deps", "-T", "asker", "sh", "-c", &exit],
        };
        let mut command = self.machine.command(&words);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        self.commands += 1;
        for _ in 0..self.dice.below(3) {
            std::thread::park_timeout(Duration::from_millis(self.dice.below(30)));
            self.disturb();
        }
        if self.dice.below(4) == 0 {
            self.kills.commands += usize::from(child.kill().is_ok());
            child.wait().unwrap();
            return;
        }
        let status = eventually(&format!("{words:?} ends"), || child.try_wait().unwrap());
        let said = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
        assert!(!said.contains("panicked"), "{words:?}: {said}");
        if words[0] == "run" || words[0] == "exec" {
            let told = status.code().unwrap();
            assert!(
                told == i32::try_from(code).unwrap() || !said.is_empty(),
                "{words:?} ended with {told} and no word"
            );
        } else if words[0] == "ps" || words[0] == "logs" {
            assert!(status.success(), "{words:?}: {said}");
        }
    }
}

/// Follows the log of a service to its end.
fn follow(machine: &Machine, service: &str) -> (Child, std::thread::JoinHandle<Vec<String>>) {
    let mut command: Command = machine.command(["logs", "-f", "--no-log-prefix", service]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, std::thread::spawn(move || output.lines().map(Result::unwrap).collect()))
}

/// Each run counts from one, and misses and repeats nothing.
fn assert_counted(lines: &[String]) {
    let mut last = ("", 0);
    for line in lines {
        let (run, count) = line.split_once(' ').unwrap_or_else(|| panic!("torn: {line:?}"));
        let count: u64 = count.parse().unwrap_or_else(|_| panic!("torn: {line:?}"));
        let wanted = if run == last.0 { last.1 + 1 } else { 1 };
        assert_eq!(count, wanted, "after {last:?} came {line:?}");
        last = (run, count);
    }
}

#[test]
fn whatever_is_killed_at_random_nothing_is_lost_and_nothing_is_left() {
    if cannot_run() {
        return;
    }
    let seed = number("XCOMPOSE_CHAOS_SEED", 4);
    let length = Duration::from_secs(number("XCOMPOSE_CHAOS_SECONDS", 6));
    let machine = Machine::new();
    machine.import_busybox();
    let port = free_port();
    machine.write("compose.yaml", &STACK.replace("PORT", &port.to_string()));
    machine.xcompose(["up", "-d"]).ok();
    let bridges = leftovers::bridges(&machine);
    let (mut follower, followed) = follow(&machine, "counter");

    let mut scene = Scene {
        machine,
        dice: Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
        kills: Kills::default(),
        commands: 0,
        upgrades: 0,
    };
    let begin = Instant::now();
    while begin.elapsed() < length {
        scene.command();
        scene.disturb();
    }

    let Scene { machine, kills, commands, upgrades, .. } = scene;
    machine.xcompose(["up", "-d"]).ok();
    // Killed often, they may be in a pause of a minute.
    machine.xcompose(["restart", "-t", "0", "web", "asker"]).ok();
    let running = || {
        let listed = machine.xcompose(["ps", "--format", "{{.Service}} {{.State}}"]).ok().stdout();
        let mut up: Vec<&str> = listed
            .lines()
            .filter_map(|line| line.strip_suffix(" running").or_else(|| line.strip_suffix(" restarting")))
            .collect();
        up.sort_unstable();
        (up == SERVICES).then_some(())
    };
    eventually("every service is up", running);
    assert!(http_get(&format!("127.0.0.1:{port}"), "/hostname").contains("200"));
    let resolves = || (machine.xcompose(["exec", "-T", "asker", "nslookup", "web"]).code() == 0).then_some(());
    eventually("names resolve", resolves);
    let ids: Vec<String> =
        machine.xcompose(["ps", "-a", "-q", "--no-trunc"]).ok().stdout().lines().map(str::to_owned).collect();
    machine.xcompose(["stop", "-t", "0", "counter"]).ok();
    let written = machine.xcompose(["logs", "--no-log-prefix", "counter"]).ok().stdout();
    let written: Vec<String> = written.lines().map(str::to_owned).collect();
    assert_counted(&written);
    let mut read = followed.join().unwrap();
    read.retain(|line| !line.starts_with("counter-1 exited with code"));
    assert!(follower.wait().unwrap().success());
    assert_eq!(read.len(), written.len(), "a follower misses and repeats nothing");
    assert!(read == written);
    machine.xcompose(["down", "-v", "-t", "0", "--remove-orphans"]).ok();
    leftovers::none(&machine, &ids, &bridges);
    eprintln!("seed {seed}: {commands} commands, {kills:?}, {upgrades} upgrades offered, {} lines", written.len());
}
