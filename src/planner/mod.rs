//! Project × Observed × Request → Plan. Pure, synchronous, deterministic: no clock, no randomness, no engine.
//!
//! What is wanted is compared with what is there, thing by thing; what differs becomes a step with its reason. A planner
//! never asks: where the user has to agree, the plan carries a question and counts it as declined until it is answered.
//!
//! A container is made anew when, in this order (Compose, behaviours §1.3): something that it shares with another service's
//! container is made anew · its configuration hash differs from the file's · its image's name names another image now · it
//! runs, and is not connected to a network it should be on · a volume is not mounted as it should be. `--force-recreate`
//! says always, `--no-recreate` never. What makes no container (dependencies, scale, profiles, build, the content of
//! secrets) recreates none.

mod build_config;
pub mod container_config;
mod containers;
mod converge;
mod diff;
pub mod error;
mod existing;
pub mod graph;
mod hash;
mod hooks;
pub mod images;
pub mod labels;
mod leftovers;
mod networks;
mod orphans;
pub mod plan;
mod recreate;
pub mod request;
mod run;
mod start;
pub mod transfers;
mod volumes;

use crate::engine::Observed;
use crate::planner::error::PlanError;
use crate::planner::existing::{Existing, Unknown};
use crate::planner::plan::Plan;
use crate::planner::request::{Operation, Request};
use crate::spec::project::Project;
use crate::values::names::ProjectName;

/// Where the wishes come from.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// Compose files.
    Project(&'a Project),
    /// Nothing but a name (`-p`): services and their order are read from the labels of what is there. Enough to stop,
    /// start, kill, pause and remove; not to make.
    Name(&'a ProjectName),
}

/// What has to be done so that the request is fulfilled.
pub fn plan(wanted: Wanted<'_>, observed: &Observed, request: &Request) -> Result<Plan, PlanError> {
    let project = || match wanted {
        Wanted::Project(project) => Ok(project),
        Wanted::Name(_) => Err(PlanError::NeedsFiles),
    };
    let existing = |unknown| Existing::new(wanted, observed, &request.services, unknown);
    match &request.operation {
        Operation::Up(up) => converge::plan(project()?, observed, &request.services, up),
        Operation::Run(run) => run::plan(project()?, observed, &request.services, run),
        Operation::Build(_) => images::plan(project()?, observed, request),
        // All there is to it has to be done before anything is compared: [`transfers`].
        Operation::Pull(_) | Operation::Push(_) => Ok(Plan::default()),
        Operation::Start { wait } => existing(Unknown::Refuse)?.start(*wait),
        Operation::Resume { containers } => existing(Unknown::Refuse)?.resume(containers),
        Operation::Stop { grace, rest } => Ok(existing(Unknown::Refuse)?.stop(*grace, *rest)),
        Operation::Restart { grace, dependents } => existing(Unknown::Refuse)?.restart(*grace, *dependents),
        Operation::Kill { signal, orphans } => Ok(existing(Unknown::Refuse)?.kill(*signal, *orphans)),
        Operation::Pause => Ok(existing(Unknown::Refuse)?.pause(true)),
        Operation::Unpause => Ok(existing(Unknown::Refuse)?.pause(false)),
        Operation::Remove(remove) => Ok(existing(Unknown::Refuse)?.remove(remove)),
        Operation::Down(down) => Ok(existing(Unknown::Ignore)?.down(down)),
    }
}
