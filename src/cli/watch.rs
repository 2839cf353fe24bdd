//! `watch`: files of the host change, and services follow (Compose behaviours, §8).
//!
//! This file tells of changes, [`rules`] says whom they concern, [`session`] does what follows.

pub mod rules;
pub mod session;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::cli::failure::{Failure, Kind};

/// So long nothing has to change before what did is taken for complete.
const QUIET: Duration = Duration::from_millis(500);

/// What changes below some paths.
pub struct Changes {
    changed: mpsc::UnboundedReceiver<Vec<PathBuf>>,
    /// Tells as long as it is there.
    _watcher: RecommendedWatcher,
}

impl Changes {
    /// From now on.
    pub fn below(paths: &BTreeSet<PathBuf>) -> Result<Changes, Failure> {
        let (sender, changed) = mpsc::unbounded_channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // What could not be told is told by what comes after it; reading is no change.
            if let Ok(event) = event
                && !matches!(event.kind, EventKind::Access(_))
            {
                // The session is over if nobody listens.
                let _ = sender.send(event.paths);
            }
        });
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |error: notify::Error| {
                Failure::from(Kind::File { verb: "watch", path, source: std::io::Error::other(error.to_string()) })
            }
        };
        let mut watcher = watcher.map_err(failed(Path::new("files")))?;
        for path in paths {
            let (place, mode) = place(path);
            watcher.watch(place, mode).map_err(failed(path))?;
        }
        Ok(Changes { changed, _watcher: watcher })
    }

    /// The next paths that changed, when they have been left alone for a moment.
    pub async fn next(&mut self) -> BTreeSet<PathBuf> {
        let mut paths: BTreeSet<PathBuf> = BTreeSet::new();
        let first = self.changed.recv().await;
        paths.extend(first.into_iter().flatten());
        while let Ok(Some(more)) = tokio::time::timeout(QUIET, self.changed.recv()).await {
            paths.extend(more);
        }
        paths
    }
}

/// Where to look for changes of a path. A file is replaced by many editors, so its folder tells; so does the nearest folder
/// of what is not there yet.
fn place(path: &Path) -> (&Path, RecursiveMode) {
    if path.is_dir() {
        return (path, RecursiveMode::Recursive);
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    if parent.is_dir() {
        let mode = if path.exists() { RecursiveMode::NonRecursive } else { RecursiveMode::Recursive };
        return (parent, mode);
    }
    let above = parent.ancestors().find(|folder| folder.is_dir());
    (above.unwrap_or(Path::new("/")), RecursiveMode::Recursive)
}
