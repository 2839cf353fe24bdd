//! One client's connection: reads its request, writes its answers, and passes its signals on.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Mutex;

use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::engine::{EngineError, ProcessIo};
use crate::runtime::supervisor::Message;
use crate::runtime::supervisor::control::{Answer, Channel, Failure, Request, Streams};
use crate::runtime::sys;

/// What goes to a client.
#[derive(Debug)]
pub(super) struct Reply {
    answer: Answer,
    files: Vec<OwnedFd>,
    /// Its signals go here from now on.
    process: Option<OwnedFd>,
}

/// Where answers to a client go. When the last copy is dropped the connection ends.
#[derive(Debug)]
pub(super) struct Client {
    replies: mpsc::UnboundedSender<Reply>,
    files: Mutex<VecDeque<OwnedFd>>,
}

impl Client {
    /// Says something; whether somebody is still there to hear it.
    pub(super) fn tell(&self, answer: Answer) -> bool {
        self.replies.send(Reply { answer, files: Vec::new(), process: None }).is_ok()
    }

    /// Says that its process runs, which its signals go to from now on.
    pub(super) fn process(&self, process: OwnedFd, terminal: Option<OwnedFd>) {
        let files = terminal.into_iter().collect();
        // A client that has gone does not need it any more.
        let _ = self.replies.send(Reply { answer: Answer::Process, files, process: Some(process) });
    }

    /// Hands over the end of a standard input.
    pub(super) fn input(&self, end: Option<OwnedFd>) {
        // A client that has gone does not need it any more.
        let _ = self.replies.send(Reply { answer: Answer::Input, files: end.into_iter().collect(), process: None });
    }

    /// Says that it failed.
    pub(super) fn refuse(&self, error: EngineError) {
        self.tell(Answer::Failed(Failure::from(&error)));
    }

    /// Whether the client has gone.
    pub(super) fn is_gone(&self) -> bool {
        self.replies.is_closed()
    }

    /// Returns when the client has gone.
    pub(super) async fn gone(&self) {
        self.replies.closed().await;
    }

    /// The file that came with its request.
    pub(super) fn file(&self) -> Option<OwnedFd> {
        self.files.lock().ok()?.pop_front()
    }

    /// The streams that came with its request.
    pub(super) fn streams(&self, streams: Streams) -> Option<ProcessIo> {
        streams.with(&mut *self.files.lock().ok()?)
    }
}

/// Serves a connection until either side is done with it.
pub(super) async fn serve(stream: UnixStream, queue: mpsc::UnboundedSender<Message>) {
    let mut channel = Channel::new(stream);
    // Rubbish and silence are both the end of it.
    let Ok(Some(request)) = channel.receive::<Request>().await else { return };
    let (replies, mut outgoing) = mpsc::unbounded_channel();
    let files = Mutex::new(std::mem::take(channel.files()));
    if queue.send(Message::Asked(request, Client { replies, files })).is_err() {
        return;
    }
    let mut process = None;
    loop {
        tokio::select! {
            reply = outgoing.recv() => {
                let Some(reply) = reply else { return };
                process = reply.process.or(process);
                if channel.send(&reply.answer, &reply.files).await.is_err() {
                    return;
                }
            }
            message = channel.receive::<Request>() => match message {
                Ok(Some(Request::Signal(signal))) => {
                    if let Some(process) = &process {
                        // It may have ended in this moment.
                        let _ = sys::pidfd_signal(process, signal.number());
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return,
            },
        }
    }
}
