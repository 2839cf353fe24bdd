//! What `run` changes about a service's container.

use crate::engine::{ContainerConfig, NetworkMode};
use crate::planner::request::{AfterExit, Run, RunAliases, RunPorts};
use crate::values::restart::Restart;

/// Changes what is asked, and what a container for one command must not have: ports, names and a restart policy.
pub(super) fn apply(run: &Run, config: &mut ContainerConfig) {
    config.restart = Restart::No;
    config.auto_remove = run.after_exit == AfterExit::Remove;
    config.tty = run.tty;
    config.stdin_open = run.stdin_open;
    match run.ports {
        RunPorts::None => config.ports.clear(),
        RunPorts::Service => {}
    }
    if let (NetworkMode::Networks(attachments), RunAliases::Own) = (&mut config.network, run.aliases) {
        attachments.iter_mut().for_each(|attachment| attachment.aliases.clear());
    }
    if let Some(entrypoint) = &run.entrypoint {
        config.entrypoint = Some(entrypoint.clone());
        config.command = None;
    }
    if let Some(command) = &run.command {
        config.command = Some(command.clone());
    }
    config.environment.extend(run.environment.clone());
    config.labels.extend(run.labels.clone());
    if let Some(user) = &run.user {
        config.user = Some(user.clone());
    }
    if let Some(working_dir) = &run.working_dir {
        config.working_dir = Some(working_dir.clone());
    }
    move_capabilities(&run.cap_add, &mut config.security.cap_add, &mut config.security.cap_drop);
    move_capabilities(&run.cap_drop, &mut config.security.cap_drop, &mut config.security.cap_add);
}

fn move_capabilities(wanted: &[String], to: &mut Vec<String>, from: &mut Vec<String>) {
    for capability in wanted {
        from.retain(|other| other != capability);
        if !to.contains(capability) {
            to.push(capability.clone());
        }
    }
}
