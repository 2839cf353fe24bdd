//! A container in words: its state, its ports, its command line, as Docker shows them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::cli::ui::time;
use crate::engine::{ContainerState, ObservedContainer, PublishedPort};
use crate::values::health::Health;
use crate::values::protocol::Protocol;

/// The state as one word: `running`, `exited`, …
pub fn state(state: &ContainerState) -> &'static str {
    match state {
        ContainerState::Created { .. } => "created",
        ContainerState::Running { paused: true, .. } => "paused",
        ContainerState::Running { .. } => "running",
        ContainerState::Restarting { .. } => "restarting",
        ContainerState::Exited { .. } => "exited",
        ContainerState::Dead => "dead",
    }
}

/// The state as a sentence: `Up 2 minutes (healthy)`, `Exited (0) 5 seconds ago`.
pub fn status(state: &ContainerState, now: i64) -> String {
    let span = |since: i64| time::human(time::seconds_between(since, now));
    match state {
        ContainerState::Created { .. } => "Created".to_owned(),
        ContainerState::Running { since, paused: true, .. } => format!("Up {} (Paused)", span(*since)),
        ContainerState::Running { since, health, .. } => match health {
            Some(Health::Starting) => format!("Up {} (health: starting)", span(*since)),
            Some(health) => format!("Up {} ({health})", span(*since)),
            None => format!("Up {}", span(*since)),
        },
        ContainerState::Restarting { status, finished } => format!("Restarting ({status}) {} ago", span(*finished)),
        ContainerState::Exited { status, finished, .. } => format!("Exited ({status}) {} ago", span(*finished)),
        ContainerState::Dead => "Dead".to_owned(),
    }
}

/// The command line in double quotes, cut to 20 characters unless `whole`.
pub fn command(container: &ObservedContainer, whole: bool) -> String {
    let line = container.command_line.join(" ");
    let shown = if whole || line.chars().count() <= 20 {
        line
    } else {
        let mut cut: String = line.chars().take(19).collect();
        cut.push('…');
        cut
    };
    format!("{shown:?}")
}

/// Every port: those open on the host, then those only declared, runs of numbers drawn together.
pub fn ports(container: &ObservedContainer) -> String {
    if !matches!(container.state, ContainerState::Running { .. }) {
        return String::new();
    }
    let mut all: Vec<(u16, Option<(IpAddr, u16)>, Protocol)> = container
        .published
        .iter()
        .map(|port| (port.target, Some((port.host_ip, port.published)), port.protocol))
        .collect();
    for (target, protocol) in &container.exposed {
        if !all.iter().any(|(known, _, spoken)| known == target && spoken == protocol) {
            all.push((*target, None, *protocol));
        }
    }
    all.sort();
    // Docker draws a run together only where the number is the same on both sides (`formatter.DisplayablePorts`).
    let mut open: BTreeMap<(Option<IpAddr>, Protocol), (u16, u16)> = BTreeMap::new();
    let mut order = Vec::new();
    let (mut done, mut mapped) = (Vec::new(), Vec::new());
    for (target, host, protocol) in all {
        if let Some((ip, published)) = host
            && published != target
        {
            mapped.push(format!("{}->{target}/{protocol}", address(ip, &published.to_string())));
            continue;
        }
        let key = (host.map(|(ip, _)| ip), protocol);
        match open.get_mut(&key) {
            None => {
                open.insert(key, (target, target));
                order.push(key);
            }
            Some((_, last)) if target == last.saturating_add(1) => *last = target,
            Some(run) => {
                done.push(together(key, *run));
                *run = (target, target);
            }
        }
    }
    done.extend(order.into_iter().filter_map(|key| open.get(&key).map(|run| together(key, *run))));
    done.extend(mapped);
    done.join(", ")
}

/// `0.0.0.0:80`, `[::]:80`.
pub fn address(ip: IpAddr, port: &str) -> String {
    match ip {
        IpAddr::V4(ip) => format!("{ip}:{port}"),
        IpAddr::V6(ip) => format!("[{ip}]:{port}"),
    }
}

/// Where one of its ports is open on the host, IPv4 first.
pub fn published(container: &ObservedContainer, target: u16, protocol: Protocol) -> Option<&PublishedPort> {
    let mut fitting: Vec<&PublishedPort> =
        container.published.iter().filter(|port| port.target == target && port.protocol == protocol).collect();
    fitting.sort();
    fitting.first().copied()
}

fn together((ip, protocol): (Option<IpAddr>, Protocol), (first, last): (u16, u16)) -> String {
    let run = if first == last { first.to_string() } else { format!("{first}-{last}") };
    match ip {
        Some(ip) => format!("{}->{run}/{protocol}", address(ip, &run)),
        None => format!("{run}/{protocol}"),
    }
}
