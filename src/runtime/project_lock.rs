//! One command at a time changes a project; the others wait, and can say for whom.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::engine::{EngineError, Subject};
use crate::runtime::client;
use crate::runtime::layout::Layout;
use crate::values::names::ProjectName;

/// Most bytes of a command line that are told to others.
const SHOWN: usize = 120;

/// Holds a project. When it is dropped and nothing runs, keeper and supervisor are gone before the next one has it.
struct Guard {
    layout: Layout,
    project: ProjectName,
    _file: Flock<File>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        client::leave(&self.layout, &self.project);
    }
}

/// Waits until nobody else holds the project; `waiting` is called once if somebody does. The kernel lets go of it when
/// its holder dies.
pub(super) async fn lock(
    layout: &Layout,
    project: &ProjectName,
    waiting: &(dyn for<'a> Fn(&'a str) + Send + Sync),
) -> Result<Box<dyn Send + Sync>, EngineError> {
    let failed = |error: io::Error| EngineError::Failed {
        verb: "lock",
        subject: Subject::Project(project.to_string()),
        source: Box::new(error),
    };
    let mut file = match Flock::lock(open(layout, project).map_err(failed)?, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => lock,
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut holder = String::new();
            // It may be writing this very moment; then only that somebody holds it is known.
            let _ = file.read_to_string(&mut holder);
            waiting(if holder.is_empty() { "another command" } else { holder.trim_end() });
            let wait = move || Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno);
            let waited = tokio::task::spawn_blocking(wait).await.map_err(|error| failed(io::Error::other(error)))?;
            waited.map_err(|errno| failed(errno.into()))?
        }
        Err((_, errno)) => return Err(failed(errno.into())),
    };
    let note = || -> io::Result<()> {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{} (pid {})", command_line(), std::process::id())
    };
    let mut note = note;
    note().map_err(failed)?;
    Ok(Box::new(Guard { layout: layout.clone(), project: project.clone(), _file: file }))
}

fn open(layout: &Layout, project: &ProjectName) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(layout.running(project))?;
    let mut options = File::options();
    options.create(true).truncate(false).read(true).write(true).mode(0o600).open(layout.project_lock(project))
}

fn command_line() -> String {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let line = format!("xcompose {}", words.join(" "));
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}
