//! A plan: steps, each with its reason and with the steps it waits for. It prints as text; that text is `xcompose plan`.
//!
//! Acyclic by construction: a step can only wait for steps pushed before it.

mod text;

use std::time::Duration;

use crate::engine::{
    BuildConfig, ContainerConfig, ContainerId, ExecConfig, NetworkConfig, Readiness, Rest, VolumeConfig,
};
use crate::values::image_ref::ImageRef;
use crate::values::names::{ContainerName, NetworkName, ServiceName, VolumeName};
use crate::values::platform::Platform;
use crate::values::signal::Signal;

/// What is to be done, and in what order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    steps: Vec<Step>,
    /// To be asked before the plan is carried out; the answers go into the next request.
    pub questions: Vec<Question>,
    /// To be told to the user, whatever happens next.
    pub warnings: Vec<Warning>,
    /// Containers that run as they should.
    pub unchanged: Vec<ContainerName>,
    /// What a failing step means for the others.
    pub on_failure: OnFailure,
}

/// A step of one plan; only [`Plan::push`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(usize);

impl StepId {
    /// Its place in [`Plan::steps`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What.
    pub action: Action,
    /// Why.
    pub cause: Cause,
    /// What must have been done before.
    pub after: Vec<StepId>,
}

/// What a failing step means for those that have not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// None of them begins: building things up.
    #[default]
    Cancel,
    /// Only those waiting for it do not begin: taking things down.
    GoOn,
}

/// One call of the engine, or one wait.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Builds the image of a service.
    Build {
        /// The image's name, for display.
        image: String,
        /// How.
        config: Box<BuildConfig>,
    },
    /// Gets an image from its registry.
    PullImage {
        /// Which.
        image: ImageRef,
        /// `None`: the machine's own.
        platform: Option<Platform>,
        /// What it means if that fails.
        loss: Loss,
    },
    /// Sends an image to its registry.
    PushImage {
        /// Which.
        image: ImageRef,
        /// What it means if that fails.
        loss: Loss,
    },
    /// Makes a network; one that exists meanwhile is as good.
    CreateNetwork(Box<NetworkConfig>),
    /// Removes a network; one that is gone already is as good.
    RemoveNetwork {
        /// Which.
        name: NetworkName,
        /// What if something uses it.
        in_use: InUse,
    },
    /// Makes a volume.
    CreateVolume(Box<VolumeConfig>),
    /// Removes a volume with its data; one that is gone already is as good.
    RemoveVolume {
        /// Which.
        name: VolumeName,
        /// What if something uses it.
        in_use: InUse,
    },
    /// Makes a container.
    CreateContainer {
        /// What it is made from.
        config: Box<ContainerConfig>,
        /// In whose place.
        replaces: Option<Replaced>,
    },
    /// Gives a container its final name.
    RenameContainer {
        /// Which.
        container: ContainerRef,
        /// The name.
        to: ContainerName,
    },
    /// Starts a container.
    StartContainer(Target),
    /// Stops a container; nothing if it does not run.
    StopContainer {
        /// Which.
        target: Target,
        /// In place of its own grace period.
        grace: Option<Duration>,
        /// For how long.
        rest: Rest,
    },
    /// Stops and starts a container.
    RestartContainer {
        /// Which.
        target: Target,
        /// In place of its own grace period.
        grace: Option<Duration>,
    },
    /// Sends a signal.
    KillContainer {
        /// To which.
        target: Target,
        /// Which.
        signal: Signal,
    },
    /// Freezes a container.
    PauseContainer(Target),
    /// Thaws a container.
    UnpauseContainer(Target),
    /// Removes a container, killing it if it runs; one that is gone already is as good.
    RemoveContainer {
        /// Which.
        target: Target,
        /// With its anonymous volumes.
        volumes: bool,
    },
    /// Runs a command of the file in a container, at a point of its life.
    RunHook {
        /// In which.
        target: Target,
        /// What.
        run: Box<HookRun>,
    },
    /// Runs a container of its own to its end before a service starts, and removes it if it ends well.
    RunPreStart {
        /// Whose hook it is.
        service: ServiceName,
        /// Which of the service's.
        index: usize,
        /// What an earlier, failed one left.
        leftover: Option<ContainerId>,
        /// What it is made from.
        config: Box<ContainerConfig>,
    },
    /// Waits until containers of a service are as a dependent needs them.
    Wait {
        /// Whose containers.
        service: ServiceName,
        /// Which.
        containers: Vec<Target>,
        /// For what.
        condition: Condition,
        /// When to give up; `None`: never.
        timeout: Option<Duration>,
        /// Whether a dependent can do without.
        need: Need,
    },
    /// Waits until containers of a service show that they are ready; that they never do is only a warning.
    AwaitReady {
        /// Whose containers.
        service: ServiceName,
        /// Which.
        containers: Vec<Target>,
        /// What shows it.
        readiness: Readiness,
    },
    /// Removes an image.
    RemoveImage {
        /// Its name.
        image: String,
    },
}

/// A command of the file, run in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookRun {
    /// Whose hook it is.
    pub service: ServiceName,
    /// What lines of its output begin with.
    pub source: String,
    /// What runs, and how.
    pub exec: ExecConfig,
}

/// What it means that an image can't be had or sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The step fails.
    Fatal,
    /// A warning: it can be built, or the user said so.
    Bearable,
}

/// What if a thing that is to be removed is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InUse {
    /// The step fails.
    Fail,
    /// The thing stays, with a warning.
    Warn,
}

/// The container that a new one replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// Which.
    pub id: ContainerId,
    /// The name that the new one will have in the end.
    pub name: ContainerName,
    /// Whether the new one takes over its anonymous volumes.
    pub inherit: bool,
}

/// A container to do something with: its name for people, and how to find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its (final) name.
    pub name: ContainerName,
    /// Which.
    pub container: ContainerRef,
}

/// A container that is there, or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerRef {
    /// It is there.
    Existing(ContainerId),
    /// That step makes it.
    Made(StepId),
}

/// What a dependent waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// All containers are healthy (`service_healthy`).
    Healthy,
    /// The first container to end ends with 0 (`service_completed_successfully`).
    Completed,
    /// All containers run, and are healthy if they have a health check (`--wait`).
    RunningOrHealthy,
}

/// Whether a dependent can do without what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// `required: true`: the wait failing fails the plan.
    Required,
    /// `required: false`: the wait failing is a warning.
    Optional,
}

/// Why a step is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The user asked for just that.
    Asked,
    /// It is not there.
    Missing,
    /// It is there but does not run.
    NotRunning,
    /// It was made from something else; the fields that differ, by their names in the compose file.
    ConfigChanged(Vec<String>),
    /// Its image has other content now.
    ImageChanged,
    /// The user asked for it whether needed or not.
    Forced,
    /// Its service is not in the file.
    Orphan,
    /// There are more replicas than wanted.
    Surplus,
    /// It shares something with a container of that service, which is made anew; or asked to be restarted with it.
    DependencyRecreated(ServiceName),
    /// It asked to be restarted with that service.
    DependencyRestarted(ServiceName),
    /// It is connected to that network, which is made anew.
    NetworkRecreated(NetworkName),
    /// It mounts that volume, which is made anew.
    VolumeRecreated(VolumeName),
    /// It is not connected to that network, as it should be.
    NotConnected(NetworkName),
    /// It does not mount that volume, as it should.
    NotMounted(VolumeName),
    /// It was fetched longer ago than its pull policy allows.
    Old,
    /// A route of somebody else leads to its addresses.
    Overshadowed(String),
    /// Somebody has taken its bridge away under its containers.
    Severed,
    /// A part of replacing a container.
    Replacement,
    /// An earlier command was cut short.
    Unfinished,
    /// A dependent needs it.
    NeededBy(Vec<ServiceName>),
}

/// To be asked before a plan is carried out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// A volume is not as the file says; making it anew loses its data.
    RecreateVolume(VolumeName),
    /// `rm`: these containers would go.
    RemoveContainers(Vec<ContainerName>),
}

/// To be told to the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// Containers of services that the file does not have.
    #[error("Found orphan containers ({}) for this project. If you removed or renamed this service in your compose file, \
             you can run this command with the --remove-orphans flag to clean it up.", join(.0))]
    Orphans(Vec<ContainerName>),
    /// A network of that name was made by somebody else; it is used as it is.
    #[error(
        "a network with name {0} exists but was not created by compose.\nSet `external: true` to use an existing network"
    )]
    ForeignNetwork(NetworkName),
    /// A network of that name belongs to another project; it is used as it is.
    #[error(
        "a network with name {name} exists but was not created for project {project:?}.\n\
             Set `external: true` to use an existing network"
    )]
    OtherProjectsNetwork {
        /// The network.
        name: NetworkName,
        /// This project.
        project: String,
    },
    /// Somebody else's route takes addresses of a network away that its file has chosen, or that is not of the project.
    #[error(
        "a route of this machine to {route} takes addresses of network {network} away ({subnets}): \
             its containers may be out of reach there"
    )]
    Overshadowed {
        /// The network.
        network: NetworkName,
        /// What it has.
        subnets: String,
        /// Where the route leads.
        route: String,
    },
    /// The bridge of a network that is not of the project is gone.
    #[error("the bridge of network {0} is gone or down: its containers are out of reach until they are started again")]
    Severed(NetworkName),
    /// A volume of that name was made by somebody else; it is used as it is.
    #[error("volume {:?} already exists but was not created by Docker Compose. Use `external: true` to use an existing volume", .0.as_str())]
    ForeignVolume(VolumeName),
    /// A volume of that name belongs to another project; it is used as it is.
    #[error("volume {:?} already exists but was created for project {other:?} (expected {project:?}). \
             Use `external: true` to use an existing volume", .name.as_str())]
    OtherProjectsVolume {
        /// The volume.
        name: VolumeName,
        /// Whose it is.
        other: String,
        /// This project.
        project: String,
    },
    /// A dependent can do without that service, which has no container.
    #[error("{service} is missing dependency {dependency}")]
    MissingDependency {
        /// The dependent.
        service: ServiceName,
        /// What it lacks.
        dependency: ServiceName,
    },
    /// Published ports mean nothing on the host's own interfaces.
    #[error("{0} Published ports are discarded when using host network mode")]
    PortsDiscarded(ServiceName),
    /// `down` found nothing.
    #[error("No resource found to remove for project {0:?}.")]
    NothingToRemove(String),
    /// `kill` found nothing.
    #[error("No container to kill")]
    NothingToKill,
    /// `rm` found nothing.
    #[error("No stopped containers")]
    NothingToDelete,
}

fn join(names: &[ContainerName]) -> String {
    names.iter().map(ContainerName::as_str).collect::<Vec<_>>().join(", ")
}

impl Plan {
    /// Adds a step; it begins when those it names are done.
    pub fn push(&mut self, action: Action, cause: Cause, mut after: Vec<StepId>) -> StepId {
        after.sort();
        after.dedup();
        self.steps.push(Step { action, cause, after });
        StepId(self.steps.len() - 1)
    }

    /// This plan of pulls and builds and what follows it, as one to be read: a container is made when its image is.
    pub fn followed_by(mut self, rest: Plan) -> Plan {
        let shift = self.steps.len();
        for Step { mut action, cause, after } in rest.steps {
            let mut after: Vec<_> = after.into_iter().map(|id| StepId(id.0 + shift)).collect();
            for container in action.containers_mut() {
                if let ContainerRef::Made(step) = container {
                    step.0 += shift;
                }
            }
            if let Action::CreateContainer { config, .. } = &action {
                let builds = self.numbered().filter(|(_, step)| match &step.action {
                    Action::Build { config: build, .. } => build.tags.contains(&config.image),
                    Action::PullImage { image, .. } => *image == config.image,
                    _ => false,
                });
                after.extend(builds.map(|(id, _)| id));
            }
            self.push(action, cause, after);
        }
        Plan { steps: self.steps, ..rest }
    }

    /// The steps, in an order in which they could be done one by one.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The steps with their names.
    pub fn numbered(&self) -> impl Iterator<Item = (StepId, &Step)> {
        self.steps.iter().enumerate().map(|(index, step)| (StepId(index), step))
    }

    /// One step.
    pub fn step(&self, id: StepId) -> Option<&Step> {
        self.steps.get(id.0)
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

impl Action {
    /// The containers it does something with.
    fn containers_mut(&mut self) -> Vec<&mut ContainerRef> {
        match self {
            Action::RenameContainer { container, .. } => vec![container],
            Action::StartContainer(target)
            | Action::PauseContainer(target)
            | Action::UnpauseContainer(target)
            | Action::StopContainer { target, .. }
            | Action::RestartContainer { target, .. }
            | Action::KillContainer { target, .. }
            | Action::RunHook { target, .. }
            | Action::RemoveContainer { target, .. } => vec![&mut target.container],
            Action::Wait { containers, .. } | Action::AwaitReady { containers, .. } => {
                containers.iter_mut().map(|target| &mut target.container).collect()
            }
            Action::Build { .. }
            | Action::PullImage { .. }
            | Action::PushImage { .. }
            | Action::CreateNetwork(_)
            | Action::RemoveNetwork { .. }
            | Action::CreateVolume(_)
            | Action::RemoveVolume { .. }
            | Action::CreateContainer { .. }
            | Action::RunPreStart { .. }
            | Action::RemoveImage { .. } => Vec::new(),
        }
    }
}
