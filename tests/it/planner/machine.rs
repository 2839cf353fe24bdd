//! A machine in memory: an engine that does what an engine promises, without processes.
//!
//! Containers run as soon as they are started and are healthy at once; what a test wants otherwise it says. Each call is
//! noted; a call can be made to fail or to wait.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc, watch};
use xcompose::engine::*;
use xcompose::executor::progress::Update;
use xcompose::executor::{self, Failed, Observer, Outcome};
use xcompose::planner::error::PlanError;
use xcompose::planner::plan::Plan;
use xcompose::planner::request::Request;
use xcompose::planner::{self, Wanted};
use xcompose::spec::project::Project;
use xcompose::values::health::Health;
use xcompose::values::image_ref::ImageRef;
use xcompose::values::names::{ContainerName, NetworkName, ProjectName, VolumeName};
use xcompose::values::platform::Platform;
use xcompose::values::signal::Signal;

/// The machine.
pub struct Machine {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    observed: Observed,
    made: u64,
    calls: Vec<String>,
    failing: BTreeSet<String>,
    held: BTreeMap<String, Arc<Semaphore>>,
    /// Where not 0: how long each call takes, in turns of the scheduler, is drawn from this.
    dice: u64,
    /// How many calls still succeed; all after them fail.
    calls_left: Option<usize>,
    /// What becomes of a container when it starts; running and healthy where nothing is said.
    on_start: BTreeMap<String, ContainerState>,
}

/// Remembers what was told.
#[derive(Default)]
pub struct Told(pub Mutex<Vec<String>>);

impl Observer for Told {
    fn hook(&self, _: &str, _: &[u8]) {}
    fn update(&self, update: Update) {
        let line = match &update.detail {
            Some(detail) => format!("{} {} {detail}", update.resource, update.status),
            None => format!("{} {}", update.resource, update.status),
        };
        self.0.lock().unwrap().push(line);
    }

    fn travelling(&self, _: planner::plan::StepId, image: &ImageRef, progress: Progress) {
        self.0.lock().unwrap().push(format!("{image}: {progress:?}"));
    }

    fn building(&self, _: planner::plan::StepId, image: &str, progress: Progress) {
        self.0.lock().unwrap().push(format!("{image}: {progress:?}"));
    }
}

pub fn running(health: Option<Health>) -> ContainerState {
    ContainerState::Running { pid: 1, since: 1, health, paused: false, stopping: false }
}

pub fn exited(status: i32) -> ContainerState {
    ContainerState::Exited { status, finished: 1, oom_killed: false, unseen: false }
}

fn invalid(what: &str, reason: &str) -> EngineError {
    EngineError::Invalid { subject: Subject::Container(what.to_owned()), reason: reason.to_owned() }
}

impl Machine {
    /// With the image that services of tests run on.
    pub fn new() -> Machine {
        let machine = Machine { state: Mutex::default(), changed: watch::channel(0).0 };
        machine.image("busybox", "1");
        machine
    }

    /// Gives an image's name this content.
    pub fn image(&self, name: &str, content: &str) {
        let name: ImageRef = name.parse().unwrap();
        let image = ObservedImage {
            id: ImageId(format!("sha256:{content}")),
            names: vec![name.clone()],
            size: 1,
            created: 0,
            tagged: 0,
            platform: "linux/amd64".to_owned(),
            labels: Labels::new(),
            volumes: Vec::new(),
        };
        self.state.lock().unwrap().observed.images.insert(name, image);
    }

    /// How things stand.
    pub fn observed(&self) -> Observed {
        self.state.lock().unwrap().observed.clone()
    }

    /// Changes how things stand.
    pub fn change(&self, change: impl FnOnce(&mut Observed)) {
        change(&mut self.state.lock().unwrap().observed);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Changes one container.
    pub fn alter(&self, name: &str, change: impl FnOnce(&mut ObservedContainer)) {
        self.change(|observed| {
            change(observed.containers.iter_mut().find(|c| c.config.name.as_str() == name).unwrap())
        });
    }

    /// A container's id.
    pub fn id(&self, name: &str) -> ContainerId {
        self.find(name).unwrap_or_else(|| panic!("no container {name}")).id
    }

    /// A container, by name.
    pub fn find(&self, name: &str) -> Option<ObservedContainer> {
        self.observed().containers.into_iter().find(|container| container.config.name.as_str() == name)
    }

    /// Names and states of all containers: `p-web-1 running`.
    pub fn containers(&self) -> Vec<String> {
        let word = |state: &ContainerState| match state {
            ContainerState::Created { .. } => "created".to_owned(),
            ContainerState::Running { paused: false, .. } => "running".to_owned(),
            ContainerState::Running { paused: true, .. } => "paused".to_owned(),
            ContainerState::Restarting { .. } => "restarting".to_owned(),
            ContainerState::Exited { status, .. } => format!("exited {status}"),
            ContainerState::Dead => "dead".to_owned(),
        };
        let mut all: Vec<_> =
            self.observed().containers.iter().map(|c| format!("{} {}", c.config.name, word(&c.state))).collect();
        all.sort();
        all
    }

    /// A container will be in this state when it has been started.
    pub fn on_start(&self, name: &str, state: ContainerState) {
        self.state.lock().unwrap().on_start.insert(name.to_owned(), state);
    }

    /// A call, as `start p-web-1`, fails from now on.
    pub fn fail(&self, call: &str) {
        self.state.lock().unwrap().failing.insert(call.to_owned());
    }

    /// From now on calls take turns of varying number, so that steps which do not wait for each other come in any order.
    pub fn shuffle(&self, seed: u64) {
        self.state.lock().unwrap().dice = seed | 1;
    }

    /// Every call after this many fails, as if the process had been killed.
    pub fn cut_after(&self, calls: usize) {
        self.state.lock().unwrap().calls_left = Some(calls);
    }

    /// The same machine, on which every call works again.
    pub fn healed(&self) -> Machine {
        let state = self.state.lock().unwrap();
        let state = State {
            observed: state.observed.clone(),
            made: state.made,
            on_start: state.on_start.clone(),
            ..State::default()
        };
        Machine { state: Mutex::new(state), changed: watch::channel(0).0 }
    }

    /// A call waits until the semaphore returned lets it go.
    pub fn hold(&self, call: &str) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        self.state.lock().unwrap().held.insert(call.to_owned(), gate.clone());
        gate
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<String> {
        self.state.lock().unwrap().calls.clone()
    }

    /// Resolves when a call has been made.
    pub async fn called(&self, call: &str) {
        let mut changes = self.changed.subscribe();
        changes.wait_for(|_| self.calls().iter().any(|made| made == call)).await.unwrap();
    }

    pub fn plan(&self, project: &Project, request: &Request) -> Result<Plan, PlanError> {
        planner::plan(Wanted::Project(project), &self.observed(), request)
    }

    pub fn plan_by_name(&self, request: &Request) -> Result<Plan, PlanError> {
        planner::plan(Wanted::Name(&"p".parse().unwrap()), &self.observed(), request)
    }

    /// Carries a plan out.
    pub fn run(&self, plan: &Plan) -> Result<Outcome, Failed> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(executor::run(plan, self, None, &Told::default()))
    }

    /// Plans and carries out.
    pub fn apply(&self, project: &Project, request: &Request) -> Plan {
        let plan = self.plan(project, request).unwrap();
        self.run(&plan).unwrap_or_else(|error| panic!("{error}\n{plan}"));
        plan
    }

    async fn note(&self, call: String) -> Result<(), EngineError> {
        let turns = {
            let mut state = self.state.lock().unwrap();
            state.dice = state.dice.wrapping_mul(6364136223846793005).wrapping_add((state.dice != 0).into());
            state.dice >> 60
        };
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        let (gate, fails) = {
            let mut state = self.state.lock().unwrap();
            state.calls.push(call.clone());
            let cut = match &mut state.calls_left {
                None => false,
                Some(0) => true,
                Some(left) => {
                    *left -= 1;
                    false
                }
            };
            (state.held.get(&call).cloned(), cut || state.failing.contains(&call))
        };
        self.changed.send_modify(|count| *count += 1);
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        if fails { Err(invalid(&call, "the test wants it to fail")) } else { Ok(()) }
    }

    fn name_of(&self, id: &ContainerId) -> String {
        let observed = self.observed();
        let found = observed.containers.iter().find(|container| container.id == *id);
        found.map_or_else(|| id.0.clone(), |container| container.config.name.to_string())
    }

    fn with<T>(
        &self,
        id: &ContainerId,
        change: impl FnOnce(&mut ObservedContainer) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let result = {
            let mut state = self.state.lock().unwrap();
            let found = state.observed.containers.iter_mut().find(|container| container.id == *id);
            change(found.ok_or_else(|| EngineError::NotFound(Subject::Container(id.0.clone())))?)
        };
        self.changed.send_modify(|count| *count += 1);
        result
    }

    fn ends(&self, id: &ContainerId, status: i32) -> Result<(), EngineError> {
        self.with(id, |container| {
            if let ContainerState::Running { .. } | ContainerState::Restarting { .. } = container.state {
                container.state = exited(status);
                container.endpoints.clear();
            }
            Ok(())
        })
    }
}

#[async_trait]
impl Engine for Machine {
    async fn observe(&self, _: &ProjectName, _: &[ImageRef]) -> Result<Observed, EngineError> {
        Ok(self.observed())
    }

    async fn create_network(&self, config: &NetworkConfig) -> Result<String, EngineError> {
        self.note(format!("create network {}", config.name)).await?;
        let mut state = self.state.lock().unwrap();
        if state.observed.networks.iter().any(|network| network.config.name == config.name) {
            return Err(EngineError::Exists(Subject::Network(config.name.to_string())));
        }
        state.made += 1;
        let id = format!("network{}", state.made);
        state.observed.networks.push(ObservedNetwork {
            id: id.clone(),
            config: config.clone(),
            subnets: Vec::new(),
            trouble: None,
        });
        Ok(id)
    }

    async fn remove_network(&self, name: &NetworkName) -> Result<(), EngineError> {
        self.note(format!("remove network {name}")).await?;
        let mut state = self.state.lock().unwrap();
        let user = state.observed.containers.iter().find(|c| c.endpoints.iter().any(|e| e.network == *name));
        if let Some(user) = user {
            let holder = format!("container {}", user.config.name);
            return Err(EngineError::InUse { subject: Subject::Network(name.to_string()), holder });
        }
        state.observed.networks.retain(|network| network.config.name != *name);
        Ok(())
    }

    async fn create_volume(&self, config: &VolumeConfig) -> Result<(), EngineError> {
        self.note(format!("create volume {}", config.name)).await?;
        let mut state = self.state.lock().unwrap();
        if !state.observed.volumes.iter().any(|volume| volume.config.name == config.name) {
            let mountpoint = "/".into();
            state.observed.volumes.push(ObservedVolume { config: config.clone(), mountpoint, anonymous: false });
        }
        Ok(())
    }

    async fn remove_volume(&self, name: &VolumeName) -> Result<(), EngineError> {
        self.note(format!("remove volume {name}")).await?;
        let mut state = self.state.lock().unwrap();
        if let Some(user) = state.observed.containers.iter().find(|c| c.volumes.values().any(|v| v == name)) {
            let holder = format!("container {}", user.config.name);
            return Err(EngineError::InUse { subject: Subject::Volume(name.to_string()), holder });
        }
        state.observed.volumes.retain(|volume| volume.config.name != *name);
        Ok(())
    }

    async fn create_container(
        &self,
        config: &ContainerConfig,
        inherit: Option<&ContainerId>,
    ) -> Result<ContainerId, EngineError> {
        self.note(format!("create {}", config.name)).await?;
        let mut state = self.state.lock().unwrap();
        let state = &mut *state;
        if state.observed.containers.iter().any(|container| container.config.name == config.name) {
            return Err(EngineError::Exists(Subject::Container(config.name.to_string())));
        }
        let Some(image) = state.observed.images.get(&config.image) else {
            return Err(EngineError::NotFound(Subject::Image(config.image.to_string())));
        };
        state.made += 1;
        let id = ContainerId(format!("{:064x}", u128::from(state.made) << 100 | 0xabc));
        let id = ContainerId(format!("{:012x}{}", state.made, &id.0[12..]));
        let mut volumes = BTreeMap::new();
        let mut anonymous_volumes = Vec::new();
        let old = inherit.and_then(|id| state.observed.containers.iter().find(|container| container.id == *id));
        for mount in &config.mounts {
            match &mount.source {
                MountSource::Volume { name, .. } => {
                    if !state.observed.volumes.iter().any(|volume| volume.config.name == *name) {
                        return Err(EngineError::NotFound(Subject::Volume(name.to_string())));
                    }
                    volumes.insert(mount.target.clone(), name.clone());
                }
                MountSource::Anonymous => {
                    let inherited = old.and_then(|old| old.volumes.get(&mount.target)).cloned();
                    let name = inherited.unwrap_or_else(|| {
                        format!("anonymous{}{}", state.made, mount.target.replace('/', "-")).parse().unwrap()
                    });
                    anonymous_volumes.push(name.clone());
                    volumes.insert(mount.target.clone(), name);
                }
                MountSource::Of { container } => {
                    let donor = state.observed.containers.iter().find(|other| other.config.name.as_str() == container);
                    let Some(name) = donor.and_then(|donor| donor.volumes.get(&mount.target)) else {
                        return Err(invalid(container, "it has no such volume"));
                    };
                    volumes.insert(mount.target.clone(), name.clone());
                }
                MountSource::Bind { .. } | MountSource::Tmpfs { .. } | MountSource::Image { .. } => {}
            }
        }
        state.observed.containers.push(ObservedContainer {
            id: id.clone(),
            config: config.clone(),
            image: image.id.clone(),
            command_line: Vec::new(),
            created: state.made as i64,
            state: ContainerState::Created { failure: None },
            restart_count: 0,
            endpoints: Vec::new(),
            published: Vec::new(),
            exposed: Vec::new(),
            volumes,
            anonymous_volumes,
        });
        Ok(id)
    }

    async fn rename_container(&self, id: &ContainerId, name: &ContainerName) -> Result<(), EngineError> {
        self.note(format!("rename {} to {name}", self.name_of(id))).await?;
        if self.find(name.as_str()).is_some() {
            return Err(EngineError::Exists(Subject::Container(name.to_string())));
        }
        self.with(id, |container| {
            container.config.name = name.clone();
            Ok(())
        })
    }

    async fn start_container(&self, id: &ContainerId) -> Result<(), EngineError> {
        let name = self.name_of(id);
        self.note(format!("start {name}")).await?;
        let observed = self.observed();
        let holds = |port: &PortMapping| port.published.filter(|(first, last)| first == last);
        let own = &observed.containers.iter().find(|container| container.id == *id).unwrap().config;
        for other in observed.containers.iter().filter(|c| matches!(c.state, ContainerState::Running { .. })) {
            let taken: Vec<_> = other.config.ports.iter().filter_map(holds).collect();
            if other.id != *id && own.ports.iter().filter_map(holds).any(|port| taken.contains(&port)) {
                return Err(invalid(&name, "port is already allocated"));
            }
        }
        let donor = match &own.network {
            NetworkMode::Container(donor) => Some(donor.clone()),
            _ => None,
        };
        if let Some(donor) = donor
            && !observed.containers.iter().any(|c| {
                (c.config.name.as_str() == donor || c.id.0 == donor)
                    && matches!(c.state, ContainerState::Running { .. })
            })
        {
            return Err(invalid(&name, "its donor does not run"));
        }
        let on_start = self.state.lock().unwrap().on_start.get(&name).cloned();
        let networks = observed.networks;
        self.with(id, |container| {
            if let ContainerState::Running { .. } = container.state {
                return Ok(());
            }
            let health = container.config.healthcheck.as_ref().map(|_| Health::Healthy);
            container.state = on_start.unwrap_or_else(|| running(health));
            container.endpoints.clear();
            if let NetworkMode::Networks(attachments) = &container.config.network {
                for attachment in attachments {
                    let network = networks.iter().find(|network| network.config.name == attachment.network);
                    let Some(network) = network else {
                        return Err(EngineError::NotFound(Subject::Network(attachment.network.to_string())));
                    };
                    container.endpoints.push(Endpoint {
                        network: attachment.network.clone(),
                        network_id: network.id.clone(),
                        ipv4: None,
                        ipv6: None,
                        mac: String::new(),
                    });
                }
            }
            Ok(())
        })
    }

    async fn stop_container(&self, id: &ContainerId, _: Option<Duration>, _: Rest) -> Result<Stopped, EngineError> {
        self.note(format!("stop {}", self.name_of(id))).await?;
        self.ends(id, 143).map(|()| Stopped::InOrder)
    }

    async fn kill_container(&self, id: &ContainerId, signal: Signal) -> Result<(), EngineError> {
        self.note(format!("kill {} {signal}", self.name_of(id))).await?;
        self.ends(id, 128 + signal.number())
    }

    async fn restart_container(&self, id: &ContainerId, _: Option<Duration>) -> Result<(), EngineError> {
        self.note(format!("restart {}", self.name_of(id))).await?;
        self.ends(id, 143)?;
        self.start_container(id).await
    }

    async fn pause_container(&self, id: &ContainerId, wanted: bool) -> Result<(), EngineError> {
        let word = if wanted { "pause" } else { "unpause" };
        self.note(format!("{word} {}", self.name_of(id))).await?;
        self.with(id, |container| {
            let name = container.config.name.to_string();
            match &mut container.state {
                ContainerState::Running { paused, .. } if *paused != wanted => {
                    *paused = wanted;
                    Ok(())
                }
                _ => {
                    let state = if wanted { "already paused" } else { "not paused" };
                    Err(EngineError::State { subject: Subject::Container(name), state: state.to_owned() })
                }
            }
        })
    }

    async fn remove_container(&self, id: &ContainerId, _: bool, volumes: bool) -> Result<(), EngineError> {
        let word = if volumes { "remove -v" } else { "remove" };
        self.note(format!("{word} {}", self.name_of(id))).await?;
        self.change(|observed| observed.containers.retain(|container| container.id != *id));
        Ok(())
    }

    async fn wait_container(&self, id: &ContainerId, until: WaitFor) -> Result<ContainerState, EngineError> {
        self.note(format!("wait {}", self.name_of(id))).await?;
        let mut changes = self.changed.subscribe();
        loop {
            let state = self.with(id, |container| Ok(container.state.clone()));
            let state = match (until, state) {
                (WaitFor::Removed, Err(_)) => return Ok(ContainerState::Dead),
                (_, state) => state?,
            };
            let holds = match (until, &state) {
                (WaitFor::Removed, _) => false,
                (WaitFor::Exited, state) => matches!(state, ContainerState::Exited { .. }),
                (WaitFor::HealthKnown, ContainerState::Running { health, .. }) => *health != Some(Health::Starting),
                (WaitFor::HealthKnown, state) => matches!(state, ContainerState::Exited { .. }),
            };
            if holds {
                return Ok(state);
            }
            changes.mark_unchanged();
            changes.changed().await.unwrap();
        }
    }

    async fn build(&self, config: &BuildConfig, progress: mpsc::Sender<Progress>) -> Result<ImageId, EngineError> {
        let image = config.tags[0].to_string();
        self.note(format!("build {image}")).await?;
        progress.send(Progress::Done { id: "1".to_owned(), cached: false }).await.unwrap();
        self.image(&image, "built");
        Ok(ImageId("sha256:built".to_owned()))
    }

    async fn remove_image(&self, image: &str, _: bool) -> Result<Vec<String>, EngineError> {
        self.note(format!("remove image {image}")).await?;
        self.change(|observed| observed.images.retain(|name, _| name.to_string() != image));
        Ok(Vec::new())
    }

    async fn projects(&self) -> Result<Vec<ObservedProject>, EngineError> {
        unreachable!("no plan asks for projects")
    }

    async fn lock(
        &self,
        _: &ProjectName,
        _: &(dyn for<'a> Fn(&'a str) + Send + Sync),
    ) -> Result<Box<dyn Send + Sync>, EngineError> {
        unreachable!("no plan locks")
    }

    async fn logs(&self, _: &ContainerId, _: &LogQuery) -> Result<mpsc::Receiver<LogChunk>, EngineError> {
        unreachable!("no plan reads logs")
    }

    async fn events(&self, _: &ProjectName, _: &EventQuery) -> Result<mpsc::Receiver<Event>, EngineError> {
        unreachable!("no plan reads events")
    }

    async fn story(&self, _: &ContainerId) -> Result<Story, EngineError> {
        unreachable!()
    }

    async fn exec(&self, _: &ContainerId, _: &ExecConfig, _: ProcessIo) -> Result<Process, EngineError> {
        unreachable!("no plan runs further processes")
    }

    async fn start_attached(&self, _: &ContainerId, _: ProcessIo) -> Result<Process, EngineError> {
        unreachable!("no plan attaches")
    }

    async fn leave(&self, _: &ContainerId, _: Attended, _: OwnedFd) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn input(&self, _: &ContainerId) -> Result<Option<OwnedFd>, EngineError> {
        unreachable!()
    }
    async fn usage(&self, _: &ContainerId) -> Result<Usage, EngineError> {
        unreachable!()
    }
    async fn copy_into(&self, _: &ContainerId, _: Outside, _: &str, _: CopyOptions) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn copy_from(&self, _: &ContainerId, _: &str, _: Outside, _: CopyOptions) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn remove_files(&self, _: &ContainerId, _: &[String]) -> Result<(), EngineError> {
        unreachable!()
    }
    async fn top(&self, _: &ContainerId) -> Result<Vec<ProcessRow>, EngineError> {
        unreachable!("no plan lists processes")
    }

    async fn images(&self) -> Result<Vec<ObservedImage>, EngineError> {
        unreachable!("no plan lists images")
    }

    async fn pull(
        &self,
        image: &ImageRef,
        _: Option<&Platform>,
        progress: mpsc::Sender<Progress>,
    ) -> Result<Pulled, EngineError> {
        self.note(format!("pull {image}")).await?;
        progress.send(Progress::Step { id: "layer".into(), text: "Pulling fs layer".into() }).await.unwrap();
        self.image(&image.to_string(), "pulled");
        Ok(Pulled { id: ImageId("sha256:pulled".into()), digest: "sha256:manifest".into(), fresh: true })
    }

    async fn push(&self, _: &ImageRef, _: mpsc::Sender<Progress>) -> Result<Pushed, EngineError> {
        unreachable!()
    }

    async fn login(&self, _: &str, _: &str, _: &str) -> Result<LoggedIn, EngineError> {
        unreachable!()
    }

    async fn logout(&self, _: &str) -> Result<bool, EngineError> {
        unreachable!()
    }

    async fn inspect_image(&self, _: &str) -> Result<ImageDetail, EngineError> {
        unreachable!()
    }

    async fn prune_images(&self, _: bool) -> Result<Pruned, EngineError> {
        unreachable!()
    }

    async fn commit_container(&self, _: &ContainerId, _: &CommitConfig) -> Result<ImageId, EngineError> {
        unreachable!()
    }

    async fn export_container(&self, _: &ContainerId, _: OwnedFd) -> Result<(), EngineError> {
        unreachable!()
    }

    async fn disk_use(&self) -> Result<DiskUse, EngineError> {
        unreachable!()
    }

    async fn import_image(&self, _: OwnedFd, _: Option<&ImageRef>) -> Result<ImageId, EngineError> {
        unreachable!("no plan imports")
    }

    async fn load_images(&self, _: OwnedFd) -> Result<Vec<ImageRef>, EngineError> {
        unreachable!("no plan loads")
    }

    async fn save_images(&self, _: &[ImageRef], _: OwnedFd) -> Result<(), EngineError> {
        unreachable!("no plan saves")
    }

    async fn tag_image(&self, _: &ImageRef, _: &ImageRef) -> Result<(), EngineError> {
        unreachable!("no plan tags")
    }
}
