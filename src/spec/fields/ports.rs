//! `ports: "127.0.0.1:8080-8090:80/udp"`: `[[IP:]HOST:]CONTAINER[/PROTOCOL]`, HOST and CONTAINER being ports or ranges.

use std::net::IpAddr;

use super::map_at;
use crate::spec::diagnostic::{Diagnostic, Location};
use crate::spec::tree::{Node, Value};

/// Replaces each short form by its long forms, one a port of the container, sorted by port as text (as Docker Compose does).
/// If there is a fault, the list stays as it is.
pub(in crate::spec) fn expand(node: &mut Node, found: &mut Vec<Diagnostic>) {
    let Some(list) = node.as_sequence_mut() else { return };
    if list.iter().all(|item| item.as_mapping().is_some()) {
        return;
    }
    let mut all = Vec::with_capacity(list.len());
    let before = found.len();
    for item in list.iter() {
        let short = match &item.value {
            Value::Int(number) => number.to_string(),
            Value::String(text) => text.clone(),
            Value::Mapping(_) => {
                all.push(item.clone());
                continue;
            }
            _ => {
                let text = item.scalar_text().unwrap_or_default();
                found.push(Diagnostic::error(&item.at, format!("ports: {text} is no port number")));
                continue;
            }
        };
        match short_form(&short, &item.at) {
            Ok(long) => all.extend(long),
            Err(message) => found.push(Diagnostic::error(&item.at, format!("ports: {message}"))),
        }
    }
    if found.len() == before {
        *list = all;
    }
}

fn short_form(text: &str, at: &Location) -> Result<Vec<Node>, String> {
    let mut parts = text.rsplitn(3, ':');
    let (container, host, ip) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let (container, protocol) = match container.split_once('/') {
        Some((port, "")) => (port, "tcp"),
        Some((port, protocol)) => (port, protocol),
        None => (container, "tcp"),
    };
    let protocol = protocol.to_lowercase();
    // Docker speaks of the protocol here too; the port is what is missing.
    if container.is_empty() {
        return Err(format!("{text:?} has no container port"));
    }
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid protocol {protocol:?} in {text:?}: use tcp, udp or sctp"));
    }
    let ip = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
    if !ip.is_empty() && ip.parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address {ip:?} in {text:?}"));
    }
    let targets = range(container).ok_or_else(|| format!("invalid container port {container:?} in {text:?}"))?;
    let hosts = match host {
        "" => None,
        host => Some(range(host).ok_or_else(|| format!("invalid host port {host:?} in {text:?}"))?),
    };
    let count = targets.1 - targets.0;
    if hosts.is_some_and(|(first, last)| last - first != count) && count != 0 {
        return Err(format!("invalid ranges in {text:?}: {host} and {container} differ in length"));
    }
    let mut ports: Vec<Node> = Vec::with_capacity(usize::from(count) + 1);
    let mut numbers: Vec<u16> = (0..=count).collect();
    // Docker sorts by `port/protocol` as text.
    numbers.sort_by_cached_key(|n| (targets.0 + n).to_string());
    for n in numbers {
        let published = hosts.map(|(first, last)| match count {
            0 if first != last => format!("{first}-{last}"),
            _ => (first + n).to_string(),
        });
        let mut entries = vec![("mode", Value::String("ingress".to_owned()))];
        if !ip.is_empty() {
            entries.push(("host_ip", Value::String(ip.to_owned())));
        }
        // Zero is as good as absent, which a later stage refuses.
        if targets.0 + n != 0 {
            entries.push(("target", Value::Int(i128::from(targets.0 + n))));
        }
        entries.extend(published.map(|published| ("published", Value::String(published))));
        entries.push(("protocol", Value::String(protocol.clone())));
        ports.push(map_at(at, entries));
    }
    Ok(ports)
}

/// `80` or `80-90`; what follows a second `-` is not looked at (nor is it by Docker).
pub(in crate::spec) fn range(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| if text.bytes().all(|c| c.is_ascii_digit()) { text.parse::<u16>().ok() } else { None };
    let mut ends = text.split('-');
    let first = number(ends.next()?)?;
    let last = match ends.next() {
        Some(last) => number(last)?,
        None => first,
    };
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::fields::tests_support::{at, show};

    fn long(text: &str) -> Result<String, String> {
        short_form(text, &at()).map(|nodes| nodes.iter().map(show).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn short_forms_become_one_entry_a_port() {
        assert_eq!(long("80").unwrap(), "mode=ingress target=80 protocol=tcp");
        assert_eq!(
            long("127.0.0.1:8080:80/UDP").unwrap(),
            "mode=ingress host_ip=127.0.0.1 target=80 published=8080 protocol=udp"
        );
        assert_eq!(long("[::1]::80").unwrap(), "mode=ingress host_ip=::1 target=80 protocol=tcp");
        assert_eq!(long("8000-8002:80").unwrap(), "mode=ingress target=80 published=8000-8002 protocol=tcp");
        assert_eq!(
            long("9-10:9-10").unwrap(),
            "mode=ingress target=10 published=10 protocol=tcp; mode=ingress target=9 published=9 protocol=tcp"
        );
    }

    #[test]
    fn what_is_no_port_is_named() {
        for wrong in ["", "80:", "a:80", "99-3", "70000", "127.0.1:80:80", "80/xyz", "90-93:80-81", " 80:80", "+80"] {
            assert!(long(wrong).is_err(), "{wrong}");
        }
    }
}
