//! Whether a container is ready, seen from outside.
//!
//! The kernel tells nobody of a socket that begins to listen, so that is looked for: soon after the start, then less and less
//! often, at most every twentieth of a second, and only while somebody waits for it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::engine::{
    ContainerId, ContainerState, Engine as _, EngineError, LogQuery, ObservedContainer, Sign, Subject, WaitFor,
};
use crate::runtime::Runtime;
use crate::runtime::image::registry::container_client;
use crate::runtime::image::store::failed;
use crate::runtime::network::listening;
use crate::values::protocol::Protocol;

/// The pause after the first look.
const SOON: Duration = Duration::from_millis(1);
/// The longest pause between two looks.
const OFTEN: Duration = Duration::from_millis(50);
/// The longest pause between two requests, which somebody has to answer.
const POLITE: Duration = Duration::from_millis(500);
/// For so long an answer is waited for.
const ANSWER: Duration = Duration::from_secs(5);

/// Waits for a sign; whether it has come. It comes no more when the container rests.
pub(super) async fn await_sign(runtime: &Runtime, id: &ContainerId, sign: &Sign) -> Result<bool, EngineError> {
    tokio::select! {
        // What it wrote before it ended counts.
        biased;
        shown = shows(runtime, id, sign) => shown,
        ended = runtime.wait_container(id, WaitFor::Exited) => ended.map(|_| false),
    }
}

async fn shows(runtime: &Runtime, id: &ContainerId, sign: &Sign) -> Result<bool, EngineError> {
    match sign {
        Sign::Writes(text) => writes(runtime, id, text).await,
        Sign::Answers { port, path } => answers(runtime, id, *port, path).await,
        Sign::Listens(port) => {
            let mut pause = SOON;
            loop {
                let container = runtime.observed(id)?;
                if process(&container).is_some_and(|pid| listening::on_all(pid, &[*port])) {
                    return Ok(true);
                }
                rest(&mut pause, OFTEN).await;
            }
        }
        Sign::Declared => {
            let mut pause = SOON;
            loop {
                let container = runtime.observed(id)?;
                if matches!(&container.state, ContainerState::Running { pid, health, .. } if health.is_some() || declared(&container, *pid))
                {
                    return Ok(true);
                }
                rest(&mut pause, OFTEN).await;
            }
        }
    }
}

/// Whether somebody listens on what a container declares.
fn declared(container: &ObservedContainer, pid: i32) -> bool {
    let tcp = |(port, protocol): &(u16, Protocol)| (*protocol == Protocol::Tcp).then_some(*port);
    let config = &container.config;
    let published = config.ports.iter().map(|port| (port.target, port.protocol));
    let named: Vec<u16> = config.expose.iter().copied().chain(published).filter_map(|port| tcp(&port)).collect();
    if !named.is_empty() {
        return listening::on_all(pid, &named);
    }
    let exposed: Vec<u16> = container.exposed.iter().filter_map(tcp).collect();
    exposed.is_empty() || listening::ports(pid).iter().any(|port| exposed.contains(port))
}

fn process(container: &ObservedContainer) -> Option<i32> {
    match container.state {
        ContainerState::Running { pid, .. } => Some(pid),
        _ => None,
    }
}

async fn rest(pause: &mut Duration, most: Duration) {
    tokio::time::sleep(*pause).await;
    *pause = (*pause * 3 / 2).min(most);
}

/// Follows the output of the run that lasts, and of those after it.
async fn writes(runtime: &Runtime, id: &ContainerId, text: &str) -> Result<bool, EngineError> {
    let wanted = text.as_bytes();
    let mut pause = SOON;
    loop {
        let query = LogQuery { follow: true, run: Some(0), ..LogQuery::default() };
        let mut log = runtime.logs(id, &query).await?;
        // A line may come in pieces.
        let mut last = Vec::new();
        while let Some(chunk) = log.recv().await {
            last.extend_from_slice(&chunk.bytes);
            if contains(&last, wanted) {
                return Ok(true);
            }
            let kept = last.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            last.drain(..kept.max(last.len().saturating_sub(LINE)));
        }
        rest(&mut pause, POLITE).await;
    }
}

/// So much of a line without an end is looked through.
const LINE: usize = 1 << 20;

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || text.windows(wanted.len()).any(|part| part == wanted)
}

async fn answers(runtime: &Runtime, id: &ContainerId, port: u16, path: &str) -> Result<bool, EngineError> {
    let client = container_client(ANSWER).map_err(failed("ask", Subject::Container(id.short().to_owned())))?;
    let mut pause = SOON;
    loop {
        let container = runtime.observed(id)?;
        // In the network of the machine itself it is reached there.
        let address = container.endpoints.iter().find_map(|endpoint| endpoint.ipv4.map(IpAddr::V4));
        let address = SocketAddr::new(address.unwrap_or(Ipv4Addr::LOCALHOST.into()), port);
        let asked = client.get(format!("http://{address}{path}")).send().await;
        if asked.is_ok_and(|answer| matches!(answer.status().as_u16(), 200..400)) {
            return Ok(true);
        }
        rest(&mut pause, POLITE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_found_wherever_it_stands() {
        assert!(contains(b"a ready b", b"ready") && contains(b"", b"") && !contains(b"read", b"ready"));
    }
}
