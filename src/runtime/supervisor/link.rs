//! The supervisor's end of its link to the keeper, and a duplicate of everything the keeper holds: if the keeper dies,
//! the next one gets it from here.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::unix::AsyncFd;

use crate::engine::ContainerId;
use crate::runtime::keeper;
use crate::runtime::keeper::protocol::{PACKET_MAX, ToKeeper, ToSupervisor};
use crate::runtime::layout::Layout;
use crate::runtime::supervisor::logs::Source;
use crate::runtime::sys::{self, OsError};
use crate::values::names::ProjectName;

/// How often a keeper that dies at once is started anew.
const ATTEMPTS: usize = 100;
/// Between two of them, if the first could not even be started.
const PAUSE: Duration = Duration::from_millis(20);

/// The link and what is held.
#[derive(Debug)]
pub struct Link {
    socket: AsyncFd<OwnedFd>,
    held: BTreeMap<String, OwnedFd>,
}

/// What the keeper says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// A child has ended, with this status as wait(2) gives it.
    Ended {
        /// Which.
        pid: i32,
        /// How.
        status: i32,
    },
    /// It is dead.
    Gone,
}

impl Link {
    /// Over standard input: takes everything the keeper holds, and the endings that nobody has on record.
    pub async fn open() -> io::Result<(Link, VecDeque<Word>)> {
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        fcntl(&socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        nix::unistd::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        let mut link = Link { socket: sys::readable(socket)?, held: BTreeMap::new() };
        let mut words = VecDeque::new();
        let mut buffer = [0; PACKET_MAX];
        loop {
            let (length, files) = link.packet(&mut buffer).await?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match ToSupervisor::decode(buffer.get(..length).unwrap_or_default()) {
                Some(ToSupervisor::Held(key)) => {
                    link.held.extend(files.into_iter().next().map(|file| (key.to_owned(), file)));
                }
                Some(ToSupervisor::Ended { pid, status }) => words.push_back(Word::Ended { pid, status }),
                Some(ToSupervisor::Ready) => return Ok((link, words)),
                None => {}
            }
        }
    }

    /// The next word. Dropping the future loses nothing.
    pub async fn word(&self) -> Word {
        let mut buffer = [0; PACKET_MAX];
        loop {
            match self.packet(&mut buffer).await {
                Ok((0, _)) | Err(_) => return Word::Gone,
                Ok((length, _)) => {
                    let word = ToSupervisor::decode(buffer.get(..length).unwrap_or_default());
                    if let Some(ToSupervisor::Ended { pid, status }) = word {
                        return Word::Ended { pid, status };
                    }
                }
            }
        }
    }

    async fn packet(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        loop {
            let mut ready = self.socket.readable().await?;
            match ready.try_io(|socket| Ok(sys::receive(socket.get_ref(), buffer)?)) {
                Ok(received) => return received,
                Err(_) => continue,
            }
        }
    }

    /// Has the keeper hold a file under this key.
    pub fn hold(&mut self, key: String, file: OwnedFd) {
        self.say(ToKeeper::Hold(&key), Some(&file));
        self.held.insert(key, file);
    }

    /// Has the keeper hold the terminal of a container's first process, with the pipe that carries its output to the log.
    pub fn hold_terminal(&mut self, id: &ContainerId, terminal: OwnedFd) -> io::Result<Source> {
        let (out, into) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        for (name, file) in [("terminal", &terminal), ("relay/out", &out), ("relay/into", &into)] {
            self.hold(format!("{}/{name}", id.0), file.try_clone()?);
        }
        Source::terminal(terminal, out, into)
    }

    /// Lets go of every file whose key begins so.
    pub fn release(&mut self, prefix: &str) {
        self.say(ToKeeper::Release(prefix), None);
        self.held.retain(|key, _| !key.starts_with(prefix));
    }

    /// Another descriptor of a held file.
    pub fn held(&self, key: &str) -> Option<OwnedFd> {
        self.held.get(key)?.try_clone().ok()
    }

    /// The keys that begin so.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.held.keys().filter(|key| key.starts_with(prefix)).cloned().collect()
    }

    /// The status of this process is on record.
    pub fn seen(&self, pid: i32) {
        self.say(ToKeeper::Seen(pid), None);
    }

    /// Nothing runs any more: the keeper ends.
    pub fn quit(&self) {
        self.say(ToKeeper::Quit, None);
    }

    /// Starts another keeper in place of a dead one, with everything it held.
    pub fn succeed(self, layout: &Layout, project: &ProjectName) -> Result<(), OsError> {
        let held: Vec<_> = self.held.into_iter().collect();
        // Until it has passed everything on we are the only ones who have it.
        let mut last = Ok(());
        for _ in 0..ATTEMPTS {
            match keeper::launch(Path::new(keeper::SELF), layout, project, &held) {
                Ok(launched) if launched.is_settled() => return Ok(()),
                // It was killed, too.
                Ok(_) => {}
                Err(error) => {
                    last = Err(error);
                    // Out of memory or processes, most likely.
                    std::thread::sleep(PAUSE);
                }
            }
        }
        last
    }

    /// A dead keeper can't be told anything; that it is dead comes as a word of its own.
    fn say(&self, message: ToKeeper<'_>, file: Option<&OwnedFd>) {
        let packet = message.encode();
        let files: &[_] = &file.map(AsFd::as_fd).into_iter().collect::<Vec<_>>();
        let socket = self.socket.get_ref();
        while let Err(Errno::EAGAIN | Errno::EINTR) = sys::send(socket, packet.bytes(), files) {
            // It always reads soon, whatever we do.
            let _ = poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE);
        }
    }
}
