//! New containers, those for one command among them.

use crate::engine::{ContainerConfig, NetworkMode};
use crate::planner::container_config::Template;
use crate::planner::containers::{self, Circumstances, Decided, Fate, Replica};
use crate::planner::converge::Converge;
use crate::planner::error::PlanError;
use crate::planner::plan::{Action, Cause, ContainerRef, Replaced, StepId, Target, Warning};
use crate::planner::request::{AnonymousVolumes, RunStart};
use crate::planner::start::{Member, Now, Wish};
use crate::planner::{leftovers, networks, volumes};
use crate::spec::project::service::Service;
use crate::values::names::ServiceName;

impl<'a> Converge<'a> {
    /// Makes new containers, those that replace others under a name for the meantime.
    pub(super) fn emit_new(&mut self) -> Result<(), PlanError> {
        for name in self.graph.order().to_vec() {
            let Some(decided) = self.decided.get(&name) else { continue };
            let service = decided.template.service();
            let needs = self.needs(service);
            let anew = decided.replicas.iter().any(|replica| !matches!(replica.fate, Fate::Keep(_)));
            if anew && !service.ports.is_empty() && decided.template.config().network == NetworkMode::Host {
                self.plan.warnings.push(Warning::PortsDiscarded(name.clone()));
            }
            let mut new = Vec::new();
            for replica in &decided.replicas {
                let (old, cause) = match &replica.fate {
                    Fate::Keep(_) => continue,
                    Fate::Create(cause) | Fate::Renew(_, cause) => (None, cause.clone()),
                    Fate::Replace(old, cause) => (Some(*old), cause.clone()),
                };
                let renewed = match &replica.fate {
                    Fate::Renew(old, cause) => Some((*old, cause.clone())),
                    _ => None,
                };
                new.push((replica.number, self.config_of(decided, replica)?, old, renewed, cause));
            }
            for (number, mut config, old, renewed, cause) in new {
                let mut after = needs.clone();
                if let Some((old, cause)) = renewed
                    && !self.removals.contains_key(&old.config.name)
                {
                    self.stop_and_remove(old, cause);
                }
                let replaces = match old {
                    None => None,
                    Some(old) => {
                        let inherit = self.up.anonymous_volumes == AnonymousVolumes::Keep;
                        let final_name = leftovers::disguise(&mut config, old)?;
                        Some(Replaced { id: old.id.clone(), name: final_name, inherit })
                    }
                };
                after.extend(self.removals.get(&config.name));
                let action = Action::CreateContainer { config: Box::new(config), replaces };
                let step = self.plan.push(action, cause, after);
                self.made.insert((name.clone(), number), (step, vec![step]));
            }
        }
        Ok(())
    }

    /// What a new container of a service needs to be made: networks, volumes and donors.
    fn needs(&self, service: &Service) -> Vec<StepId> {
        let network = |key| self.network_ready.get(&self.project.networks.get(key)?.name);
        let volume = |key| self.volume_ready.get(&self.project.volumes.get(key)?.name);
        let mut needs: Vec<StepId> = networks::of(service).filter_map(network).copied().collect();
        needs.extend(volumes::of(service).filter_map(volume));
        for (donor, _) in containers::donors(service) {
            let first = self.decided.get(donor).and_then(|decided| decided.replicas.first());
            needs.extend(first.and_then(|first| match &first.fate {
                Fate::Keep(container) => self.renames.get(&container.id).copied(),
                _ => self.made.get(&(donor.clone(), first.number)).map(|(made, _)| *made),
            }));
        }
        needs
    }

    /// Makes the container for one command; it starts, if the plan starts it, when the dependencies are ready.
    pub(super) fn emit_one_off(&mut self) -> Result<Option<(ServiceName, Member)>, PlanError> {
        let Some((run, service)) = self.one_off else { return Ok(None) };
        if service.build.is_none() && !self.observed.images.contains_key(&service.image) {
            return Err(PlanError::NoSuchImage { image: service.image.clone(), service: service.name.clone() });
        }
        let around =
            Circumstances { observed: self.observed, inventory: &self.inventory, decided: &self.decided, renewed: &[] };
        let template = Template::new(self.project, service)?;
        let config = template.one_off(run, &self.observed.images, &around)?;
        let name = config.name.clone();
        let after = self.needs(service);
        let action = Action::CreateContainer { config: Box::new(config), replaces: None };
        let made = self.plan.push(action, Cause::Asked, after);
        let wish = match run.start {
            RunStart::Attached => Wish::Leave,
            RunStart::Detached => Wish::Start(Cause::Asked),
        };
        let target = Target { name, container: ContainerRef::Made(made) };
        Ok(Some((service.name.clone(), Member { target, now: Now::Idle, wish, after: vec![made] })))
    }

    fn config_of(&self, decided: &Decided<'a>, replica: &Replica<'a>) -> Result<ContainerConfig, PlanError> {
        let around =
            Circumstances { observed: self.observed, inventory: &self.inventory, decided: &self.decided, renewed: &[] };
        let mut config = decided.template.replica(replica.number, &self.observed.images, &around)?;
        config.name = replica.name.clone();
        Ok(config)
    }
}
