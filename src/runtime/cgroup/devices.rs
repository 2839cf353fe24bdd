//! Which devices a container may use: rules as `c 1:3 rwm`, written to v1's files or compiled to a program for v2.

use std::fmt;
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;

use crate::runtime::cgroup::CgroupError;
use crate::runtime::sys::{OrOs, bpf};

/// Which devices a container may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceAccess {
    /// All (privileged).
    All,
    /// Docker's default nodes, and these rules besides (`c 1:3 rwm`).
    Default(Vec<String>),
}

/// Making any node, but using only those that every container has: null, zero, full, random, urandom, tty, console, ptmx
/// and pseudo-terminals.
const DEFAULT: [&str; 11] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:1 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

/// One thing that is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    /// `a`, `b` or `c`.
    kind: char,
    /// `None`: any.
    major: Option<u32>,
    minor: Option<u32>,
    access: Access,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Access {
    read: bool,
    write: bool,
    make: bool,
}

impl std::str::FromStr for Rule {
    type Err = CgroupError;

    fn from_str(text: &str) -> Result<Rule, CgroupError> {
        let wrong = || CgroupError::Invalid(format!("invalid device cgroup format '{text}'"));
        let mut words = text.split_whitespace();
        let (Some(kind), Some(numbers), access, None) = (words.next(), words.next(), words.next(), words.next()) else {
            // `a` alone is everything.
            return if text.trim() == "a" { "a *:* rwm".parse() } else { Err(wrong()) };
        };
        let kind = match kind {
            "a" => 'a',
            "b" => 'b',
            "c" => 'c',
            _ => return Err(wrong()),
        };
        let number = |text: &str| match text {
            "*" => Ok(None),
            number => number.parse().map(Some).map_err(|_| wrong()),
        };
        let (major, minor) = numbers.split_once(':').ok_or_else(wrong)?;
        let access = access.ok_or_else(wrong)?;
        if access.is_empty() || !access.chars().all(|letter| "rwm".contains(letter)) {
            return Err(wrong());
        }
        let has = |letter| access.contains(letter);
        let access = Access { read: has('r'), write: has('w'), make: has('m') };
        Ok(Rule { kind, major: number(major)?, minor: number(minor)?, access })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        write!(out, "{} {}:{} ", self.kind, number(self.major), number(self.minor))?;
        let letters = [(self.access.read, 'r'), (self.access.write, 'w'), (self.access.make, 'm')];
        letters.into_iter().filter(|(has, _)| *has).try_for_each(|(_, letter)| write!(out, "{letter}"))
    }
}

/// The default and these.
pub(super) fn rules(further: &[String]) -> Result<Vec<Rule>, CgroupError> {
    DEFAULT.into_iter().chain(further.iter().map(String::as_str)).map(str::parse).collect()
}

/// Lets everything in the cgroup at `folder` use these devices only (v2 knows rules as a BPF program alone).
pub(super) fn attach(folder: &Path, rules: &[Rule]) -> Result<(), CgroupError> {
    let shown = || folder.display().to_string();
    let program = match bpf::load(bpf::CGROUP_DEVICE, &compile(rules)) {
        Err(Errno::EINVAL | Errno::ENOSYS) => return Err(CgroupError::Missing("devices (BPF)")),
        other => other.or_os("bpf", "device rules")?,
    };
    let folder = std::fs::File::open(folder).or_os("open", shown())?;
    Ok(bpf::attach(bpf::AT_CGROUP_DEVICE, folder.as_fd(), program.as_fd()).or_os("bpf", shown())?)
}

/// `BPF_DEVCG_*` of linux/bpf.h: what is asked is `access << 16 | kind`.
const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;
const MAKE: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;

/// Registers: 2 the kind, 3 the access asked for, 4 and 5 the numbers; 1 is scratch once the context is read.
fn compile(rules: &[Rule]) -> Vec<u64> {
    use bpf::{AND, EXIT, LOAD_WORD, MOVE, MOVE_REGISTER, SHIFT_RIGHT, UNLESS_EQUAL, instruction};
    let mut program = vec![
        instruction(LOAD_WORD, 2, 1, 0, 0),
        instruction(MOVE_REGISTER, 3, 2, 0, 0),
        instruction(AND, 2, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, 3, 0, 0, 16),
        instruction(LOAD_WORD, 4, 1, 4, 0),
        instruction(LOAD_WORD, 5, 1, 8, 0),
    ];
    for rule in rules {
        // Each test jumps over the rest of the rule; a jump counts from the next instruction.
        let mut tests: Vec<(u8, i32)> = Vec::new();
        match rule.kind {
            'b' => tests.push((2, BLOCK)),
            'c' => tests.push((2, CHARACTER)),
            _ => (),
        }
        let numbers = [(4, rule.major), (5, rule.minor)];
        tests.extend(numbers.into_iter().filter_map(|(register, number)| Some((register, number?.cast_signed()))));
        let Access { read, write, make } = rule.access;
        let allowed = (i32::from(make) * MAKE) | (i32::from(read) * READ) | (i32::from(write) * WRITE);
        let rest = 5;
        let count = tests.len();
        for (done, (register, value)) in tests.into_iter().enumerate() {
            let over = i16::try_from(count - done - 1 + rest).unwrap_or(i16::MAX);
            program.push(instruction(UNLESS_EQUAL, register, 0, over, value));
        }
        program.extend([
            instruction(MOVE_REGISTER, 1, 3, 0, 0),
            // What is asked for beyond what is allowed.
            instruction(AND, 1, 0, 0, !allowed & 0xffff),
            instruction(UNLESS_EQUAL, 1, 0, 2, 0),
            instruction(MOVE, 0, 0, 0, 1),
            instruction(EXIT, 0, 0, 0, 0),
        ]);
    }
    program.extend([instruction(MOVE, 0, 0, 0, 0), instruction(EXIT, 0, 0, 0, 0)]);
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_printed() {
        for rule in ["c 1:3 rwm", "b 8:* r", "a *:* rwm", "c *:* m"] {
            assert_eq!(rule.parse::<Rule>().unwrap().to_string(), rule);
        }
        for wrong in ["", "c", "c 1:3", "d 1:3 r", "c 1 r", "c 1:3 x", "c x:3 r", "c 1:3 r w"] {
            assert!(wrong.parse::<Rule>().is_err(), "{wrong}");
        }
    }
}
