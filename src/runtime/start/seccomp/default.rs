//! Docker's allow-list: what containers need, and what some capability makes harmless because it allows as much anyway.

use std::collections::BTreeMap;

use crate::runtime::start::capabilities;
use crate::runtime::start::seccomp::numbers::number;
use crate::runtime::start::seccomp::{Action, Condition, Leaf, Policy, Test};

/// For everybody.
const ALWAYS: &str = "
    accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown clock_adjtime clock_getres
    clock_gettime clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3 epoll_create
    epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve
    execveat exit exit_group faccessat faccessat2 fadvise64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2
    fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstatfs fsync ftruncate
    futex futex_requeue futex_wait futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu getcwd
    getdents getdents64 getegid geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid
    getpriority getrandom getresgid getresuid getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday
    getuid getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy
    io_getevents io_pgetevents io_setup io_submit ioctl ioprio_get ioprio_set kill landlock_add_rule
    landlock_create_ruleset landlock_restrict_self lchown lgetxattr link linkat listen listxattr listxattrat llistxattr
    lremovexattr lseek lsetxattr lstat madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir
    mkdirat mknod mknodat mlock mlock2 mlockall mmap mprotect mq_getsetattr mq_notify mq_open mq_timedreceive
    mq_timedsend mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at
    nanosleep newfstatat open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free
    pkey_mprotect poll ppoll prctl pread64 preadv preadv2 prlimit64 process_mrelease process_vm_readv process_vm_writev
    pselect6 ptrace pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recvfrom recvmmsg recvmsg
    remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
    sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select
    semctl semget semop semtimedop sendfile sendmmsg sendmsg sendto set_robust_list set_thread_area set_tid_address
    setfsgid setfsuid setgid setgroups setitimer setpgid setpriority setregid setresgid setresuid setreuid setrlimit
    setsid setsockopt setuid setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4
    socketpair splice stat statfs statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time
    timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime
    timerfd_settime times tkill truncate umask uname unlink unlinkat utime utimensat utimes vfork vmsplice wait4 waitid
    write writev
    arch_prctl modify_ldt
";

/// For those who have a capability that allows as much.
const WITH: [(&str, &str); 14] = [
    ("DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick listmount lookup_dcookie mount mount_setattr \
         move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns statmount syslog \
         umount2 unshare",
    ),
    ("SYS_BOOT", "reboot"),
    ("SYS_CHROOT", "chroot"),
    ("SYS_MODULE", "delete_module finit_module init_module"),
    ("SYS_PACCT", "acct"),
    ("SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
    ("SYS_RAWIO", "ioperm iopl"),
    ("SYS_TIME", "clock_settime settimeofday"),
    ("SYS_TTY_CONFIG", "vhangup"),
    ("SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("SYSLOG", "syslog"),
    ("BPF", "bpf"),
    ("PERFMON", "perf_event_open"),
];

/// `CLONE_NEWNS`, `NEWCGROUP`, `NEWUTS`, `NEWIPC`, `NEWUSER`, `NEWPID` and `NEWNET`.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

/// Linux (0), Linux with 32-bit user addresses, and both with a short-sighted uname; -1 asks which.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

const AF_VSOCK: u64 = 40;

pub(super) fn policy(capabilities: u64) -> Policy {
    const EPERM: u16 = 1;
    const ENOSYS: u16 = 38;
    let refuse = Action::errno(EPERM);
    let mut calls = BTreeMap::new();
    let mut set = |name: &str, leaf: Leaf| {
        if let Some(number) = number(name) {
            calls.insert(number, leaf);
        }
    };
    for name in ALWAYS.split_whitespace() {
        set(name, Leaf::Always(Action::ALLOW));
    }
    let only_if = |argument, test| Leaf::Depends(vec![(vec![Condition { argument, test }], Action::ALLOW)], refuse);
    set("clone", only_if(0, Test::Masked(NEW_NAMESPACES, 0)));
    // Its flags lie in memory, where a filter can't look: programs are told to use the older call.
    set("clone3", Leaf::Always(Action::errno(ENOSYS)));
    // The kernel looks at the lower half of the family only.
    let virtual_machines = Condition { argument: 0, test: Test::Masked(0xffff_ffff, AF_VSOCK) };
    set("socket", Leaf::Depends(vec![(vec![virtual_machines], refuse)], Action::ALLOW));
    let personalities =
        PERSONALITIES.map(|value| (vec![Condition { argument: 0, test: Test::Equal(value) }], Action::ALLOW));
    set("personality", Leaf::Depends(personalities.to_vec(), refuse));
    for (capability, names) in WITH {
        if capabilities::number(capability).is_some_and(|number| capabilities & (1 << number) != 0) {
            for name in names.split_whitespace() {
                set(name, Leaf::Always(Action::ALLOW));
            }
        }
    }
    Policy { calls, otherwise: refuse, unknown: Action::errno(ENOSYS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_in_the_lists_is_one_the_kernel_has() {
        // On one architecture at least; the others have newer calls in place of some.
        let missing: Vec<&str> = ALWAYS.split_whitespace().filter(|name| number(name).is_none()).collect();
        if cfg!(target_arch = "x86_64") {
            assert_eq!(missing, Vec::<&str>::new());
        }
        for (capability, names) in WITH {
            assert!(capabilities::number(capability).is_some(), "{capability}");
            for name in names.split_whitespace().filter(|_| cfg!(target_arch = "x86_64")) {
                assert!(number(name).is_some(), "{name}");
            }
        }
    }

    #[test]
    fn dangerous_calls_pass_only_with_the_capability_that_allows_as_much() {
        let allows = |capabilities, name: &str| {
            policy(capabilities).calls.get(&number(name).unwrap()) == Some(&Leaf::Always(Action::ALLOW))
        };
        let admin = 1 << capabilities::number("SYS_ADMIN").unwrap();
        for name in ["mount", "umount2", "setns", "unshare", "bpf", "clone", "fsopen", "open_tree", "sethostname"] {
            assert!(!allows(capabilities::DEFAULT, name) && allows(capabilities::DEFAULT | admin, name), "{name}");
        }
        let never = [
            "add_key",
            "request_key",
            "keyctl",
            "kexec_load",
            "kexec_file_load",
            "swapon",
            "swapoff",
            "userfaultfd",
            "nfsservctl",
            "io_uring_setup",
            "io_uring_enter",
            "io_uring_register",
            "pivot_root",
            "move_pages",
            "migrate_pages",
        ];
        for name in never {
            assert!(!allows(u64::MAX, name), "{name}");
        }
        for name in ["read", "execve", "futex", "chroot"] {
            assert!(allows(capabilities::DEFAULT, name), "{name}");
        }
    }
}
