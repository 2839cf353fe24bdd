//! A container's health: when to probe next, and what the results mean (compose-behaviours §4).
//!
//! The schedule is pure. It is Docker's, with one deliberate difference: Docker probes first after a whole interval, we
//! also before that, at once and then after ever longer pauses. Such an early probe counts only if it succeeds, so a
//! container is healthy as soon as it can be, and never unhealthy sooner than with Docker.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::engine::{ContainerId, ContainerState, EngineError, EventAction, ExecConfig, Probe, ProcessIo};
use crate::runtime::container::record::HealthProbe;
use crate::runtime::start::process::Started;
use crate::runtime::store::now;
use crate::runtime::supervisor::starter::Job;
use crate::runtime::supervisor::{Message, Supervisor};
use crate::runtime::sys;
use crate::values::health::Health;

/// Pause after the first early probe; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// Results that are kept.
const KEPT: usize = 5;
/// Bytes of a probe's output that are kept.
const OUTPUT: usize = 4096;

/// The health of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monitor {
    probe: HealthProbe,
    health: Health,
    /// Failures in a row that count.
    failures: u32,
    early_pause: Duration,
}

impl Monitor {
    /// Of a run whose health is known to be this; `Starting` for a new one.
    pub fn new(probe: HealthProbe, health: Health) -> Monitor {
        let failures = if health == Health::Unhealthy { probe.retries } else { 0 };
        Monitor { probe, health, failures, early_pause: Duration::ZERO }
    }

    /// When Docker probes for the first time.
    fn first(&self) -> Duration {
        if self.probe.start_period.is_zero() { self.probe.interval } else { self.probe.start_interval }
    }

    /// How long to wait for the next probe, `age` after the start; the last one has ended now.
    pub fn pause(&mut self, age: Duration) -> Duration {
        let starting = self.health == Health::Starting;
        let left = self.first().saturating_sub(age);
        if starting && !left.is_zero() {
            let pause = self.early_pause;
            self.early_pause = (pause * 2).max(FIRST_PAUSE);
            pause.min(left)
        } else if starting && age < self.probe.start_period {
            self.probe.start_interval
        } else {
            self.probe.interval
        }
    }

    /// Takes the result of a probe that began `age` after the start; the health if it has changed.
    pub fn take(&mut self, passed: bool, age: Duration) -> Option<Health> {
        let before = self.health;
        if passed {
            self.failures = 0;
            self.health = Health::Healthy;
        } else if before != Health::Starting || (age >= self.first() && age >= self.probe.start_period) {
            self.failures = self.failures.saturating_add(1);
            if self.failures >= self.probe.retries {
                self.health = Health::Unhealthy;
            }
        }
        (self.health != before).then_some(self.health)
    }
}

impl Supervisor {
    /// Begins to probe a container that has just been started or adopted, if it wants that.
    pub(super) fn begin_health(&mut self, id: &ContainerId) {
        let Some(active) = self.containers.get_mut(id) else { return };
        let (Some(probe), Some(run)) = (&active.container.health, active.run.as_mut()) else { return };
        let ContainerState::Running { health: Some(health), .. } = active.standing.state else { return };
        run.monitor = Some(Monitor::new(probe.clone(), health));
        self.arm_probe(id);
    }

    fn age(&self, id: &ContainerId) -> Duration {
        let since = match self.containers.get(id).map(|active| &active.standing.state) {
            Some(ContainerState::Running { since, .. }) => *since,
            _ => now(),
        };
        Duration::from_nanos(u64::try_from(now() - since).unwrap_or(0))
    }

    fn arm_probe(&mut self, id: &ContainerId) {
        let age = self.age(id);
        let Some(active) = self.containers.get_mut(id) else { return };
        let Some(monitor) = active.run.as_mut().and_then(|run| run.monitor.as_mut()) else { return };
        let (pause, number) = (monitor.pause(age), active.standing.runs);
        let (queue, id) = (self.queue.clone(), id.clone());
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            queue.send(Message::ProbeDue(id, number))
        });
    }

    /// Starts a probe of this run, unless it is over.
    pub(super) fn probe(&mut self, id: &ContainerId, number: u64) {
        let Some(active) = self.containers.get(id).filter(|active| active.standing.runs == number) else { return };
        let Some(run) = active.run.as_ref().filter(|run| run.ended.is_none() && run.monitor.is_some()) else {
            return;
        };
        if run.pid == 0 {
            return;
        }
        let Some(probe) = active.container.health.clone() else { return };
        let config = ExecConfig { command: probe.argv, ..ExecConfig::default() };
        let (reader, request) = match pipe().map_err(|error| error.to_string()).and_then(|(reader, stdout, stderr)| {
            let io = ProcessIo::Files { stdin: None, stdout: Some(stdout), stderr: Some(stderr) };
            let request = self.exec_request(id, &config, io).map_err(|error| error.to_string())?;
            Ok((reader, request))
        }) {
            Ok(made) => made,
            // Paused, most likely: probes are suspended until it is thawed.
            Err(_) => return self.arm_probe(id),
        };
        let (request, subject) = request;
        let (queue, id, began) = (self.queue.clone(), id.clone(), now());
        self.starting += 1;
        let done = Box::new(move |started| {
            // A supervisor that is gone has a successor, which probes again.
            let _ = queue.send(Message::Probing { id, number, began, reader, started });
        });
        self.starter.put(Job::Exec { request: Box::new(request), subject, done });
    }

    /// A probe runs, or can't.
    pub(super) fn probing(
        &mut self,
        id: ContainerId,
        number: u64,
        began: i64,
        reader: OwnedFd,
        started: Result<Started, EngineError>,
    ) {
        let result = move |status, output| Probe { started: began, finished: now(), status, output };
        let started = match started {
            Ok(started) => started,
            Err(error) => {
                let text = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
                let text = text.map(ToString::to_string).collect::<Vec<_>>().join(": ");
                return self.probed(&id, number, result(-1, text));
            }
        };
        let timeout = self.containers.get(&id).and_then(|active| active.container.health.as_ref());
        let timeout = timeout.map_or(Duration::from_secs(30), |probe| probe.timeout);
        let status = self.status_of(started.pid);
        let queue = self.queue.clone();
        tokio::spawn(async move {
            let result = match tokio::time::timeout(timeout, status).await {
                Ok(status) => result(status.unwrap_or(-1), printed(reader)),
                Err(_) => {
                    // It may have ended in this moment.
                    let _ = sys::pidfd_signal(&started.pidfd, 9);
                    result(-1, format!("Health check exceeded timeout ({timeout:?})"))
                }
            };
            queue.send(Message::Probed(id, number, result))
        });
    }

    /// A probe has ended.
    pub(super) fn probed(&mut self, id: &ContainerId, number: u64, result: Probe) {
        let Some(active) = self.containers.get_mut(id).filter(|active| active.standing.runs == number) else { return };
        let ContainerState::Running { since, health, .. } = &mut active.standing.state else { return };
        let Some(run) = active.run.as_mut().filter(|run| run.ended.is_none()) else { return };
        let Some(monitor) = run.monitor.as_mut() else { return };
        let age = Duration::from_nanos(u64::try_from(result.started - *since).unwrap_or(0));
        let changed = monitor.take(result.status == 0, age);
        *health = Some(monitor.health);
        active.standing.probes.push(result);
        let surplus = active.standing.probes.len().saturating_sub(KEPT);
        active.standing.probes.drain(..surplus);
        let event = changed.map(|health| {
            let event = active.event(now(), EventAction::Health { health });
            match active.standing.probes.last() {
                Some(probe) if health == Health::Unhealthy => event
                    .noting("status", probe.status.to_string())
                    .noting("output", probe.output.trim_end().lines().last().unwrap_or_default()),
                _ => event,
            }
        });
        self.write(id);
        if let Some(event) = event {
            self.show_readiness(id);
            self.tell(event);
        }
        self.arm_probe(id);
        self.answer(id);
    }
}

/// A pipe for a probe's output: its reading end, which does not block, and the writing end twice.
fn pipe() -> std::io::Result<(OwnedFd, OwnedFd, OwnedFd)> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let twin = writer.try_clone()?;
    Ok((reader, writer, twin))
}

/// What a probe that has ended printed. Whatever it left running in the background is not waited for.
fn printed(reader: OwnedFd) -> String {
    let mut output = vec![0; OUTPUT];
    let length = std::fs::File::from(reader).read(&mut output).unwrap_or(0);
    String::from_utf8_lossy(output.get(..length).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn probe(interval: u64, start_period: u64, retries: u32) -> HealthProbe {
        HealthProbe {
            argv: vec!["true".into()],
            interval: SECOND * interval as u32,
            timeout: SECOND,
            start_period: SECOND * start_period as u32,
            start_interval: SECOND * 2,
            retries,
        }
    }

    #[test]
    fn the_first_probe_comes_at_once_and_early_failures_never_count() {
        let mut monitor = Monitor::new(probe(10, 0, 1), Health::Starting);
        assert_eq!(monitor.pause(Duration::ZERO), Duration::ZERO);
        let mut age = Duration::ZERO;
        let mut pauses = Vec::new();
        while age < SECOND * 10 {
            assert_eq!(monitor.take(false, age), None, "{age:?}");
            let pause = monitor.pause(age);
            pauses.push(pause.as_millis());
            age += pause;
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 4890]);
        // Where Docker's first probe comes, one comes here too, and counts.
        assert_eq!(age, SECOND * 10);
        assert_eq!(monitor.take(false, age), Some(Health::Unhealthy));
        assert_eq!(monitor.pause(age), SECOND * 10);
    }

    #[test]
    fn failures_in_the_start_period_do_not_count_and_a_success_ends_it() {
        let mut monitor = Monitor::new(probe(10, 60, 2), Health::Starting);
        assert_eq!(monitor.take(false, SECOND * 30), None);
        assert_eq!(monitor.pause(SECOND * 30), SECOND * 2);
        assert_eq!(monitor.take(true, SECOND * 32), Some(Health::Healthy));
        assert_eq!(monitor.pause(SECOND * 32), SECOND * 10);
        assert_eq!(monitor.take(false, SECOND * 42), None);
        assert_eq!(monitor.take(false, SECOND * 52), Some(Health::Unhealthy));
        assert_eq!(monitor.take(true, SECOND * 62), Some(Health::Healthy));
    }

    #[test]
    fn only_failures_in_a_row_make_it_unhealthy() {
        let mut monitor = Monitor::new(probe(1, 0, 2), Health::Healthy);
        for round in 0..4_u32 {
            assert_eq!(monitor.take(false, SECOND * (2 * round + 1)), None);
            assert_eq!(monitor.take(true, SECOND * (2 * round + 2)), None);
        }
    }
}
