//! Commands that run in a service's containers after a start and before a stop (behaviours §16).
//!
//! They are the file's, so a project that is known by name alone has none. One runs after the other; a start is done when
//! its last hook has ended well, and a stop begins only then.

use crate::engine::ExecConfig;
use crate::planner::plan::{Action, Cause, HookRun, Plan, StepId, Target};
use crate::spec::project::Project;
use crate::spec::project::hooks::Hook;
use crate::spec::project::service::Service;
use crate::values::names::ServiceName;

/// The hooks of a project's services.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hooks<'p>(pub(super) Option<&'p Project>);

impl<'p> Hooks<'p> {
    /// After a start; the step after which the container counts as started.
    pub(super) fn post_start(
        self,
        service: &ServiceName,
        target: &Target,
        cause: &Cause,
        start: StepId,
        plan: &mut Plan,
    ) -> StepId {
        let hooks = self.service(service).map_or(&[][..], |service| &service.post_start);
        self.push(service, target, hooks, cause, vec![start], plan).into_iter().next().unwrap_or(start)
    }

    /// Before a stop; what the stop has to wait for.
    pub(super) fn pre_stop(
        self,
        service: &ServiceName,
        target: &Target,
        cause: &Cause,
        after: Vec<StepId>,
        plan: &mut Plan,
    ) -> Vec<StepId> {
        let hooks = self.service(service).map_or(&[][..], |service| &service.pre_stop);
        self.push(service, target, hooks, cause, after, plan)
    }

    fn service(self, name: &ServiceName) -> Option<&'p Service> {
        let project = self.0?;
        project.services.get(name).or_else(|| project.disabled.get(name))
    }

    fn push(
        self,
        service: &ServiceName,
        target: &Target,
        hooks: &[Hook],
        cause: &Cause,
        mut after: Vec<StepId>,
        plan: &mut Plan,
    ) -> Vec<StepId> {
        let Some(project) = self.0 else { return after };
        for hook in hooks {
            let run = HookRun::new(project, service, target, hook);
            after =
                vec![plan.push(Action::RunHook { target: target.clone(), run: Box::new(run) }, cause.clone(), after)];
        }
        after
    }
}

impl HookRun {
    /// A hook of a service in one of its containers.
    pub fn new(project: &Project, service: &ServiceName, target: &Target, hook: &Hook) -> HookRun {
        let name = target.name.as_str();
        let short = name.strip_prefix(project.name.as_str()).and_then(|rest| rest.strip_prefix(['-', '_']));
        let environment = hook.environment.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
        HookRun {
            service: service.clone(),
            source: short.filter(|short| !short.is_empty()).unwrap_or(name).to_owned(),
            exec: ExecConfig {
                command: hook.command.clone(),
                environment: environment.collect(),
                user: hook.user.clone(),
                working_dir: hook.working_dir.clone(),
                privileged: hook.privileged,
            },
        }
    }
}
