//! Runs a start program: clones, and interprets the steps in the new process.
//!
//! The new process shares the memory of this one until it executes its command (`CLONE_VM | CLONE_VFORK`): it costs no
//! copy of anything, but it must not allocate, take a lock or panic, since whatever it breaks is broken here. It has its
//! own stack, its own table of descriptors and its own signal handlers, and the calling thread sleeps meanwhile.
//!
//! Since the memory is shared, nobody in the container may touch it: the process is made undumpable, without which a
//! process of equal rights in the container could attach to the new one (ptrace(2), "access mode checking").

mod child;

use std::ffi::{c_char, c_void};
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;

use crate::runtime::start::program::{File, Parentage, Program, Step};
use crate::runtime::sys::{OrOs, OsError};

/// Why there is no process.
#[derive(Debug)]
pub enum SpawnError {
    /// There never was one.
    Clone(OsError),
    /// This step failed.
    Step {
        /// Its number.
        step: usize,
        /// How.
        errno: Errno,
    },
    /// It was killed at this step.
    Killed {
        /// Its number.
        step: usize,
    },
}

/// Enough for the interpreter, which does not recurse.
const STACK: usize = 256 << 10;

/// What both processes see.
struct Shared<'a> {
    program: &'a Program,
    /// Ends with a null pointer.
    argv: Vec<*const c_char>,
    /// Ends with a null pointer.
    env: Vec<*const c_char>,
    /// The step that runs.
    step: AtomicUsize,
    /// How it failed; 0 not (yet).
    errno: AtomicI32,
}

/// Starts the process; returns its pid and pidfd once it executes its command.
pub fn spawn(program: &Program, parentage: Parentage) -> Result<(i32, OwnedFd), SpawnError> {
    undumpable().or_os("prctl", "PR_SET_DUMPABLE").map_err(SpawnError::Clone)?;
    let (argv, env) = match program.steps.last() {
        Some(Step::Exec(exec)) => (&exec.argv[..], &exec.env[..]),
        _ => (&[][..], &[][..]),
    };
    let pointers = |texts: &[std::ffi::CString]| {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
    };
    let shared = Shared {
        program,
        argv: pointers(argv),
        env: pointers(env),
        step: AtomicUsize::new(0),
        errno: AtomicI32::new(0),
    };
    let home = match &program.pid_namespace {
        Some(process) => Some(move_children(process).map_err(SpawnError::Clone)?),
        None => None,
    };
    let cloned = clone(&shared, program.namespaces, parentage);
    let back = home.map_or(Ok(()), |home| setns(home, CloneFlags::CLONE_NEWPID).or_os("setns", "own PID namespace"));
    let (pid, pidfd) = cloned.map_err(SpawnError::Clone)?;
    if let Err(error) = back {
        // Nobody would know of the process, and what this thread starts next would be born in the wrong place.
        let _ = super::pidfd_signal(&pidfd, libc::SIGKILL);
        return Err(SpawnError::Clone(error));
    }

    let step = shared.step.load(Ordering::SeqCst);
    let error = match shared.errno.load(Ordering::SeqCst) {
        0 if step + 1 == program.steps.len() => return Ok((pid, pidfd)),
        0 => SpawnError::Killed { step },
        errno => SpawnError::Step { step, errno: Errno::from_raw(errno) },
    };
    if parentage == Parentage::Child {
        // It has ended or is about to; nobody else knows of it.
        let _ = nix::sys::wait::waitid(nix::sys::wait::Id::PIDFd(pidfd.as_fd()), nix::sys::wait::WaitPidFlag::WEXITED);
    }
    Err(error)
}

/// Lets this thread's next child be born in the PID namespace of a process; returns the way back.
fn move_children(process: &File) -> Result<OwnedFd, OsError> {
    let path = c"/proc/thread-self/ns/pid";
    let home =
        nix::fcntl::open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).or_os("open", "own PID namespace")?;
    setns(process, CloneFlags::CLONE_NEWPID).or_os("setns", process.name.as_str())?;
    Ok(home)
}

/// Makes this process, and what shares its memory, inaccessible to others of equal rights.
pub fn undumpable() -> Result<(), Errno> {
    // SAFETY: plain numbers.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }).map(drop)
}

fn clone(shared: &Shared<'_>, namespaces: CloneFlags, parentage: Parentage) -> Result<(i32, OwnedFd), OsError> {
    let mut stack: Vec<u8> = Vec::with_capacity(STACK);
    let parent = match parentage {
        Parentage::Child => 0,
        Parentage::Sibling => libc::CLONE_PARENT,
    };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD | parent | namespaces.bits();
    let mut pidfd: RawFd = -1;
    let before = mask_all_signals();
    // SAFETY: the stack is live until this returns, and the child has left it by then (CLONE_VFORK); its top is aligned
    // to 16 bytes. `shared` outlives the child's use of it for the same reason. The child only does what the header says.
    let pid = unsafe {
        let top = stack.as_mut_ptr().add(STACK);
        let top = top.sub(top as usize % 16);
        libc::clone(child::run, top.cast::<c_void>(), flags, std::ptr::from_ref(shared) as *mut c_void, &raw mut pidfd)
    };
    let pid = Errno::result(pid);
    set_signal_mask(before);
    let pid = pid.or_os("clone", format!("with {namespaces:?}"))?;
    // SAFETY: the kernel has just made this descriptor for this process.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// Size of the kernel's set of signals.
const SIGNAL_SET: usize = 8;

/// Blocks every signal of this thread, those of the C library too; returns the mask before.
fn mask_all_signals() -> u64 {
    let (all, mut before) = (u64::MAX, 0_u64);
    // SAFETY: two live sets of the size that is told.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const all, &raw mut before, SIGNAL_SET);
    }
    before
}

fn set_signal_mask(mask: u64) {
    // SAFETY: a live set of the size that is told.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            std::ptr::null::<u64>(),
            SIGNAL_SET,
        );
    }
}

/// Lets the command start with no signal blocked, whatever this thread blocks.
pub fn unblock_signals(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: the function that runs between fork and exec makes one system call on its own stack.
    unsafe {
        command.pre_exec(|| {
            set_signal_mask(0);
            Ok(())
        });
    }
}
