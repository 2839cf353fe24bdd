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
        // Nobody saw how, so no number would be true.
        ContainerState::Exited { finished, unseen: true, .. } => format!("Exited (unknown) {} ago", span(*finished)),
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

/// A port of the container, where it is open on the host, and what it speaks.
type Shown = (u16, Option<(IpAddr, u16)>, Protocol);

/// Every port: those open on the host, then those only declared, runs of numbers drawn together.
pub fn ports(container: &ObservedContainer) -> String {
    if !matches!(container.state, ContainerState::Running { .. }) {
        return String::new();
    }
    let mut all: Vec<Shown> = container
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::engine::{ContainerConfig, ContainerId, ImageId};

    /// A running container of nothing in particular.
    pub(crate) fn container(name: &str) -> ObservedContainer {
        let text = r#"{
            "project": "p", "slot": "web/1", "labels": {}, "image": "busybox", "environment": {}, "group_add": [],
            "init": false, "tty": false, "stdin_open": false, "restart": "no", "auto_remove": false, "mounts": [],
            "read_only": false, "network": {"networks": []}, "ports": [], "expose": [], "extra_hosts": [],
            "dns": {"servers": [], "options": []},
            "security": {"privileged": false, "cap_add": [], "cap_drop": [], "no_new_privileges": false,
                         "seccomp": "default", "unmasked": false},
            "resources": {"oom_kill_disable": false}, "sysctls": {}, "ulimits": {}, "devices": [],
            "device_cgroup_rules": [], "ipc": "private", "pid": "private", "uts": "private", "cgroup": "private",
            "logging": {"options": {}}, "files": []
        }"#;
        let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
        value["name"] = name.into();
        let config: ContainerConfig = serde_json::from_value(value).unwrap();
        ObservedContainer {
            id: ContainerId("0123456789abcdef".repeat(4)),
            config,
            image: ImageId("sha256:0".to_owned()),
            command_line: vec!["sleep".to_owned(), "100000".to_owned()],
            created: 0,
            state: ContainerState::Running { pid: 1, since: 0, health: None, paused: false, stopping: false },
            restart_count: 0,
            endpoints: Vec::new(),
            published: Vec::new(),
            exposed: Vec::new(),
            volumes: BTreeMap::new(),
            anonymous_volumes: Vec::new(),
        }
    }

    fn open(host_ip: &str, published: u16, target: u16) -> PublishedPort {
        PublishedPort { host_ip: host_ip.parse().unwrap(), published, target, protocol: Protocol::Tcp }
    }

    #[test]
    fn states_read_as_docker_says_them() {
        let minutes = 120_000_000_000;
        let running = |health, paused| ContainerState::Running { pid: 1, since: 0, health, paused, stopping: false };
        let said = [
            running(None, false),
            running(Some(Health::Starting), false),
            running(Some(Health::Unhealthy), false),
            running(Some(Health::Healthy), true),
            ContainerState::Created { failure: None },
            ContainerState::Restarting { status: 1, finished: minutes - 4_000_000_000 },
            ContainerState::Exited { status: 137, finished: 0, oom_killed: false, unseen: false },
            ContainerState::Exited { status: 255, finished: 0, oom_killed: false, unseen: true },
            ContainerState::Dead,
        ]
        .map(|state| status(&state, minutes));
        insta::assert_snapshot!(said.join("\n"), @r"
        Up 2 minutes
        Up 2 minutes (health: starting)
        Up 2 minutes (unhealthy)
        Up 2 minutes (Paused)
        Created
        Restarting (1) 4 seconds ago
        Exited (137) 2 minutes ago
        Exited (unknown) 2 minutes ago
        Dead
        ");
    }

    #[test]
    fn ports_are_shown_as_docker_does() {
        let mut found = container("p-web-1");
        found.published = vec![open("0.0.0.0", 8080, 80), open("::", 8080, 80)];
        found.exposed = vec![(80, Protocol::Tcp), (443, Protocol::Tcp), (53, Protocol::Udp)];
        assert_eq!(ports(&found), "53/udp, 443/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp");
        found.exposed.clear();
        found.published = vec![open("0.0.0.0", 9001, 9001), open("0.0.0.0", 9000, 9000), open("127.0.0.1", 1, 9000)];
        assert_eq!(ports(&found), "0.0.0.0:9000-9001->9000-9001/tcp, 127.0.0.1:1->9000/tcp");
        found.state = ContainerState::Created { failure: None };
        assert_eq!(ports(&found), "", "a port of a container that does not run is open nowhere");
    }

    #[test]
    fn long_command_lines_are_cut_and_quoted() {
        let mut found = container("p-web-1");
        assert_eq!(command(&found, false), "\"sleep 100000\"");
        found.command_line = vec!["echo".into(), "\"a very long line of words\"".into()];
        assert_eq!(command(&found, false), "\"echo \\\"a very long l…\"");
        assert_eq!(command(&found, true), "\"echo \\\"a very long line of words\\\"\"");
    }
}
