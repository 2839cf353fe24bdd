//! A command's way to a project's supervisor, which is started if there is none.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::engine::{EngineError, Subject};
use crate::runtime::keeper;
use crate::runtime::keeper::protocol::LISTENER;
use crate::runtime::layout::Layout;
use crate::runtime::supervisor::control::{Answer, Channel, Request};
use crate::runtime::sys;
use crate::runtime::version;
use crate::values::names::ProjectName;

/// How often a request is made again when supervisors die of it or around it.
const ATTEMPTS: usize = 8;

/// A command's way to the supervisors of a layout.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) layout: Layout,
    /// What a keeper is started from.
    pub(super) program: PathBuf,
}

/// Asks the project's supervisor, starting it if there is none; the first answer and the connection for more of them.
///
/// Every request may be made twice: a supervisor that died before it answered may have done it or not, and what is done
/// already is answered so.
pub(super) async fn ask(
    client: &Client,
    project: &ProjectName,
    request: &Request,
    files: &[OwnedFd],
) -> Result<(Answer, Channel), EngineError> {
    let failed = |error: io::Error| failed(project, error);
    let mut last = io::Error::new(io::ErrorKind::BrokenPipe, "its supervisor dies again and again");
    for _ in 0..ATTEMPTS {
        let mut channel = match connect_or_start(client, project) {
            Ok(stream) => open(stream).map_err(failed)?,
            // Its keeper was killed before it had everything.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                last = error;
                continue;
            }
            Err(error) => return Err(failed(error)),
        };
        if channel.send(request, files).await.is_err() {
            continue;
        }
        match channel.receive().await {
            Ok(Some(Answer::Failed(failure))) => return Err(failure.into()),
            Ok(Some(answer)) => return Ok((answer, channel)),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(failed(error)),
            Err(_) => {}
        }
    }
    Err(failed(last))
}

/// Asks the project's supervisor if there is one. One that dies meanwhile had nothing to do with it: what it was doing is
/// found by the next one.
pub(super) async fn ask_if_served(
    layout: &Layout,
    project: &ProjectName,
    request: &Request,
) -> Result<Option<Answer>, EngineError> {
    let failed = |error: io::Error| failed(project, error);
    let Some(stream) = connect(layout, project).map_err(failed)? else { return Ok(None) };
    let mut channel = open(stream).map_err(failed)?;
    if channel.send(request, &[]).await.is_err() {
        return Ok(None);
    }
    match channel.receive().await {
        Ok(Some(Answer::Failed(failure))) => Err(failure.into()),
        Ok(answer) => Ok(answer),
        Err(_) => Ok(None),
    }
}

/// A connection that ends with the project's supervisor, if there is one now.
pub(super) async fn attach(layout: &Layout, project: &ProjectName) -> Option<Channel> {
    let mut channel = open(connect(layout, project).ok()??).ok()?;
    channel.send(&Request::Events, &[]).await.ok()?;
    channel.receive::<Answer>().await.ok()?.map(|_| channel)
}

/// Tells a supervisor something if there is one.
pub(super) async fn tell(layout: &Layout, project: &ProjectName, request: &Request) {
    let Ok(Some(stream)) = connect(layout, project) else { return };
    let Ok(mut channel) = open(stream) else { return };
    if channel.send(request, &[]).await.is_ok() {
        // The answer says that it has been passed on; a supervisor that died has nobody to tell.
        let _ = channel.receive::<Answer>().await;
    }
}

/// Asks a supervisor to end if it has nothing to do, and waits until it and its keeper are gone.
pub(super) fn leave(layout: &Layout, project: &ProjectName) {
    let Ok(Some(stream)) = connect(layout, project) else { return };
    let leaving = || -> io::Result<()> {
        let message = serde_json::to_vec(&Request::Leave)?;
        let length = u32::try_from(message.len()).unwrap_or(0).to_le_bytes();
        io::Write::write_all(&mut &stream, &[&length[..], &message].concat())?;
        let mut length = [0; 4];
        io::Read::read_exact(&mut &stream, &mut length)?;
        let mut message = vec![0; usize::try_from(u32::from_le_bytes(length)).unwrap_or(0).min(1 << 16)];
        io::Read::read_exact(&mut &stream, &mut message)?;
        let Answer::Leaving { keeper, supervisor } = serde_json::from_slice(&message)? else { return Ok(()) };
        // It waits for us to hang up, so these are still the ones.
        let processes = [sys::pidfd_open(supervisor), sys::pidfd_open(keeper)];
        drop(stream);
        for process in processes.into_iter().flatten() {
            poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], PollTimeout::from(10_000_u16))?;
        }
        Ok(())
    };
    // It ends by itself, too, if a little later.
    let _ = leaving();
}

/// Whether a supervisor is there, or about to be.
pub(super) fn is_served(layout: &Layout, project: &ProjectName) -> bool {
    matches!(connect(layout, project), Ok(Some(_)))
}

fn open(stream: UnixStream) -> io::Result<Channel> {
    stream.set_nonblocking(true)?;
    Ok(Channel::new(tokio::net::UnixStream::from_std(stream)?))
}

/// A connection to the supervisor, if somebody has its socket open; it is then answered, since nobody leaves while a
/// connection waits.
fn connect(layout: &Layout, project: &ProjectName) -> io::Result<Option<UnixStream>> {
    let lock = match File::open(layout.control_lock(project)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let _lock = Flock::lock(lock, FlockArg::LockShared).map_err(|(_, errno)| errno)?;
    try_connect(layout, project)
}

fn try_connect(layout: &Layout, project: &ProjectName) -> io::Result<Option<UnixStream>> {
    match UnixStream::connect(layout.control(project)) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(error),
    }
}

fn connect_or_start(client: &Client, project: &ProjectName) -> io::Result<UnixStream> {
    let layout = &client.layout;
    if let Some(stream) = connect(layout, project)? {
        if !version::is_older(layout, project) {
            return Ok(stream);
        }
        version::replace(&stream, &client.program)?;
        // That connection is used up, whether it gave way or not.
        if let Some(stream) = connect(layout, project)? {
            return Ok(stream);
        }
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(layout.running(project))?;
    let lock = File::options().create(true).append(true).open(layout.control_lock(project))?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
    // Somebody may have been faster.
    if let Some(stream) = try_connect(layout, project)? {
        return Ok(stream);
    }
    let path = layout.control(project);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = OwnedFd::from(UnixListener::bind(&path)?);
    let stream = UnixStream::connect(&path)?;
    keeper::launch(&client.program, layout, project, &[(LISTENER.to_owned(), listener)]).map_err(|error| {
        let kind = io::Error::from(error.errno).kind();
        io::Error::new(kind, error)
    })?;
    Ok(stream)
}

fn failed(project: &ProjectName, error: io::Error) -> EngineError {
    EngineError::Failed { verb: "use", subject: Subject::Project(project.to_string()), source: Box::new(error) }
}
