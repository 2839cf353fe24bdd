//! What tests of the whole program share: a machine of one's own, and waiting for events.

mod busybox;
pub mod git;

pub use busybox::busybox_archive;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a test waits for an event before it fails: far above what any of them takes on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Why kernel tests cannot run here; such a test prints this and passes, or fails where skipping is forbidden.
///
/// Use it as `if support::cannot_run() { return; }`.
pub fn cannot_run() -> bool {
    if nix::unistd::geteuid().is_root() {
        return false;
    }
    assert!(std::env::var_os("XCOMPOSE_NO_SKIP").is_none(), "this test needs root");
    eprintln!("skipped: this test needs root");
    true
}

/// A folder for data, one for what runs, and one for compose files; nothing of it is shared with another test.
pub struct Machine {
    root: tempfile::TempDir,
}

impl Machine {
    /// An empty one.
    pub fn new() -> Machine {
        let root = tempfile::Builder::new().prefix("xc-").tempdir().unwrap();
        for folder in ["data", "run", "project"] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
        }
        Machine { root }
    }

    /// Where compose files go.
    pub fn project(&self) -> PathBuf {
        self.root.path().join("project")
    }

    /// Where images and containers lie.
    pub fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// Where sockets and locks lie.
    pub fn run(&self) -> PathBuf {
        self.root.path().join("run")
    }

    /// Writes a file of the project, making its folders.
    pub fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.project().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The program with these arguments, in the project's folder, on this machine; not started.
    pub fn command<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xcompose"));
        command.args(arguments).current_dir(self.project()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            let ours = name.to_string_lossy();
            if ours.starts_with("COMPOSE_") || ours.starts_with("DOCKER_") || ours.starts_with("XCOMPOSE_") {
                command.env_remove(name);
            }
        }
        command.env("XCOMPOSE_DATA", self.data()).env("XCOMPOSE_RUN", self.run());
        command
    }

    /// Runs the program to its end.
    pub fn xcompose<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Finished {
        finish(&mut self.command(arguments))
    }

    /// Another copy of the program, which can be executed at once.
    pub fn copy_program(&self, to: &Path) {
        // By another process: a file that is open for writing in this one goes into whatever a neighbour starts in that
        // moment, and can't be executed until that has ended.
        finish(Command::new("cp").arg(env!("CARGO_BIN_EXE_xcompose")).arg(to)).ok();
    }

    /// Puts Debian into the store, as `debian:bookworm`.
    pub fn import_debian(&self) {
        let mut script = Command::new(sample("debian-image"));
        script.arg(env!("CARGO_BIN_EXE_xcompose"));
        script.env("XCOMPOSE_DATA", self.data()).env("XCOMPOSE_RUN", self.run());
        finish(&mut script).ok();
    }

    /// Puts a root file system with a static busybox into the store, as `busybox:latest`.
    pub fn import_busybox(&self) {
        let archive = busybox_archive(self.root.path());
        self.xcompose(["image", "import", archive.to_str().unwrap(), "busybox"]).ok();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // A failed test must not leave containers running: every project of this machine goes.
        for project in std::fs::read_dir(self.data().join("projects")).into_iter().flatten().flatten() {
            let name = project.file_name();
            let arguments =
                ["-p", &name.to_string_lossy(), "down", "-v", "-t", "0", "--remove-orphans"].map(str::to_owned);
            let _ = self.command(arguments).output();
        }
        // Nor networks that have no container (any more).
        for record in std::fs::read_dir(self.data().join("networks")).into_iter().flatten().flatten() {
            if let Some(name) = record.file_name().to_str().and_then(|name| name.strip_suffix(".json")) {
                let _ = self.command(["network", "rm", name]).output();
            }
        }
    }
}

/// A file of the samples.
pub fn sample(path: &str) -> String {
    format!("{}/compose-samples/{path}", env!("CARGO_MANIFEST_DIR"))
}

/// Runs a command to its end.
pub fn finish(command: &mut Command) -> Finished {
    Finished(command.output().unwrap())
}

/// A port of this machine that was free a moment ago, outside the range that the kernel gives to clients.
pub fn free_port() -> u16 {
    static NEXT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(0);
    loop {
        let step = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let port = 20_000 + (u16::try_from(std::process::id() % 100).unwrap() * 100 + step) % 10_000;
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

/// The whole answer to a request for a page, as soon as there is one: a container that runs need not listen yet.
pub fn http_get(address: &str, path: &str) -> String {
    let ask = || {
        let mut connection = TcpStream::connect(address).ok()?;
        write!(connection, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).ok()?;
        Some(answer).filter(|answer| !answer.is_empty())
    };
    eventually(&format!("{address} answers"), ask)
}

/// What a finished program said.
pub struct Finished(Output);

impl Finished {
    /// Of a program that was waited for elsewhere.
    pub fn of(output: Output) -> Finished {
        Finished(output)
    }

    /// Its standard output as it is.
    pub fn bytes(&self) -> &[u8] {
        &self.0.stdout
    }

    /// Its exit code; 128 and the signal if one ended it.
    pub fn code(&self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        self.0.status.code().unwrap_or_else(|| 128 + self.0.status.signal().unwrap_or(0))
    }

    /// Its standard output as text.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    /// Its standard error as text.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    /// Insists on exit code 0.
    #[track_caller]
    pub fn ok(self) -> Finished {
        assert_eq!(self.code(), 0, "\nstdout:\n{}\nstderr:\n{}", self.stdout(), self.stderr());
        self
    }

    /// Insists on this exit code.
    #[track_caller]
    pub fn fails(self, code: i32) -> Finished {
        assert_eq!(self.code(), code, "\nstdout:\n{}\nstderr:\n{}", self.stdout(), self.stderr());
        self
    }
}

/// Asks until the answer is there; fails with `what` when [`PATIENCE`] is over.
///
/// For facts that no event tells of, such as the absence of a process; the pause is short and yields the processor.
#[track_caller]
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "still not so after {PATIENCE:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
