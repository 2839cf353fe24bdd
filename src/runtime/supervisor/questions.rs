//! Tells clients how names resolve in the containers, and what was asked.

use std::time::UNIX_EPOCH;

use tokio::sync::broadcast::error::RecvError;

use crate::dns::log::Asked;
use crate::dns::{Asker, Resolver};
use crate::engine::{Question, Resolution};
use crate::runtime::supervisor::connection::Client;
use crate::runtime::supervisor::control::Answer;

/// What each container is told at this moment.
pub(super) fn resolutions(resolver: &Resolver) -> Vec<Resolution> {
    let names = resolver.names();
    let resolution = |asker: &Asker| Resolution {
        asker: asker.container.clone(),
        names: names.all(asker).into_iter().collect(),
        upstreams: resolver.servers(asker),
    };
    resolver.askers().map(resolution).collect()
}

/// Tells the last questions, and those to come if the client follows.
pub(super) fn tell(resolver: &Resolver, client: Client, follow: bool) {
    client.tell(Answer::Done);
    let (last, mut next) = resolver.log().read();
    for asked in last {
        client.tell(Answer::Question(question(asked)));
    }
    if !follow {
        return;
    }
    tokio::spawn(async move {
        loop {
            let asked = tokio::select! {
                asked = next.recv() => asked,
                () = client.gone() => return,
            };
            match asked {
                Ok(asked) => drop(client.tell(Answer::Question(question(asked)))),
                // It reads more slowly than the containers ask.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    });
}

fn question(asked: Asked) -> Question {
    let time = asked.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Question {
        time: i64::try_from(time.as_nanos()).unwrap_or(i64::MAX),
        asker: asked.asker,
        name: asked.name,
        kind: asked.kind,
        answer: asked.said.to_string(),
        took: asked.took,
    }
}
