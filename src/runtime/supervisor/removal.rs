//! Containers that were made for one run (`run --rm`) go when it is over.

use crate::engine::{ContainerId, EngineError, Event, EventAction, Subject};
use crate::runtime::container::record::Container;
use crate::runtime::container::remove;
use crate::runtime::store::now;
use crate::runtime::supervisor::{Message, Supervisor};

impl Supervisor {
    /// Removes a container that was made for one run, with its anonymous volumes.
    pub(super) fn remove_ended(&mut self, id: &ContainerId) {
        // Work under way: we do not end before it is done.
        self.starting += 1;
        let (layout, project, queue, id) = (self.layout.clone(), self.project.clone(), self.queue.clone(), id.clone());
        tokio::task::spawn_blocking(move || {
            let removed = remove::remove(&layout, &project, &id, remove::Volume::Remove);
            // The queue ends with the supervisor, and then nobody counts what is under way.
            let _ = queue.send(Message::Removed(id, removed.map(Box::new)));
        });
    }

    /// A container that was made for one run is gone; or it stays, as any container that has ended.
    pub(super) fn removed(&mut self, id: &ContainerId, removed: Result<Box<Container>, EngineError>) {
        match removed {
            Ok(container) => {
                let Container { id, config, .. } = *container;
                let (name, labels, image) = (config.name, config.labels, Some(config.image));
                self.tell(Event {
                    time: now(),
                    container: id,
                    name,
                    labels,
                    image,
                    action: EventAction::Destroy,
                    notes: Default::default(),
                });
            }
            // Somebody was quicker, and has told of it.
            Err(EngineError::NotFound(_)) => {}
            Err(error) => {
                let reason = format!("left where it was: {error}");
                for (_, client) in self.removal_waiters.extract_if(.., |(waited, _)| waited == id) {
                    let subject = Subject::Container(id.short().to_owned());
                    client.refuse(EngineError::State { subject, state: reason.clone() });
                }
            }
        }
    }
}
