//! Names: what a project's resolver answers, and what it was asked.

use tokio::sync::mpsc;

use crate::engine::{EngineError, Question, Resolution};
use crate::runtime::client::{self, Client};
use crate::runtime::supervisor::control::{Answer, Request};
use crate::values::names::ProjectName;

/// Questions on their way to whoever asked for them.
const UNREAD: usize = 64;

/// Which names lead where.
pub(super) async fn names(client: &Client, project: &ProjectName) -> Result<Vec<Resolution>, EngineError> {
    // Nobody asks where nothing runs.
    if !client::is_served(&client.layout, project) {
        return Ok(Vec::new());
    }
    match client::ask(client, project, &Request::Names, &[]).await? {
        (Answer::Names(names), _) => Ok(names),
        (_, _) => Ok(Vec::new()),
    }
}

/// The questions that were asked lately and, if that is wanted, those that are asked from now on.
pub(super) async fn questions(
    client: &Client,
    project: &ProjectName,
    follow: bool,
) -> Result<mpsc::Receiver<Question>, EngineError> {
    let (sender, receiver) = mpsc::channel(UNREAD);
    if !follow && !client::is_served(&client.layout, project) {
        return Ok(receiver);
    }
    let (_, mut channel) = client::ask(client, project, &Request::Questions { follow }, &[]).await?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                answer = channel.receive() => match answer {
                    Ok(Some(Answer::Question(question))) => {
                        if sender.send(question).await.is_err() {
                            return;
                        }
                    }
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => return,
                },
                () = sender.closed() => return,
            }
        }
    });
    Ok(receiver)
}
