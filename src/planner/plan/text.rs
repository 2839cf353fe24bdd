//! A plan in words.

use std::fmt;
use std::time::Duration;

use crate::engine::Rest;
use crate::planner::plan::{Action, Cause, Condition, Need, Plan, Question, join};
use crate::values::names::ServiceName;

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            write!(out, "#{index} {}", step.action)?;
            if step.cause != Cause::Replacement {
                write!(out, " ({})", step.cause)?;
            }
            if !step.after.is_empty() {
                out.write_str(" after")?;
                for after in &step.after {
                    write!(out, " #{}", after.0)?;
                }
            }
            out.write_str("\n")?;
        }
        Ok(())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grace = |grace: &Option<Duration>| match grace {
            Some(grace) => format!(" within {}", crate::values::duration::go(*grace)),
            None => String::new(),
        };
        match self {
            Action::Build { image, .. } => write!(out, "build image {image}"),
            Action::PullImage { image, platform: None, .. } => write!(out, "pull image {image}"),
            Action::PullImage { image, platform: Some(platform), .. } => {
                write!(out, "pull image {image} for {platform}")
            }
            Action::PushImage { image, .. } => write!(out, "push image {image}"),
            Action::CreateNetwork(config) => write!(out, "create network {}", config.name),
            Action::RemoveNetwork { name, .. } => write!(out, "remove network {name}"),
            Action::CreateVolume(config) => write!(out, "create volume {}", config.name),
            Action::RemoveVolume { name, .. } => write!(out, "remove volume {name}"),
            Action::CreateContainer { config, replaces: None } => {
                write!(out, "create container {} from {}", config.name, config.image)
            }
            Action::CreateContainer { config, replaces: Some(old) } => {
                write!(out, "create container {} from {} to replace {}", config.name, config.image, old.name)
            }
            Action::RenameContainer { to, .. } => write!(out, "rename container to {to}"),
            Action::StartContainer(target) => write!(out, "start container {}", target.name),
            Action::StopContainer { target, grace: limit, rest } => {
                let until = if *rest == Rest::UntilBoot { " until the machine starts again" } else { "" };
                write!(out, "stop container {}{}{until}", target.name, grace(limit))
            }
            Action::RestartContainer { target, grace: limit } => {
                write!(out, "restart container {}{}", target.name, grace(limit))
            }
            Action::KillContainer { target, signal } => write!(out, "send {signal} to container {}", target.name),
            Action::PauseContainer(target) => write!(out, "pause container {}", target.name),
            Action::UnpauseContainer(target) => write!(out, "unpause container {}", target.name),
            Action::RemoveContainer { target, volumes: false } => write!(out, "remove container {}", target.name),
            Action::RemoveContainer { target, volumes: true } => {
                write!(out, "remove container {} and its anonymous volumes", target.name)
            }
            Action::Wait { service, condition, timeout, need, .. } => {
                let wish = match condition {
                    Condition::Healthy => "is healthy",
                    Condition::Completed => "has completed successfully",
                    Condition::RunningOrHealthy => "runs and is healthy",
                };
                let need = if *need == Need::Optional { ", if it can" } else { "" };
                write!(out, "wait until {service} {wish}{need}{}", grace(timeout))
            }
            Action::AwaitReady { service, readiness, .. } => {
                let signs: Vec<String> = readiness.signs.iter().map(ToString::to_string).collect();
                write!(out, "wait until {service} is ready: {}", signs.join(", and "))
            }
            Action::RunHook { target, run } => {
                write!(out, "run hook {:?} in container {}", run.exec.command.join(" "), target.name)
            }
            Action::RunPreStart { service, index, config, .. } => {
                write!(out, "run pre_start[{index}] of {service} in container {}", config.name)
            }
            Action::RemoveImage { image } => write!(out, "remove image {image}"),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Asked => out.write_str("asked"),
            Cause::Missing => out.write_str("missing"),
            Cause::NotRunning => out.write_str("not running"),
            Cause::ConfigChanged(fields) if fields.is_empty() => out.write_str("configuration changed"),
            Cause::ConfigChanged(fields) => write!(out, "changed: {}", fields.join(", ")),
            Cause::ImageChanged => out.write_str("image changed"),
            Cause::Forced => out.write_str("forced"),
            Cause::Orphan => out.write_str("orphan"),
            Cause::Surplus => out.write_str("surplus"),
            Cause::DependencyRecreated(service) => write!(out, "{service} is recreated"),
            Cause::DependencyRestarted(service) => write!(out, "{service} is restarted"),
            Cause::NetworkRecreated(name) => write!(out, "network {name} is recreated"),
            Cause::VolumeRecreated(name) => write!(out, "volume {name} is recreated"),
            Cause::NotConnected(name) => write!(out, "not connected to network {name}"),
            Cause::Severed => write!(out, "its bridge is gone or down under its containers"),
            Cause::Overshadowed(route) => write!(out, "a route of this machine to {route} takes its addresses away"),
            Cause::NotMounted(name) => write!(out, "volume {name} is not mounted"),
            Cause::Old => out.write_str("fetched too long ago"),
            Cause::Replacement => out.write_str("replacement"),
            Cause::Unfinished => out.write_str("left unfinished"),
            Cause::NeededBy(services) => {
                let names: Vec<_> = services.iter().map(ServiceName::as_str).collect();
                write!(out, "needed by {}", names.join(", "))
            }
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Question::RecreateVolume(name) => write!(
                out,
                "Volume {:?} exists but doesn't match configuration in compose file. Recreate (data will be lost)?",
                name.as_str()
            ),
            Question::RemoveContainers(names) => write!(out, "Going to remove {}", join(names)),
        }
    }
}
