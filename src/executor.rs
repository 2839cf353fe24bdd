//! Runs a plan on an engine: order, concurrency, progress. Decides nothing.
//!
//! A step begins as soon as the steps it waits for are done, so independent ones are in flight together; `parallel` bounds
//! how many. After a failure nothing more begins (or, for plans that take down, nothing that waits for the failed step);
//! work that has begun is completed, waits are given up. Nothing here polls: waiting is [`Engine::wait_container`].
//!
//! Everything happens within the future of [`run`]: dropping it drops the calls in flight, and the engine finishes or undoes
//! those; no step begins afterwards.

mod calls;
pub mod hook;
mod order;
pub mod progress;
mod wait;

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::num::NonZeroUsize;
use std::task::Poll;

use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::engine::{ContainerId, Engine, EngineError, Progress};
use crate::executor::calls::Calls;
use crate::executor::order::Order;
use crate::executor::progress::Update;
use crate::planner::plan::{Plan, StepId};
use crate::values::image_ref::ImageRef;
use crate::values::names::{ContainerName, ServiceName};

/// Is told what happens. Called from within [`run`], so it must not block.
pub trait Observer: Send + Sync {
    /// Something became so.
    fn update(&self, update: Update);
    /// A hook printed something; `source` names its container.
    fn hook(&self, source: &str, output: &[u8]);
    /// A build goes on.
    fn building(&self, step: StepId, image: &str, progress: Progress);
    /// An image is on its way; its layers are the steps.
    fn travelling(&self, step: StepId, image: &ImageRef, progress: Progress);
}

/// What came of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The containers that were made, by final name.
    pub made: BTreeMap<ContainerName, ContainerId>,
    /// Images that could not be had or sent, where that was bearable.
    pub lost: BTreeSet<ImageRef>,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The engine could not do it.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A container that others depend on did not become what they need.
    #[error("dependency failed to start: {0}")]
    Dependency(WaitError),
    /// A service that had to end well did not.
    #[error("service {:?} didn't complete successfully: exit {status}", .service.as_str())]
    NotSuccessful {
        /// Which.
        service: ServiceName,
        /// How it ended.
        status: i32,
    },
    /// A hook ended with another code than 0; with its last words.
    #[error("{service} hook exited with status {status}{tail}")]
    Hook {
        /// Whose.
        service: ServiceName,
        /// How it ended.
        status: i32,
        /// Empty, or a colon and its last lines.
        tail: String,
    },
    /// A hook before a start ended with another code than 0; its container stays.
    #[error("service {:?} pre_start[{index}] exited with code {status}{tail} (hook container {} retained for inspection)", .service.as_str(), .id.short())]
    PreStart {
        /// Whose.
        service: ServiceName,
        /// Which.
        index: usize,
        /// How it ended.
        status: i32,
        /// Empty, or a colon and its last lines.
        tail: String,
        /// Its container.
        id: ContainerId,
    },
    /// The limit of the wait for a dependency is over.
    #[error("timeout waiting for dependencies")]
    DependencyTimeout,
    /// A container did not become what `--wait` wants.
    #[error("{0}")]
    Wait(WaitError),
    /// The limit of `--wait` is over.
    #[error("application not healthy after {0}")]
    NotHealthyAfter(String),
}

/// Why a container is not as it was waited for.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// Its probes say so.
    #[error("container {0} is unhealthy")]
    Unhealthy(ContainerName),
    /// It has ended.
    #[error("container {container} exited ({status})")]
    Exited {
        /// Which.
        container: ContainerName,
        /// How.
        status: i32,
    },
    /// Nothing ever tells.
    #[error("container {0} has no healthcheck configured")]
    NoHealthCheck(ContainerName),
    /// The engine could not tell.
    #[error(transparent)]
    Engine(EngineError),
}

/// A plan was not carried out to its end.
#[derive(Debug, thiserror::Error)]
#[error("{}", .errors.iter().map(|(_, error)| error.to_string()).collect::<Vec<_>>().join("\n"))]
pub struct Failed {
    /// What failed, in the order of failing; never empty.
    pub errors: Vec<(StepId, StepError)>,
    /// What had been made by then.
    pub outcome: Outcome,
}

/// Carries out a plan.
pub async fn run(
    plan: &Plan,
    engine: &dyn Engine,
    parallel: Option<NonZeroUsize>,
    observer: &dyn Observer,
) -> Result<Outcome, Failed> {
    let calls = Calls::new(plan, engine, observer);
    let mut order = Order::new(plan, parallel.map_or(usize::MAX, NonZeroUsize::get));
    let mut running = FuturesUnordered::new();
    let mut errors = Vec::new();
    loop {
        while let Some(id) = order.next() {
            let mut call = Box::pin(calls.step(id));
            // Polled before the next one is made, so that requests leave depth first: a start is asked for as soon as its
            // container is made, not when all containers are.
            match poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await {
                Poll::Ready(result) => finish(&mut order, id, result, &mut errors),
                Poll::Pending => running.push(async move { (id, call.await) }),
            }
        }
        if order.is_over() {
            break;
        }
        let Some((id, result)) = running.next().await else { break };
        finish(&mut order, id, result, &mut errors);
    }
    // What is dropped here waits for something that no longer matters.
    drop(running);
    let outcome = calls.outcome();
    if errors.is_empty() { Ok(outcome) } else { Err(Failed { errors, outcome }) }
}

fn finish(order: &mut Order<'_>, id: StepId, result: Result<(), StepError>, errors: &mut Vec<(StepId, StepError)>) {
    match result {
        Ok(()) => order.done(id),
        Err(error) => {
            order.failed(id);
            errors.push((id, error));
        }
    }
}
