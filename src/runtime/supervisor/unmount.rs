//! The last unmount of an ended container's root file system, kept off everybody's path.
//!
//! It writes out the whole file system that the writable layer lies on (`ovl_sync_fs` in fs/overlayfs/super.c), also when
//! the layer is deleted next. So it waits until a removal that follows the end is over, and the kernel does it in its own
//! time, also after this process.

use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::runtime::sys;

/// How long a removal is given; it takes milliseconds.
const PAUSE: Duration = Duration::from_millis(500);

/// A mount that nothing else refers to.
pub(super) struct Unmount(Option<OwnedFd>);

impl Unmount {
    /// Of what this descriptor refers to.
    pub(super) fn new(root: OwnedFd) -> Unmount {
        Unmount(Some(root))
    }

    /// After the pause, or when this process leaves.
    pub(super) async fn later(self) {
        tokio::time::sleep(PAUSE).await;
        // Kernels before 6.9 do it at once, and nobody else here shall wait for that. A task that panics has dropped it, too.
        let _ = tokio::task::spawn_blocking(|| drop(self)).await;
    }
}

impl Drop for Unmount {
    fn drop(&mut self) {
        if let Some(root) = self.0.take() {
            sys::abandon(root);
        }
    }
}
