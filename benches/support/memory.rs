//! What the processes that keep a stack up take of the machine's memory.

use std::fs;
use std::path::Path;

/// Whose memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// Keeper and supervisor.
    Both,
    /// The keeper alone.
    Keeper,
    /// The supervisor alone.
    Supervisor,
}

/// Our processes whose running things lie in `run`. They are known by what they were started with, since the file they
/// run from has no name of its own. None is found if one that has to be there is missing.
pub fn ours(run: &Path, of: Of) -> Option<u64> {
    let role = |role: &str| {
        proportional(|process| {
            let arguments = fs::read(process.join("cmdline")).unwrap_or_default();
            let environment = fs::read(process.join("environ")).unwrap_or_default();
            let wanted = format!("XCOMPOSE_RUN={}", run.display());
            arguments.split(|byte| *byte == 0).nth(1) == Some(role.as_bytes())
                && environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
        })
    };
    Some(match of {
        Of::Both => role("--keeper")? + role("--supervisor")?,
        Of::Keeper => role("--keeper")?,
        Of::Supervisor => role("--supervisor")?,
    })
}

/// The processes of a Docker Engine.
pub fn docker() -> Option<u64> {
    const NAMES: [&str; 3] = ["dockerd", "containerd", "docker-proxy"];
    proportional(|process| {
        let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
        NAMES.iter().any(|start| name.starts_with(start))
    })
}

/// Proportional set size of all processes that are `wanted`, in bytes.
fn proportional(wanted: impl Fn(&Path) -> bool) -> Option<u64> {
    let mut sizes = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten().filter(|process| wanted(&process.path())) {
        // A process that ends meanwhile takes nothing.
        let Ok(rollup) = fs::read_to_string(process.path().join("smaps_rollup")) else { continue };
        let size = rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB"));
        sizes.push(size?.parse::<u64>().ok()? << 10);
    }
    if sizes.is_empty() { None } else { Some(sizes.iter().sum()) }
}
