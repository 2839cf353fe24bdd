//! The integrated engine.

pub mod build;
pub mod cgroup;
pub mod container;
pub mod image;
pub mod keeper;
pub mod layout;
pub mod network;
pub mod start;
pub mod store;
pub mod supervisor;
pub mod sys;
pub mod volume;
pub mod watch;

use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::engine::*;
use crate::runtime::layout::Layout;
use crate::values::image_ref::ImageRef;
use crate::values::names::{ContainerName, NetworkName, ProjectName, VolumeName};
use crate::values::signal::Signal;

/// The engine as a command holds it: what lies on disk it does itself, what runs it asks of the project's supervisor.
#[derive(Debug)]
pub struct Runtime {
    layout: Layout,
}

impl Runtime {
    /// The engine whose things lie where `layout` says; nothing is made yet.
    pub fn new(layout: Layout) -> Runtime {
        Runtime { layout }
    }

    fn missing<T>(&self, feature: &str) -> Result<T, EngineError> {
        let _ = &self.layout;
        Err(EngineError::Unsupported { subject: Subject::Machine, feature: feature.to_owned() })
    }
}

/// Runs this process as keeper or supervisor if its first argument says so; a command line otherwise (`None`).
pub fn role() -> Option<ExitCode> {
    None
}

#[async_trait]
impl Engine for Runtime {
    async fn observe(&self, _: &ProjectName, _: &[ImageRef]) -> Result<Observed, EngineError> {
        self.missing("observe")
    }
    async fn projects(&self) -> Result<Vec<ObservedProject>, EngineError> {
        self.missing("projects")
    }
    async fn lock(
        &self,
        _: &ProjectName,
        _: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Box<dyn Send + Sync>, EngineError> {
        self.missing("lock")
    }
    async fn create_network(&self, _: &NetworkConfig) -> Result<String, EngineError> {
        self.missing("create_network")
    }
    async fn remove_network(&self, _: &NetworkName) -> Result<(), EngineError> {
        self.missing("remove_network")
    }
    async fn create_volume(&self, _: &VolumeConfig) -> Result<(), EngineError> {
        self.missing("create_volume")
    }
    async fn remove_volume(&self, _: &VolumeName) -> Result<(), EngineError> {
        self.missing("remove_volume")
    }
    async fn create_container(&self, _: &ContainerConfig, _: Option<&ContainerId>) -> Result<ContainerId, EngineError> {
        self.missing("create_container")
    }
    async fn rename_container(&self, _: &ContainerId, _: &ContainerName) -> Result<(), EngineError> {
        self.missing("rename_container")
    }
    async fn start_container(&self, _: &ContainerId) -> Result<(), EngineError> {
        self.missing("start_container")
    }
    async fn stop_container(&self, _: &ContainerId, _: Option<Duration>) -> Result<(), EngineError> {
        self.missing("stop_container")
    }
    async fn kill_container(&self, _: &ContainerId, _: Signal) -> Result<(), EngineError> {
        self.missing("kill_container")
    }
    async fn restart_container(&self, _: &ContainerId, _: Option<Duration>) -> Result<(), EngineError> {
        self.missing("restart_container")
    }
    async fn pause_container(&self, _: &ContainerId, _: bool) -> Result<(), EngineError> {
        self.missing("pause_container")
    }
    async fn remove_container(&self, _: &ContainerId, _: bool, _: bool) -> Result<(), EngineError> {
        self.missing("remove_container")
    }
    async fn wait_container(&self, _: &ContainerId, _: WaitFor) -> Result<ContainerState, EngineError> {
        self.missing("wait_container")
    }
    async fn logs(&self, _: &ContainerId, _: &LogQuery) -> Result<mpsc::Receiver<LogChunk>, EngineError> {
        self.missing("logs")
    }
    async fn events(&self, _: &ProjectName) -> Result<mpsc::Receiver<Event>, EngineError> {
        self.missing("events")
    }
    async fn exec(&self, _: &ContainerId, _: &ExecConfig, _: ProcessIo) -> Result<Process, EngineError> {
        self.missing("exec")
    }
    async fn start_attached(&self, _: &ContainerId, _: ProcessIo) -> Result<Process, EngineError> {
        self.missing("start_attached")
    }
    async fn top(&self, _: &ContainerId) -> Result<Vec<ProcessRow>, EngineError> {
        self.missing("top")
    }
    async fn images(&self) -> Result<Vec<ObservedImage>, EngineError> {
        self.missing("images")
    }
    async fn build(&self, _: &BuildConfig, _: mpsc::Sender<Progress>) -> Result<ImageId, EngineError> {
        self.missing("build")
    }
    async fn import_image(&self, _: OwnedFd, _: Option<&ImageRef>) -> Result<ImageId, EngineError> {
        self.missing("import_image")
    }
    async fn load_images(&self, _: OwnedFd) -> Result<Vec<ImageRef>, EngineError> {
        self.missing("load_images")
    }
    async fn save_images(&self, _: &[ImageRef], _: OwnedFd) -> Result<(), EngineError> {
        self.missing("save_images")
    }
    async fn tag_image(&self, _: &ImageRef, _: &ImageRef) -> Result<(), EngineError> {
        self.missing("tag_image")
    }
    async fn remove_image(&self, _: &str, _: bool) -> Result<Vec<String>, EngineError> {
        self.missing("remove_image")
    }
}
