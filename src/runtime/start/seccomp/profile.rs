//! A profile in Docker's JSON format, for the architecture, kernel and capabilities at hand.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::runtime::start::capabilities;
use crate::runtime::start::seccomp::numbers::number;
use crate::runtime::start::seccomp::{Action, Condition, Leaf, Policy, Test};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u16>,
    #[serde(default)]
    syscalls: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    name: String,
    #[serde(default)]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u16>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Option<Filter>,
    #[serde(default)]
    excludes: Option<Filter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
    min_kernel: Option<String>,
}

pub(super) fn parse(text: &str, capabilities: u64) -> Result<Policy, String> {
    let wrong = |reason: String| format!("decoding seccomp profile failed: {reason}");
    let profile: Profile = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let otherwise = action(&profile.default_action, profile.default_errno_ret).map_err(wrong)?;
    // Conditional rules in their order; one without conditions decides alone.
    let mut rules: BTreeMap<u32, Vec<(Vec<Condition>, Action)>> = BTreeMap::new();
    let mut always: BTreeMap<u32, Action> = BTreeMap::new();
    for rule in profile.syscalls.unwrap_or_default() {
        let (includes, excludes) = (rule.includes.unwrap_or_default(), rule.excludes.unwrap_or_default());
        if !applies(&includes, &excludes, capabilities).map_err(wrong)? {
            continue;
        }
        let action = action(&rule.action, rule.errno_ret).map_err(wrong)?;
        let conditions: Vec<Condition> =
            rule.args.unwrap_or_default().iter().map(condition).collect::<Result<_, _>>().map_err(wrong)?;
        let names = rule.names.iter().chain((!rule.name.is_empty()).then_some(&rule.name));
        // A name this architecture does not have is no fault: profiles are written for several.
        for number in names.filter_map(|name| number(name)) {
            if conditions.is_empty() {
                always.entry(number).or_insert(action);
            } else {
                rules.entry(number).or_default().push((conditions.clone(), action));
            }
        }
    }
    let mut calls: BTreeMap<u32, Leaf> =
        rules.into_iter().map(|(number, rules)| (number, Leaf::Depends(rules, otherwise))).collect();
    calls.extend(always.into_iter().map(|(number, action)| (number, Leaf::Always(action))));
    // As runc has it: what is newer than the profile is "not there" rather than "not allowed".
    let unknown = if otherwise.0 & 0xffff_0000 == Action::errno(0).0 { Action::errno(38) } else { otherwise };
    Ok(Policy { calls, otherwise, unknown })
}

fn action(name: &str, errno: Option<u16>) -> Result<Action, String> {
    Ok(match name {
        "SCMP_ACT_ALLOW" => Action::ALLOW,
        "SCMP_ACT_ERRNO" => Action::errno(errno.unwrap_or(1)),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action(0),
        "SCMP_ACT_KILL_PROCESS" => Action(0x8000_0000),
        "SCMP_ACT_TRAP" => Action(0x0003_0000),
        "SCMP_ACT_TRACE" => Action(0x7ff0_0000 | u32::from(errno.unwrap_or(1))),
        "SCMP_ACT_LOG" => Action(0x7ffc_0000),
        other => return Err(format!("action {other:?} is not supported")),
    })
}

fn condition(argument: &Argument) -> Result<Condition, String> {
    if argument.index > 5 {
        return Err(format!("there is no argument {}", argument.index));
    }
    let value = argument.value;
    let test = match argument.op.as_str() {
        "SCMP_CMP_EQ" => Test::Equal(value),
        "SCMP_CMP_NE" => Test::NotEqual(value),
        "SCMP_CMP_GT" => Test::Greater(value),
        "SCMP_CMP_GE" => Test::GreaterOrEqual(value),
        "SCMP_CMP_LT" => Test::Less(value),
        "SCMP_CMP_LE" => Test::LessOrEqual(value),
        "SCMP_CMP_MASKED_EQ" => Test::Masked(value, argument.value_two),
        other => return Err(format!("comparison {other:?} is not known")),
    };
    Ok(Condition { argument: argument.index, test })
}

fn applies(includes: &Filter, excludes: &Filter, capabilities: u64) -> Result<bool, String> {
    const ARCHITECTURE: &str = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let has = |name: &String| {
        let number = capabilities::number(name).ok_or_else(|| format!("unknown capability {name:?}"))?;
        Ok::<bool, String>(capabilities & (1 << number) != 0)
    };
    let here = |filter: &Filter| filter.arches.iter().any(|architecture| architecture == ARCHITECTURE);
    for capability in &includes.caps {
        if !has(capability)? {
            return Ok(false);
        }
    }
    for capability in &excludes.caps {
        if has(capability)? {
            return Ok(false);
        }
    }
    let new_enough = |filter: &Filter| filter.min_kernel.as_deref().is_none_or(kernel_is_at_least);
    Ok((includes.arches.is_empty() || here(includes))
        && !here(excludes)
        && new_enough(includes)
        && !(excludes.min_kernel.is_some() && new_enough(excludes)))
}

fn kernel_is_at_least(version: &str) -> bool {
    let release = nix::sys::utsname::uname().ok().map(|name| name.release().to_string_lossy().into_owned());
    let numbers = |text: &str| -> Vec<u32> {
        text.split(|c: char| !c.is_ascii_digit()).take(2).filter_map(|part| part.parse().ok()).collect()
    };
    numbers(&release.unwrap_or_default()) >= numbers(version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::start::seccomp::assemble::{program, tests::run};

    #[test]
    fn a_profile_is_read_for_the_capabilities_at_hand() {
        let text = r#"{
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13,
            "syscalls": [
                {"names": ["read", "chown32"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
                {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 2, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
                {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]},
                {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
                {"names": ["write"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4096.0"}}
            ]}"#;
        let answer = |capabilities, name, first| {
            let program = program(&parse(text, capabilities).unwrap()).unwrap();
            run(&program, number(name).unwrap(), [first, 0, 0, 0, 0, 0])
        };
        let (allow, errno) = (Action::ALLOW.0, |number| Action::errno(number).0);
        assert_eq!((answer(0, "read", 0), answer(0, "write", 0), answer(0, "ptrace", 0)), (allow, errno(13), allow));
        assert_eq!((answer(0, "mount", 0), answer(1 << 21, "mount", 0)), (errno(2), allow));
        assert_eq!((answer(0, "personality", 8), answer(0, "personality", 9)), (allow, errno(13)));
    }

    #[test]
    fn a_bad_profile_is_refused_with_a_reason() {
        let says = |text: &str| parse(text, 0).unwrap_err();
        assert!(says("{").starts_with("decoding seccomp profile failed: EOF"));
        assert!(says(r#"{"defaultAction": "SCMP_ACT_WHAT"}"#).contains("SCMP_ACT_WHAT"));
        let argument = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "read", "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]}"#;
        assert!(says(argument).contains("no argument 6"));
    }
}
