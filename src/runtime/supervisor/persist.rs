//! Puts the records of started and ended containers on disk, behind their starts and ends: a machine that loses its power
//! brings back what ran, and nothing waits for a disk.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::runtime::store;

/// How long further records are waited for: those of one `up` go together.
const PAUSE: Duration = Duration::from_millis(500);

/// Takes records; what has not been put on disk when the last sender goes, the kernel writes in its own time.
pub(super) fn start() -> mpsc::UnboundedSender<PathBuf> {
    let (sender, mut records) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(first) = records.recv().await {
            tokio::time::sleep(PAUSE).await;
            let all = std::iter::once(first).chain(std::iter::from_fn(|| records.try_recv().ok()));
            let all: Vec<PathBuf> = all.collect();
            // A record that has gone meanwhile, or a disk that fails, changes nothing for what runs.
            let put = move || all.iter().for_each(|record| drop(store::persist(record)));
            let _ = tokio::task::spawn_blocking(put).await;
        }
    });
    sender
}
