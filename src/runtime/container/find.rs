//! From a name or id to a container, and from a record to the process that it names.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::str::SplitAsciiWhitespace;

use serde::de::IgnoredAny;

use crate::engine::{ContainerId, ContainerState, EngineError, Subject};
use crate::runtime::container::record::{Container, ProcessMark, Standing};
use crate::runtime::layout::Layout;
use crate::runtime::store;
use crate::runtime::sys;
use crate::values::names::{ContainerName, ProjectName};

/// A container's first process.
#[derive(Debug)]
pub struct Process {
    /// On the host.
    pub pid: i32,
    /// The same, for ever.
    pub pidfd: OwnedFd,
}

/// Which container a name or an id means.
pub fn resolve(layout: &Layout, text: &str) -> Result<(ProjectName, ContainerId), EngineError> {
    let missing = || EngineError::NotFound(Subject::Container(text.to_owned()));
    if let Ok(name) = ContainerName::try_from(text)
        && let Some(owner) = owner(layout, &name).map_err(failed("read", text))?
    {
        return Ok(owner);
    }
    by_id(layout, &ContainerId(text.to_owned()))?.ok_or_else(missing).map(|project| (project, ContainerId(text.into())))
}

/// Who has claimed a name.
pub fn owner(layout: &Layout, name: &ContainerName) -> io::Result<Option<(ProjectName, ContainerId)>> {
    let text = match std::fs::read_to_string(layout.name(name)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let owner = text.trim_end().split_once('/');
    let owner = owner.and_then(|(project, id)| Some((ProjectName::try_from(project).ok()?, ContainerId(id.into()))));
    owner.map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{name} is claimed by nobody")))
}

/// The project of the container with this id.
pub fn by_id(layout: &Layout, id: &ContainerId) -> Result<Option<ProjectName>, EngineError> {
    // An id comes from a command line, too, and must not lead elsewhere.
    if id.0.is_empty() || !id.0.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let projects = projects(layout)?;
    Ok(projects.into_iter().find(|project| layout.container(project, id).is_dir()))
}

/// Every project that has a folder.
pub fn projects(layout: &Layout) -> Result<Vec<ProjectName>, EngineError> {
    let folder = layout.projects();
    let names = names(&folder).map_err(failed("read", &folder.display().to_string()))?;
    Ok(names.into_iter().filter_map(|name| ProjectName::try_from(name).ok()).collect())
}

/// Every container of a project that has a folder, half-made ones too.
pub fn containers(layout: &Layout, project: &ProjectName) -> Result<Vec<ContainerId>, EngineError> {
    let folder = layout.containers(project);
    let names = names(&folder).map_err(failed("read", &folder.display().to_string()))?;
    Ok(names.into_iter().map(ContainerId).collect())
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let names: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.file_name().into_string().ok())).collect();
    let mut names: Vec<String> = names?.into_iter().flatten().collect();
    names.sort_unstable();
    Ok(names)
}

/// Every container of a project, as its records say.
pub fn of_project(layout: &Layout, project: &ProjectName) -> Result<Vec<(Container, Standing)>, EngineError> {
    let ids = containers(layout, project)?;
    ids.iter().filter_map(|id| load(layout, project, id).transpose()).collect()
}

/// Every container of the machine, as its records say.
pub fn of_machine(layout: &Layout) -> Result<Vec<(Container, Standing)>, EngineError> {
    let mut all = Vec::new();
    for project in projects(layout)? {
        all.extend(of_project(layout, &project)?);
    }
    Ok(all)
}

/// Whether a container was wholly made, whatever its record says.
pub fn is_made(layout: &Layout, project: &ProjectName, id: &ContainerId) -> io::Result<bool> {
    Ok(store::read_whole::<IgnoredAny>(&layout.container_record(project, id))?.is_some())
}

/// A container's record and how it stands; `None` if it is not wholly made.
pub fn load(
    layout: &Layout,
    project: &ProjectName,
    id: &ContainerId,
) -> Result<Option<(Container, Standing)>, EngineError> {
    let read = || -> io::Result<Option<(Container, Standing)>> {
        let Some(container) = store::read_whole(&layout.container_record(project, id))? else { return Ok(None) };
        let standing = match store::read(&layout.standing(project, id)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Standing::lost(),
            other => other?.unwrap_or_default(),
        };
        Ok(Some((container, standing)))
    };
    read().map_err(failed("read", id.short()))
}

/// The first process of a container, by name or id, if it runs.
pub fn running(layout: &Layout, text: &str) -> Result<Option<Process>, EngineError> {
    let (project, id) = resolve(layout, text)?;
    let Some((_, standing)) = load(layout, &project, &id)? else { return Ok(None) };
    Ok(match (&standing.state, &standing.process) {
        (ContainerState::Running { .. }, Some(mark)) => open(mark).map(|pidfd| Process { pid: mark.pid, pidfd }),
        _ => None,
    })
}

/// Names the process that has this number now.
pub fn mark(pid: i32) -> io::Result<ProcessMark> {
    Ok(ProcessMark { pid, started: started(pid)?, boot: boot()? })
}

/// Whether the process lives; one that ended and that nobody has waited for yet does not.
pub fn alive(mark: &ProcessMark) -> bool {
    matches!(status(mark.pid), Ok((state, started)) if started == mark.started && !matches!(state, b'Z' | b'X'))
        && boot().is_ok_and(|boot| boot == mark.boot)
}

/// A descriptor for the process, if it lives.
pub fn open(mark: &ProcessMark) -> Option<OwnedFd> {
    // The descriptor first: if the mark holds after that, it is of the right process for ever.
    let pidfd = sys::pidfd_open(mark.pid).ok()?;
    alive(mark).then_some(pidfd)
}

/// Who has to wait for a process.
pub fn parent(pid: i32) -> io::Result<i32> {
    fields(pid, |fields| fields.nth(1)?.parse().ok())
}

/// The status of a process that has ended and that nobody has waited for yet, as wait(2) gives it.
pub fn zombie_status(pid: i32) -> Option<i32> {
    // Field 52 is shown to root only.
    let read = fields(pid, |fields| {
        let zombie = fields.next()? == "Z";
        let status = fields.nth(48)?.parse().ok()?;
        Some(zombie.then_some(status))
    });
    read.ok().flatten()
}

fn started(pid: i32) -> io::Result<u64> {
    status(pid).map(|(_, started)| started)
}

/// State and start time of a process (proc_pid_stat(5), fields 3 and 22).
fn status(pid: i32) -> io::Result<(u8, u64)> {
    fields(pid, |fields| {
        let state = fields.next()?.bytes().next()?;
        Some((state, fields.nth(18)?.parse().ok()?))
    })
}

/// Reads the fields of `/proc/PID/stat` from the third on.
fn fields<T>(pid: i32, read: impl FnOnce(&mut SplitAsciiWhitespace<'_>) -> Option<T>) -> io::Result<T> {
    let text = std::fs::read(format!("/proc/{pid}/stat"))?;
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "/proc/PID/stat has changed its form");
    // The name in field 2 may hold anything, also parentheses.
    let end = text.iter().rposition(|byte| *byte == b')').ok_or_else(wrong)?;
    let rest = text.get(end + 2..).and_then(|rest| std::str::from_utf8(rest).ok()).ok_or_else(wrong)?;
    read(&mut rest.split_ascii_whitespace()).ok_or_else(wrong)
}

/// Names the present boot of the machine.
pub fn boot() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim_end().to_owned())
}

/// Turns a failed read or write of a container's files into the engine's error.
pub fn failed(verb: &'static str, name: &str) -> impl FnOnce(io::Error) -> EngineError {
    let subject = Subject::Container(name.to_owned());
    move |error| EngineError::Failed { verb, subject, source: Box::new(error) }
}
