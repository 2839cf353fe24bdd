//! Configs and secrets: bind mounts where they are files of the host, else files written before each start.

use crate::engine::InjectedFile;
use crate::planner::error::PlanError;
use crate::spec::project::Project;
use crate::spec::project::files::{FileMount, FileObject, FileOrigin};
use crate::spec::project::service::Service;

/// A config or secret as one service sees it.
pub(super) struct Given<'a> {
    /// `config` or `secret`.
    pub(super) kind: &'static str,
    /// Where its bytes come from.
    pub(super) object: &'a FileObject,
    /// Absolute path in the container.
    pub(super) target: &'a str,
    uid: Option<&'a str>,
    gid: Option<&'a str>,
    mode: Option<u32>,
}

/// Every config and secret of a service, but for those whose place another mount takes.
pub(super) fn given<'a>(project: &'a Project, service: &'a Service) -> Vec<Given<'a>> {
    fn one<'a, Key>(kind: &'static str, object: &'a FileObject, mount: &'a FileMount<Key>) -> Given<'a> {
        Given {
            kind,
            object,
            target: &mount.target,
            uid: mount.uid.as_deref(),
            gid: mount.gid.as_deref(),
            mode: mount.mode,
        }
    }
    let configs =
        service.configs.iter().filter_map(|mount| Some(("config", project.configs.get(&mount.source)?, mount)));
    let secrets =
        service.secrets.iter().filter_map(|mount| Some(("secret", project.secrets.get(&mount.source)?, mount)));
    let configs = configs.map(|(kind, object, mount)| one(kind, object, mount));
    let secrets = secrets.map(|(kind, object, mount)| one(kind, object, mount));
    let mut all: Vec<_> = configs.chain(secrets).collect();
    all.retain(|file| !service.mounts.iter().any(|mount| mount.target == file.target));
    all
}

/// The files that are written into a container of the service.
pub(super) fn injected(project: &Project, service: &Service) -> Result<Vec<InjectedFile>, PlanError> {
    let mut files = Vec::new();
    for file in given(project, service) {
        let invalid = |reason| PlanError::Invalid { service: service.name.clone(), reason };
        let Given { kind, object, .. } = &file;
        let content = match &object.origin {
            FileOrigin::File(_) => continue,
            FileOrigin::Content(content) => content,
            FileOrigin::Environment { value: Some(value), .. } => value,
            FileOrigin::Environment { variable, value: None } => {
                return Err(invalid(format!(
                    "environment variable {variable:?} required by {kind} {:?} is not set",
                    object.name
                )));
            }
            FileOrigin::External => {
                return Err(invalid(format!("unsupported external {kind} {}", object.name)));
            }
        };
        if service.read_only {
            return Err(PlanError::FileInReadOnly { kind, object: object.name.clone(), service: service.name.clone() });
        }
        if content.is_empty() {
            continue;
        }
        let number = |text: Option<&str>, what: &str| match text {
            None | Some("") => Ok(0),
            Some(text) => text
                .parse()
                .map_err(|_| invalid(format!("{what} {text:?} of {kind} {:?} is not a number", object.name))),
        };
        files.push(InjectedFile {
            target: file.target.to_owned(),
            content: content.as_bytes().to_vec(),
            uid: number(file.uid, "uid")?,
            gid: number(file.gid, "gid")?,
            mode: file.mode.unwrap_or(0o444),
        });
    }
    Ok(files)
}
