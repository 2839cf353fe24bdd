//! What a service may do, as the engine takes it.

use crate::engine::{Device, Seccomp, Security};
use crate::planner::error::PlanError;
use crate::spec::project::service::Service;

/// Rights, and the words of `security_opt`: `name=value`, `name:value` or the bare name (Docker Engine, `--security-opt`).
pub(super) fn security(service: &Service) -> Result<Security, PlanError> {
    let mut security = Security {
        privileged: service.privileged,
        cap_add: service.cap_add.clone(),
        cap_drop: service.cap_drop.clone(),
        ..Security::default()
    };
    for option in &service.security_opt {
        let invalid = |reason: &str| PlanError::Invalid {
            service: service.name.clone(),
            reason: format!("invalid --security-opt {option:?}: {reason}"),
        };
        let (name, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
        match (name, value) {
            ("no-new-privileges", "" | "true") => security.no_new_privileges = true,
            ("no-new-privileges", "false") => security.no_new_privileges = false,
            ("seccomp", "unconfined") => security.seccomp = Seccomp::Unconfined,
            ("seccomp", "builtin" | "default") => security.seccomp = Seccomp::Default,
            // The loader puts the text of the file in the place of its path.
            ("seccomp", profile) if profile.trim_start().starts_with('{') => {
                security.seccomp = Seccomp::Profile(profile.to_owned());
            }
            ("seccomp", _) => return Err(invalid("a profile must be given as JSON text")),
            ("systempaths", "unconfined") => security.unmasked = true,
            // Without that security module there is nothing to confine, as in Docker on such a machine.
            ("label" | "apparmor", _) => {}
            _ => return Err(invalid("unknown option")),
        }
    }
    Ok(security)
}

/// Devices of the host.
pub(super) fn devices(service: &Service) -> Vec<Device> {
    let device = |device: &crate::spec::project::resources::Device| Device {
        source: device.source.clone().into(),
        target: device.target.clone().into(),
        permissions: device.permissions.clone(),
    };
    service.devices.iter().map(device).collect()
}
