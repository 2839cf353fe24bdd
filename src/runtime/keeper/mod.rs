//! The keeper: parent of a project's containers, holder of every file that must outlive the supervisor.
//!
//! One small single-threaded loop that decides nothing, so that it has no reason to die. It starts the supervisor, and
//! again when that one dies; it waits for every child, since only a parent can, and tells statuses until they are
//! [seen](protocol::ToKeeper::Seen); it holds files by key and hands all of them to each new supervisor.
//!
//! If the keeper itself dies, the supervisor starts another one ([`launch`]), hands over every file and ends: there is
//! one way back, whoever died. Absent on purpose: threads, timers but one, and any knowledge of containers.

pub mod protocol;

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::runtime::keeper::protocol::{Packet, ToKeeper, ToSupervisor};
use crate::runtime::layout::Layout;
use crate::runtime::sys::mount::own_binary;
use crate::runtime::sys::{self, OrOs, OsError, memory};
use crate::values::names::ProjectName;

/// The running binary, also when its file has been replaced by another version.
pub const SELF: &str = "/proc/self/exe";
/// First argument of the process that detaches the keeper from its terminal and its parent.
pub const LAUNCHER: &str = "--launch-keeper";
/// First argument of the keeper.
pub const KEEPER: &str = "--keeper";
/// First argument of the supervisor.
pub const SUPERVISOR: &str = "--supervisor";

/// A supervisor that lives for less than this died of something that its successor will meet, too.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// How long nothing happened before a keeper lets go of what it needed so far, in milliseconds.
const REST: u16 = 1_000;
/// How long a keeper waits at most before it tries another supervisor.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Starts a keeper that belongs to no terminal, holding these files. It lives on when this process ends. `program` is
/// this binary, or another copy of it.
pub fn launch(
    program: &Path,
    layout: &Layout,
    project: &ProjectName,
    files: &[(String, OwnedFd)],
) -> Result<Launched, OsError> {
    let (ours, theirs) = link()?;
    let status = role(program, LAUNCHER, layout, project, theirs).status().or_os("exec", "keeper")?;
    if !status.success() {
        return Err(OsError { call: "exec", subject: "keeper".into(), errno: Errno::ECHILD });
    }
    for (key, file) in files {
        send(&ours, ToKeeper::Hold(key).encode(), Some(file))?;
    }
    send(&ours, ToKeeper::Go.encode(), None)?;
    Ok(Launched(ours))
}

/// A keeper that has just been started.
#[derive(Debug)]
pub struct Launched(OwnedFd);

impl Launched {
    /// Waits until its first supervisor has been handed everything, so that whoever held it before may end; whether it
    /// came to that.
    pub fn is_settled(&self) -> bool {
        let mut buffer = [0; protocol::PACKET_MAX];
        let told =
            sys::receive(&self.0, &mut buffer).ok().and_then(|(length, _)| buffer.get(..length).map(<[u8]>::to_vec));
        told.is_some_and(|told| ToSupervisor::decode(&told) == Some(ToSupervisor::Ready))
    }
}

fn send(link: &OwnedFd, packet: Packet, file: Option<&OwnedFd>) -> Result<(), OsError> {
    let files: &[_] = &file.map(AsFd::as_fd).into_iter().collect::<Vec<_>>();
    sys::send(link, packet.bytes(), files).map(drop).or_os("sendmsg", "keeper")
}

fn link() -> Result<(OwnedFd, OwnedFd), OsError> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).or_os("socketpair", "keeper")
}

/// This binary in another role. It takes nothing along but the link, its standard input: no file, no terminal, no
/// variable of whoever typed the command.
fn role(program: &Path, role: &str, layout: &Layout, project: &ProjectName, link: OwnedFd) -> Command {
    let mut command = Command::new(program);
    command
        .arg0("xcompose")
        .args([role, project.as_str()])
        .current_dir("/")
        .env_clear()
        .env("XCOMPOSE_DATA", layout.data())
        .env("XCOMPOSE_RUN", layout.run())
        .stdin(Stdio::from(link))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// The launcher: leaves the terminal's session, starts the keeper and ends, which makes the keeper an orphan.
pub fn launcher_main(layout: &Layout, project: &ProjectName) -> ExitCode {
    let start = || -> io::Result<()> {
        nix::unistd::setsid()?;
        let link = io::stdin().as_fd().try_clone_to_owned()?;
        // Keeper and supervisor run from a mount that no container can write to, by whatever trick it gets there.
        let program = own_binary().map_err(|error| error.errno)?;
        let path = format!("/proc/self/fd/{}", program.as_raw_fd());
        role(Path::new(&path), KEEPER, layout, project, link).spawn().map(drop)
    };
    let started = start();
    if started.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The keeper: never returns before there is nothing left to keep.
pub fn main(layout: &Layout, project: &ProjectName) -> ExitCode {
    match prepare().and_then(|keeper| keeper.run(layout, project)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// A status that no supervisor has on record yet.
struct Ending {
    pid: i32,
    status: i32,
    told: bool,
}

struct Keeper {
    children: SignalFd,
    held: Vec<(String, OwnedFd)>,
    /// Who started us, until a supervisor has everything: if we die before that, it starts another one.
    starter: Option<OwnedFd>,
    endings: Vec<Ending>,
}

/// The supervisor of the moment.
struct Supervisor {
    pid: i32,
    since: Instant,
    link: OwnedFd,
    /// How many files it has been handed.
    handed: usize,
    ready: bool,
}

fn prepare() -> Result<Keeper, OsError> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_block().or_os("sigprocmask", "SIGCHLD")?;
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGPIPE] {
        sys::ignore(signal)?;
    }
    let children =
        SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).or_os("signalfd", "SIGCHLD")?;
    let link = io::stdin().as_fd().try_clone_to_owned().or_os("dup", "standard input")?;
    let mut keeper = Keeper { children, held: Vec::with_capacity(64), starter: None, endings: Vec::with_capacity(16) };
    // Whoever starts a keeper holds nothing back: the link ends without `Go` only if that one died half-way.
    loop {
        match keeper.receive(&link)? {
            Received::Go => break,
            Received::End | Received::Quit => {
                return Err(OsError { call: "recvmsg", subject: "link".into(), errno: Errno::EPIPE });
            }
            Received::Done => {}
        }
    }
    // The link is standard input, too; from now on that is nothing.
    let null = std::fs::File::open("/dev/null").or_os("open", "/dev/null")?;
    nix::unistd::dup2_stdin(&null).or_os("dup2", "/dev/null")?;
    keeper.starter = Some(link);
    Ok(keeper)
}

enum Received {
    Done,
    Go,
    Quit,
    End,
}

impl Keeper {
    fn run(mut self, layout: &Layout, project: &ProjectName) -> Result<(), OsError> {
        let mut supervisor: Option<Supervisor> = None;
        let mut pause = Duration::ZERO;
        let mut next = Instant::now();
        loop {
            if supervisor.is_none() && Instant::now() >= next {
                supervisor = self.start(layout, project).ok();
                if supervisor.is_none() {
                    pause = longer(pause);
                    next = Instant::now() + pause;
                }
            }
            let timeout = match &supervisor {
                Some(_) => REST.into(),
                // One more than left, since a remainder below a millisecond would make this loop spin.
                None => {
                    PollTimeout::try_from(next.saturating_duration_since(Instant::now()) + Duration::from_millis(1))
                        .unwrap_or(PollTimeout::MAX)
                }
            };
            let untold = supervisor.as_ref().is_some_and(|supervisor| self.untold(supervisor));
            let (readable, writable) = {
                let mut polled = vec![PollFd::new(self.children.as_fd(), PollFlags::POLLIN)];
                if let Some(supervisor) = &supervisor {
                    let out = if untold { PollFlags::POLLOUT } else { PollFlags::empty() };
                    polled.push(PollFd::new(supervisor.link.as_fd(), PollFlags::POLLIN | out));
                }
                let mut seen = poll(&mut polled, timeout);
                if seen == Ok(0) && supervisor.is_some() {
                    // Most of what has run so far does not run again for long. Straight back to waiting: every step on the
                    // way would map again what it needs.
                    memory::forget_beginning();
                    seen = poll(&mut polled, PollTimeout::NONE);
                }
                match seen {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(errno) => return Err(errno).or_os("poll", "keeper"),
                }
                let link = polled.get(1).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
                (
                    link.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR),
                    link.contains(PollFlags::POLLOUT),
                )
            };
            // What it said before it died counts: read the link before waiting for children.
            if let Some(current) = supervisor.as_ref().filter(|_| readable) {
                match self.receive(&current.link) {
                    Ok(Received::Quit) => return Ok(()),
                    Ok(Received::Done | Received::Go) | Err(OsError { errno: Errno::EINTR | Errno::EAGAIN, .. }) => {}
                    // It closed its end. If it lives, it must not: two supervisors would serve one project.
                    Ok(Received::End) | Err(_) => {
                        let _ = sys::pidfd_open(current.pid).and_then(|process| sys::pidfd_signal(process, 9));
                    }
                }
            }
            if let Some((dead, status)) = self.wait(supervisor.as_ref().map_or(0, |supervisor| supervisor.pid))
                && let Some(gone) = supervisor.take_if(|supervisor| supervisor.pid == dead)
            {
                // Its last words may have come between the reading above and its death.
                while let Ok(received) = self.receive(&gone.link) {
                    match received {
                        Received::Quit => return Ok(()),
                        Received::End => break,
                        Received::Done | Received::Go => {}
                    }
                }
                self.endings.iter_mut().for_each(|ending| ending.told = false);
                // Killed by somebody (SIGKILL is 9) it would have lived.
                let weak = gone.since.elapsed() < SHORT_LIFE && status & 0x7f != 9;
                pause = if weak { longer(pause) } else { Duration::ZERO };
                next = Instant::now() + pause;
            }
            if let Some(supervisor) = supervisor.as_mut().filter(|_| writable || untold) {
                self.tell(supervisor);
            }
        }
    }

    fn start(&self, layout: &Layout, project: &ProjectName) -> Result<Supervisor, OsError> {
        let (ours, theirs) = link()?;
        // Only this end: a supervisor that is slow to read, or a copy of its end in a child of it, must not hold us up.
        fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).or_os("fcntl", "link")?;
        let newer = self.held.iter().find(|(key, _)| key == protocol::PROGRAM);
        let program = newer.map(|(_, file)| format!("/proc/self/fd/{}", file.as_raw_fd()));
        let program = Path::new(program.as_deref().unwrap_or(SELF));
        let child = role(program, SUPERVISOR, layout, project, theirs).spawn().or_os("exec", "supervisor")?;
        Ok(Supervisor { pid: child.id().cast_signed(), since: Instant::now(), link: ours, handed: 0, ready: false })
    }

    /// Takes one message and does what it says.
    fn receive(&mut self, link: &OwnedFd) -> Result<Received, OsError> {
        let mut buffer = [0; protocol::PACKET_MAX];
        let (length, files) = sys::receive(link, &mut buffer).or_os("recvmsg", "link")?;
        if length == 0 {
            return Ok(Received::End);
        }
        match ToKeeper::decode(buffer.get(..length).unwrap_or_default()) {
            Some(ToKeeper::Hold(key)) => {
                if let Some(file) = files.into_iter().next() {
                    self.held.retain(|(held, _)| held != key);
                    self.held.push((key.to_owned(), file));
                }
            }
            Some(ToKeeper::Release(prefix)) => self.held.retain(|(key, _)| !key.starts_with(prefix)),
            Some(ToKeeper::Seen(pid)) => {
                // The oldest: a number may come again before its first bearer was seen.
                if let Some(place) = self.endings.iter().position(|ending| ending.pid == pid && ending.told) {
                    self.endings.remove(place);
                }
            }
            Some(ToKeeper::Go) => return Ok(Received::Go),
            Some(ToKeeper::Quit) => return Ok(Received::Quit),
            // A newer supervisor's word that this keeper does not know; it does without.
            None => {}
        }
        Ok(Received::Done)
    }

    /// Waits for every child that has ended; says if the supervisor is among them.
    fn wait(&mut self, supervisor: i32) -> Option<(i32, i32)> {
        while matches!(self.children.read_signal(), Ok(Some(_))) {}
        let mut dead = None;
        while let Some((pid, status)) = sys::reap() {
            if pid == supervisor {
                dead = Some((pid, status));
            } else {
                self.endings.push(Ending { pid, status, told: false });
            }
        }
        dead
    }

    fn untold(&self, supervisor: &Supervisor) -> bool {
        !supervisor.ready || self.endings.iter().any(|ending| !ending.told)
    }

    /// Tells what it does not know yet, as much as fits now.
    fn tell(&mut self, supervisor: &mut Supervisor) {
        let send = |packet: Packet, file: Option<&OwnedFd>| {
            let files: &[_] = &file.map(AsFd::as_fd).into_iter().collect::<Vec<_>>();
            sys::send(&supervisor.link, packet.bytes(), files).is_ok()
        };
        while let Some((key, file)) = self.held.get(supervisor.handed).filter(|_| !supervisor.ready) {
            if !send(ToSupervisor::Held(key).encode(), Some(file)) {
                return;
            }
            supervisor.handed += 1;
        }
        for ending in self.endings.iter_mut().filter(|ending| !ending.told) {
            ending.told = send(ToSupervisor::Ended { pid: ending.pid, status: ending.status }.encode(), None);
            if !ending.told {
                return;
            }
        }
        if !supervisor.ready {
            supervisor.ready = send(ToSupervisor::Ready.encode(), None);
            if let Some(starter) = self.starter.take_if(|_| supervisor.ready) {
                // What has been sent is received, even if both of us die now. A command does not wait for this word.
                let _ = sys::send(&starter, ToSupervisor::Ready.encode().bytes(), &[]);
            }
        }
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).clamp(Duration::from_millis(50), LONGEST_PAUSE)
}
