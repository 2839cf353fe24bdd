//! The new process: interprets the steps. Everything here runs in memory that is not its own; [`super`] says what that forbids.

use std::ffi::{CStr, c_void};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{Mode, SFlag};

use super::{SIGNAL_SET, Shared, set_signal_mask};
use crate::runtime::start::program::{Exec, File, Image, Kind, Links, Step, Target};
use crate::runtime::sys::mount::{Place, Reach, copy_tree, place};

/// Where the new process begins.
pub(super) extern "C" fn run(shared: *mut c_void) -> libc::c_int {
    // SAFETY: `clone` passes a `Shared` that lives until this process has executed its command or ended.
    let shared = unsafe { &*shared.cast_const().cast::<Shared<'_>>() };
    let errno = match interpret(shared) {
        Ok(never) => match never {},
        Err(errno) => errno,
    };
    shared.errno.store(errno as i32, Ordering::SeqCst);
    loop {
        // SAFETY: ends this process without running anything that belongs to the other one.
        unsafe { libc::syscall(libc::SYS_exit_group, 127) };
    }
}

enum Never {}

/// What the steps know of each other.
struct State<'a> {
    root: Option<BorrowedFd<'a>>,
    shm: Option<OwnedFd>,
    empty: Option<OwnedFd>,
}

fn interpret(shared: &Shared<'_>) -> Result<Never, Errno> {
    default_signals();
    nix::sys::stat::umask(Mode::from_bits_truncate(0o022));
    let mut state = State { root: None, shm: None, empty: None };
    for (number, step) in shared.program.steps.iter().enumerate() {
        shared.step.store(number, Ordering::SeqCst);
        if let Step::Exec(exec) = step {
            set_signal_mask(0);
            return Err(execute(exec, shared));
        }
        state.step(step)?;
    }
    Err(Errno::ENOEXEC)
}

/// Ignored signals stay ignored across exec, and Rust ignores SIGPIPE: all back to what a new program expects.
fn default_signals() {
    // The kernel's own `struct sigaction` (handler, flags, restorer, mask), all zero: SIG_DFL. Not the C library's
    // function, which refuses two of the signals.
    let default = [0_u64; 4];
    for signal in 1..=64 {
        // SAFETY: the set and the action have the sizes the kernel knows; SIGKILL and SIGSTOP just fail.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null::<u64>(), SIGNAL_SET);
        }
    }
}

impl<'a> State<'a> {
    fn step(&mut self, step: &'a Step) -> Result<(), Errno> {
        match step {
            Step::Write { file, text } => write(file, text.to_bytes()),
            Step::Join { namespaces, of } => setns(of, *namespaces),
            Step::Unshare(namespaces) => unshare(*namespaces),
            Step::PrivateMounts => remount(None, c"/", MsFlags::MS_REC | MsFlags::MS_PRIVATE),
            Step::BorrowShm(of) => {
                self.shm = Some(borrow_shm(of)?);
                Ok(())
            }
            Step::Root { tree, over } => {
                place(tree.as_fd(), Place::Path(over))?;
                self.root = Some(tree.as_fd());
                Ok(())
            }
            Step::Place { tree, at } => place(tree.as_fd(), Place::Descriptor(self.reach(at)?.as_fd())),
            Step::PlaceShm(at) => {
                let tree = self.shm.take().ok_or(Errno::EBADF)?;
                place(tree.as_fd(), Place::Descriptor(self.reach(at)?.as_fd()))
            }
            Step::Mount { kind, at, flags } => {
                let at = self.reach(at)?;
                mount(
                    Some(kind.as_c_str()),
                    DescriptorPath::new(at.as_fd()).text(),
                    Some(kind.as_c_str()),
                    *flags,
                    None::<&CStr>,
                )
            }
            Step::Bind { from, at } => {
                let (from, at) = (self.find(from)?, self.reach(at)?);
                remount(Some(from.as_fd()), DescriptorPath::new(at.as_fd()).text(), MsFlags::MS_BIND)
            }
            Step::Mask { at, null } => self.mask(at, null),
            Step::ReadOnly(at) => self.read_only(at),
            Step::RootReadOnly => {
                let root = self.root.ok_or(Errno::EBADF)?;
                let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
                remount(None, DescriptorPath::new(root).text(), flags)
            }
            Step::Pivot => {
                nix::unistd::fchdir(self.root.ok_or(Errno::EBADF)?)?;
                // The old root goes over the new one, whence it is taken away (pivot_root(2), "pivot_root(".", ".")").
                nix::unistd::pivot_root(c".", c".")?;
                umount2(c".", MntFlags::MNT_DETACH)?;
                nix::unistd::chdir(c"/")
            }
            Step::HostName(name) => set_name(libc::SYS_sethostname, name),
            Step::DomainName(name) => set_name(libc::SYS_setdomainname, name),
            Step::Limit { resource, soft, hard } => limit(*resource, *soft, *hard),
            Step::Session => nix::unistd::setsid().map(drop),
            Step::Streams(files) => streams(files),
            Step::Terminal => {
                // SAFETY: plain numbers.
                Errno::result(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) }).map(drop)
            }
            Step::CloseOthers(but) => {
                // These are closed by those who own them: closed behind their back, they would abort the process.
                (self.shm, self.empty) = (None, None);
                close_others(but.as_ref())
            }
            Step::WorkingDirectory(prefixes) => working_directory(prefixes),
            Step::NoNewPrivileges => prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0),
            Step::Filter(filter) => load(filter),
            Step::Bounding { keep, last } => bound(*keep, *last),
            Step::Identity { uid, gid, groups } => become_user(*uid, *gid, groups),
            Step::Capabilities(set) => capabilities(*set),
            Step::DieWithParent => prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong, 0),
            Step::Exec(_) => Err(Errno::EINVAL),
        }
    }

    /// The place, which has to be there.
    fn find(&self, target: &Target) -> Result<OwnedFd, Errno> {
        let root = self.root.ok_or(Errno::EBADF)?;
        let path = target.prefixes.last().ok_or(Errno::EINVAL)?;
        open(root, path, target.links)
    }

    /// The place, made where there is nothing, and a place a mount may cover.
    fn reach(&self, target: &Target) -> Result<OwnedFd, Errno> {
        let found = match self.find(target) {
            Err(Errno::ENOENT) => {
                self.make(target)?;
                self.find(target)?
            }
            other => other?,
        };
        // A link of the image that leads into /proc would hide or feign what processes there rely on.
        let proc = nix::sys::statfs::fstatfs(&found)?.filesystem_type() == nix::sys::statfs::PROC_SUPER_MAGIC;
        if proc && target.links == Links::Follow { Err(Errno::EPERM) } else { Ok(found) }
    }

    fn make(&self, target: &Target) -> Result<(), Errno> {
        let root = self.root.ok_or(Errno::EBADF)?;
        let mut folder: Option<OwnedFd> = None;
        let last = target.names.len().saturating_sub(1);
        for (number, (prefix, name)) in target.prefixes.iter().zip(&target.names).enumerate() {
            let parent = folder.as_ref().map_or(root, |folder| folder.as_fd());
            let found = match open(root, prefix, target.links) {
                Err(Errno::ENOENT) => {
                    // One component below a folder that is in the root: a link that leads nowhere is EEXIST here.
                    if number == last && target.kind == Kind::File {
                        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC | OFlag::O_WRONLY;
                        nix::fcntl::openat(parent, name.as_c_str(), flags, Mode::from_bits_truncate(0o644))?;
                    } else {
                        nix::sys::stat::mkdirat(parent, name.as_c_str(), Mode::from_bits_truncate(0o755))?;
                    }
                    open(root, prefix, target.links)?
                }
                other => other?,
            };
            folder = Some(found);
        }
        Ok(())
    }

    fn mask(&mut self, at: &Target, null: &File) -> Result<(), Errno> {
        let found = match self.find(at) {
            Err(Errno::ENOENT) => return Ok(()),
            other => other?,
        };
        let path = DescriptorPath::new(found.as_fd());
        let kind = SFlag::from_bits_truncate(nix::sys::stat::fstat(&found)?.st_mode) & SFlag::S_IFMT;
        if kind != SFlag::S_IFDIR {
            return remount(Some(null.as_fd()), path.text(), MsFlags::MS_BIND);
        }
        match &self.empty {
            Some(empty) => remount(Some(empty.as_fd()), path.text(), MsFlags::MS_BIND),
            None => {
                let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
                mount(Some(c"tmpfs"), path.text(), Some(c"tmpfs"), flags, Some(c"nr_inodes=2,size=4k"))?;
                self.empty = Some(self.find(at)?);
                Ok(())
            }
        }
    }

    fn read_only(&self, at: &Target) -> Result<(), Errno> {
        let found = match self.find(at) {
            Err(Errno::ENOENT) => return Ok(()),
            other => other?,
        };
        remount(Some(found.as_fd()), DescriptorPath::new(found.as_fd()).text(), MsFlags::MS_BIND | MsFlags::MS_REC)?;
        // What is there now is the new mount.
        let found = self.find(at)?;
        let flags = MsFlags::MS_REMOUNT
            | MsFlags::MS_BIND
            | MsFlags::MS_RDONLY
            | MsFlags::MS_NOSUID
            | MsFlags::MS_NODEV
            | MsFlags::MS_NOEXEC;
        remount(None, DescriptorPath::new(found.as_fd()).text(), flags)
    }
}

/// Opens a place below the root, wherever links in it lead, without leaving it.
fn open(root: BorrowedFd<'_>, path: &CStr, links: Links) -> Result<OwnedFd, Errno> {
    let resolve = match links {
        Links::Follow => ResolveFlag::RESOLVE_IN_ROOT,
        Links::Refuse => ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS,
    };
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(resolve);
    // The kernel says EAGAIN when something was renamed on the way, as another container may in a shared volume.
    for _ in 0..64 {
        match openat2(root, path, how) {
            Err(Errno::EAGAIN) => (),
            other => return other,
        }
    }
    Err(Errno::EAGAIN)
}

fn write(file: &CStr, text: &[u8]) -> Result<(), Errno> {
    let file = nix::fcntl::open(file, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    nix::unistd::write(&file, text).map(drop)
}

/// Changes a mount, or binds `source` there.
fn remount(source: Option<BorrowedFd<'_>>, at: &CStr, flags: MsFlags) -> Result<(), Errno> {
    let source = source.map(DescriptorPath::new);
    mount(source.as_ref().map(DescriptorPath::text), at, None::<&CStr>, flags, None::<&CStr>)
}

/// Visits the mount namespace of the process to take a copy of the mount at its `/dev/shm`.
fn borrow_shm(of: &File) -> Result<OwnedFd, Errno> {
    let own = nix::fcntl::open(c"/proc/self/ns/mnt", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    setns(of, CloneFlags::CLONE_NEWNS)?;
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    let found = openat2(AT_FDCWD, c"/dev/shm", how)?;
    let tree = copy_tree(found.as_fd(), c"", Reach::Top)?;
    drop(found);
    setns(own, CloneFlags::CLONE_NEWNS)?;
    Ok(tree)
}

/// `/proc/self/fd/N`, without an allocation.
struct DescriptorPath([u8; 32]);

impl DescriptorPath {
    fn new(of: BorrowedFd<'_>) -> DescriptorPath {
        let mut path = [0; 32];
        let folder = b"/proc/self/fd/";
        let mut digits = [0_u8; 10];
        let mut rest = of.as_raw_fd().unsigned_abs();
        let mut count = 0;
        for digit in &mut digits {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            count += 1;
            if rest == 0 {
                break;
            }
        }
        let text = folder.iter().chain(digits.iter().take(count).rev());
        for (to, from) in path.iter_mut().zip(text) {
            *to = *from;
        }
        DescriptorPath(path)
    }

    fn text(&self) -> &CStr {
        // 14 bytes, at most ten digits, and zeros: never without an end.
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"/proc/self/fd/none")
    }
}

fn set_name(call: libc::c_long, name: &CStr) -> Result<(), Errno> {
    // SAFETY: a live text of the length that is told.
    Errno::result(unsafe { libc::syscall(call, name.as_ptr(), name.to_bytes().len()) }).map(drop)
}

fn limit(resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = [soft, hard];
    // SAFETY: `struct rlimit64` is two 64-bit numbers; 0 is this process.
    let done = unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, limit.as_ptr(), std::ptr::null::<u64>()) };
    Errno::result(done).map(drop)
}

fn streams(files: &[File; 3]) -> Result<(), Errno> {
    for (number, file) in (0..).zip(files) {
        // SAFETY: plain numbers; whatever was at `number` is this process's own copy.
        Errno::result(unsafe { libc::dup3(file.as_fd().as_raw_fd(), number, 0) })?;
    }
    Ok(())
}

fn close_others(but: Option<&File>) -> Result<(), Errno> {
    let close = |first: u32, last: u32| {
        // SAFETY: closes descriptors of this process's own table, which nothing uses any more.
        Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
    };
    match but.map(|file| file.as_fd().as_raw_fd().unsigned_abs()) {
        None => close(3, u32::MAX),
        Some(but) => {
            if but > 3 {
                close(3, but - 1)?;
            }
            close(but + 1, u32::MAX)
        }
    }
}

fn working_directory(prefixes: &[std::ffi::CString]) -> Result<(), Errno> {
    let Some(path) = prefixes.last() else { return nix::unistd::chdir(c"/") };
    match nix::unistd::chdir(path.as_c_str()) {
        Err(Errno::ENOENT) => (),
        other => return other,
    }
    for prefix in prefixes {
        match nix::unistd::mkdir(prefix.as_c_str(), Mode::from_bits_truncate(0o755)) {
            Err(Errno::EEXIST) => (),
            other => other?,
        }
    }
    nix::unistd::chdir(path.as_c_str())
}

fn prctl(option: libc::c_int, first: libc::c_ulong, second: libc::c_ulong) -> Result<(), Errno> {
    // SAFETY: only options that take plain numbers are passed.
    Errno::result(unsafe { libc::prctl(option, first, second, 0, 0) }).map(drop)
}

fn load(filter: &[libc::sock_filter]) -> Result<(), Errno> {
    let length = u16::try_from(filter.len()).map_err(|_| Errno::E2BIG)?;
    let program = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program, which is live and of the length that is told; it does not write to it.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    Errno::result(done).map(drop)
}

fn bound(keep: u64, last: u32) -> Result<(), Errno> {
    for capability in 0..=last.min(63) {
        if keep & (1 << capability) == 0 {
            prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0)?;
        }
    }
    Ok(())
}

/// Not by the C library's functions, which would change every thread of the other process.
fn become_user(uid: u32, gid: u32, groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: a live list of the length that is told.
    Errno::result(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
    // SAFETY: plain numbers.
    Errno::result(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: plain numbers.
    Errno::result(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

/// Effective and permitted are `set`; inheritable and ambient are empty.
fn capabilities(set: u64) -> Result<(), Errno> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0)?;
    /// `_LINUX_CAPABILITY_VERSION_3`: two words a set.
    const VERSION: u32 = 0x2008_0522;
    let header = [VERSION, 0];
    let (low, high) = (set as u32, (set >> 32) as u32);
    let data = [low, low, 0, high, high, 0];
    // SAFETY: header and data have the layout of version 3: effective, permitted, inheritable, twice.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) }).map(drop)
}

fn execute(exec: &Exec, shared: &Shared<'_>) -> Errno {
    let (argv, env) = (shared.argv.as_ptr(), shared.env.as_ptr());
    // SAFETY: argv and env are lists of live texts that end with a null pointer, as is `path` a live text.
    let path = |path: &CStr| unsafe {
        libc::syscall(libc::SYS_execve, path.as_ptr(), argv, env);
        Errno::last()
    };
    match &exec.image {
        Image::Path(file) => path(file),
        Image::Open(file) => {
            // SAFETY: as above; the empty path stands for the descriptor.
            unsafe {
                libc::syscall(
                    libc::SYS_execveat,
                    file.as_fd().as_raw_fd(),
                    c"".as_ptr(),
                    argv,
                    env,
                    libc::AT_EMPTY_PATH,
                );
            }
            Errno::last()
        }
        Image::Search(files) => {
            for file in files {
                match path(file) {
                    Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES => (),
                    other => return other,
                }
            }
            Errno::ENOENT
        }
    }
}
