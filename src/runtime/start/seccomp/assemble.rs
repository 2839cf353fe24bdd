//! From a policy to a program: a search tree over runs of numbers with the same answer.
//!
//! A chain of comparisons, which other tools make, is walked on every call that the kernel has not cached, and once for
//! every number when it is loaded: the tree loads 14 times faster (runtime facts §1).

use nix::libc::sock_filter;

use crate::runtime::start::StartError;
use crate::runtime::start::seccomp::numbers::last;
use crate::runtime::start::seccomp::{Action, Condition, Leaf, Policy, Test};

const LOAD: u16 = 0x20;
const RETURN: u16 = 0x06;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_GREATER: u16 = 0x25;
const IF_AT_LEAST: u16 = 0x35;
const AND: u16 = 0x54;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// `AUDIT_ARCH_*` of what this program is built for.
#[cfg(target_arch = "x86_64")]
const OWN: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const OWN: u32 = 0xc000_00b7;

/// A run of numbers from here on, and what decides on them.
type Run<'a> = (u32, &'a Leaf);

pub(super) fn program(policy: &Policy) -> Result<Vec<sock_filter>, StartError> {
    let otherwise = Leaf::Always(policy.otherwise);
    let unknown = Leaf::Always(policy.unknown);
    let mut runs: Vec<Run<'_>> = Vec::new();
    let after_last = last() + 1;
    for number in 0..after_last {
        let leaf = policy.calls.get(&number).unwrap_or(&otherwise);
        if runs.last().is_none_or(|(_, before)| *before != leaf) {
            runs.push((number, leaf));
        }
    }
    runs.push((after_last, &unknown));

    // Numbers mean other calls for a program of another architecture (32-bit code), so it gets nothing.
    let mut program = vec![
        instruction(LOAD, ARCHITECTURE),
        branch(IF_EQUAL, OWN, 1, 0),
        instruction(RETURN, Action::errno(1).0),
        instruction(LOAD, NUMBER),
    ];
    program.extend(tree(&runs));
    // The kernel's own limit (BPF_MAXINSNS); a length of 16 bits is what its interface has.
    if program.len() > 4096 {
        return Err(StartError::Invalid("seccomp profile is too large".to_owned()));
    }
    Ok(program)
}

fn tree(runs: &[Run<'_>]) -> Vec<sock_filter> {
    match runs {
        [] => Vec::new(),
        [(_, leaf)] => decide(leaf),
        _ => {
            let (low, high) = runs.split_at(runs.len() / 2);
            let from = high.first().map_or(0, |(number, _)| *number);
            let (low, high) = (tree(low), tree(high));
            let mut program = match u8::try_from(low.len()) {
                Ok(length) => vec![branch(IF_AT_LEAST, from, length, 0)],
                Err(_) => vec![branch(IF_AT_LEAST, from, 0, 1), instruction(JUMP, low.len() as u32)],
            };
            program.extend(low);
            program.extend(high);
            program
        }
    }
}

fn decide(leaf: &Leaf) -> Vec<sock_filter> {
    match leaf {
        Leaf::Always(action) => vec![instruction(RETURN, action.0)],
        Leaf::Depends(rules, otherwise) => {
            let mut program = Vec::new();
            for (conditions, action) in rules {
                program.extend(rule(conditions, *action));
            }
            program.push(instruction(RETURN, otherwise.0));
            program
        }
    }
}

/// Where a test goes on.
#[derive(Clone, Copy)]
enum To {
    Next,
    /// The condition holds.
    Holds,
    /// The rule does not apply.
    Fails,
}

/// Six conditions have at most 30 instructions, far within what a jump reaches.
fn rule(conditions: &[Condition], action: Action) -> Vec<sock_filter> {
    let tests: Vec<Vec<(u16, u32, To, To)>> = conditions.iter().map(test).collect();
    let total: usize = tests.iter().map(Vec::len).sum::<usize>() + 1;
    let mut program = Vec::with_capacity(total);
    let mut end_of_condition = 0;
    for test in tests {
        end_of_condition += test.len();
        for (code, value, yes, no) in test {
            let next = program.len() + 1;
            let distance = |to| match to {
                To::Next => 0,
                To::Holds => end_of_condition - next,
                To::Fails => total - next,
            };
            let (yes, no) = (distance(yes), distance(no));
            program.push(branch(
                code,
                value,
                u8::try_from(yes).unwrap_or(u8::MAX),
                u8::try_from(no).unwrap_or(u8::MAX),
            ));
        }
    }
    program.push(instruction(RETURN, action.0));
    program
}

/// The two halves of an argument, the upper one first.
fn test(condition: &Condition) -> Vec<(u16, u32, To, To)> {
    use To::{Fails, Holds, Next};
    let lower = ARGUMENTS + condition.argument * 8;
    let (lower, upper) = if cfg!(target_endian = "little") { (lower, lower + 4) } else { (lower + 4, lower) };
    let load = |offset| (LOAD, offset, Next, Next);
    let halves = |value: u64| ((value >> 32) as u32, value as u32);
    let ordered = |value: u64, code, above: To, below: To, yes: To, no: To| {
        let (high, low) = halves(value);
        vec![
            load(upper),
            (IF_GREATER, high, above, Next),
            (IF_EQUAL, high, Next, below),
            load(lower),
            (code, low, yes, no),
        ]
    };
    match condition.test {
        Test::Equal(value) => {
            let (high, low) = halves(value);
            vec![load(upper), (IF_EQUAL, high, Next, Fails), load(lower), (IF_EQUAL, low, Next, Fails)]
        }
        Test::NotEqual(value) => {
            let (high, low) = halves(value);
            vec![load(upper), (IF_EQUAL, high, Next, Holds), load(lower), (IF_EQUAL, low, Fails, Next)]
        }
        Test::Masked(mask, value) => {
            let ((mask_high, mask_low), (high, low)) = (halves(mask), halves(value));
            vec![
                load(upper),
                (AND, mask_high, Next, Next),
                (IF_EQUAL, high, Next, Fails),
                load(lower),
                (AND, mask_low, Next, Next),
                (IF_EQUAL, low, Next, Fails),
            ]
        }
        Test::Greater(value) => ordered(value, IF_GREATER, Holds, Fails, Next, Fails),
        Test::GreaterOrEqual(value) => ordered(value, IF_AT_LEAST, Holds, Fails, Next, Fails),
        Test::Less(value) => ordered(value, IF_AT_LEAST, Fails, Holds, Fails, Next),
        Test::LessOrEqual(value) => ordered(value, IF_GREATER, Fails, Holds, Fails, Next),
    }
}

fn instruction(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

fn branch(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use crate::runtime::start::capabilities;
    use crate::runtime::start::seccomp::default;
    use crate::runtime::start::seccomp::numbers::number;

    /// What the kernel would do: the answer of a program for a call.
    pub(in crate::runtime::start::seccomp) fn run(program: &[sock_filter], number: u32, arguments: [u64; 6]) -> u32 {
        let mut data = Vec::new();
        data.extend(number.to_ne_bytes());
        data.extend(OWN.to_ne_bytes());
        data.extend(0_u64.to_ne_bytes());
        arguments.iter().for_each(|argument| data.extend(argument.to_ne_bytes()));
        let (mut at, mut accumulator) = (0, 0_u32);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let holds = match code {
                LOAD => {
                    let word = data[k as usize..k as usize + 4].try_into().unwrap();
                    accumulator = u32::from_ne_bytes(word);
                    continue;
                }
                AND => {
                    accumulator &= k;
                    continue;
                }
                JUMP => {
                    at += k as usize;
                    continue;
                }
                RETURN => return k,
                IF_EQUAL => accumulator == k,
                IF_GREATER => accumulator > k,
                IF_AT_LEAST => accumulator >= k,
                other => panic!("{other}"),
            };
            at += usize::from(if holds { jt } else { jf });
        }
    }

    #[test]
    fn the_tree_answers_for_every_number_as_the_policy_does() {
        let policy = default::policy(capabilities::DEFAULT);
        let program = program(&policy).unwrap();
        assert!(program.len() < 200, "{} instructions", program.len());
        for number in (0..1000).chain([0x4000_0000, 0x4000_0001, u32::MAX]) {
            let expected = match policy.calls.get(&number) {
                Some(Leaf::Always(action)) => *action,
                Some(Leaf::Depends(..)) => continue,
                None if number > last() => policy.unknown,
                None => policy.otherwise,
            };
            assert_eq!(run(&program, number, [0; 6]), expected.0, "call {number}");
        }
    }

    #[test]
    fn arguments_decide_where_they_should() {
        let program = program(&default::policy(capabilities::DEFAULT)).unwrap();
        let allowed = |name, first| run(&program, number(name).unwrap(), [first, 0, 0, 0, 0, 0]) == Action::ALLOW.0;
        assert!(allowed("clone", 0x0001_0f00) && !allowed("clone", 0x1000_0000) && !allowed("clone", 0x0002_0011));
        assert!(allowed("socket", 1) && allowed("socket", 16) && !allowed("socket", 40));
        assert!(!allowed("socket", 40 | 1 << 32), "the kernel ignores the upper half");
        assert!(
            allowed("personality", 0xffff_ffff) && allowed("personality", 8) && !allowed("personality", 0x0040_0000)
        );
        assert_eq!(run(&program, number("clone3").unwrap(), [0; 6]), Action::errno(38).0);
    }

    proptest::proptest! {
        #[test]
        fn comparisons_hold_for_whole_arguments(value: u64, argument: u64, mask: u64, near in -2_i64..3, close: bool) {
            let argument = if close { value.wrapping_add_signed(near) } else { argument };
            let cases = [
                (Test::Equal(value), argument == value),
                (Test::NotEqual(value), argument != value),
                (Test::Greater(value), argument > value),
                (Test::GreaterOrEqual(value), argument >= value),
                (Test::Less(value), argument < value),
                (Test::LessOrEqual(value), argument <= value),
                (Test::Masked(mask, value & mask), argument & mask == value & mask),
            ];
            for (test, expected) in cases {
                let always = Condition { argument: 1, test: Test::Equal(7) };
                for conditions in [vec![Condition { argument: 3, test }, always], vec![always, Condition { argument: 3, test }]] {
                    let leaf = Leaf::Depends(vec![(conditions, Action::ALLOW)], Action::errno(1));
                    let policy = Policy { calls: BTreeMap::from([(5, leaf)]), otherwise: Action(0), unknown: Action(0) };
                    let answer = run(&program(&policy).unwrap(), 5, [0, 7, 0, argument, 0, 0]);
                    proptest::prop_assert_eq!(answer == Action::ALLOW.0, expected, "{:?} of {}", test, argument);
                }
            }
        }
    }
}
