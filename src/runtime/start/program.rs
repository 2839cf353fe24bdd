//! The steps between clone and exec, with every string, file and filter prepared beforehand.
//!
//! The order is the sandbox, so a program prints as text: one line a step.

use std::ffi::{CString, OsStr};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use nix::mount::MsFlags;
use nix::sched::CloneFlags;

use crate::runtime::start::StartError;

/// What the new process does until it is the container's own.
#[derive(Debug)]
pub struct Program {
    /// Namespaces it is born in, new ones.
    pub namespaces: CloneFlags,
    /// The process in whose PID namespace it is born.
    pub pid_namespace: Option<File>,
    /// In order; the last one is [`Step::Exec`].
    pub steps: Vec<Step>,
    /// The root file system.
    pub root: Option<Arc<OwnedFd>>,
    /// The other end of its terminal.
    pub terminal: Option<OwnedFd>,
}

/// An open file with a name for people.
#[derive(Debug, Clone)]
pub struct File {
    /// What it is.
    pub name: String,
    /// The descriptor, 3 or above.
    pub fd: Arc<OwnedFd>,
}

impl File {
    /// Names a descriptor.
    pub fn new(name: impl Into<String>, fd: impl Into<Arc<OwnedFd>>) -> File {
        File { name: name.into(), fd: fd.into() }
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A place below the container's root, reached without ever leaving it.
#[derive(Debug, Clone)]
pub struct Target {
    /// Each folder on the way and the place itself, relative to the root: `a`, `a/b`, `a/b/c`.
    pub prefixes: Vec<CString>,
    /// The last component of each.
    pub names: Vec<CString>,
    /// What to make where nothing is.
    pub kind: Kind,
    /// Whether symbolic links count, inside the root.
    pub links: Links,
}

/// What to make where nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder, mode 755.
    Folder,
    /// An empty file.
    File,
}

/// Whether symbolic links count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// As the container sees them; never to a place below `/proc`.
    Follow,
    /// The step fails: the place has to be an ordinary one.
    Refuse,
}

impl Target {
    /// From an absolute path; `..` and a zero byte have no place in it.
    pub fn new(path: &str, kind: Kind, links: Links) -> Result<Target, StartError> {
        let wrong = || StartError::Invalid(format!("invalid mount path: '{path}'"));
        let mut target = Target { prefixes: Vec::new(), names: Vec::new(), kind, links };
        let mut prefix = String::new();
        for name in path.split('/').filter(|name| !name.is_empty() && *name != ".") {
            if name == ".." {
                return Err(wrong());
            }
            if !prefix.is_empty() {
                prefix.push('/');
            }
            prefix.push_str(name);
            target.prefixes.push(CString::new(prefix.as_str()).map_err(|_| wrong())?);
            target.names.push(CString::new(name).map_err(|_| wrong())?);
        }
        if !path.starts_with('/') || target.names.is_empty() { Err(wrong()) } else { Ok(target) }
    }
}

/// One thing the new process does.
#[derive(Debug)]
pub enum Step {
    /// Writes into an existing file of the host.
    Write {
        /// Absolute.
        file: CString,
        /// Written in one call.
        text: CString,
    },
    /// Joins the namespaces of the process behind a pidfd.
    Join {
        /// Which.
        namespaces: CloneFlags,
        /// Whose.
        of: File,
    },
    /// Gets new namespaces.
    Unshare(CloneFlags),
    /// No mount made from here on is seen outside, and none made outside is seen here.
    PrivateMounts,
    /// Takes the mount at `/dev/shm` of the container of a process, for [`Step::PlaceShm`].
    BorrowShm(File),
    /// Places the root file system over a folder of the host, and works in it from here on.
    Root {
        /// The file system.
        tree: File,
        /// A folder of the host.
        over: CString,
    },
    /// Places a mount that is ready.
    Place {
        /// The mount.
        tree: File,
        /// Where.
        at: Target,
    },
    /// Places what [`Step::BorrowShm`] took.
    PlaceShm(Target),
    /// Mounts a file system that shows this process's own namespaces.
    Mount {
        /// `proc`, `sysfs`, `mqueue`, `cgroup2`.
        kind: CString,
        /// Where.
        at: Target,
        /// How.
        flags: MsFlags,
    },
    /// Shows one place of the container at another as well.
    Bind {
        /// This place.
        from: Target,
        /// There.
        at: Target,
    },
    /// Hides a file behind a null device, or a folder behind an empty one; nothing if there is neither.
    Mask {
        /// What is hidden.
        at: Target,
        /// `/dev/null`.
        null: File,
    },
    /// Makes a place read-only; nothing if there is none.
    ReadOnly(Target),
    /// Makes the root file system itself read-only.
    RootReadOnly,
    /// Makes the root file system this process's root, and forgets the old one.
    Pivot,
    /// Names the UTS namespace.
    HostName(CString),
    /// Names its domain.
    DomainName(CString),
    /// Sets a limit.
    Limit {
        /// The kernel's number.
        resource: u32,
        /// What is enforced.
        soft: u64,
        /// What it may be raised to.
        hard: u64,
    },
    /// Leads a session of its own.
    Session,
    /// Standard streams.
    Streams([File; 3]),
    /// Takes standard input as the controlling terminal.
    Terminal,
    /// Closes all but the standard streams (and this one).
    CloseOthers(Option<File>),
    /// Goes to the working directory, made if missing: each folder on the way and the place itself.
    WorkingDirectory(Vec<CString>),
    /// Set-user-id programs gain nothing.
    NoNewPrivileges,
    /// Loads the system call filter.
    Filter(Arc<Vec<nix::libc::sock_filter>>),
    /// Drops everything but these from the bounding set, up to the kernel's last.
    Bounding {
        /// What stays, a bit each.
        keep: u64,
        /// The kernel's last capability.
        last: u32,
    },
    /// Becomes this user.
    Identity {
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
        /// All groups.
        groups: Vec<u32>,
    },
    /// Has these capabilities, and inherits none.
    Capabilities(u64),
    /// Is ended when the thread that started it ends.
    DieWithParent,
    /// Runs the command.
    Exec(Exec),
}

/// The command.
#[derive(Debug)]
pub struct Exec {
    /// Which file.
    pub image: Image,
    /// Arguments, the name first.
    pub argv: Vec<CString>,
    /// Environment.
    pub env: Vec<CString>,
}

/// Which file is executed.
#[derive(Debug)]
pub enum Image {
    /// The first of these that can be: the command looked for in `PATH`.
    Search(Vec<CString>),
    /// This one.
    Path(CString),
    /// One that is open.
    Open(File),
}

/// Whose child the new process becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parentage {
    /// The caller's; the caller has to reap it.
    Child,
    /// The caller's parent's, which has to reap it (also when the start failed and nobody was told its pid).
    Sibling,
}

impl fmt::Display for Program {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "clone with new {}", names(self.namespaces))?;
        if let Some(process) = &self.pid_namespace {
            writeln!(out, "  in the PID namespace of {}", process.name)?;
        }
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(out, "{number:>3} {step}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "/{}", self.prefixes.last().map_or_else(Default::default, |path| path.to_string_lossy()))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Write { file, text } => write!(out, "write {:?} to {}", text.to_string_lossy(), shown(file)),
            Step::Join { namespaces, of } => write!(out, "join {} of {}", names(*namespaces), of.name),
            Step::Unshare(namespaces) => write!(out, "unshare {}", names(*namespaces)),
            Step::PrivateMounts => write!(out, "make all mounts private"),
            Step::BorrowShm(of) => write!(out, "borrow /dev/shm of {}", of.name),
            Step::Root { tree, over } => write!(out, "work in {}, placed over {}", tree.name, shown(over)),
            Step::Place { tree, at } => write!(out, "place {} at {at}", tree.name),
            Step::PlaceShm(at) => write!(out, "place the borrowed shared memory at {at}"),
            Step::Mount { kind, at, flags } => write!(out, "mount {} at {at} {}", shown(kind), words(*flags)),
            Step::Bind { from, at } => write!(out, "bind {from} at {at}"),
            Step::Mask { at, .. } => write!(out, "mask {at}"),
            Step::ReadOnly(at) => write!(out, "read-only {at}"),
            Step::RootReadOnly => write!(out, "read-only /"),
            Step::Pivot => write!(out, "pivot"),
            Step::HostName(name) => write!(out, "host name {}", shown(name)),
            Step::DomainName(name) => write!(out, "domain name {}", shown(name)),
            Step::Limit { resource, soft, hard } => write!(out, "limit {resource} to {soft}:{hard}"),
            Step::Session => write!(out, "new session"),
            Step::Streams([stdin, stdout, stderr]) => {
                write!(out, "streams {}, {}, {}", stdin.name, stdout.name, stderr.name)
            }
            Step::Terminal => write!(out, "controlling terminal"),
            Step::CloseOthers(None) => write!(out, "close all other files"),
            Step::CloseOthers(Some(but)) => write!(out, "close all other files but {}", but.name),
            Step::WorkingDirectory(path) => {
                write!(out, "working directory {}", path.last().map_or_else(|| "/".into(), shown))
            }
            Step::NoNewPrivileges => write!(out, "no new privileges"),
            Step::Filter(filter) => write!(out, "filter system calls ({} instructions)", filter.len()),
            Step::Bounding { keep, .. } => write!(out, "bound capabilities by {keep:016x}"),
            Step::Identity { uid, gid, groups } => write!(out, "user {uid}, group {gid}, groups {groups:?}"),
            Step::Capabilities(set) => write!(out, "capabilities {set:016x}"),
            Step::DieWithParent => write!(out, "die with the parent"),
            Step::Exec(exec) => {
                let image = match &exec.image {
                    Image::Search(paths) => paths.iter().map(shown).collect::<Vec<_>>().join(" or "),
                    Image::Path(path) => shown(path),
                    Image::Open(file) => file.name.clone(),
                };
                write!(out, "exec {image}: {:?}", exec.argv.iter().map(shown).collect::<Vec<_>>())
            }
        }
    }
}

fn shown(text: &CString) -> String {
    text.to_string_lossy().into_owned()
}

fn names(namespaces: CloneFlags) -> String {
    let names = namespaces.iter_names().map(|(name, _)| name.trim_start_matches("CLONE_NEW").to_lowercase());
    names.collect::<Vec<_>>().join(" ")
}

fn words(flags: MsFlags) -> String {
    flags.iter_names().map(|(name, _)| name.trim_start_matches("MS_").to_lowercase()).collect::<Vec<_>>().join(" ")
}

/// A text for the kernel; a zero byte in it is the configuration's fault.
pub fn text(of: impl AsRef<OsStr>) -> Result<CString, StartError> {
    CString::new(of.as_ref().as_bytes())
        .map_err(|_| StartError::Invalid(format!("{:?} contains a zero byte", Path::new(of.as_ref()))))
}
