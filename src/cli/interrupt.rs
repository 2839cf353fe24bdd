//! What a user's Ctrl-C does to work that is under way.

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::failure::{Failure, Kind};

/// Does something until it is done or the user says stop. What is under way then is finished or undone by the engine.
pub async fn until_cancelled<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let mut interrupts = signal(SignalKind::interrupt()).map_err(Failure::system("listen for signals"))?;
    let mut terminations = signal(SignalKind::terminate()).map_err(Failure::system("listen for signals"))?;
    tokio::select! {
        done = work => done,
        _ = interrupts.recv() => Err(Kind::Cancelled.into()),
        _ = terminations.recv() => Err(Kind::Cancelled.into()),
    }
}
