//! A container without an engine: a busybox root file system, a request to change, the output of what ran.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use xcompose::engine::{ProcessIo, Security};
use xcompose::runtime::start::process::Started;
use xcompose::runtime::start::program::Parentage;
use xcompose::runtime::start::request::{
    CgroupView, Durability, EtcFiles, Namespace, Network, Process, Request, Rootfs, SHM_SIZE, Shm,
};
use xcompose::runtime::start::{StartError, compile, rootfs};

/// A folder with a root file system in it, removed in the end.
pub struct Sandbox {
    folder: tempfile::TempDir,
}

/// What a process left.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// Exit code, or 128 and the signal.
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// What it printed; it has to have ended well.
    pub fn ok(self) -> String {
        assert!(self.status == 0, "{self:?}");
        self.stdout
    }
}

impl Sandbox {
    pub fn new() -> Sandbox {
        let sandbox = Sandbox { folder: tempfile::tempdir().unwrap() };
        for folder in ["upper", "work", "image/bin", "image/etc", "image/tmp", "image/root", "image/home/web"] {
            fs::create_dir_all(sandbox.path(folder)).unwrap();
        }
        rootfs::make_init_layer(&sandbox.path("init")).unwrap();
        fs::copy("/usr/bin/busybox", sandbox.path("image/bin/busybox")).expect("busybox-static is installed");
        for applet in APPLETS {
            symlink("busybox", sandbox.path("image/bin").join(applet)).unwrap();
        }
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/home/web:/bin/sh\n";
        fs::write(sandbox.path("image/etc/passwd"), passwd).unwrap();
        fs::write(sandbox.path("image/etc/group"), "root:x:0:\nweb:x:1000:\nlog:x:44:web\n").unwrap();
        sandbox
    }

    /// A path in its folder: `image`, `upper`, …
    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// A request like any container's, running this in its shell.
    pub fn shell(&self, script: &str) -> Request {
        self.request(&["/bin/sh", "-c", script])
    }

    pub fn request(&self, argv: &[&str]) -> Request {
        Request {
            rootfs: Rootfs {
                lower: vec![self.path("init"), self.path("image")],
                upper: self.path("upper"),
                work: self.path("work"),
                durability: Durability::Volatile,
                read_only: false,
            },
            process: Process {
                argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
                env: Vec::new(),
                working_dir: "/".to_owned(),
                user: None,
                groups: Vec::new(),
                security: Security::default(),
            },
            hostname: "box".to_owned(),
            domainname: None,
            init: None,
            mounts: Vec::new(),
            files: Vec::new(),
            etc: EtcFiles::default(),
            network: Network::New,
            ipc: Namespace::New,
            shm: Shm::Size(SHM_SIZE),
            pid: Namespace::New,
            uts: Namespace::New,
            cgroup: Namespace::Host,
            devices: Vec::new(),
            sysctls: BTreeMap::new(),
            ulimits: BTreeMap::new(),
            oom_score_adj: None,
            join: Vec::new(),
            cgroup_view: CgroupView::Empty,
            io: ProcessIo::Files { stdin: None, stdout: None, stderr: None },
        }
    }

    /// Runs it to its end.
    pub fn run(&self, mut request: Request) -> Result<Ended, StartError> {
        let (stdout, to_stdout) = std::io::pipe().unwrap();
        let (stderr, to_stderr) = std::io::pipe().unwrap();
        if let ProcessIo::Files { stdout, stderr, .. } = &mut request.io {
            *stdout = Some(to_stdout.into());
            *stderr = Some(to_stderr.into());
        }
        let program = compile(&request)?;
        drop(request.io);
        let started = program.run(Parentage::Child)?;
        // The two pipes hold all that these tests print, so reading one after the other can't block the container.
        let text = |pipe: std::io::PipeReader| {
            let mut bytes = Vec::new();
            File::from(OwnedFd::from(pipe)).read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (stdout, stderr) = (text(stdout), text(stderr));
        Ok(Ended { status: wait(&started), stdout, stderr })
    }

    /// Runs a script to its end.
    pub fn sh(&self, script: &str) -> Ended {
        self.run(self.shell(script)).unwrap()
    }
}

/// The exit code, or 128 and the signal, once it has ended.
pub fn wait(started: &Started) -> i32 {
    match waitid(Id::PIDFd(started.pidfd.as_fd()), WaitPidFlag::WEXITED).unwrap() {
        WaitStatus::Exited(_, code) => code,
        WaitStatus::Signaled(_, signal, _) => 128 + signal as i32,
        other => panic!("{other:?}"),
    }
}

const APPLETS: [&str; 40] = [
    "sh", "cat", "ls", "id", "mount", "umount", "mknod", "echo", "env", "pwd", "hostname", "ps", "sleep", "true",
    "false", "readlink", "stat", "touch", "mkdir", "grep", "ip", "dd", "kill", "tty", "stty", "chroot", "date", "ln",
    "rm", "head", "sort", "uname", "unshare", "nsenter", "ulimit", "dmesg", "chown", "chmod", "test", "wc",
];
