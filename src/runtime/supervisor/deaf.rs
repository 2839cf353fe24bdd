//! Whether a process provably can't see a signal: then no grace period makes it end in order.
//!
//! The first process of a pid namespace gets no signal that it has no handler for (pid_namespaces(7)); the kernel throws it
//! away when it is sent, unless some thread blocks it, to take it later by signalfd or sigwait, or waits for it at this very
//! moment. A program that ignores the signal on purpose has thought of it, and may want its grace period to end its work;
//! whatever can't be read counts as not proved.

use std::path::Path;

use crate::values::signal::Signal;

/// `rt_sigtimedwait` of this architecture, as `/proc/PID/syscall` numbers it.
#[cfg(target_arch = "x86_64")]
const SIGTIMEDWAIT: &str = "128";
#[cfg(not(target_arch = "x86_64"))]
const SIGTIMEDWAIT: &str = "137";

/// Whether this process, as it is now, can't see this signal.
pub(super) fn is_deaf(pid: i32, signal: Signal) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    let mut seen = false;
    for thread in threads {
        let Ok(thread) = thread else { return false };
        if !is_thread_deaf(&thread.path(), signal) {
            return false;
        }
        seen = true;
    }
    seen
}

fn is_thread_deaf(thread: &Path, signal: Signal) -> bool {
    // What it waits for comes first: a thread that begins to wait after this has blocked the signal before.
    let Ok(call) = std::fs::read_to_string(thread.join("syscall")) else { return false };
    let Ok(status) = std::fs::read_to_string(thread.join("status")) else { return false };
    call.split(' ').next() != Some(SIGTIMEDWAIT) && throws_away(&status, signal)
}

/// Whether the kernel throws the signal away by what `/proc/PID/status` says.
fn throws_away(status: &str, signal: Signal) -> bool {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let has = |name: &str| {
        let set = field(name).and_then(|set| u64::from_str_radix(set.trim(), 16).ok())?;
        Some(set >> (signal.number() - 1) & 1 == 1)
    };
    // Its number in each namespace, the innermost last: the first process of a namespace below ours.
    let numbers: Vec<&str> = field("NSpid").into_iter().flat_map(str::split_ascii_whitespace).collect();
    let first = numbers.len() > 1 && numbers.last() == Some(&"1");
    first && ["SigCgt", "SigBlk", "SigIgn"].into_iter().all(|set| has(set) == Some(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(nspid: &str, blocked: u64, caught: u64) -> String {
        ignoring(nspid, blocked, caught, 0)
    }

    fn ignoring(nspid: &str, blocked: u64, caught: u64, ignored: u64) -> String {
        format!(
            "Name:\tsleep\nNSpid:\t{nspid}\nSigBlk:\t{blocked:016x}\nSigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\n"
        )
    }

    #[test]
    fn only_a_first_process_without_handler_and_block_is_deaf() {
        let term = 1 << 14;
        assert!(throws_away(&status("4242\t1", 0, 0), Signal::TERM));
        assert!(throws_away(&status("4242\t1", !term, !term), Signal::TERM));
        assert!(!throws_away(&status("4242\t1", 0, term), Signal::TERM), "it has a handler");
        assert!(!throws_away(&status("4242\t1", term, 0), Signal::TERM), "it takes it later");
        assert!(!throws_away(&status("4242", 0, 0), Signal::TERM), "it shares our namespace, and dies of the signal");
        assert!(!throws_away(&status("4242\t7", 0, 0), Signal::TERM), "another one is the first of its namespace");
        assert!(!throws_away(&ignoring("4242\t1", 0, 0, term), Signal::TERM), "it ignores it on purpose");
        assert!(!throws_away("Name:\tsleep\n", Signal::TERM), "nothing is proved");
    }
}
