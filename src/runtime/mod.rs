//! The integrated engine.
//!
//! What lies on disk (images, volumes, networks, containers at rest) is done right here, in the command's process and
//! under locks. What runs is asked of the project's [supervisor], which a [keeper] keeps alive; logs are read from disk.

pub mod build;
pub mod cgroup;
mod client;
pub mod container;
pub mod git;
mod history;
pub mod image;
mod journal;
pub mod keeper;
pub mod layout;
pub mod network;
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
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::engine::*;
use crate::runtime::build::under_way::UnderWay;
use crate::runtime::client::Client;
use crate::runtime::container::record::{Container, Standing};
use crate::runtime::container::{commit, copy, create, find, log, remove, rename, top, usage};
use crate::runtime::image::remove::InUse;
use crate::runtime::image::store::{Store, failed};
use crate::runtime::layout::Layout;
use crate::runtime::network::record::NetworkRecord;
use crate::runtime::network::{NetworkError, Networks};
use crate::runtime::supervisor::control::{Answer, Channel, Request, Streams};
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

    async fn ask(&self, id: &ContainerId, request: Request) -> Result<Answer, EngineError> {
        let project = self.project_of(id)?;
        client::ask(&self.client, &project, &request, &[]).await.map(|(answer, _)| answer)
    }

    /// Tells who follows the events of its project what was done here.
    async fn tell(&self, container: &Container, action: EventAction) {
        let event = Event {
            time: store::now(),
            container: container.id.clone(),
            name: container.config.name.clone(),
            labels: container.config.labels.clone(),
            image: Some(container.config.image.clone()),
            action,
            notes: Default::default(),
        };
        // Without it followers lose a line; what was done stands.
        let _ = journal::append(&self.layout.journal(&container.config.project), &event);
        client::tell(&self.layout, &container.config.project, &Request::Tell(event)).await;
    }

    /// Every container of a project, as its records say.
    fn containers(&self, project: &ProjectName) -> Result<Vec<(Container, Standing)>, EngineError> {
        let ids = find::containers(&self.layout, project)?;
        ids.iter().filter_map(|id| find::load(&self.layout, project, id).transpose()).collect()
    }

    /// Every container of a project as it is now. Who is active has a supervisor, or gets one; it first puts the records
    /// right, should they tell of something that is over.
    async fn settled(&self, project: &ProjectName) -> Result<Vec<ObservedContainer>, EngineError> {
        let mut containers = self.containers(project)?;
        let active = |(_, standing): &(Container, Standing)| {
            matches!(standing.state, ContainerState::Running { .. } | ContainerState::Restarting { .. })
        };
        if containers.iter().any(active) {
            client::ask(&self.client, project, &Request::Settle, &[]).await?;
            containers = self.containers(project)?;
        }
        let mut observed: Vec<_> =
            containers.into_iter().map(|(container, standing)| container.observed(standing)).collect();
        observed.sort_by(|one, other| one.config.name.cmp(&other.config.name));
        Ok(observed)
    }

    /// Removes what killed commands and power cuts have left of containers that were never wholly made.
    fn sweep(&self, project: &ProjectName) -> Result<(), EngineError> {
        for id in find::containers(&self.layout, project)? {
            if !find::is_made(&self.layout, project, &id).map_err(find::failed("read", id.short()))? {
                remove::sweep(&self.layout, project, &id)?;
            }
        }
        Ok(())
    }

    /// Every container of the machine: image and name.
    fn in_use(&self) -> Result<Vec<(Container, Standing)>, EngineError> {
        let mut all = Vec::new();
        for project in find::projects(&self.layout)? {
            all.extend(self.containers(&project)?);
        }
        Ok(all)
    }

    /// The images of all containers.
    fn images_in_use(&self) -> Result<Vec<InUse>, EngineError> {
        let used = |(container, _): (Container, Standing)| InUse {
            image: container.image,
            holder: format!("container {}", container.config.name),
        };
        let mut used: Vec<InUse> = self.in_use()?.into_iter().map(used).collect();
        // By name, so that the same holder is told every time.
        used.sort_by(|one, other| one.holder.cmp(&other.holder));
        Ok(used)
    }

    /// Takes off the file systems that a removed container's volumes show, where no other container has the volume.
    fn release_volumes(&self, removed: &Container) -> Result<(), EngineError> {
        let volumes = Volumes::open(&self.layout);
        for name in removed.volumes.values() {
            let shows = volumes.find(name)?.is_some_and(|volume| !volume.config.driver_opts.is_empty());
            let used = |(container, _): &(Container, Standing)| container.volumes.values().any(|used| used == name);
            if shows && !self.in_use()?.iter().any(used) {
                volumes.release(name)?;
            }
        }
        Ok(())
    }

    /// Reads the answers to the start of a process.
    fn process(mut channel: Channel, files: Option<OwnedFd>, subject: Subject) -> Process {
        let (done, status) = oneshot::channel();
        let (signals, mut asked) = mpsc::channel(8);
        tokio::spawn(async move {
            let lost = || EngineError::State {
                subject: subject.clone(),
                state: "in the hands of another supervisor, which does not know how this process ended".into(),
            };
            let status = loop {
                tokio::select! {
                    answer = channel.receive() => match answer {
                        Ok(Some(Answer::Status(status))) => break Ok(status),
                        Ok(Some(Answer::Failed(failure))) => break Err(failure.into()),
                        Ok(Some(_)) => {}
                        Ok(None) | Err(_) => break Err(lost()),
                    },
                    Some(signal) = asked.recv() => {
                        // If it can't be told, the end of the connection is read next.
                        let _ = channel.send(&Request::Signal(signal), &[]).await;
                    }
                }
            };
            // Nobody may be waiting any more.
            let _ = done.send(status);
        });
        Process { terminal: files, status, signals }
    }

    async fn begin(
        &self,
        project: &ProjectName,
        id: &ContainerId,
        request: impl FnOnce(Streams) -> Request,
        io: ProcessIo,
    ) -> Result<Process, EngineError> {
        let (streams, files) = Streams::of(io);
        let (answer, mut channel) = client::ask(&self.client, project, &request(streams), &files).await?;
        let subject = Subject::Container(id.short().to_owned());
        match answer {
            Answer::Process => {
                let terminal = channel.files().pop_front();
                Ok(Runtime::process(channel, terminal, subject))
            }
            _ => Err(EngineError::State { subject, state: "not started".into() }),
        }
    }
}

fn missing(id: &ContainerId) -> EngineError {
    EngineError::NotFound(Subject::Container(id.short().to_owned()))
}

fn observed_network(network: NetworkRecord, trouble: Option<NetworkTrouble>) -> ObservedNetwork {
    let subnets = network.subnets.into_iter().map(|subnet| subnet.cidr.to_string()).collect();
    ObservedNetwork { id: network.id, config: network.config, subnets, trouble }
}

fn network_error(verb: &'static str, name: &NetworkName, error: NetworkError) -> EngineError {
    let subject = Subject::Network(name.to_string());
    match error {
        NetworkError::NotFound(name) => EngineError::NotFound(Subject::Network(name.to_string())),
        NetworkError::Exists(name) => EngineError::Exists(Subject::Network(name.to_string())),
        NetworkError::InUse { holder, .. } => EngineError::InUse { subject, holder },
        NetworkError::Invalid { reason, .. } => EngineError::Invalid { subject, reason },
        error => EngineError::Failed { verb, subject, source: Box::new(error) },
    }
}

#[async_trait]
impl Engine for Runtime {
    async fn observe(&self, project: &ProjectName, images: &[ImageRef]) -> Result<Observed, EngineError> {
        let store = Store::open(&self.layout)?;
        let mut present = std::collections::BTreeMap::new();
        for name in images {
            if let Some(image) = store.resolve(name)? {
                present.insert(name.clone(), image.observed());
            }
        }
        Ok(Observed {
            containers: self.settled(project).await?,
            networks: self.networks().await?,
            volumes: Volumes::open(&self.layout).list()?,
            images: present,
        })
    }

    async fn projects(&self) -> Result<Vec<ObservedProject>, EngineError> {
        let mut projects = Vec::new();
        for name in find::projects(&self.layout)? {
            let containers = self.settled(&name).await?;
            if !containers.is_empty() {
                projects.push(ObservedProject { name, containers });
            }
        }
        Ok(projects)
    }

    async fn lock(
        &self,
        project: &ProjectName,
        waiting: &(dyn for<'a> Fn(&'a str) + Send + Sync),
    ) -> Result<Box<dyn Send + Sync>, EngineError> {
        let lock = project_lock::lock(&self.layout, project, waiting).await?;
        self.sweep(project)?;
        // What of a killed build can't go yet is tried again by the next command.
        let _ = build::run::sweep(&self.layout);
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

    async fn networks(&self) -> Result<Vec<ObservedNetwork>, EngineError> {
        let networks = Networks::new(self.layout.clone());
        let failed = |error| EngineError::Failed { verb: "read", subject: Subject::Machine, source: Box::new(error) };
        let all = networks.list().map_err(failed)?;
        let mut troubles = networks.troubles(&all).map_err(failed)?;
        let observed = |network: NetworkRecord| {
            let trouble = troubles.remove(&network.id);
            observed_network(network, trouble)
        };
        Ok(all.into_iter().map(observed).collect())
    }

    async fn create_network(&self, config: &NetworkConfig) -> Result<String, EngineError> {
        let config = config.clone();
        self.blocking(move |layout| {
            let made = Networks::new(layout.clone()).create(&config);
            made.map(|network| network.id).map_err(|error| network_error("create", &config.name, error))
        })
        .await
    }

    async fn remove_network(&self, name: &NetworkName) -> Result<(), EngineError> {
        let name = name.clone();
        self.blocking(move |layout| {
            Networks::new(layout.clone()).remove(&name).map_err(|error| network_error("remove", &name, error))
        })
        .await
    }

    async fn create_volume(&self, config: &VolumeConfig) -> Result<(), EngineError> {
        let config = config.clone();
        self.blocking(move |layout| Volumes::open(layout).create(&config)).await
    }

    async fn remove_volume(&self, name: &VolumeName) -> Result<(), EngineError> {
        let holders = self.in_use()?;
        let holder = holders.iter().find(|(container, _)| container.volumes.values().any(|used| used == name));
        if let Some((container, _)) = holder {
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
        self.tell(&container, EventAction::Create).await;
        Ok(container.id)
    }

    async fn rename_container(&self, id: &ContainerId, name: &ContainerName) -> Result<(), EngineError> {
        let (project, id, name) = (self.project_of(id)?, id.clone(), name.clone());
        self.blocking(move |layout| rename::rename(layout, &project, &id, &name)).await
    }

    async fn start_container(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.ask(id, Request::Start { id: id.clone() }).await.map(drop)
    }

    async fn stop_container(&self, id: &ContainerId, grace: Option<Duration>) -> Result<Stopped, EngineError> {
        let (project, _, standing) = self.load(id)?;
        let request = Request::Stop { id: id.clone(), grace };
        let answer = match standing.state {
            ContainerState::Running { .. } | ContainerState::Restarting { .. } => Some(self.ask(id, request).await?),
            // The record may be older than a start that is under way, which only a supervisor knows of.
            ContainerState::Created { .. } | ContainerState::Exited { .. } => {
                match client::ask_if_served(&self.layout, &project, &request).await {
                    // It is being removed.
                    Err(EngineError::State { .. }) => None,
                    other => other?,
                }
            }
            ContainerState::Dead => None,
        };
        Ok(match answer {
            Some(Answer::Stopped(stopped)) => stopped,
            _ => Stopped::InOrder,
        })
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
        let Some(project) = find::by_id(&self.layout, id)? else { return Err(missing(id)) };
        let Some((container, standing)) = find::load(&self.layout, &project, id)? else {
            // What a killed creation or removal has left.
            let (project, id) = (project, id.clone());
            return self.blocking(move |layout| remove::sweep(layout, &project, &id).map(drop)).await;
        };
        if matches!(standing.state, ContainerState::Running { .. } | ContainerState::Restarting { .. }) {
            if !force {
                let subject = Subject::Container(container.config.name.to_string());
                return Err(EngineError::State {
                    subject,
                    state: "running: stop it first, or remove it by force".into(),
                });
            }
            self.ask(id, Request::Stop { id: id.clone(), grace: Some(Duration::ZERO) }).await?;
        }
        let volumes = if volumes { remove::Volume::Remove } else { remove::Volume::Keep };
        let id = id.clone();
        let removed = self.blocking(move |layout| remove::remove(layout, &project, &id, volumes)).await?;
        self.tell(&removed, EventAction::Destroy).await;
        self.release_volumes(&removed)
    }

    async fn wait_container(&self, id: &ContainerId, until: WaitFor) -> Result<ContainerState, EngineError> {
        let last = self.load(id)?.2.state;
        match self.ask(id, Request::Wait { id: id.clone(), until }).await? {
            // The supervisor was told of the removal only.
            Answer::State(ContainerState::Dead) => Ok(last),
            Answer::State(state) => Ok(state),
            _ => Err(missing(id)),
        }
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
        // Nobody asks where nothing runs.
        if !client::is_served(&self.layout, project) {
            return Ok(Vec::new());
        }
        match client::ask(&self.client, project, &Request::Names, &[]).await? {
            (Answer::Names(names), _) => Ok(names),
            (_, _) => Ok(Vec::new()),
        }
    }

    async fn questions(&self, project: &ProjectName, follow: bool) -> Result<mpsc::Receiver<Question>, EngineError> {
        let (sender, receiver) = mpsc::channel(64);
        if !follow && !client::is_served(&self.layout, project) {
            return Ok(receiver);
        }
        let (_, mut channel) = client::ask(&self.client, project, &Request::Questions { follow }, &[]).await?;
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    answer = channel.receive() => match answer {
                        Ok(Some(Answer::Question(question))) => {
                            if sender.send(question).await.is_err() {
                                return;
                            }
                        }
                        Ok(Some(_)) => {}
                        Ok(None) | Err(_) => return,
                    },
                    () = sender.closed() => return,
                }
            }
        });
        Ok(receiver)
    }

    async fn exec(&self, id: &ContainerId, config: &ExecConfig, io: ProcessIo) -> Result<Process, EngineError> {
        let project = self.project_of(id)?;
        let (config, exec) = (config.clone(), id.clone());
        self.begin(&project, id, |io| Request::Exec { id: exec, config, io }, io).await
    }

    async fn start_attached(&self, id: &ContainerId, io: ProcessIo) -> Result<Process, EngineError> {
        let project = self.project_of(id)?;
        let start = id.clone();
        self.begin(&project, id, |io| Request::StartAttached { id: start, io }, io).await
    }

    async fn top(&self, id: &ContainerId) -> Result<Vec<ProcessRow>, EngineError> {
        let (_, container, standing) = self.load(id)?;
        let subject = Subject::Container(container.config.name.to_string());
        if !matches!(standing.state, ContainerState::Running { .. }) {
            return Err(EngineError::State { subject, state: "not running".into() });
        }
        let failed = |source: Cause| EngineError::Failed { verb: "read", subject, source };
        let pids = supervisor::starter::cgroup(&container).and_then(|cgroup| cgroup.processes());
        let read = pids.map_err(Cause::from).and_then(|pids| top::rows(&pids).map_err(Cause::from));
        read.map_err(failed)
    }

    async fn input(&self, id: &ContainerId) -> Result<Option<OwnedFd>, EngineError> {
        let project = self.project_of(id)?;
        let (_, mut channel) = client::ask(&self.client, &project, &Request::Input { id: id.clone() }, &[]).await?;
        Ok(channel.files().pop_front())
    }

    async fn usage(&self, id: &ContainerId) -> Result<Usage, EngineError> {
        let (_, container, standing) = self.load(id)?;
        let subject = Subject::Container(container.config.name.to_string());
        let ContainerState::Running { pid, .. } = standing.state else {
            return Err(EngineError::State { subject, state: "not running".into() });
        };
        usage::read(&container, pid).map_err(|source| EngineError::Failed { verb: "read", subject, source })
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
        let (used, image) = (self.images_in_use()?, image.to_owned());
        self.blocking(move |layout| Store::open(layout)?.remove(&image, force, &used)).await
    }

    async fn inspect_image(&self, image: &str) -> Result<ImageDetail, EngineError> {
        Store::open(&self.layout)?.detail(image)
    }

    async fn prune_images(&self, all: bool) -> Result<Pruned, EngineError> {
        let used = self.images_in_use()?;
        self.blocking(move |layout| {
            let store = Store::open(layout)?;
            let size = || Ok::<_, EngineError>(store.images_share(&used)?.size + store.cache_share()?.size);
            let before = size()?;
            let lines = store.prune(all, &used)?;
            Ok(Pruned { lines, reclaimed: before.saturating_sub(size()?) })
        })
        .await
    }

    async fn commit_container(&self, id: &ContainerId, config: &CommitConfig) -> Result<ImageId, EngineError> {
        let (_, container, standing) = self.load(id)?;
        let running = matches!(standing.state, ContainerState::Running { paused: false, .. });
        let freeze = config.pause && running;
        if freeze {
            self.pause_container(id, true).await?;
        }
        let config = config.clone();
        let made = self.blocking(move |layout| commit::commit(layout, &container, &config)).await;
        if freeze {
            self.pause_container(id, false).await?;
        }
        made
    }

    async fn export_container(&self, id: &ContainerId, archive: OwnedFd) -> Result<(), EngineError> {
        let (_, container, _) = self.load(id)?;
        self.blocking(move |layout| commit::export(layout, &container, archive)).await
    }

    async fn disk_use(&self) -> Result<DiskUse, EngineError> {
        let (used, containers) = (self.images_in_use()?, self.in_use()?);
        self.blocking(move |layout| {
            let store = Store::open(layout)?;
            let mut found =
                DiskUse { images: store.images_share(&used)?, cache: store.cache_share()?, ..DiskUse::default() };
            let weigh = |path: PathBuf| {
                let weighed = image::detail::weigh(&path);
                weighed.map(|(_, size)| size).map_err(failed("read", Subject::Path(path.display().to_string())))
            };
            for (container, standing) in &containers {
                let size = weigh(layout.container(&container.config.project, &container.id).join("upper"))?;
                let active =
                    matches!(standing.state, ContainerState::Running { .. } | ContainerState::Restarting { .. });
                add(&mut found.containers, size, active);
            }
            for volume in Volumes::open(layout).list()? {
                let name = &volume.config.name;
                let used = containers.iter().any(|(container, _)| container.volumes.values().any(|used| used == name));
                add(&mut found.volumes, weigh(layout.volume(name).join("_data"))?, used);
            }
            Ok(found)
        })
        .await
    }
}

fn add(share: &mut Share, size: u64, active: bool) {
    share.total += 1;
    share.size += size;
    if active { share.active += 1 } else { share.reclaimable += size }
}
