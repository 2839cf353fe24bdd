//! The system call filter: Docker's allow-list, or a profile in Docker's format, as a program for the kernel (seccomp(2)).

mod assemble;
mod default;
mod numbers;
mod profile;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use nix::libc::sock_filter;

use crate::engine::{Seccomp, Security};
use crate::runtime::start::StartError;

/// What becomes of a call: a value of `SECCOMP_RET_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Action(u32);

impl Action {
    const ALLOW: Action = Action(0x7fff_0000);

    fn errno(errno: u16) -> Action {
        Action(0x0005_0000 | u32::from(errno))
    }
}

/// What decides on a call.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Leaf {
    /// Always the same.
    Always(Action),
    /// The first whose conditions all hold, else the last.
    Depends(Vec<(Vec<Condition>, Action)>, Action),
}

/// A test of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Condition {
    argument: u32,
    test: Test,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Equal(u64),
    NotEqual(u64),
    Greater(u64),
    GreaterOrEqual(u64),
    Less(u64),
    LessOrEqual(u64),
    /// The bits of the mask have this value.
    Masked(u64, u64),
}

/// A whole policy.
#[derive(Debug, PartialEq, Eq)]
struct Policy {
    /// By number.
    calls: BTreeMap<u32, Leaf>,
    /// For a call that is known but not in the list.
    otherwise: Action,
    /// For a call that was not known when this was written.
    unknown: Action,
}

/// The filter of a process with these capabilities; `None` for none.
pub fn filter(security: &Security, capabilities: u64) -> Result<Option<Arc<Vec<sock_filter>>>, StartError> {
    if security.privileged {
        return Ok(None);
    }
    match &security.seccomp {
        Seccomp::Unconfined => Ok(None),
        Seccomp::Profile(text) => {
            let policy = profile::parse(text, capabilities).map_err(StartError::Invalid)?;
            Ok(Some(Arc::new(assemble::program(&policy)?)))
        }
        Seccomp::Default => {
            static BUILT: Mutex<BTreeMap<u64, Arc<Vec<sock_filter>>>> = Mutex::new(BTreeMap::new());
            let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(program) = built.get(&capabilities) {
                return Ok(Some(program.clone()));
            }
            let program = Arc::new(assemble::program(&default::policy(capabilities))?);
            built.insert(capabilities, program.clone());
            Ok(Some(program))
        }
    }
}
