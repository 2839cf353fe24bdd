//! The caller's SSH agent within a build (`RUN --mount=type=ssh`): a socket of its own whose connections are passed on.
//!
//! The agent's own socket is not shown: it may refuse users other than its own, and its mode is not ours to change. Where keys were
//! named instead of an agent, the program `ssh-agent` holds them for as long as the command runs.

use std::io::{self, BufRead, BufReader, PipeWriter};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Why there is no agent.
#[derive(Debug, thiserror::Error)]
pub(super) enum SshError {
    /// The caller has none.
    #[error("SSH_AUTH_SOCK is not set: start an agent, or name a key")]
    NoAgent,
    /// The file can't be used.
    #[error("{}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    /// A program can't be started.
    #[error("the program {program}, which reads keys, can't be started: {source}")]
    Program { program: &'static str, source: io::Error },
    /// The key was refused.
    #[error("the key {} was refused: {said}", .path.display())]
    Key { path: PathBuf, said: String },
    /// A call failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An agent's socket that is served until this is dropped.
#[derive(Debug)]
pub(super) struct Agent {
    /// Closed, it ends the thread.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
    program: Option<Child>,
}

impl Agent {
    /// Serves the caller's agent, the one at this socket, or one with this key, at `place`.
    pub(super) fn serve(keys: Option<&Path>, place: &Path) -> Result<Agent, SshError> {
        let mut agent = Agent { stop: None, thread: None, program: None };
        let upstream = match keys {
            None => PathBuf::from(
                std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).ok_or(SshError::NoAgent)?,
            ),
            Some(path) => {
                let file = |source| SshError::File { path: path.to_owned(), source };
                if std::fs::metadata(path).map_err(file)?.file_type().is_socket() {
                    path.to_owned()
                } else {
                    agent.hold(path, &place.with_extension("keys"))?
                }
            }
        };
        UnixStream::connect(&upstream).map_err(|source| SshError::File { path: upstream.clone(), source })?;
        let listener = UnixListener::bind(place)?;
        let (until, stop) = io::pipe()?;
        agent.stop = Some(stop);
        agent.thread = Some(std::thread::spawn(move || accept(&listener, until, &upstream)));
        Ok(agent)
    }

    /// Starts an agent of our own with this key.
    fn hold(&mut self, key: &Path, at: &Path) -> Result<PathBuf, SshError> {
        let program = |program| move |source| SshError::Program { program, source };
        let mut agent = Command::new("ssh-agent");
        agent.arg("-D").arg("-a").arg(at).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = self.program.insert(agent.spawn().map_err(program("ssh-agent"))?);
        // It says where it listens once it does.
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut String::new())?;
        }
        let mut add = Command::new("ssh-add");
        add.arg("-q").arg(key).env("SSH_AUTH_SOCK", at).env("SSH_ASKPASS_REQUIRE", "never").env_remove("DISPLAY");
        let added = add.stdin(Stdio::null()).output().map_err(program("ssh-add"))?;
        if added.status.success() {
            return Ok(at.to_owned());
        }
        let said = String::from_utf8_lossy(&added.stderr).trim().replace('\n', "; ");
        Err(SshError::Key { path: key.to_owned(), said })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.stop.take());
        // Its connections end with the container that made them, and so does it.
        let _ = self.thread.take().map(JoinHandle::join);
        if let Some(program) = &mut self.program {
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

/// Passes connections on until the pipe is closed.
fn accept(listener: &UnixListener, until: io::PipeReader, upstream: &Path) {
    std::thread::scope(|scope| {
        loop {
            let mut ready =
                [PollFd::new(listener.as_fd(), PollFlags::POLLIN), PollFd::new(until.as_fd(), PollFlags::POLLIN)];
            if poll(&mut ready, PollTimeout::NONE).is_err() {
                continue;
            }
            if ready[1].any() == Some(true) {
                return;
            }
            // An agent that is gone is a connection that ends at once: the command says what that means for it.
            if let (Ok((client, _)), Ok(agent)) = (listener.accept(), UnixStream::connect(upstream)) {
                scope.spawn(move || pass(&client, &agent));
            }
        }
    });
}

/// Copies both ways until both are done.
fn pass(client: &UnixStream, agent: &UnixStream) {
    let one_way = |mut from: &UnixStream, mut to: &UnixStream| {
        // Whoever closes early does not want the rest.
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| one_way(client, agent));
        one_way(agent, client);
    });
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn what_is_said_here_is_heard_there_and_answered() {
        let folder = tempfile::tempdir().unwrap();
        let (upstream, place) = (folder.path().join("upstream"), folder.path().join("place"));
        let agent = UnixListener::bind(&upstream).unwrap();
        let served = Agent::serve(Some(&upstream), &place).unwrap();
        // The first connection tried whether anybody is there.
        drop(agent.accept().unwrap());
        let mut client = UnixStream::connect(&place).unwrap();
        client.write_all(b"ask").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let (mut heard, _) = agent.accept().unwrap();
        let mut asked = String::new();
        heard.read_to_string(&mut asked).unwrap();
        heard.write_all(b"answer").unwrap();
        drop(heard);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!((asked.as_str(), answer.as_str()), ("ask", "answer"));
        drop(served);
        assert!(UnixStream::connect(&place).is_err());
    }
}
