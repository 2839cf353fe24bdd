//! `RUN`: the command, what it sees, and what is said when it fails.

use std::path::PathBuf;
use std::sync::PoisonError;

use tokio::sync::mpsc;

use crate::engine::{EngineError, Entitlement, Progress};
use crate::runtime::build::cache::Key;
use crate::runtime::build::fault::{Fault, cancelled};
use crate::runtime::build::instruction::{Command, Rights, Run};
use crate::runtime::build::mounts;
use crate::runtime::build::rootfs::writable;
use crate::runtime::build::run::{self, Connected, Ended, Listener, RunError, Runner};
use crate::runtime::build::state::{State, proxies};
use crate::runtime::build::steps::{At, Builder};
use crate::runtime::start::StartError;

/// How many of its last lines a failed command shows.
const LAST_LINES: usize = 20;

impl Builder<'_> {
    pub(super) fn run(&self, state: &mut State, at: At<'_>, run: &Run) -> Result<bool, Fault> {
        let config = self.job.config;
        let connected = self.connected(run)?;
        if run.rights == Rights::All && !config.entitlements.contains(&Entitlement::SecurityInsecure) {
            let message = "--security=insecure is only for builds that allow it: `privileged: true`, or `security.insecure` among the entitlements";
            return Err(Fault::at("--security", message));
        }
        let argv = state.command_line(&run.command);
        let env = state.command_environment();
        let mut key = Key::new("run", &state.document.rootfs.diff_ids);
        key.add_all(&argv);
        key.add_all(&env);
        key.add(&state.document.config.user);
        key.add(&state.document.config.working_dir);
        key.add_all(&run.mounts);
        key.add(format!("{connected:?} {:?}", run.rights));
        let wanted = mounts::read(&run.mounts, state, self.job.file.escape)?;
        for mount in &wanted {
            key.add_all(&mount.depends_on(self, at.stage)?);
        }
        let user = Some(state.document.config.user.clone()).filter(|user| !user.is_empty());
        let working_dir = state.absolute("");
        let layers = self.directories(&state.document.rootfs.diff_ids);
        self.layer(state, at, &key, None, |change| {
            let runner = self.runner()?;
            let mut prepared = mounts::prepare::prepare(self, at.stage, &wanted, &runner.private())?;
            let mut env = env;
            env.extend(proxies(&config.args));
            env.append(&mut prepared.env);
            let script = match &run.command {
                Command::Shell(text) if text.starts_with("#!") => Some(text.as_str()),
                _ => None,
            };
            let mut mounts = std::mem::take(&mut prepared.mounts);
            let argv = match script {
                // A document that begins so names its own interpreter (Dockerfile reference, "Here-Documents").
                Some(text) => {
                    let (mount, path) = runner.script(text)?;
                    mounts.push(mount);
                    vec![path]
                }
                None => argv.clone(),
            };
            let places = match mounts.as_slice() {
                [] => Vec::new(),
                some => mounts::missing(&writable(&layers, change)?, some),
            };
            let command = run::Command {
                layers: &layers,
                change,
                argv: argv.clone(),
                env,
                working_dir,
                user,
                mounts,
                connected,
                rights: run.rights,
                hostname: config.args.get("BUILDKIT_SANDBOX_HOSTNAME").map(String::as_str),
                extra_hosts: &config.extra_hosts,
                shm_size: config.shm_size,
                memory: config.memory,
                ulimits: &config.ulimits,
            };
            let mut output =
                Output { progress: self.job.progress, over: &|| self.is_over(), id: at.id, last: Vec::new() };
            let result = runner.run(&command, &mut output);
            self.give_back(runner);
            let status = match result {
                Ok(Ended::Exited(0)) => return Ok(mounts::clear(&places, &change.upper)?),
                Ok(Ended::Exited(status)) => status,
                Ok(Ended::Cancelled) => return Err(cancelled().into()),
                Err(RunError::Start(StartError::Command { code, reason })) => {
                    output.print(reason.as_bytes());
                    code
                }
                Err(error) => return Err(error.into()),
            };
            let shown = if script.is_some() { at.step.text.clone() } else { argv.join(" ") };
            let step = format!("{}{}: process {shown:?}", output.last_lines(), self.job.file.place(at.step));
            Err(Fault::Failed(EngineError::Build { step, status }))
        })
    }

    fn connected(&self, run: &Run) -> Result<Connected, Fault> {
        let of_build = self.job.config.network.as_deref().unwrap_or("");
        let network = run.network.as_deref().unwrap_or(of_build);
        match network {
            "" | "default" | "bridge" => Ok(Connected::Bridge),
            "none" => Ok(Connected::None),
            "host" if of_build == "host" || self.job.config.entitlements.contains(&Entitlement::NetworkHost) => {
                Ok(Connected::Host)
            }
            "host" => {
                let message = "--network=host is only for builds that allow it: `network: host`, or `network.host` among the entitlements";
                Err(Fault::at("--network", message))
            }
            other => Err(Fault::at(other, format!("the network of a build is default, host or none, not {other:?}"))),
        }
    }

    /// A runner that no other stage uses meanwhile.
    fn runner(&self) -> Result<Runner, EngineError> {
        let free = self.runners.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.map_or_else(|| Runner::new(self.job.layout), Ok)
    }

    fn give_back(&self, runner: Runner) {
        self.runners.lock().unwrap_or_else(PoisonError::into_inner).push(runner);
    }

    /// A new path in the staging folder.
    pub(in crate::runtime::build) fn scratch(&self, what: &str) -> PathBuf {
        let number = self.changes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.job.staging.path().join(format!("{what}-{number}"))
    }
}

/// Passes on what a command prints, and remembers the end of it.
struct Output<'a> {
    progress: &'a mpsc::Sender<Progress>,
    over: &'a (dyn Fn() -> bool + Sync),
    id: &'a str,
    last: Vec<u8>,
}

impl Listener for Output<'_> {
    fn print(&mut self, bytes: &[u8]) {
        // That nobody listens is noticed by `is_gone`.
        let _ = self.progress.blocking_send(Progress::Output { id: self.id.to_owned(), bytes: bytes.to_vec() });
        self.last.extend(bytes);
        let surplus = self.last.len().saturating_sub(16 * 1024);
        self.last.drain(..surplus);
    }

    fn is_gone(&self) -> bool {
        (self.over)()
    }
}

impl Output<'_> {
    fn last_lines(&self) -> String {
        let text = uncoloured(&String::from_utf8_lossy(&self.last));
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.len().saturating_sub(LAST_LINES);
        lines[last..].iter().map(|line| format!(" > {line}\n")).collect()
    }
}

/// Without colours, which mean nothing in a message.
fn uncoloured(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        match rest.strip_prefix('m') {
            Some(rest) => out.push_str(rest),
            None => out.extend(["\x1b[", part]),
        }
    }
    out
}
