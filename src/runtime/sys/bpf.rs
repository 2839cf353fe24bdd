//! Loading small BPF programs (bpf(2)), assembled by hand.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// The kind of program that decides on devices (`BPF_PROG_TYPE_CGROUP_DEVICE`).
pub const CGROUP_DEVICE: u32 = 15;
/// Where such a program is attached (`BPF_CGROUP_DEVICE`).
pub const AT_CGROUP_DEVICE: u32 = 6;

/// `dst = *(u32 *)(src + offset)`
pub const LOAD_WORD: u8 = 0x61;
/// `dst = value`
pub const MOVE: u8 = 0xb7;
/// `dst = src`
pub const MOVE_REGISTER: u8 = 0xbf;
/// `dst &= value`
pub const AND: u8 = 0x57;
/// `dst >>= value`
pub const SHIFT_RIGHT: u8 = 0x77;
/// Jumps unless the lower half of `dst` is `value`.
pub const UNLESS_EQUAL: u8 = 0x56;
/// Returns register 0.
pub const EXIT: u8 = 0x95;

/// One instruction as the kernel takes it (`struct bpf_insn`).
pub fn instruction(code: u8, dst: u8, src: u8, offset: i16, value: i32) -> u64 {
    let registers = if cfg!(target_endian = "little") { src << 4 | dst } else { dst << 4 | src };
    let [offset_low, offset_high] = offset.to_ne_bytes();
    let [a, b, c, d] = value.to_ne_bytes();
    u64::from_ne_bytes([code, registers, offset_low, offset_high, a, b, c, d])
}

/// The parts of `union bpf_attr` for `BPF_PROG_LOAD`, up to what the first kernels with BPF had.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The parts for `BPF_PROG_ATTACH`.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Checks and loads a program.
pub fn load(kind: u32, instructions: &[u64]) -> Result<OwnedFd, Errno> {
    const PROG_LOAD: libc::c_int = 5;
    let attributes = Load {
        kind,
        count: u32::try_from(instructions.len()).map_err(|_| Errno::E2BIG)?,
        instructions: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: the attributes have the size that is told, and point to live instructions of that count and a live text.
    let number = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const attributes, size_of::<Load>()) };
    let number = Errno::result(number)?;
    // SAFETY: the kernel has just made this descriptor for this process.
    Ok(unsafe { OwnedFd::from_raw_fd(number as RawFd) })
}

/// Attaches a program to a cgroup, beside those of its parents.
pub fn attach(kind: u32, target: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    const PROG_ATTACH: libc::c_int = 8;
    const ALLOW_MULTI: u32 = 2;
    let number = |fd: BorrowedFd<'_>| fd.as_raw_fd().unsigned_abs();
    let attributes = Attach { target: number(target), program: number(program), kind, flags: ALLOW_MULTI };
    // SAFETY: the attributes have the size that is told and hold plain numbers.
    let done = unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attributes, size_of::<Attach>()) };
    Errno::result(done).map(drop)
}
