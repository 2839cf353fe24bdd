//! From the records, and what the keeper held, to a supervisor that goes on where the last one was killed.
//!
//! A container whose process lives is adopted, with its pipes, resolver and ports; one that ended meanwhile ends now,
//! with the status that the keeper has, or that its pidfd still tells, or honestly without one. A start that was never
//! put on record is undone: nobody was told of it.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::Flock;

use crate::dns::Sockets;
use crate::engine::{ContainerId, ContainerState};
use crate::runtime::cgroup::Tree;
use crate::runtime::container::find;
use crate::runtime::container::record::{Container, Standing};
use crate::runtime::container::sandbox;
use crate::runtime::network::connect;
use crate::runtime::network::ports::Target;
use crate::runtime::network::published::{Claim, Front};
use crate::runtime::network::resolver;
use crate::runtime::supervisor::active::{Active, Run};
use crate::runtime::supervisor::begin::{asker, open_pipe};
use crate::runtime::supervisor::link::{Link, Word};
use crate::runtime::supervisor::logs::{Pump, Source, Writer};
use crate::runtime::supervisor::machine::{Next, State, Tries};
use crate::runtime::supervisor::{Child, Message, Supervisor, published};
use crate::runtime::sys;
use crate::values::signal::Signal;

/// For how many milliseconds a container is tried to be held.
const PATIENCE: usize = 2_000;

impl Supervisor {
    /// Takes over everything that is active by the records, then every ending that the keeper has told.
    pub(super) fn recover(&mut self, words: VecDeque<Word>) {
        let ids = find::containers(&self.layout, &self.project).unwrap_or_default();
        self.end_unknown(&ids);
        for id in ids {
            // A container whose records can't be read is left alone; commands name it.
            let Ok(Some((container, standing))) = find::load(&self.layout, &self.project, &id) else { continue };
            match &standing.state {
                ContainerState::Running { .. } => self.adopt(&id, container, standing, &words),
                ContainerState::Restarting { .. } if self.is_of_another_boot(&standing) => {
                    self.rest_since_boot(&id, container, standing);
                }
                ContainerState::Restarting { .. } => self.wait_again(&id, container, standing),
                // Somebody may wait for its removal, which our predecessor owed.
                ContainerState::Exited { .. } | ContainerState::Dead if container.config.auto_remove => {
                    self.undo_start(&id, &container);
                    self.remove_ended(&id);
                }
                ContainerState::Created { .. } | ContainerState::Exited { .. } | ContainerState::Dead => {
                    self.undo_start(&id, &container);
                }
            }
        }
        for word in words {
            if let Word::Ended { pid, status } = word {
                self.ended(pid, status);
            }
        }
        // A firewall that can't be asked is asked again by the next change; nothing else depends on it.
        let _ = self.published.open_all(&self.networks);
    }

    /// Whether the machine was restarted since this was written.
    fn is_of_another_boot(&self, standing: &Standing) -> bool {
        standing.boot.is_some() && standing.boot != self.boot
    }

    /// Ends what runs without a record: somebody has deleted our files. Nobody can name it any more, so nobody else could.
    fn end_unknown(&mut self, known: &[ContainerId]) {
        for key in self.link.keys("") {
            let Some(id) = key.strip_suffix("/pid").map(|id| ContainerId(id.to_owned())) else { continue };
            if known.contains(&id) {
                continue;
            }
            if let Some(process) = self.link.held(&key) {
                // It may have ended by itself.
                let _ = sys::pidfd_signal(&process, Signal::KILL.number());
                let _ = Tree::detect().and_then(|tree| tree.cgroup(None, &id.0).remove());
            }
            self.resolver.stop(&id.0);
            self.link.release(&format!("{}/", id.0));
        }
    }

    /// The machine was restarted while it waited to be started again: it rests until somebody starts it, as at boot.
    fn rest_since_boot(&mut self, id: &ContainerId, container: Container, standing: Standing) {
        let Some(lock) = self.lock_again(id) else { return };
        let count = standing.restart_count;
        self.containers.insert(id.clone(), Active::new(container, standing, lock, State::Resting { count }));
        self.rest_after_waiting(id);
        self.containers.remove(id);
    }

    fn adopt(&mut self, id: &ContainerId, container: Container, standing: Standing, words: &VecDeque<Word>) {
        let Some(lock) = self.lock_again(id) else { return };
        let Ok(cgroup) = sandbox::cgroup(&container) else { return };
        let tries = Tries { count: standing.restart_count, delay: standing.delay };
        let mark = standing.process.clone();
        let held = self.link.held(&format!("{}/pid", id.0));
        let pidfd = held.or_else(|| mark.as_ref().and_then(find::open));
        let pid = mark.as_ref().map_or(0, |mark| mark.pid);
        let rebooted = self.is_of_another_boot(&standing);
        let told = words.iter().any(|word| matches!(word, Word::Ended { pid: ended, .. } if *ended == pid));
        // What a restart of the machine ended comes back when it is brought back, not because somebody looks.
        let stopping = matches!(standing.state, ContainerState::Running { stopping: true, .. });
        let state = match rebooted || stopping {
            true => State::Stopping { next: Next::Rest, count: tries.count },
            false => State::Running { tries },
        };
        let mut active = Active::new(container, standing, lock, state);
        let writer = Writer::open(&self.layout, &self.project, id, &active.container.config.logging);
        let pump = writer.and_then(|writer| Pump::start(writer, self.reopen(id)?));
        self.adopt_ports(id, &active);
        let Some(pidfd) = pidfd.map(Arc::new) else {
            let Ok(nobody) = sys::pidfd_open(nix::unistd::getpid().as_raw()) else { return };
            let mut run = Run::adopted(if told { pid } else { 0 }, Arc::new(nobody), cgroup, pump.ok());
            run.lost_at_boot = rebooted;
            active.run = Some(run);
            self.containers.insert(id.clone(), active);
            if told {
                // Our predecessor was killed while it put it away; how it ended comes with the words.
                self.children.insert(pid, Child::First(id.clone()));
                return;
            }
            // Everything that knew how it ended was killed, too.
            return self.container_ended(id, None);
        };
        self.serve(id, &active, &pidfd);
        active.run = Some(Run::adopted(pid, Arc::clone(&pidfd), cgroup, pump.ok()));
        let networks: Vec<String> =
            active.standing.endpoints.iter().map(|endpoint| endpoint.network_id.clone()).collect();
        self.containers.insert(id.clone(), active);
        self.membership.join(&networks);
        if told || find::parent(pid).is_ok_and(|parent| parent == nix::unistd::getppid().as_raw()) {
            self.children.insert(pid, Child::First(id.clone()));
        } else {
            self.watch_adopted(id, pid, pidfd);
        }
        if stopping && let Some(active) = self.containers.get(id) {
            // How long it has had is forgotten with whoever counted; longer is the safe side.
            let grace = active.grace();
            self.arm(id, grace);
        }
        self.begin_health(id);
        self.read_left(id);
    }

    /// Holds a container that somebody else may still hold for a moment: our predecessor's last child before it executes
    /// its command, a command that finds out that it can't remove it.
    fn lock_again(&self, id: &ContainerId) -> Option<Flock<File>> {
        (0..PATIENCE).find_map(|_| self.lock(id).inspect_err(|_| std::thread::sleep(Duration::from_millis(1))).ok())
    }

    /// Where its output comes from: as the keeper held it; pipes else by name, since the container has them open, too.
    fn reopen(&mut self, id: &ContainerId) -> io::Result<[Option<Source>; 2]> {
        let held = |link: &Link, name: &str| link.held(&format!("{}/{name}", id.0));
        if let Some(terminal) = held(&self.link, "terminal") {
            let relay = held(&self.link, "relay/out").zip(held(&self.link, "relay/into"));
            return relay
                .map_or(Ok([None, None]), |(out, into)| Ok([Some(Source::terminal(terminal, out, into)?), None]));
        }
        let mut sources = [None, None];
        let paths = self.layout.pipes(&self.project, id);
        for ((source, path), name) in sources.iter_mut().zip(paths).zip(["stdout", "stderr"]) {
            if held(&self.link, name).is_none()
                && let Ok(reader) = open_pipe(&path)
            {
                self.link.hold(format!("{}/{name}", id.0), reader);
            }
            *source = held(&self.link, name).map(Source::pipe).transpose()?;
        }
        Ok(sources)
    }

    /// Its resolver, from what the keeper held; anew, if the keeper was killed, too.
    fn serve(&mut self, id: &ContainerId, active: &Active, process: &OwnedFd) {
        let key = |name: &str| format!("{}/{name}", id.0);
        let endpoints = &active.standing.endpoints;
        if !endpoints.is_empty()
            && self.link.held(&key("dns/udp")).is_none()
            && let Ok(Sockets { udp, tcp }) = resolver::sockets_again(process)
        {
            self.link.hold(key("dns/udp"), udp);
            self.link.hold(key("dns/tcp"), tcp);
        }
        if let (Some(udp), Some(tcp)) = (self.link.held(&key("dns/udp")), self.link.held(&key("dns/tcp"))) {
            let asker = asker(&self.networks, &active.container, endpoints);
            // Without it names do not resolve until the next start; nothing else is touched.
            let _ = self.resolver.serve(&id.0, asker, Sockets { udp, tcp });
        }
    }

    /// Its ports, from what the keeper held; anew, if the keeper was killed, too.
    fn adopt_ports(&mut self, id: &ContainerId, active: &Active) {
        let Some(target) = self.target(id, active) else { return };
        let group = connect::group(&active.container.config.slot);
        let claim = Claim { container: id, group, target };
        for port in &active.standing.published {
            let socket = self.link.held(&Front::of(port).key());
            self.published.adopt(&claim, port, published::readiness(active), socket);
        }
        for (key, socket) in self.published.to_keep(id).unwrap_or_default() {
            self.link.hold(key, socket);
        }
        // Without it only what the firewall redirects is served, which is nearly all.
        let _ = self.published.serve(id);
    }

    /// Where its published ports lead to, by the record of the network that publishes them.
    fn target(&self, id: &ContainerId, active: &Active) -> Option<Target> {
        active.standing.endpoints.iter().find_map(|endpoint| {
            let records = self.networks.endpoints(&endpoint.network_id).ok()?;
            let own = records.into_iter().find(|record| record.container == *id && !record.published.is_empty())?;
            Some(Target { ipv4: own.ipv4, ipv6: own.ipv6 })
        })
    }

    /// The end of a process whose parent was a keeper that is dead is seen by its pidfd.
    fn watch_adopted(&self, id: &ContainerId, pid: i32, pidfd: Arc<OwnedFd>) {
        let (queue, id) = (self.queue.clone(), id.clone());
        tokio::spawn(async move {
            let status = adopted_end(pid, &pidfd).await;
            queue.send(Message::AdoptedEnded(id, status))
        });
    }

    fn wait_again(&mut self, id: &ContainerId, container: Container, standing: Standing) {
        self.undo_start(id, &container);
        let Some(lock) = self.lock_again(id) else { return };
        let tries = Tries { count: standing.restart_count, delay: standing.delay };
        let active = Active::new(container, standing, lock, State::Waiting { tries });
        self.containers.insert(id.clone(), active);
        self.arm(id, tries.delay);
    }

    /// A process of a container that has none by its record was started by a supervisor that was killed before it could
    /// write that down; so were its names and ports.
    fn undo_start(&mut self, id: &ContainerId, container: &Container) {
        if let Ok(cgroup) = sandbox::cgroup(container)
            && cgroup.processes().is_ok_and(|processes| !processes.is_empty())
        {
            // What can't be killed now is met again by the next start of this container.
            let _ = cgroup.kill();
        }
        self.link.release(&format!("{}/", id.0));
        self.forget_names(id, container);
    }
}

/// Waits for the end of a process that is not the keeper's child; its status, if anybody can still tell it.
async fn adopted_end(pid: i32, pidfd: &Arc<OwnedFd>) -> Option<i32> {
    let watched = pidfd.try_clone().and_then(sys::readable).ok()?;
    drop(watched.readable().await);
    // Ended, but perhaps not waited for by its new parent; until then only /proc tells.
    sys::pidfd_status(pidfd).or_else(|| find::zombie_status(pid)).or_else(|| sys::pidfd_status(pidfd))
}
