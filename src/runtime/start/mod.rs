//! How a process gets into a container: what is asked for ([`Request`], [`ExecRequest`]) is compiled to a [`Program`],
//! a flat list of steps that the new process runs between clone and exec.
//!
//! Compiling does what may fail in words (the overlay is mounted, users are looked up, the terminal is made); what the
//! program does may only fail by step and errno. It prints as text, so the whole sandbox is read on one page.

pub mod capabilities;
pub mod devices;
pub mod environment;
pub mod identity;
pub mod init;
pub mod inside;
pub mod mounts;
pub mod process;
pub mod program;
pub mod request;
pub mod rootfs;
pub mod seccomp;
pub mod streams;
mod sysctls;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::sched::CloneFlags;
use nix::sys::stat::Mode;

use crate::engine::{EngineError, ProcessIo, Security, Subject};
use crate::runtime::start::identity::Identity;
use crate::runtime::start::inside::Inside;
use crate::runtime::start::mounts::Dev;
use crate::runtime::start::program::{Exec, File, Image, Program, Step, text};
use crate::runtime::start::request::{ExecRequest, Namespace, Network, Process, Request};
use crate::runtime::start::streams::Streams;
use crate::runtime::sys::{OrOs, OsError, terminal};
use crate::values::ulimit::{RESOURCES, Ulimit};

/// Why a process does not run in a container.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The command can't be run; `code` is 126 or 127, as Docker has them.
    #[error("{reason}")]
    Command {
        /// Exit code to report.
        code: i32,
        /// Docker's words: `exec: "x": executable file not found in $PATH`.
        reason: String,
    },
    /// The configuration can't work.
    #[error("{0}")]
    Invalid(String),
    /// This kernel lacks something.
    #[error("this kernel has no {0}")]
    Unsupported(&'static str),
    /// A call failed before there was a process.
    #[error(transparent)]
    Os(#[from] OsError),
    /// A step of the new process failed.
    #[error(transparent)]
    Step(OsError),
    /// The new process was killed at this step, as by the memory killer of its cgroup.
    #[error("killed before the command ran, at: {0}")]
    Killed(String),
}

impl StartError {
    /// As callers of the engine see it, of what was to be started.
    pub fn told(self, subject: Subject) -> EngineError {
        match self {
            StartError::Command { code, reason } => EngineError::Command { subject, code, reason },
            StartError::Invalid(reason) => EngineError::Invalid { subject, reason },
            StartError::Unsupported(feature) => EngineError::Unsupported { subject, feature: feature.to_owned() },
            error => EngineError::Failed { verb: "start", subject, source: Box::new(error) },
        }
    }
}

/// Prepares the start of a container's first process; its root file system is mounted from here on, until the program
/// (or what became of it) is dropped.
pub fn compile(request: &Request) -> Result<Program, StartError> {
    let root = Arc::new(rootfs::overlay(&request.rootfs)?);
    let inside = Inside::new(root.as_fd());
    for file in &request.files {
        inside.write(file)?;
    }
    let process = &request.process;
    if request.rootfs.read_only {
        // Later nothing can be made there; if this fails, the new process says so when it enters the folder.
        let _ = inside.folder(&process.working_dir);
    }
    let user = identity::look_up(inside, process.user.as_deref().unwrap_or_default(), &process.groups)?;
    let (dev, streams) = dev(request, inside, user.uid)?;
    let streams_are_a_terminal = streams.terminal.is_some();

    let mut steps = vec![Step::Session];
    steps.extend(join(&request.join)?);
    steps.push(Step::Write {
        file: c"/proc/self/oom_score_adj".to_owned(),
        text: text(request.oom_score_adj.unwrap_or(0).to_string())?,
    });
    let (namespaces, pid_namespace) = namespaces(request, &mut steps);
    if mounts::is_new(&request.uts) {
        steps.push(Step::HostName(text(&request.hostname)?));
        if let Some(name) = &request.domainname {
            steps.push(Step::DomainName(text(name)?));
        }
    }
    steps.extend(sysctls::steps(request)?);
    steps.push(Step::PrivateMounts);
    steps.push(Step::Root { tree: File::new("rootfs", root.clone()), over: text(&request.rootfs.upper)? });
    steps.extend(mounts::steps(request, inside, dev)?);
    if request.rootfs.read_only {
        steps.push(Step::RootReadOnly);
    }
    steps.push(Step::Pivot);
    steps.extend(limits(&request.ulimits)?);
    steps.push(Step::Streams(streams.files));
    if streams_are_a_terminal {
        steps.push(Step::Terminal);
    }
    let init = request.init.clone().map(|init| File::new(init::NAME, init));
    steps.extend(become_command(process, &process.security, &user, &request.hostname, streams_are_a_terminal, init)?);
    Ok(Program { namespaces, pid_namespace, steps, root: Some(root), terminal: streams.terminal })
}

/// Prepares one more process in a running container.
pub fn compile_exec(request: &ExecRequest) -> Result<Program, StartError> {
    let path = format!("/proc/{}/root", request.pid);
    let root = nix::fcntl::open(path.as_str(), OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .or_os("open", path)?;
    let inside = Inside::new(root.as_fd());
    let process = &request.process;
    let user = identity::look_up(inside, process.user.as_deref().unwrap_or_default(), &process.groups)?;
    let streams = streams::prepare(&request.io, user.uid, || container_terminal(inside))?;
    let terminal = streams.terminal.is_some();
    let container = File::new("the container", request.container.clone());

    let mut steps = vec![Step::Session];
    steps.extend(join(&request.join)?);
    let all = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWCGROUP;
    steps.push(Step::Join { namespaces: all, of: container.clone() });
    steps.extend(limits(&request.ulimits)?);
    steps.push(Step::Streams(streams.files));
    if terminal {
        steps.push(Step::Terminal);
    }
    steps.extend(become_command(process, &process.security, &user, &request.hostname, terminal, None)?);
    Ok(Program {
        namespaces: CloneFlags::empty(),
        pid_namespace: Some(container),
        steps,
        root: None,
        terminal: streams.terminal,
    })
}

/// `/dev`, and the streams, which may be a terminal in it.
fn dev(request: &Request, inside: Inside<'_>, uid: u32) -> Result<(Dev, Streams), StartError> {
    let console = matches!(request.io, ProcessIo::Terminal { .. });
    let tree = devices::tree(console)?;
    let mut nodes = devices::look_up(&request.devices)?;
    if request.process.security.privileged {
        nodes.extend(devices::all()?);
    }
    for node in nodes {
        match node.target.strip_prefix("/dev/") {
            Some(below) => node.make(Inside::new(tree.as_fd()), &format!("/{below}"))?,
            None => node.make(inside, &node.target)?,
        }
    }
    let pts = streams::devpts()?;
    let streams = streams::prepare(&request.io, uid, || streams::multiplexer(&pts))?;
    let terminal = streams.terminal.as_ref().map(|master| terminal::number(master.as_fd()));
    let terminal = terminal.transpose().or_os("ioctl", "TIOCGPTN")?;
    Ok((Dev { tree, pts, terminal }, streams))
}

/// The multiplexer of a running container, if what it has there is one.
fn container_terminal(inside: Inside<'_>) -> Result<OwnedFd, StartError> {
    let path = "/dev/pts/ptmx";
    // Looked at before it is opened for good: opening some devices does something.
    let found = inside.open(path, OFlag::O_PATH).or_os("open", path)?;
    let system = nix::sys::statfs::fstatfs(&found).or_os("fstatfs", path)?.filesystem_type();
    if system != nix::sys::statfs::DEVPTS_SUPER_MAGIC {
        return Err(StartError::Os(OsError { call: "open", subject: path.to_owned(), errno: Errno::ENOTTY }));
    }
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&found));
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    Ok(nix::fcntl::openat(AT_FDCWD, path.as_str(), flags, Mode::empty()).or_os("open", "/dev/pts/ptmx")?)
}

fn join(files: &[PathBuf]) -> Result<Vec<Step>, StartError> {
    files.iter().map(|file| Ok(Step::Write { file: text(file)?, text: c"0".to_owned() })).collect()
}

/// Which namespaces are new, and steps into those of others; also in whose PID namespace the process is born.
fn namespaces(request: &Request, steps: &mut Vec<Step>) -> (CloneFlags, Option<File>) {
    let mut new = CloneFlags::CLONE_NEWNS;
    let mut pid_namespace = None;
    let mut take = |namespace: &Namespace, flag: CloneFlags, of: &str| match namespace {
        Namespace::New => new |= flag,
        Namespace::Host => (),
        Namespace::Join(process) => {
            steps.push(Step::Join { namespaces: flag, of: File::new(of, process.clone()) });
        }
    };
    take(&request.ipc, CloneFlags::CLONE_NEWIPC, "another container");
    take(&request.uts, CloneFlags::CLONE_NEWUTS, "another container");
    let network = match &request.network {
        Network::Prepared | Network::Host => Namespace::Host,
        Network::New => Namespace::New,
        Network::Join(process) => Namespace::Join(process.clone()),
    };
    take(&network, CloneFlags::CLONE_NEWNET, "another container");
    match &request.pid {
        Namespace::New => new |= CloneFlags::CLONE_NEWPID,
        Namespace::Host => (),
        // Joining one takes effect for children only.
        Namespace::Join(process) => pid_namespace = Some(File::new("another container", process.clone())),
    }
    match &request.cgroup {
        // Not at clone: its root is the cgroup one is in when it is made.
        Namespace::New => steps.push(Step::Unshare(CloneFlags::CLONE_NEWCGROUP)),
        Namespace::Host => (),
        Namespace::Join(process) => {
            let of = File::new("another container", process.clone());
            steps.push(Step::Join { namespaces: CloneFlags::CLONE_NEWCGROUP, of });
        }
    }
    (new, pid_namespace)
}

fn limits(ulimits: &BTreeMap<String, Ulimit>) -> Result<Vec<Step>, StartError> {
    let number = |limit: i64| if limit < 0 { u64::MAX } else { limit.unsigned_abs() };
    ulimits
        .iter()
        .map(|(name, limit)| {
            let known = RESOURCES.iter().find(|(known, _)| known == name);
            let (_, resource) = known.ok_or_else(|| StartError::Invalid(format!("invalid ulimit type: {name}")))?;
            let (soft, hard) = (number(limit.soft), number(limit.hard));
            if soft > hard {
                return Err(StartError::Invalid(format!("error setting rlimit type {resource}: invalid argument")));
            }
            Ok(Step::Limit { resource: *resource, soft, hard })
        })
        .collect()
}

/// The last part of every program: gives up files and rights, and executes.
fn become_command(
    process: &Process,
    security: &Security,
    user: &Identity,
    hostname: &str,
    terminal: bool,
    init: Option<File>,
) -> Result<Vec<Step>, StartError> {
    let capabilities = capabilities::of(security)?;
    let filter = seccomp::filter(security, capabilities)?;
    let env = environment::merge(&process.env, hostname, terminal, &user.home);
    let name = process.argv.first().ok_or_else(|| StartError::Invalid("no command specified".to_owned()))?;

    // Before the working directory is entered: no file of ours may be a way there (`WORKDIR /proc/self/fd/7`).
    let mut steps =
        vec![Step::CloseOthers(init.clone()), Step::WorkingDirectory(working_directory(&process.working_dir)?)];
    if security.no_new_privileges {
        steps.push(Step::NoNewPrivileges);
    } else if let Some(filter) = &filter {
        // Loading one takes a right that is given up next; so what follows has to pass the filter.
        steps.push(Step::Filter(filter.clone()));
    }
    steps.push(Step::Bounding { keep: capabilities, last: capabilities::last() });
    steps.push(Step::Identity { uid: user.uid, gid: user.gid, groups: user.groups.clone() });
    steps.push(Step::Capabilities(if user.uid == 0 { capabilities } else { 0 }));
    if let (true, Some(filter)) = (security.no_new_privileges, filter) {
        steps.push(Step::Filter(filter));
    }
    let image = match &init {
        Some(init) => Image::Open(init.clone()),
        None => environment::command(name, &env)?,
    };
    let argv = init.iter().flat_map(|_| init::ARGUMENTS.map(str::to_owned)).chain(process.argv.iter().cloned());
    let argv = argv.map(text).collect::<Result<_, _>>()?;
    let env = env.iter().map(text).collect::<Result<_, _>>()?;
    steps.push(Step::Exec(Exec { image, argv, env }));
    Ok(steps)
}

fn working_directory(path: &str) -> Result<Vec<std::ffi::CString>, StartError> {
    if !path.starts_with('/') {
        return Err(StartError::Invalid(format!(
            "the working directory '{path}' is invalid, it needs to be an absolute path"
        )));
    }
    let mut prefix = String::new();
    let names = path.split('/').filter(|name| !name.is_empty() && *name != ".");
    names
        .map(|name| {
            prefix.push('/');
            prefix.push_str(name);
            text(&prefix)
        })
        .collect()
}
