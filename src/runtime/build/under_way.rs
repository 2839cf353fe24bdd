//! Builds under way. Whoever gives one up goes on at once; the program ends only when the build has taken away what it had on
//! the machine.

use std::convert::Infallible;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A build notices within a fraction of this that nobody waits for it; one that can't end is left to the next command.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits, when it is dropped, for all builds that were begun.
#[derive(Debug)]
pub(in crate::runtime) struct UnderWay {
    begun: Option<Sender<Infallible>>,
    ended: Mutex<Receiver<Infallible>>,
}

/// A build holds this until its end.
#[derive(Debug)]
pub(in crate::runtime) struct Begun {
    _sender: Option<Sender<Infallible>>,
}

impl UnderWay {
    /// No build.
    pub(in crate::runtime) fn new() -> UnderWay {
        let (begun, ended) = channel();
        UnderWay { begun: Some(begun), ended: Mutex::new(ended) }
    }

    /// One more.
    pub(in crate::runtime) fn begin(&self) -> Begun {
        Begun { _sender: self.begun.clone() }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        drop(self.begun.take());
        // Nothing is ever sent: it ends with the last of those who could.
        let _ = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner).recv_timeout(PATIENCE);
    }
}
