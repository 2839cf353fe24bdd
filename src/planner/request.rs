//! What was asked, in the planner's words: a command's meaning without its flags' spelling.
//!
//! A request says everything that is a choice: which services, what may be recreated, what the user has agreed to. Nothing
//! here is random or timed: what a plan needs of that (the slug of a one-off container) is given with the request.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::engine::{ContainerId, Labels, Rest};
use crate::planner::plan::{Loss, Question};
use crate::spec::project::service::PullPolicy;
use crate::values::names::{ContainerName, ServiceName};
use crate::values::signal::Signal;

/// One command.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The services named; empty: every active one.
    pub services: Vec<ServiceName>,
    /// What is to happen to them.
    pub operation: Operation,
}

/// What is to happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Make things be as the file says: `up`, `create`, `scale`.
    Up(Up),
    /// One container besides, for one command: `run`. Exactly one service is named.
    Run(Run),
    /// Make images: `build`.
    Build(Build),
    /// Fetch images: `pull`.
    Pull(Pull),
    /// Send images: `push`.
    Push(Push),
    /// Start what exists, with its dependencies: `start`.
    Start {
        /// Whether to wait until everything runs and is healthy.
        wait: Wait,
    },
    /// Start these containers as `start` does, and wait for what they depend on; one that fails holds up nobody but those
    /// that depend on it: `resume`.
    Resume {
        /// Which come back.
        containers: BTreeSet<ContainerId>,
    },
    /// Stop what runs: `stop`, `suspend`.
    Stop {
        /// In place of the containers' own grace periods.
        grace: Option<Duration>,
        /// For how long.
        rest: Rest,
    },
    /// Stop and start again: `restart`.
    Restart {
        /// In place of the containers' own grace periods.
        grace: Option<Duration>,
        /// Whether services that asked for it in `depends_on` are restarted too.
        dependents: Dependents,
    },
    /// Send a signal to what runs: `kill`.
    Kill {
        /// Which.
        signal: Signal,
        /// Whether containers of unknown services get it too.
        orphans: Orphans,
    },
    /// Freeze what runs: `pause`.
    Pause,
    /// Thaw it: `unpause`.
    Unpause,
    /// Remove stopped containers: `rm`.
    Remove(Remove),
    /// Remove everything that `up` made: `down`.
    Down(Down),
}

/// How far `up` goes, and what it may replace.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Up {
    /// For the services named.
    pub recreate: Recreate,
    /// For their dependencies.
    pub recreate_dependencies: Recreate,
    /// Whether services that are not named but needed are brought up too.
    pub dependencies: Dependencies,
    /// Replicas by service, over what the file says.
    pub scale: BTreeMap<ServiceName, u32>,
    /// What becomes of containers of unknown services.
    pub orphans: Orphans,
    /// What becomes of anonymous volumes when a container is replaced.
    pub anonymous_volumes: AnonymousVolumes,
    /// In place of the containers' own grace periods, when one must stop.
    pub grace: Option<Duration>,
    /// How far to go.
    pub until: Until,
    /// What counts as ready where a service does not say.
    pub ready: Ready,
    /// When images are built.
    pub build: BuildPolicy,
    /// In place of every service's own `pull_policy`.
    pub pull: Option<PullPolicy>,
    /// Also make networks and volumes that no service uses (`--all-resources`).
    pub unused_resources: UnusedResources,
    /// What the user has agreed to.
    pub answers: Answers,
}

/// When a container is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recreate {
    /// When it is not as the file says.
    #[default]
    Diverged,
    /// Always: `--force-recreate`, `--always-recreate-deps`.
    Always,
    /// Never: `--no-recreate`.
    Never,
}

/// Whether dependencies of the named services take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dependencies {
    /// They are brought up and waited for.
    #[default]
    Include,
    /// `--no-deps`: they are taken as they are.
    Exclude,
}

/// Whether services depending on the named ones take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dependents {
    /// Those whose `depends_on` says `restart: true`.
    #[default]
    Include,
    /// `--no-deps`.
    Exclude,
}

/// What becomes of containers whose service the file does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Orphans {
    /// They are named in a warning.
    #[default]
    Warn,
    /// Silence: `COMPOSE_IGNORE_ORPHANS`.
    Ignore,
    /// They take part: removed by `up` and `down`, signalled by `kill`.
    Include,
}

/// What becomes of anonymous volumes when a container is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AnonymousVolumes {
    /// The new container gets them.
    #[default]
    Keep,
    /// The new container gets empty ones: `--renew-anon-volumes`.
    Renew,
}

/// How far `up` goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Containers exist: `create`, `--no-start`.
    Created,
    /// Containers have been started; `wait` says whether that is enough.
    Started(Wait),
}

impl Default for Until {
    fn default() -> Until {
        Until::Started(Wait::No)
    }
}

/// Whether to wait until what was started runs and is healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wait {
    /// Only where `depends_on` says so.
    #[default]
    No,
    /// For all: `--wait`. The limit holds for waits of `depends_on` too (`--wait-timeout`).
    Yes {
        /// `None`: without end.
        timeout: Option<Duration>,
    },
}

/// What counts as ready for dependents of a service that neither has a health check nor says `x-ready`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ready {
    /// That it was started.
    #[default]
    Started,
    /// That somebody listens on the ports that it declares: `--ready auto`.
    Listening,
}

/// When images are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BuildPolicy {
    /// When one is missing, or the service's `pull_policy` is `build`.
    #[default]
    Missing,
    /// Every service with a `build` section: `--build`.
    Always,
    /// Never: `--no-build`.
    Never,
}

/// Whether networks and volumes that no service uses are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnusedResources {
    /// They are left out.
    #[default]
    Skip,
    /// `--all-resources`.
    Create,
}

/// What the user has agreed to so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answers {
    /// Yes to everything: `-y`, `--force`.
    Yes,
    /// These; a question without an answer counts as declined and is listed in the plan.
    Given(BTreeMap<Question, bool>),
}

impl Default for Answers {
    fn default() -> Answers {
        Answers::Given(BTreeMap::new())
    }
}

impl Answers {
    /// The answer to a question, if there is one.
    pub fn to(&self, question: &Question) -> Option<bool> {
        match self {
            Answers::Yes => Some(true),
            Answers::Given(answers) => answers.get(question).copied(),
        }
    }
}

/// One container for one command. `None` leaves what the service has.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Run {
    /// 64 hexadecimal digits of the caller's choice; the container's name ends in the first 12.
    pub slug: String,
    /// In place of the generated name.
    pub name: Option<ContainerName>,
    /// In place of the service's command.
    pub command: Option<Vec<String>>,
    /// In place of the service's entrypoint; the service's and the image's command are dropped with it.
    pub entrypoint: Option<Vec<String>>,
    /// Over the service's environment; `None` takes a variable away.
    pub environment: BTreeMap<String, Option<String>>,
    /// Besides the service's.
    pub labels: Labels,
    /// In place of the service's user.
    pub user: Option<String>,
    /// In place of the service's working directory.
    pub working_dir: Option<String>,
    /// Added capabilities; no longer dropped.
    pub cap_add: Vec<String>,
    /// Dropped capabilities; no longer added.
    pub cap_drop: Vec<String>,
    /// Which ports are published.
    pub ports: RunPorts,
    /// Which names it answers to.
    pub aliases: RunAliases,
    /// Whether it is removed when it has ended.
    pub after_exit: AfterExit,
    /// What counts as ready where a dependency does not say.
    pub ready: Ready,
    /// Allocate a terminal.
    pub tty: bool,
    /// Keep standard input open.
    pub stdin_open: bool,
    /// Who starts it.
    pub start: RunStart,
    /// Whether dependencies are brought up first.
    pub dependencies: Dependencies,
    /// What becomes of containers of unknown services.
    pub orphans: Orphans,
    /// When images are built.
    pub build: BuildPolicy,
    /// In place of every service's own `pull_policy`.
    pub pull: Option<PullPolicy>,
    /// What the user has agreed to.
    pub answers: Answers,
}

/// Which ports a one-off container publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RunPorts {
    /// None.
    #[default]
    None,
    /// The service's (`--service-ports`), or what `--publish` has put in their place.
    Service,
}

/// Which names a one-off container answers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RunAliases {
    /// Its own name alone.
    #[default]
    Own,
    /// The service's too: `--use-aliases`.
    Service,
}

/// What becomes of a one-off container that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AfterExit {
    /// It stays.
    #[default]
    Keep,
    /// It is removed with its anonymous volumes: `--rm`.
    Remove,
}

/// Who starts a one-off container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RunStart {
    /// The caller, with streams of its own; the plan ends with its creation.
    #[default]
    Attached,
    /// The plan: `--detach`.
    Detached,
}

/// What to build, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Build {
    /// Whether dependencies of the named services are built too (`--with-dependencies`).
    pub dependencies: Dependencies,
    /// Arguments over the file's (`--build-arg`).
    pub args: BTreeMap<String, String>,
    /// Run every step anew.
    pub no_cache: bool,
    /// Ask registries for newer base images.
    pub pull: bool,
    /// Agents and keys over the file's (`--ssh`).
    pub ssh: BTreeMap<String, Option<PathBuf>>,
    /// Memory of each command, bytes.
    pub memory: Option<u64>,
}

/// What to fetch, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// Whether dependencies of the named services are fetched too (`--include-deps`).
    pub dependencies: Dependencies,
    /// In place of every service's own (`--policy`).
    pub policy: Option<PullPolicy>,
    /// What becomes of images that could be built.
    pub buildable: Buildable,
    /// What it means if one can't be fetched (`--ignore-pull-failures`).
    pub failures: Loss,
}

/// What `pull` does with images that could be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buildable {
    /// It tries to fetch them.
    Fetch,
    /// `--ignore-buildable`.
    Skip,
}

/// What to send, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// Whether dependencies of the named services are sent too (`--include-deps`).
    pub dependencies: Dependencies,
    /// What it means if one can't be sent (`--ignore-push-failures`).
    pub failures: Loss,
}

/// Which stopped containers go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Remove {
    /// Whether running ones are stopped first (`--stop`).
    pub running: Running,
    /// What becomes of their anonymous volumes.
    pub volumes: Volumes,
    /// What the user has agreed to.
    pub answers: Answers,
}

/// What `rm` does with running containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Running {
    /// Leaves them.
    #[default]
    Skip,
    /// Stops and removes them.
    Stop,
}

/// What becomes of volumes when containers are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Volumes {
    /// They stay.
    #[default]
    Keep,
    /// `--volumes`: anonymous ones go with their containers; `down` removes the file's own named ones as well.
    Remove,
}

/// What `down` takes along.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Down {
    /// What becomes of volumes.
    pub volumes: Volumes,
    /// What becomes of containers of unknown services.
    pub orphans: Orphans,
    /// Which images go.
    pub images: RemoveImages,
    /// In place of the containers' own grace periods.
    pub grace: Option<Duration>,
}

/// Which images `down` removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RemoveImages {
    /// None.
    #[default]
    None,
    /// Those built for services without an `image:` (`--rmi local`).
    Local,
    /// Every image of a service (`--rmi all`).
    All,
}

impl Request {
    /// `up` and its relatives.
    pub fn up(services: &[ServiceName], up: Up) -> Request {
        Request { services: services.to_vec(), operation: Operation::Up(up) }
    }

    /// `down`.
    pub fn down(services: &[ServiceName], down: Down) -> Request {
        Request { services: services.to_vec(), operation: Operation::Down(down) }
    }

    /// `stop`.
    pub fn stop(services: &[ServiceName], grace: Option<Duration>) -> Request {
        Request { services: services.to_vec(), operation: Operation::Stop { grace, rest: Rest::UntilStarted } }
    }

    /// `start`.
    pub fn start(services: &[ServiceName], wait: Wait) -> Request {
        Request { services: services.to_vec(), operation: Operation::Start { wait } }
    }
}
