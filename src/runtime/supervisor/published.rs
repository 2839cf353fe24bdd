//! What the outside sees of a container while it runs: its names and its ports.

use std::time::{Duration, Instant};

use crate::engine::{ContainerId, ContainerState, NetworkMode};
use crate::runtime::container::record::Container;
use crate::runtime::network::listening;
use crate::runtime::network::published::Readiness;
use crate::runtime::supervisor::active::Active;
use crate::runtime::supervisor::machine::State;
use crate::runtime::supervisor::{Message, Supervisor};
use crate::values::health::Health;

/// For so long a replica without a health check is waited for until it listens; then it is taken to be ready.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// How a container stands towards new connections: healthy, where it says what that is; else running, and listening where
/// others share its port.
pub(super) fn readiness(active: &Active) -> Readiness {
    match (&active.state, &active.standing.state) {
        (State::Stopping { .. }, _) => Readiness::Leaving,
        (_, ContainerState::Running { paused: false, health: None | Some(Health::Healthy), .. })
            if active.run.as_ref().is_none_or(|run| run.listening) =>
        {
            Readiness::Ready
        }
        _ => Readiness::Starting,
    }
}

impl Supervisor {
    /// Ports that several containers share lead to those that are ready.
    pub(super) fn show_readiness(&self, id: &ContainerId) {
        let Some(active) = self.containers.get(id) else { return };
        // A firewall that can't be changed leads to who was there before; the next change sets it right.
        let _ = self.published.set(&self.networks, id, readiness(active));
    }

    /// Looks until a container listens on the ports that others serve meanwhile.
    pub(super) fn await_listening(&self, id: &ContainerId) {
        let Some(active) = self.containers.get(id) else { return };
        let Some(run) = active.run.as_ref().filter(|run| !run.listening) else { return };
        let (queue, id, pid, number) = (self.queue.clone(), id.clone(), run.pid, active.standing.runs);
        let ports = self.published.shared(&id);
        tokio::spawn(async move {
            let begun = Instant::now();
            while begun.elapsed() < PATIENCE && !queue.is_closed() && !listening::on_all(pid, &ports) {
                tokio::time::sleep(PAUSE).await;
            }
            queue.send(Message::Listening(id, number))
        });
    }

    /// This run listens, or has had time enough to.
    pub(super) fn listening(&mut self, id: &ContainerId, number: u64) {
        let Some(active) = self.containers.get_mut(id).filter(|active| active.standing.runs == number) else { return };
        let Some(run) = &mut active.run else { return };
        run.listening = true;
        self.show_readiness(id);
    }

    /// Makes a container's names false and its ports closed. Nothing happens for what is done already.
    pub(super) fn withdraw(&mut self, id: &ContainerId) {
        self.resolver.stop(&id.0);
        let (closed, _) = self.published.close(&self.networks, id);
        for front in closed {
            self.link.release(&front.key());
        }
        if let Some(active) = self.containers.get(id) {
            // An address that stays taken is freed with its network, or by the container's next start.
            let _ = self.networks.disconnect(id, &active.standing.endpoints);
        }
    }

    /// What a start that was never put on record has left of names and ports.
    pub(super) fn forget_names(&self, id: &ContainerId, container: &Container) {
        let NetworkMode::Networks(attachments) = &container.config.network else { return };
        for attachment in attachments {
            let Ok(network) = self.networks.find(&attachment.network) else { continue };
            // What can't be taken away now is met again by the next start of this container.
            let _ = self.networks.forget_endpoint(&network, id).and_then(|ports| {
                self.published.sweep(&self.networks, &ports)?;
                Ok(())
            });
        }
    }
}
