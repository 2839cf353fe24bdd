//! The integrated engine.
//!
//! What lies on disk (images, volumes, networks, containers at rest) is done right here, in the command's process and
//! under locks. What runs is asked of the project's [supervisor], which a [keeper] keeps alive; logs are read from disk.

pub mod build;
pub mod cgroup;
mod client;
pub mod container;
mod disk_use;
pub mod git;
mod history;
pub mod image;
mod journal;
pub mod keeper;
pub mod layout;
mod lifecycle;
mod lookups;
pub mod network;
mod observe;
mod processes;
mod project_lock;
mod readiness;
pub mod start;
pub mod store;
pub mod supervisor;
pub mod sys;
mod version;
pub mod volume;
pub mod watch;

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc};

use crate::engine::*;
use crate::runtime::build::under_way::UnderWay;
use crate::runtime::client::Client;
use crate::runtime::container::record::{Container, Standing};
use crate::runtime::container::{commit, copy, create, find, log, remove, rename};
use crate::runtime::image::store::Store;
use crate::runtime::layout::Layout;
use crate::runtime::network::Networks;
use crate::runtime::supervisor::control::{Answer, Request};
use crate::runtime::volume::Volumes;
use crate::values::image_ref::ImageRef;
use crate::values::names::{ContainerName, NetworkName, ProjectName, VolumeName};
use crate::values::platform::Platform;
use crate::values::signal::Signal;

/// The engine as a command holds it.
#[derive(Debug, Clone)]
pub struct Runtime {
    layout: Layout,
    client: Client,
    /// Layers that may come in at once.
    downloads: Arc<Semaphore>,
    builds: Arc<UnderWay>,
}

/// Runs this process as keeper or supervisor if its first argument says so; a command line otherwise (`None`).
pub fn role() -> Option<ExitCode> {
    if let Some(code) = start::init::role() {
        return Some(code);
    }
    let mut arguments = std::env::args_os().skip(1);
    let role = arguments.next()?;
    let run = match role.to_str()? {
        keeper::LAUNCHER => keeper::launcher_main,
        keeper::KEEPER => keeper::main,
        keeper::SUPERVISOR => supervisor::main,
        _ => return None,
    };
    let project = arguments.next().and_then(|project| ProjectName::try_from(project.to_str()?).ok());
    Some(project.map_or(ExitCode::FAILURE, |project| run(&Layout::from_environment(), &project)))
}

impl Runtime {
    /// The engine whose things lie where `layout` says; nothing is made yet.
    pub fn new(layout: Layout) -> Runtime {
        let client = Client { layout: layout.clone(), program: keeper::SELF.into() };
        let downloads = Arc::new(Semaphore::new(image::pull::DOWNLOADS));
        Runtime { client, layout, downloads, builds: Arc::new(UnderWay::new()) }
    }

    /// The same, with keepers started from another copy of this program: for callers that are not it themselves.
    pub fn with_program(mut self, program: impl Into<PathBuf>) -> Runtime {
        self.client.program = program.into();
        self
    }

    /// Does something that blocks where it holds nobody up.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Layout) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let layout = self.layout.clone();
        tokio::task::spawn_blocking(move || work(&layout)).await.unwrap_or_else(|error| {
            Err(EngineError::Failed { verb: "use", subject: Subject::Machine, source: Box::new(error) })
        })
    }

    fn project_of(&self, id: &ContainerId) -> Result<ProjectName, EngineError> {
        find::by_id(&self.layout, id)?.ok_or_else(|| missing(id))
    }

    fn load(&self, id: &ContainerId) -> Result<(ProjectName, Container, Standing), EngineError> {
        let project = self.project_of(id)?;
        let (container, standing) = find::load(&self.layout, &project, id)?.ok_or_else(|| missing(id))?;
        Ok((project, container, standing))
    }

    /// A container as it stands.
    fn observed(&self, id: &ContainerId) -> Result<ObservedContainer, EngineError> {
        let (_, container, standing) = self.load(id)?;
        Ok(container.observed(standing))
    }

    /// Asks the supervisor of a container.
    async fn ask(&self, id: &ContainerId, request: Request) -> Result<Answer, EngineError> {
        let project = self.project_of(id)?;
        client::ask(&self.client, &project, &request, &[]).await.map(|(answer, _)| answer)
    }
}

fn missing(id: &ContainerId) -> EngineError {
    EngineError::NotFound(Subject::Container(id.short().to_owned()))
}

#[async_trait]
impl Engine for Runtime {
    async fn observe(&self, project: &ProjectName, images: &[ImageRef]) -> Result<Observed, EngineError> {
        observe::observe(self, project, images).await
    }

    async fn projects(&self) -> Result<Vec<ObservedProject>, EngineError> {
        observe::projects(&self.client).await
    }

    async fn networks(&self) -> Result<Vec<ObservedNetwork>, EngineError> {
        observe::networks(&self.layout)
    }

    async fn lock(
        &self,
        project: &ProjectName,
        waiting: &(dyn for<'a> Fn(&'a str) + Send + Sync),
    ) -> Result<Box<dyn Send + Sync>, EngineError> {
        let lock = project_lock::lock(&self.layout, project, waiting).await?;
        remove::sweep_project(&self.layout, project)?;
        // What of a killed build or removal can't go yet is tried again by the next command.
        let _ = build::run::sweep(&self.layout);
        let _ = Networks::new(self.layout.clone()).sweep();
        Ok(lock)
    }

    fn loopback(&self, project: &ProjectName) -> Result<IpAddr, EngineError> {
        let address = Networks::new(self.layout.clone()).loopback(project);
        address.map(IpAddr::from).map_err(|error| EngineError::Failed {
            verb: "find a loopback address for",
            subject: Subject::Project(project.to_string()),
            source: Box::new(error),
        })
    }

    async fn create_network(&self, config: &NetworkConfig) -> Result<String, EngineError> {
        let config = config.clone();
        self.blocking(move |layout| {
            let made = Networks::new(layout.clone()).create(&config);
            made.map(|network| network.id).map_err(|error| error.told("create", &config.name))
        })
        .await
    }

    async fn remove_network(&self, name: &NetworkName) -> Result<(), EngineError> {
        let name = name.clone();
        self.blocking(move |layout| {
            Networks::new(layout.clone()).remove(&name).map_err(|error| error.told("remove", &name))
        })
        .await
    }

    async fn create_volume(&self, config: &VolumeConfig) -> Result<(), EngineError> {
        let config = config.clone();
        self.blocking(move |layout| Volumes::open(layout).create(&config)).await
    }

    async fn remove_volume(&self, name: &VolumeName) -> Result<(), EngineError> {
        let containers = find::of_machine(&self.layout)?;
        if let Some((container, _)) = containers.iter().find(|(container, _)| container.has_volume(name)) {
            let subject = Subject::Volume(name.to_string());
            return Err(EngineError::InUse { subject, holder: format!("container {}", container.config.name) });
        }
        let name = name.clone();
        self.blocking(move |layout| Volumes::open(layout).remove(&name)).await
    }

    async fn create_container(
        &self,
        config: &ContainerConfig,
        inherit: Option<&ContainerId>,
    ) -> Result<ContainerId, EngineError> {
        let (config, inherit) = (config.clone(), inherit.cloned());
        let container = self.blocking(move |layout| create::create(layout, &config, inherit.as_ref())).await?;
        lifecycle::tell(self, &container, EventAction::Create).await;
        Ok(container.id)
    }

    async fn rename_container(&self, id: &ContainerId, name: &ContainerName) -> Result<(), EngineError> {
        let (project, id, name) = (self.project_of(id)?, id.clone(), name.clone());
        self.blocking(move |layout| rename::rename(layout, &project, &id, &name)).await
    }

    async fn start_container(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.ask(id, Request::Start { id: id.clone() }).await.map(drop)
    }

    async fn stop_container(
        &self,
        id: &ContainerId,
        grace: Option<Duration>,
        rest: Rest,
    ) -> Result<Stopped, EngineError> {
        lifecycle::stop(self, id, grace, rest).await
    }

    async fn kill_container(&self, id: &ContainerId, signal: Signal) -> Result<(), EngineError> {
        self.ask(id, Request::Kill { id: id.clone(), signal }).await.map(drop)
    }

    async fn restart_container(&self, id: &ContainerId, grace: Option<Duration>) -> Result<(), EngineError> {
        self.ask(id, Request::Restart { id: id.clone(), grace }).await.map(drop)
    }

    async fn pause_container(&self, id: &ContainerId, paused: bool) -> Result<(), EngineError> {
        self.ask(id, Request::Pause { id: id.clone(), paused }).await.map(drop)
    }

    async fn remove_container(&self, id: &ContainerId, force: bool, volumes: bool) -> Result<(), EngineError> {
        lifecycle::remove(self, id, force, volumes).await
    }

    async fn wait_container(&self, id: &ContainerId, until: WaitFor) -> Result<ContainerState, EngineError> {
        lifecycle::wait(self, id, until).await
    }

    async fn await_sign(&self, id: &ContainerId, sign: &Sign) -> Result<bool, EngineError> {
        readiness::await_sign(self, id, sign).await
    }

    async fn logs(&self, id: &ContainerId, query: &LogQuery) -> Result<mpsc::Receiver<LogChunk>, EngineError> {
        let project = self.project_of(id)?;
        log::read(id, &self.layout.log(&project, id), query).map_err(find::failed("read the log of", id.short()))
    }

    async fn events(&self, project: &ProjectName, query: &EventQuery) -> Result<mpsc::Receiver<Event>, EngineError> {
        history::events(self, project, *query).await
    }

    async fn story(&self, id: &ContainerId) -> Result<Story, EngineError> {
        let (_, container, standing) = self.load(id)?;
        Ok(history::story(&container, standing))
    }

    async fn names(&self, project: &ProjectName) -> Result<Vec<Resolution>, EngineError> {
        lookups::names(&self.client, project).await
    }

    async fn questions(&self, project: &ProjectName, follow: bool) -> Result<mpsc::Receiver<Question>, EngineError> {
        lookups::questions(&self.client, project, follow).await
    }

    async fn exec(&self, id: &ContainerId, config: &ExecConfig, io: ProcessIo) -> Result<Process, EngineError> {
        processes::begin(self, id, io, |io| Request::Exec { id: id.clone(), config: config.clone(), io }).await
    }

    async fn start_attached(&self, id: &ContainerId, io: ProcessIo) -> Result<Process, EngineError> {
        processes::begin(self, id, io, |io| Request::StartAttached { id: id.clone(), io }).await
    }

    async fn top(&self, id: &ContainerId) -> Result<Vec<ProcessRow>, EngineError> {
        processes::top(self, id)
    }

    async fn input(&self, id: &ContainerId) -> Result<Option<OwnedFd>, EngineError> {
        processes::input(self, id).await
    }

    async fn leave(&self, id: &ContainerId, process: Attended, terminal: OwnedFd) -> Result<(), EngineError> {
        processes::leave(self, id, process, terminal).await
    }

    async fn usage(&self, id: &ContainerId) -> Result<Usage, EngineError> {
        processes::usage(self, id)
    }

    async fn copy_into(
        &self,
        id: &ContainerId,
        source: Outside,
        target: &str,
        options: CopyOptions,
    ) -> Result<(), EngineError> {
        let (_, container, _) = self.load(id)?;
        let target = target.to_owned();
        self.blocking(move |layout| copy::into(layout, &container, source, &target, options)).await
    }

    async fn copy_from(
        &self,
        id: &ContainerId,
        source: &str,
        target: Outside,
        options: CopyOptions,
    ) -> Result<(), EngineError> {
        let (_, container, _) = self.load(id)?;
        let source = source.to_owned();
        self.blocking(move |layout| copy::from(layout, &container, &source, target, options)).await
    }

    async fn remove_files(&self, id: &ContainerId, paths: &[String]) -> Result<(), EngineError> {
        let (_, container, _) = self.load(id)?;
        let paths = paths.to_vec();
        self.blocking(move |layout| copy::remove(layout, &container, &paths)).await
    }

    async fn images(&self) -> Result<Vec<ObservedImage>, EngineError> {
        Ok(Store::open(&self.layout)?.list()?.iter().map(image::Image::observed).collect())
    }

    async fn pull(
        &self,
        image: &ImageRef,
        platform: Option<&Platform>,
        progress: mpsc::Sender<Progress>,
    ) -> Result<Pulled, EngineError> {
        let store = Store::open(&self.layout)?;
        image::pull::pull(&store, image, platform, self.downloads.clone(), progress).await
    }

    async fn push(&self, image: &ImageRef, progress: mpsc::Sender<Progress>) -> Result<Pushed, EngineError> {
        image::push::push(&Store::open(&self.layout)?, image, progress).await
    }

    async fn login(&self, registry: &str, user: &str, password: &str) -> Result<LoggedIn, EngineError> {
        image::login::login(registry, user, password).await
    }

    async fn logout(&self, registry: &str) -> Result<bool, EngineError> {
        image::login::logout(registry).await
    }

    async fn build(&self, config: &BuildConfig, progress: mpsc::Sender<Progress>) -> Result<ImageId, EngineError> {
        let (config, begun) = (config.clone(), self.builds.begin());
        self.blocking(move |layout| {
            let built = build::build(layout, &config, &progress);
            drop(begun);
            built
        })
        .await
    }

    async fn import_image(&self, archive: OwnedFd, name: Option<&ImageRef>) -> Result<ImageId, EngineError> {
        let name = name.cloned();
        self.blocking(move |layout| Store::open(layout)?.import(File::from(archive), name.as_ref())).await
    }

    async fn load_images(&self, archive: OwnedFd) -> Result<Vec<ImageRef>, EngineError> {
        self.blocking(move |layout| Store::open(layout)?.load_archive(File::from(archive))).await
    }

    async fn save_images(&self, images: &[ImageRef], archive: OwnedFd) -> Result<(), EngineError> {
        let images = images.to_vec();
        self.blocking(move |layout| Store::open(layout)?.save(&images, File::from(archive))).await
    }

    async fn tag_image(&self, image: &ImageRef, name: &ImageRef) -> Result<(), EngineError> {
        let store = Store::open(&self.layout)?;
        let found = store.resolve(image)?.ok_or_else(|| EngineError::NotFound(Subject::Image(image.to_string())))?;
        store.tag(&found.id, name)
    }

    async fn remove_image(&self, image: &str, force: bool) -> Result<Vec<String>, EngineError> {
        let image = image.to_owned();
        self.blocking(move |layout| Store::open(layout)?.remove(&image, force, &observe::images_in_use(layout)?)).await
    }

    async fn inspect_image(&self, image: &str) -> Result<ImageDetail, EngineError> {
        Store::open(&self.layout)?.detail(image)
    }

    async fn prune_images(&self, all: bool) -> Result<Pruned, EngineError> {
        self.blocking(move |layout| disk_use::prune_images(layout, all)).await
    }

    async fn disk_use(&self) -> Result<DiskUse, EngineError> {
        self.blocking(disk_use::measure).await
    }

    async fn commit_container(&self, id: &ContainerId, config: &CommitConfig) -> Result<ImageId, EngineError> {
        lifecycle::commit(self, id, config).await
    }

    async fn export_container(&self, id: &ContainerId, archive: OwnedFd) -> Result<(), EngineError> {
        let (_, container, _) = self.load(id)?;
        self.blocking(move |layout| commit::export(layout, &container, archive)).await
    }
}
