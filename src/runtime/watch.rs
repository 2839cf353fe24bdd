//! Being told that something changed in a folder (inotify(7)), instead of looking again and again.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::io::unix::AsyncFd;

use crate::runtime::sys;

/// Watches folders for files that come, go or change.
#[derive(Debug)]
pub struct Watch {
    inotify: Inotify,
    ready: AsyncFd<OwnedFd>,
}

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Look again.
    Change,
    /// A folder that was watched is gone.
    Gone,
}

impl Watch {
    /// Watches nothing yet. Needs a tokio runtime.
    pub fn new() -> io::Result<Watch> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let ready = sys::readable(inotify.as_fd().try_clone_to_owned()?)?;
        Ok(Watch { inotify, ready })
    }

    /// Watches this folder, too. Again is as good as once. What comes out ends it.
    pub fn add(&self, folder: &Path) -> io::Result<WatchDescriptor> {
        let events = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        Ok(self.inotify.add_watch(folder, events)?)
    }

    /// Watches a folder no more.
    pub fn end(&self, folder: WatchDescriptor) {
        // One that is gone is not watched already.
        let _ = self.inotify.rm_watch(folder);
    }

    /// Waits for something since the last time. Dropping the future loses nothing.
    pub async fn seen(&self) -> io::Result<Seen> {
        loop {
            let mut ready = self.ready.readable().await?;
            match ready.try_io(|_| Ok(self.inotify.read_events()?)) {
                Ok(Ok(events)) => {
                    let gone = AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_IGNORED;
                    let gone = events.iter().any(|event| event.mask.intersects(gone));
                    return Ok(if gone { Seen::Gone } else { Seen::Change });
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => {}
            }
        }
    }
}
