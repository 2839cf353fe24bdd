//! Which capabilities a container has (capabilities(7)).

use std::sync::OnceLock;

use crate::engine::Security;
use crate::runtime::start::StartError;

/// By number.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Docker's fourteen.
pub const DEFAULT: u64 = 0xa804_25fb;

/// The number of a capability by name, with or without `CAP_`, in any case.
pub fn number(name: &str) -> Option<u32> {
    let upper = name.to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    (0..).zip(NAMES).find(|(_, known)| *known == name).map(|(number, _)| number)
}

/// The kernel's last capability.
pub fn last() -> u32 {
    static LAST: OnceLock<u32> = OnceLock::new();
    *LAST.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap_or_default();
        text.trim().parse().unwrap_or(40).min(63)
    })
}

/// All that can be given: those the kernel knows and this process has.
pub fn all() -> u64 {
    static ALL: OnceLock<u64> = OnceLock::new();
    *ALL.get_or_init(|| {
        let known = u64::MAX >> (63 - last());
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let own = status.lines().find_map(|line| line.strip_prefix("CapPrm:"));
        let own = own.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).filter(|own| *own != 0);
        // Somebody without any can't start a container, but can ask what one would have.
        known & own.unwrap_or(known)
    })
}

/// What the container has: the default, less what is dropped, and what is added.
pub fn of(security: &Security) -> Result<u64, StartError> {
    let set = |names: &[String], key: &str| {
        names.iter().try_fold(0, |set, name| {
            if name.eq_ignore_ascii_case("ALL") {
                return Ok::<_, StartError>(all());
            }
            let found = number(name).ok_or_else(|| {
                let shown = name.to_ascii_uppercase();
                let shown = shown.strip_prefix("CAP_").unwrap_or(&shown);
                StartError::Invalid(format!("invalid {key}: unknown capability: \"CAP_{shown}\""))
            })?;
            Ok(set | 1_u64 << found)
        })
    };
    let (add, drop) = (set(&security.cap_add, "CapAdd")?, set(&security.cap_drop, "CapDrop")?);
    if security.privileged {
        return Ok(all());
    }
    let all_of = |names: &[String]| names.iter().any(|name| name.eq_ignore_ascii_case("ALL"));
    // `ALL` on one side leaves the names of the other their say.
    let kept = match (all_of(&security.cap_add), all_of(&security.cap_drop)) {
        (true, _) => all() & !named(&security.cap_drop),
        (false, true) => add,
        (false, false) => (DEFAULT & !drop) | add,
    };
    Ok(kept & all())
}

/// Only those that are named one by one.
fn named(names: &[String]) -> u64 {
    names.iter().filter_map(|name| number(name)).fold(0, |set, found| set | 1_u64 << found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(add: &[&str], drop: &[&str]) -> Result<u64, String> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let security = Security { cap_add: owned(add), cap_drop: owned(drop), ..Security::default() };
        of(&security).map_err(|error| error.to_string())
    }

    #[test]
    fn sets_are_dockers() {
        assert_eq!(set(&[], &[]), Ok(0xa804_25fb));
        assert_eq!(set(&["sys_admin"], &["CAP_CHOWN"]), Ok((DEFAULT | 1 << 21) & !1));
        assert_eq!(set(&["NET_ADMIN"], &["ALL"]), Ok(1 << 12));
        assert_eq!(set(&["ALL"], &["SYS_ADMIN"]), Ok(all() & !(1 << 21)));
        assert_eq!(set(&["CAP_FOO"], &[]), Err("invalid CapAdd: unknown capability: \"CAP_FOO\"".into()));
    }
}
