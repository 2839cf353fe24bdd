//! A project of its own on the real runtime, driven through the engine's port.

use std::os::fd::OwnedFd;

use xcompose::engine::{
    ContainerConfig, ContainerId, ContainerState, Engine, LogChunk, LogQuery, ObservedContainer, ProcessIo, Stream,
    WaitFor,
};
use xcompose::runtime::Runtime;
use xcompose::runtime::layout::Layout;
use xcompose::values::names::ProjectName;

use crate::support::{Machine, PATIENCE, busybox_archive, eventually};

/// A machine with the image `busybox` and one project.
pub struct Stack {
    pub machine: Machine,
    pub runtime: Runtime,
    pub project: ProjectName,
    tokio: tokio::runtime::Runtime,
}

impl Stack {
    pub fn new(project: &str) -> Stack {
        let machine = Machine::new();
        let layout = Layout::new(machine.data(), machine.run());
        let runtime = Runtime::new(layout).with_program(env!("CARGO_BIN_EXE_xcompose"));
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let project = ProjectName::try_from(format!("{project}-{}", std::process::id())).unwrap();
        let stack = Stack { machine, runtime, project, tokio };
        let archive = std::fs::File::open(busybox_archive(&stack.machine.data())).unwrap();
        let name = "busybox".parse().unwrap();
        stack.wait(stack.runtime.import_image(OwnedFd::from(archive), Some(&name))).unwrap();
        stack
    }

    /// Drives a future to its end, failing when that takes too long.
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.tokio.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("it takes for ever") })
    }

    /// The configuration of a container that runs this script, without a network.
    pub fn config(&self, name: &str, script: &str) -> ContainerConfig {
        const PLAIN: &str = r#"{
            "name": "plain", "project": "plain", "slot": "", "labels": {}, "image": "busybox", "command": null,
            "entrypoint": null, "environment": {}, "working_dir": null, "user": null, "group_add": [],
            "hostname": null, "domainname": null, "init": false, "tty": false, "stdin_open": false,
            "stop_signal": null, "stop_grace_period": null, "restart": "no", "auto_remove": false,
            "healthcheck": null, "mounts": [], "read_only": false, "network": "none", "ports": [], "expose": [],
            "extra_hosts": [], "dns": {"servers": [], "search": null, "options": []},
            "security": {"privileged": false, "cap_add": [], "cap_drop": [], "no_new_privileges": false,
                "seccomp": "default", "unmasked": false},
            "resources": {"oom_kill_disable": false}, "sysctls": {}, "ulimits": {}, "devices": [],
            "device_cgroup_rules": [], "ipc": "private", "pid": "private", "uts": "private", "cgroup": "private",
            "cgroup_parent": null, "logging": {"driver": null, "options": {}}, "files": []
        }"#;
        let mut config: ContainerConfig = serde_json::from_str(PLAIN).unwrap();
        config.name = format!("{}-{name}", self.project).parse().unwrap();
        config.project = self.project.clone();
        config.slot = format!("{name}/1");
        config.entrypoint = Some(["sh", "-c", script].map(str::to_owned).to_vec());
        config
    }

    pub fn create(&self, config: &ContainerConfig) -> ContainerId {
        self.wait(self.runtime.create_container(config, None)).unwrap()
    }

    /// Makes and starts a container that runs this script.
    pub fn run(&self, name: &str, script: &str) -> ContainerId {
        let id = self.create(&self.config(name, script));
        self.wait(self.runtime.start_container(&id)).unwrap();
        id
    }

    pub fn observed(&self, id: &ContainerId) -> ObservedContainer {
        let observed = self.wait(self.runtime.observe(&self.project, &[])).unwrap();
        observed.containers.into_iter().find(|container| container.id == *id).expect("it is there")
    }

    pub fn exited(&self, id: &ContainerId) -> ContainerState {
        self.wait(self.runtime.wait_container(id, WaitFor::Exited)).unwrap()
    }

    pub fn pid(&self, id: &ContainerId) -> i32 {
        match self.observed(id).state {
            ContainerState::Running { pid, .. } => pid,
            other => panic!("it does not run: {other:?}"),
        }
    }

    pub fn log(&self, id: &ContainerId, query: &LogQuery) -> Vec<LogChunk> {
        self.wait(async {
            let mut receiver = self.runtime.logs(id, query).await.unwrap();
            let mut chunks = Vec::new();
            while let Some(chunk) = receiver.recv().await {
                chunks.push(chunk);
            }
            chunks
        })
    }

    pub fn output(&self, id: &ContainerId, stream: Stream) -> String {
        let chunks = self.log(id, &LogQuery::default()).into_iter().filter(|chunk| chunk.stream == stream);
        String::from_utf8(chunks.flat_map(|chunk| chunk.bytes).collect()).unwrap()
    }

    /// What a command prints in a running container, and its exit code.
    pub fn exec(&self, id: &ContainerId, command: &[&str]) -> (String, i32) {
        let (reader, writer) = std::io::pipe().unwrap();
        let config = xcompose::engine::ExecConfig {
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            ..Default::default()
        };
        let io = ProcessIo::Files { stdin: None, stdout: Some(writer.into()), stderr: None };
        let process = self.wait(self.runtime.exec(id, &config, io)).unwrap();
        let output = std::io::read_to_string(reader).unwrap();
        (output, self.wait(process.status).unwrap().unwrap())
    }

    /// Pids of the project's keeper and supervisor, as far as they live.
    pub fn ours(&self, role: &str) -> Vec<i32> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            if words.get(1) == Some(&role.as_bytes()) && words.get(2) == Some(&self.project.as_str().as_bytes()) {
                found.push(pid);
            }
        }
        found
    }

    /// Kills what plays this role, and waits until another one does.
    pub fn kill_and_see_another(&self, role: &str) {
        // A process that is about to become the supervisor is called as its parent for a moment.
        until(|| self.ours(role).len() == 1);
        let old = self.ours(role)[0];
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(old), nix::sys::signal::Signal::SIGKILL).unwrap();
        until(|| self.ours(role).iter().any(|pid| *pid != old));
    }

    /// Removes every container; then neither keeper nor supervisor may be left.
    pub fn down(&self) {
        self.wait(async {
            // What a test has let go of is closed by tasks.
            tokio::task::yield_now().await;
            let guard = self.runtime.lock(&self.project, &|_| {}).await.unwrap();
            for container in self.runtime.observe(&self.project, &[]).await.unwrap().containers {
                self.runtime.remove_container(&container.id, true, true).await.unwrap();
            }
            drop(guard);
        });
        assert_eq!(self.ours("--keeper"), [] as [i32; 0]);
        assert_eq!(self.ours("--supervisor"), [] as [i32; 0]);
        assert!(!self.machine.data().join("projects").join(self.project.as_str()).exists());
    }
}

/// Waits for something that tells nobody of itself: the death of a process, a line in a file.
pub fn until(mut holds: impl FnMut() -> bool) {
    eventually("what the test waits for", || holds().then_some(()));
}
