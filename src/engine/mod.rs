//! The port between what is wanted and what does it: one trait, plain data, no Compose and no kernel.
//!
//! A planner reads [`Observed`] and writes calls of [`Engine`]; an engine has never heard of Compose files. Labels carry
//! what the caller wants to find again. Containers belong to a project because a project is the unit that lives and dies
//! together: it has one keeper and one supervisor.

mod build;
mod connection;
mod container;
mod copy;
mod error;
mod event;
mod image;
mod limits;
mod mount;
mod names;
mod observed;
mod output;
mod process;
mod readiness;
mod resource;
mod story;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::values::image_ref::ImageRef;
use crate::values::names::{ContainerName, NetworkName, ProjectName, VolumeName};
use crate::values::platform::Platform;
use crate::values::signal::Signal;

pub use build::{
    BuildConfig, BuildSecret, CacheExtent, CacheStore, ContextSource, DockerfileSource, Entitlement, Progress,
    SecretSource,
};
pub use connection::{Attachment, DnsConfig, NetworkMode, PortMapping};
pub use container::{ContainerConfig, Device, InjectedFile, Logging, NamespaceMode};
pub use copy::{CopyOptions, CopyOwner, Outside, Parents, SourceLink};
pub use error::{Cause, EngineError, Subject};
pub use event::{Event, EventAction, EventQuery};
pub use image::{CommitConfig, DiskUse, ImageDetail, LoggedIn, Pruned, Pulled, Pushed, Share};
pub use limits::{Resources, Seccomp, Security};
pub use mount::{Mount, MountSource};
pub use names::{Question, Resolution};
pub use observed::{
    ContainerId, ContainerState, Endpoint, ImageId, NetworkTrouble, Observed, ObservedContainer, ObservedImage,
    ObservedNetwork, ObservedProject, ObservedVolume, PublishedPort,
};
pub use output::{LogChunk, LogQuery, Stream};
pub use process::{Attended, ExecConfig, Process, ProcessIo, ProcessRow, Usage};
pub use readiness::{Readiness, Sign};
pub use resource::{AddressPool, NetworkConfig, VolumeConfig};
pub use story::{Memory, Probe, Rest, Stopped, Story};

/// Labels as Docker has them.
pub type Labels = BTreeMap<String, String>;

/// An engine: does things and says how things are; decides nothing.
///
/// Every method may be called from several processes at once. A method that changes something returns when the change
/// holds; if its future is dropped the change is finished or undone by the engine.
#[async_trait]
pub trait Engine: Send + Sync {
    /// How the project stands; `images` are the names to look up besides.
    async fn observe(&self, project: &ProjectName, images: &[ImageRef]) -> Result<Observed, EngineError>;

    /// Every project with containers.
    async fn projects(&self) -> Result<Vec<ObservedProject>, EngineError>;

    /// Waits until this process alone may change the project, and holds that until the guard is dropped.
    /// `waiting` is called once, with the holder in words, when somebody else holds it.
    async fn lock(
        &self,
        project: &ProjectName,
        waiting: &(dyn for<'a> Fn(&'a str) + Send + Sync),
    ) -> Result<Box<dyn Send + Sync>, EngineError>;

    /// The loopback address that is a project's own for as long as it has containers that publish on it.
    fn loopback(&self, project: &ProjectName) -> Result<IpAddr, EngineError> {
        let subject = Subject::Project(project.to_string());
        Err(EngineError::Unsupported { subject, feature: "a loopback address for each project".to_owned() })
    }

    /// Every network of the machine.
    async fn networks(&self) -> Result<Vec<ObservedNetwork>, EngineError> {
        Err(EngineError::Unsupported { subject: Subject::Machine, feature: "a list of networks".to_owned() })
    }

    /// Makes a network; `Exists` if the name is taken.
    async fn create_network(&self, config: &NetworkConfig) -> Result<String, EngineError>;
    /// Removes a network by name; `InUse` while containers are connected.
    async fn remove_network(&self, name: &NetworkName) -> Result<(), EngineError>;

    /// Makes a volume; the existing one stays as it is.
    async fn create_volume(&self, config: &VolumeConfig) -> Result<(), EngineError>;
    /// Removes a volume and its data; `InUse` while a container has it.
    async fn remove_volume(&self, name: &VolumeName) -> Result<(), EngineError>;

    /// Makes a container; anonymous volumes at the same targets are taken over from `inherit`.
    async fn create_container(
        &self,
        config: &ContainerConfig,
        inherit: Option<&ContainerId>,
    ) -> Result<ContainerId, EngineError>;
    /// Gives a container another name.
    async fn rename_container(&self, id: &ContainerId, name: &ContainerName) -> Result<(), EngineError>;
    /// Starts a container; returns when its command runs. Nothing happens if it runs already.
    async fn start_container(&self, id: &ContainerId) -> Result<(), EngineError>;
    /// Sends the stop signal, waits for the grace period (`None`: the container's own) and then kills. Nothing if stopped.
    async fn stop_container(
        &self,
        id: &ContainerId,
        grace: Option<Duration>,
        rest: Rest,
    ) -> Result<Stopped, EngineError>;
    /// Sends a signal to process 1; returns after its end if it is SIGKILL.
    async fn kill_container(&self, id: &ContainerId, signal: Signal) -> Result<(), EngineError>;
    /// Stops, then starts.
    async fn restart_container(&self, id: &ContainerId, grace: Option<Duration>) -> Result<(), EngineError>;
    /// Freezes or thaws.
    async fn pause_container(&self, id: &ContainerId, paused: bool) -> Result<(), EngineError>;
    /// Removes a container (killing it with `force`), and its anonymous volumes if asked.
    async fn remove_container(&self, id: &ContainerId, force: bool, volumes: bool) -> Result<(), EngineError>;

    /// Resolves with the state when the container next satisfies `until`; `NotFound` if it is removed before.
    async fn wait_container(&self, id: &ContainerId, until: WaitFor) -> Result<ContainerState, EngineError>;
    /// Waits until a container gives a sign of being ready. `false`: it rests, and gives none any more.
    async fn await_sign(&self, id: &ContainerId, sign: &Sign) -> Result<bool, EngineError> {
        let feature = format!("to wait until {sign}");
        Err(EngineError::Unsupported { subject: Subject::Container(id.short().to_owned()), feature })
    }
    /// A container's output, in order. The receiver ends when there is no more to come.
    async fn logs(&self, id: &ContainerId, query: &LogQuery) -> Result<mpsc::Receiver<LogChunk>, EngineError>;
    /// What happens in a project. The subscription holds when this returns. It ends with the time that the query names, or
    /// when whoever watches over the project is gone: look at how things stand, then ask again.
    async fn events(&self, project: &ProjectName, query: &EventQuery) -> Result<mpsc::Receiver<Event>, EngineError>;
    /// What is known of a container besides its state.
    async fn story(&self, id: &ContainerId) -> Result<Story, EngineError>;
    /// What the running containers of a project are told when they ask for names.
    async fn names(&self, project: &ProjectName) -> Result<Vec<Resolution>, EngineError> {
        Err(no_names(project))
    }
    /// The last questions that they asked, and with `follow` those to come.
    async fn questions(&self, project: &ProjectName, follow: bool) -> Result<mpsc::Receiver<Question>, EngineError> {
        let _ = follow;
        Err(no_names(project))
    }
    /// Runs one more process in a running container.
    async fn exec(&self, id: &ContainerId, config: &ExecConfig, io: ProcessIo) -> Result<Process, EngineError>;
    /// Starts a created container with these streams in place of its log (`run`, `attach` from the start).
    async fn start_attached(&self, id: &ContainerId, io: ProcessIo) -> Result<Process, EngineError>;
    /// The end of a running container's standard input that is written to: its terminal, or a pipe. `None` if it has none.
    async fn input(&self, id: &ContainerId) -> Result<Option<OwnedFd>, EngineError>;
    /// Takes the terminal of a process that its user has left, so that it goes on: what it writes is read, and kept if it is
    /// the container's first.
    async fn leave(&self, id: &ContainerId, process: Attended, terminal: OwnedFd) -> Result<(), EngineError>;
    /// The container's processes.
    async fn top(&self, id: &ContainerId) -> Result<Vec<ProcessRow>, EngineError>;
    /// What a running container uses now.
    async fn usage(&self, id: &ContainerId) -> Result<Usage, EngineError>;

    /// Copies to a path in a container, running or not; nothing there can lead the copy elsewhere.
    async fn copy_into(
        &self,
        id: &ContainerId,
        source: Outside,
        target: &str,
        options: CopyOptions,
    ) -> Result<(), EngineError>;
    /// Copies from a path in a container, running or not.
    async fn copy_from(
        &self,
        id: &ContainerId,
        source: &str,
        target: Outside,
        options: CopyOptions,
    ) -> Result<(), EngineError>;
    /// Removes what is at these paths in a container; nothing there is fine.
    async fn remove_files(&self, id: &ContainerId, paths: &[String]) -> Result<(), EngineError>;

    /// Every image of the store.
    async fn images(&self) -> Result<Vec<ObservedImage>, EngineError>;
    /// Gets an image from its registry; one that is there already as the registry has it is as good. `None`: for this machine.
    /// Layers are told of as steps.
    async fn pull(
        &self,
        image: &ImageRef,
        platform: Option<&Platform>,
        progress: mpsc::Sender<Progress>,
    ) -> Result<Pulled, EngineError>;
    /// Sends an image to its registry. Layers are told of as steps.
    async fn push(&self, image: &ImageRef, progress: mpsc::Sender<Progress>) -> Result<Pushed, EngineError>;
    /// Has a registry check a name and a password, and keeps them for it.
    async fn login(&self, registry: &str, user: &str, password: &str) -> Result<LoggedIn, EngineError>;
    /// Forgets what a registry knows us by. Returns whether it was known.
    async fn logout(&self, registry: &str) -> Result<bool, EngineError>;
    /// Builds an image.
    async fn build(&self, config: &BuildConfig, progress: mpsc::Sender<Progress>) -> Result<ImageId, EngineError>;
    /// Makes an image from an archive of a root file system.
    async fn import_image(&self, archive: OwnedFd, name: Option<&ImageRef>) -> Result<ImageId, EngineError>;
    /// Reads images from a `docker save` archive or an OCI layout archive.
    async fn load_images(&self, archive: OwnedFd) -> Result<Vec<ImageRef>, EngineError>;
    /// Writes images as an archive that Docker and OCI tools read.
    async fn save_images(&self, images: &[ImageRef], archive: OwnedFd) -> Result<(), EngineError>;
    /// Gives an image a further name.
    async fn tag_image(&self, image: &ImageRef, name: &ImageRef) -> Result<(), EngineError>;
    /// Takes a name away, and the image with its last name. Returns what was done, a line each (`Untagged: …`, `Deleted: …`).
    async fn remove_image(&self, image: &str, force: bool) -> Result<Vec<String>, EngineError>;
    /// Looks into an image, by name, identity or the beginning of one.
    async fn inspect_image(&self, image: &str) -> Result<ImageDetail, EngineError>;
    /// Removes images that have no name (with `all`: every one) and that no container uses, and what builds and pulls have left.
    async fn prune_images(&self, all: bool) -> Result<Pruned, EngineError>;
    /// Makes an image from what a container has changed.
    async fn commit_container(&self, id: &ContainerId, config: &CommitConfig) -> Result<ImageId, EngineError>;
    /// Writes a container's file system as an archive.
    async fn export_container(&self, id: &ContainerId, archive: OwnedFd) -> Result<(), EngineError>;
    /// What lies on disk.
    async fn disk_use(&self) -> Result<DiskUse, EngineError>;
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitFor {
    /// It runs no more and will not be started again by its policy. Holds at once if that is so already.
    Exited,
    /// It is healthy or unhealthy, or has ended and will not be started again by its policy. Without a health check: at once.
    HealthKnown,
    /// It has been removed; resolves with its last state.
    Removed,
}

/// For engines that do not tell how names resolve in their containers.
fn no_names(project: &ProjectName) -> EngineError {
    let feature = "to tell how names resolve".to_owned();
    EngineError::Unsupported { subject: Subject::Project(project.to_string()), feature }
}
