//! Whole stacks timed as a user meets them: `cargo bench --bench stack` (needs root and Debian's busybox-static).
//!
//! Each row is a command of the release binary, run several times; the median counts, with the range beside it. Where a
//! Docker Engine answers and `docker compose` (or `docker-compose`, or `$DOCKER_COMPOSE`) is found, the same files run
//! there too, in turn with ours, and the last column is the ratio of the medians. `RUNS=n` sets the number of rounds,
//! `ROWS=word` picks rows. Every command's success and, where a row says so, what it printed are checked: a row that did
//! not do its work says INVALID, and the program fails. At the end stands
//! what the kernel takes for the same work by itself.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its table")]

#[path = "support/bare.rs"]
mod bare;
#[path = "../tests/it/support/busybox.rs"]
mod busybox;
#[path = "support/memory.rs"]
mod memory;

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use memory::Of;

/// How long after the last command a stack counts as at rest.
const AT_REST: Duration = Duration::from_secs(3);

fn main() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("the benchmark starts containers: run it as root");
        std::process::exit(1);
    }
    let folder = tempfile::Builder::new().prefix("xc-bench-").tempdir().unwrap();
    let ours = Tool::ours(folder.path());
    let mut tools = vec![ours];
    tools.extend(Tool::reference());
    let archive = busybox::busybox_archive(folder.path());
    for tool in &tools {
        tool.import(&archive);
    }
    let runs: usize = std::env::var("RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(7);
    let only = std::env::var("ROWS").unwrap_or_default();
    print_machine(runs);
    println!("{:<44} {:>9} {:>19} {:>12} {:>8}  goal", "work", "xcompose", "range", "reference", "ratio");
    let mut valid = true;
    for row in rows(folder.path()).iter().filter(|row| row.name.contains(&only)) {
        valid &= measure(row, &tools, runs);
        // Some rows build on what the row before left; alone, each has to clear up behind itself.
        if !only.is_empty() {
            valid &= tools.iter().all(|tool| tool.run(&row.folder, &["down", "-t", "0"]));
        }
    }
    if only.is_empty() {
        let (up, down) = bare::medians(20, runs);
        println!("the kernel's own part for 20 containers: up {up:.1} ms, down {down:.1} ms");
    }
    if !valid {
        drop(folder);
        std::process::exit(1);
    }
}

/// One line of the table.
struct Row {
    name: &'static str,
    goal: &'static str,
    folder: PathBuf,
    /// Run before the clock starts.
    before: Vec<Vec<&'static str>>,
    timed: Vec<&'static str>,
    /// How many lines the timed command has to print.
    lines: Option<usize>,
    after: Vec<Vec<&'static str>>,
    what: What,
    /// How many rounds at most; the slow rows take fewer.
    at_most: usize,
}

/// What is read off a row.
#[derive(Clone, Copy, PartialEq)]
enum What {
    /// Wall time of the timed command.
    Time,
    /// Proportional memory of the processes that keep the stack up, after the timed command.
    Memory(Of),
}

fn rows(folder: &Path) -> Vec<Row> {
    let sleepers = |count: usize| {
        let mut text = "services:\n".to_owned();
        for number in 0..count {
            writeln!(text, "  s{number}: {{image: busybox, command: [sleep, '1000000'], stop_signal: SIGKILL}}")
                .unwrap();
        }
        text
    };
    let mut chain = "services:\n".to_owned();
    for number in 0..10 {
        writeln!(
            chain,
            "  s{number}:\n    image: busybox\n    command: [sleep, '1000000']\n    stop_signal: SIGKILL\n    healthcheck: {{test: [CMD, 'true'], interval: 1s}}"
        )
        .unwrap();
        if number > 0 {
            writeln!(chain, "    depends_on: {{s{}: {{condition: service_healthy}}}}", number - 1).unwrap();
        }
    }
    let lines = "services: {flood: {image: busybox, command: [seq, '500000']}}\n".to_owned();
    let file = |name: &str, text: String| {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("compose.yaml"), text).unwrap();
        folder
    };
    let (twenty, one) = (file("twenty", sleepers(20)), file("one", sleepers(1)));
    let (chain, flood, large) = (file("chain", chain), file("flood", lines), file("large", sleepers(200)));
    let down = || vec![vec!["down", "-t", "0", "-v"]];
    let up = || vec![vec!["up", "-d"]];
    // In the foreground: when it returns, everything is in the log.
    let written = vec![vec!["up"]];
    let row = |name, goal, folder: &Path, before, timed: &[&'static str], after| Row {
        name,
        goal,
        folder: folder.to_owned(),
        before,
        timed: timed.to_vec(),
        lines: None,
        after,
        what: What::Time,
        at_most: usize::MAX,
    };
    let memory = |of, name, goal| Row {
        what: What::Memory(of),
        at_most: 3,
        ..row(name, goal, &twenty, down(), &["up", "-d"], down())
    };
    vec![
        row("up -d, 20 services", "≤ 120 ms, ≥ 20×", &twenty, down(), &["up", "-d"], down()),
        row("up -d, 1 service", "≤ 25 ms", &one, down(), &["up", "-d"], down()),
        row("down, 20 services", "≤ 70 ms, ≥ 30×", &twenty, up(), &["down", "-t", "0"], vec![]),
        row("up -d again, nothing to do (20)", "≤ 15 ms", &twenty, up(), &["up", "-d"], vec![]),
        row("ps, 20 services", "≤ 10 ms", &twenty, up(), &["ps"], down()),
        row("run --rm s0 true", "≤ 30 ms", &one, vec![vec!["up", "-d"]], &["run", "--rm", "-T", "s0", "true"], down()),
        Row { at_most: 3, ..row("chain of 10 service_healthy", "≤ 0.3 s", &chain, down(), &["up", "-d"], down()) },
        memory(Of::Both, "own memory, 20 services up and at rest", "≤ 12 MiB"),
        memory(Of::Supervisor, "of that, the supervisor's", "≤ 6 MiB"),
        memory(Of::Keeper, "of that, the keeper's", "≤ 1 MiB"),
        Row { at_most: 3, ..row("up of a service writing 500 000 lines", "≤ 1 s", &flood, down(), &["up"], down()) },
        Row {
            lines: Some(500_000),
            at_most: 3,
            ..row("logs of 500 000 lines", "≤ 0.5 s", &flood, written, &["logs", "--no-color"], down())
        },
        row("config -q, 200 services", "≤ 20 ms", &large, vec![], &["config", "-q"], vec![]),
    ]
}

/// Prints a row; whether every command of it did its work.
fn measure(row: &Row, tools: &[Tool], runs: usize) -> bool {
    // The parts are ours alone.
    let tools = if matches!(row.what, What::Memory(Of::Keeper | Of::Supervisor)) { &tools[..1] } else { tools };
    let mut figures = vec![Vec::new(); tools.len()];
    let mut valid = true;
    for round in 0..=runs.min(row.at_most) {
        for (tool, figures) in tools.iter().zip(&mut figures) {
            let all = |commands: &[Vec<&str>]| commands.iter().all(|command| tool.run(&row.folder, command));
            valid &= all(&row.before);
            let printed = tempfile::tempfile().unwrap();
            let start = Instant::now();
            valid &= tool.run_into(&row.folder, &row.timed, printed.try_clone().unwrap().into());
            let took = start.elapsed();
            valid &= row.lines.is_none_or(|lines| lines == count_lines(printed));
            if row.what != What::Time {
                // What counts is what a stack takes that nobody touches.
                std::thread::sleep(AT_REST);
            }
            let figure = match row.what {
                What::Time => took.as_secs_f64() * 1e3,
                What::Memory(of) => tool.memory(of).map_or(f64::NAN, |bytes| bytes as f64 / f64::from(1 << 20)),
            };
            valid &= figure.is_finite() && all(&row.after);
            // The first round warms the caches.
            if round > 0 {
                figures.push(figure);
            }
        }
    }
    let unit = if row.what == What::Time { "ms" } else { "MiB" };
    let mut medians = figures.iter_mut().map(|figures| {
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
    });
    let ours = medians.next().unwrap_or(f64::NAN);
    let reference = medians.next();
    drop(medians);
    let range = match (figures[0].first(), figures[0].last()) {
        (Some(low), Some(high)) => format!("{low:.1}–{high:.1}"),
        _ => String::new(),
    };
    let (other, ratio) = match reference {
        Some(other) => (format!("{other:.1} {unit}"), format!("{:.1}×", other / ours)),
        None => ("–".to_owned(), "–".to_owned()),
    };
    let verdict = if valid { row.goal } else { "INVALID" };
    println!("{:<44} {:>6.1} {unit:<3} {range:>18} {other:>12} {ratio:>8}  {verdict}", row.name, ours);
    std::io::stdout().flush().unwrap();
    valid
}

fn count_lines(mut printed: File) -> usize {
    printed.rewind().unwrap();
    BufReader::new(printed).split(b'\n').count()
}

/// A program that runs compose files.
struct Tool {
    command: Vec<String>,
    environment: Vec<(String, PathBuf)>,
    /// Where our running things lie; none for the reference.
    run: Option<PathBuf>,
}

impl Tool {
    fn ours(folder: &Path) -> Tool {
        let environment = ["data", "run"].map(|name| (format!("XCOMPOSE_{}", name.to_uppercase()), folder.join(name)));
        Tool {
            command: vec![env!("CARGO_BIN_EXE_xcompose").to_owned()],
            environment: environment.into(),
            run: Some(folder.join("run")),
        }
    }

    /// Docker Compose with an engine that answers, if there is one.
    fn reference() -> Option<Tool> {
        let named = std::env::var("DOCKER_COMPOSE").ok().map(|path| vec![path]);
        let candidates = [named, Some(vec!["docker".into(), "compose".into()]), Some(vec!["docker-compose".into()])];
        candidates.into_iter().flatten().find_map(|command| {
            let tool = Tool { command, environment: Vec::new(), run: None };
            tool.run(Path::new("/"), &["ls"]).then_some(tool)
        })
    }

    fn run(&self, folder: &Path, arguments: &[&str]) -> bool {
        self.run_into(folder, arguments, Stdio::null())
    }

    fn run_into(&self, folder: &Path, arguments: &[&str], stdout: Stdio) -> bool {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).args(arguments).current_dir(folder);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    fn import(&self, archive: &Path) {
        let fine = if self.run.is_some() {
            self.run(Path::new("/"), &["image", "import", archive.to_str().unwrap(), "busybox"])
        } else {
            let mut command = Command::new("docker");
            command.args(["import", archive.to_str().unwrap(), "busybox"]).stdout(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        assert!(fine, "{} cannot import an image", self.command.join(" "));
    }

    fn memory(&self, of: Of) -> Option<u64> {
        self.run.as_deref().map_or_else(memory::docker, |run| memory::ours(run, of))
    }
}

fn print_machine(runs: usize) {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    println!("Linux {}, {processors} processors, load {load}; medians of up to {runs} rounds", kernel.trim());
}
