//! `run`: what it asks of its dependencies, and what is wrong with asking.

use crate::engine::Observed;
use crate::planner::converge;
use crate::planner::error::PlanError;
use crate::planner::plan::Plan;
use crate::planner::request::{Run, Up};
use crate::spec::project::Project;
use crate::values::names::ServiceName;

/// What has to be done so that a command runs in a container of the service.
pub(super) fn plan(
    project: &Project,
    observed: &Observed,
    named: &[ServiceName],
    run: &Run,
) -> Result<Plan, PlanError> {
    let [name] = named else { return Err(PlanError::NoServiceSelected) };
    let service = project.services.get(name).ok_or_else(|| PlanError::NoSuchService(name.clone()))?;
    let up = Up { orphans: run.orphans, answers: run.answers.clone(), ready: run.ready, ..Up::default() };
    converge::plan_one_off(project, observed, service, run, &up)
}
