//! `x-ready`: what shows that a service without a health check is ready.
//!
//! `auto` (somebody listens on the ports that it declares), `false`, a port, or a mapping of `tcp`, `log`, `http`, `timeout`.

use super::reader::Reader;
use crate::spec::project::service::Ready;
use crate::spec::tree::{Node, Value};

const KEYS: [&str; 4] = ["tcp", "log", "http", "timeout"];

pub(super) fn decode(service: &Reader<'_>) -> Option<Ready> {
    let node = service.node("x-ready")?;
    let wrong =
        || service.fault(&node.at, "x-ready: use `auto`, `false`, a port, or a mapping of tcp, log, http, timeout");
    match &node.value {
        Value::Null => None,
        Value::Mapping(_) => service.object("x-ready").map(|reader| signs(&reader)),
        _ => match node.scalar_text().as_deref() {
            Some("auto") => Some(Ready { declared: true, ..Ready::default() }),
            Some("false") => Some(Ready::default()),
            Some(text) if text.parse::<u16>().is_ok_and(|port| port > 0) => {
                Some(Ready { tcp: text.parse().into_iter().collect(), ..Ready::default() })
            }
            _ => {
                wrong();
                None
            }
        },
    }
}

fn signs(reader: &Reader<'_>) -> Ready {
    for key in reader.keys().filter(|key| !KEYS.contains(key)) {
        reader.fault(&reader.at(), format!("x-ready: unknown key `{key}`; there are {}", KEYS.join(", ")));
    }
    let tcp = match reader.node("tcp") {
        None => Vec::new(),
        Some(node) => {
            let all = node.as_sequence().unwrap_or(std::slice::from_ref(node));
            all.iter().filter_map(|node| port(reader, node)).collect()
        }
    };
    let http = reader.node("http").and_then(|node| {
        let found = node.as_str().and_then(address);
        if found.is_none() {
            reader.fault(&node.at, "x-ready.http: write it as http://localhost:8080/path");
        }
        found
    });
    let log = reader.node("log").and_then(|node| {
        let found = node.scalar_text().filter(|text| !text.is_empty());
        if found.is_none() {
            reader.fault(&node.at, "x-ready.log: write a part of the line that shows it");
        }
        found
    });
    if !["tcp", "log", "http"].iter().any(|sign| reader.has(sign)) {
        reader.fault(&reader.at(), "x-ready: one of tcp, log and http has to say what shows it");
    }
    Ready { declared: false, tcp, log, http, timeout: reader.duration("timeout") }
}

fn port(reader: &Reader<'_>, node: &Node) -> Option<u16> {
    let found = node.scalar_text().and_then(|text| text.parse().ok()).filter(|port| *port > 0);
    if found.is_none() {
        reader.fault(&node.at, "x-ready.tcp: a port is a number from 1 to 65535");
    }
    found
}

/// Port and path of a URL of the container itself.
fn address(url: &str) -> Option<(u16, String)> {
    let rest = url.strip_prefix("http://")?;
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let (host, port) =
        host.split_once(':').map_or(Some((host, 80)), |(host, port)| Some((host, port.parse().ok()?)))?;
    (matches!(host, "localhost" | "127.0.0.1" | "") && port > 0).then(|| (port, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn an_address_is_of_the_container_itself() {
        assert_eq!(address("http://localhost:8080/a?b"), Some((8080, "/a?b".into())));
        assert_eq!(address("http://localhost"), Some((80, "/".into())));
        for wrong in ["https://localhost/", "http://example.org/", "localhost:80/", "http://localhost:0/"] {
            assert_eq!(address(wrong), None, "{wrong}");
        }
    }
}
