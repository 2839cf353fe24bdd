//! Terminals that their users have left with the detach keys: the processes go on, so what they write there has to be read.

use std::io;
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::sync::mpsc;

use crate::engine::{Attended, ContainerId, EngineError, Subject};
use crate::runtime::store::now;
use crate::runtime::supervisor::connection::Client;
use crate::runtime::supervisor::control::Answer;
use crate::runtime::supervisor::logs::{Pump, Writer};
use crate::runtime::supervisor::{Message, Supervisor};
use crate::runtime::sys;

impl Supervisor {
    /// A user has left a process, whose terminal came along.
    pub(super) fn left(&mut self, id: &ContainerId, process: Attended, client: Client) {
        let subject = Subject::Container(id.short().to_owned());
        let Some(terminal) = client.file() else {
            return client.refuse(EngineError::Invalid { subject, reason: "its terminal did not come along".into() });
        };
        let taken = match process {
            Attended::First => self.log_terminal(id, terminal),
            Attended::Further => {
                let key = format!("{}{}", left(id), now());
                terminal.try_clone().and_then(|copy| {
                    self.link.hold(key.clone(), copy);
                    empty(terminal, key, self.queue.clone())
                })
            }
        };
        match taken {
            Ok(()) => drop(client.tell(Answer::Done)),
            Err(error) => client.refuse(EngineError::Failed { verb: "read", subject, source: Box::new(error) }),
        }
    }

    /// From now on the output of the first process goes into the log.
    fn log_terminal(&mut self, id: &ContainerId, terminal: OwnedFd) -> io::Result<()> {
        let Some(active) = self.containers.get_mut(id) else { return Ok(()) };
        // It may just have ended.
        let Some(run) = active.run.as_mut().filter(|run| run.ended.is_none()) else { return Ok(()) };
        // The one until now had nothing to read, and writes nothing when it ends like this.
        let writer = Writer::open(&self.layout, &self.project, id, &active.container.config.logging)?;
        let source = self.link.hold_terminal(id, terminal)?;
        run.pump = Some(Pump::start(writer, [Some(source), None])?);
        run.attached = None;
        Ok(())
    }

    /// Goes on reading what our predecessor read.
    pub(super) fn read_left(&self, id: &ContainerId) {
        for key in self.link.keys(&left(id)) {
            if let Some(terminal) = self.link.held(&key) {
                // Unread it holds its process up, no more.
                let _ = empty(terminal, key, self.queue.clone());
            }
        }
    }
}

/// How the keys begin by which a container's left terminals are held.
fn left(id: &ContainerId) -> String {
    format!("{}/left/", id.0)
}

/// Reads a terminal into nowhere until nobody writes to it any more.
fn empty(terminal: OwnedFd, key: String, queue: mpsc::UnboundedSender<Message>) -> io::Result<()> {
    fcntl(&terminal, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK))?;
    let terminal = sys::readable(terminal)?;
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok(mut ready) = terminal.readable().await {
            let read = ready.try_io(|terminal| Ok(nix::unistd::read(terminal.get_ref(), &mut buffer)?));
            // A terminal that everybody has closed ends with an error.
            if let Ok(Ok(0) | Err(_)) = read {
                break;
            }
        }
        // A supervisor that is gone has nothing to let go of.
        let _ = queue.send(Message::Silent(key));
    });
    Ok(())
}
