//! Every path we own on disk; nothing else spells one.
//!
//! ```text
//! DATA (/var/lib/xcompose, $XCOMPOSE_DATA)         lasts
//!   images/{blobs/sha256/HEX, layers/HEX, cache/KEY, partial/HEX, tmp, names.json, lock, hold}
//!   init                                            the topmost lower layer of every container
//!   volumes/NAME/{volume.json, _data}
//!   networks/{NAME.json, NAME.leases, loopback, lock}
//!   containers/NAME                                 a claimed name: holds the id
//!   projects/PROJECT/containers/ID/{container.json, state.json, upper, work, etc, log}
//! RUN (/run/xcompose, $XCOMPOSE_RUN)               gone at boot
//!   projects/PROJECT/{lock, control.lock, control.sock, version, events/{now, before, followers}}
//!   projects/PROJECT/ID.{stdout, stderr}
//!   networks/ID/CONTAINER.json                      an address in use and the names it answers to
//!   builds/ID/{hosts, hostname, resolv.conf}        a build that runs a command; locked while it lives
//! ```

use std::path::{Path, PathBuf};

use crate::engine::ContainerId;
use crate::values::names::{ContainerName, NetworkName, ProjectName, VolumeName};

/// Where things lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    data: PathBuf,
    run: PathBuf,
}

impl Layout {
    /// Below these two folders; nothing is made.
    pub fn new(data: impl Into<PathBuf>, run: impl Into<PathBuf>) -> Layout {
        Layout { data: data.into(), run: run.into() }
    }

    /// As the environment says: `XCOMPOSE_DATA` and `XCOMPOSE_RUN`, else the system's own folders.
    pub fn from_environment() -> Layout {
        let folder = |variable, default: &str| std::env::var_os(variable).map_or_else(|| default.into(), PathBuf::from);
        Layout::new(folder("XCOMPOSE_DATA", "/var/lib/xcompose"), folder("XCOMPOSE_RUN", "/run/xcompose"))
    }

    /// Root of what lasts.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Root of what is gone at boot.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// The image store.
    pub fn images(&self) -> PathBuf {
        self.data.join("images")
    }

    /// Lies topmost below every container: the places that are mounted over.
    pub fn init_layer(&self) -> PathBuf {
        self.data.join("init")
    }

    /// Every build that runs commands.
    pub fn builds(&self) -> PathBuf {
        self.run.join("builds")
    }

    /// Held by whoever watches a project's files.
    pub fn watch_lock(&self, project: &ProjectName) -> PathBuf {
        self.run.join("watch").join(project.as_str())
    }

    /// Every volume.
    pub fn volumes(&self) -> PathBuf {
        self.data.join("volumes")
    }

    /// One volume.
    pub fn volume(&self, name: &VolumeName) -> PathBuf {
        self.volumes().join(name.as_str())
    }

    /// Every network's record.
    pub fn networks(&self) -> PathBuf {
        self.data.join("networks")
    }

    /// One network's record.
    pub fn network(&self, name: &NetworkName) -> PathBuf {
        self.networks().join(format!("{name}.json"))
    }

    /// The addresses that a network's slots keep.
    pub fn leases(&self, name: &NetworkName) -> PathBuf {
        self.networks().join(format!("{name}.leases"))
    }

    /// Which projects have loopback addresses of their own; no network's record has this name.
    pub fn loopbacks(&self) -> PathBuf {
        self.networks().join("loopback")
    }

    /// Held while subnets are chosen: a folder, since every data folder of the machine has to agree on it.
    pub fn machine() -> &'static Path {
        Path::new("/run")
    }

    /// A folder for each network, by id: the addresses in use there.
    pub fn all_endpoints(&self) -> PathBuf {
        self.run.join("networks")
    }

    /// The addresses in use on one network.
    pub fn endpoints(&self, network: &str) -> PathBuf {
        self.all_endpoints().join(network)
    }

    /// Every claimed container name.
    pub fn names(&self) -> PathBuf {
        self.data.join("containers")
    }

    /// One claimed container name.
    pub fn name(&self, name: &ContainerName) -> PathBuf {
        self.names().join(name.as_str())
    }

    /// What a container claims its name with, for a moment.
    pub fn claim(&self, id: &ContainerId) -> PathBuf {
        self.names().join(format!(".{}", id.0))
    }

    /// Every project.
    pub fn projects(&self) -> PathBuf {
        self.data.join("projects")
    }

    /// One project.
    pub fn project(&self, project: &ProjectName) -> PathBuf {
        self.projects().join(project.as_str())
    }

    /// Every container of a project.
    pub fn containers(&self, project: &ProjectName) -> PathBuf {
        self.project(project).join("containers")
    }

    /// One container.
    pub fn container(&self, project: &ProjectName, id: &ContainerId) -> PathBuf {
        self.containers(project).join(&id.0)
    }

    /// What a container is made from.
    pub fn container_record(&self, project: &ProjectName, id: &ContainerId) -> PathBuf {
        self.container(project, id).join("container.json")
    }

    /// How a container stands.
    pub fn standing(&self, project: &ProjectName, id: &ContainerId) -> PathBuf {
        self.container(project, id).join("state.json")
    }

    /// A container's output.
    pub fn log(&self, project: &ProjectName, id: &ContainerId) -> PathBuf {
        self.container(project, id).join("log")
    }

    /// Held by the command that changes a project.
    pub fn project_lock(&self, project: &ProjectName) -> PathBuf {
        self.running(project).join("lock")
    }

    /// Held, shared, while somebody connects to the supervisor, and alone by who makes or takes away its socket.
    pub fn control_lock(&self, project: &ProjectName) -> PathBuf {
        self.running(project).join("control.lock")
    }

    /// The named pipes of a running container's output, so that it can be read again if all its readers were killed.
    pub fn pipes(&self, project: &ProjectName, id: &ContainerId) -> [PathBuf; 2] {
        ["stdout", "stderr"].map(|name| self.running(project).join(format!("{}.{name}", id.0)))
    }

    /// A container's `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`, which each start makes anew. Not below RUN: they are
    /// the container's to write to, and could fill that.
    pub fn etc(&self, project: &ProjectName, id: &ContainerId) -> [PathBuf; 3] {
        ["hosts", "hostname", "resolv.conf"].map(|name| self.container(project, id).join("etc").join(name))
    }

    /// What happened in a project since the machine was started.
    pub fn journal(&self, project: &ProjectName) -> PathBuf {
        self.running(project).join("events")
    }

    /// Held, shared, by whoever follows a project's events.
    pub fn followers(&self, project: &ProjectName) -> PathBuf {
        self.journal(project).join("followers")
    }

    /// What a project has only while it runs.
    pub fn running(&self, project: &ProjectName) -> PathBuf {
        self.run.join("projects").join(project.as_str())
    }

    /// Which version the supervisor is of.
    pub fn version(&self, project: &ProjectName) -> PathBuf {
        self.running(project).join("version")
    }

    /// Where the supervisor listens.
    pub fn control(&self, project: &ProjectName) -> PathBuf {
        self.running(project).join("control.sock")
    }
}
