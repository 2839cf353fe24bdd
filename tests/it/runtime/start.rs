//! A container starts, and is what was asked for.

use super::sandbox::Sandbox;
use crate::support::cannot_run;

#[test]
fn a_command_runs_as_process_one_with_its_own_names_and_nothing_of_the_host() {
    if cannot_run() {
        return;
    }
    let sandbox = Sandbox::new();
    let script = "echo $$; hostname; pwd; id; ls /; cat /proc/1/cmdline";
    let out = sandbox.sh(script).ok();
    assert!(out.starts_with("1\nbox\n/\nuid=0(root) gid=0(root) groups=0(root)\nbin\ndev\netc\n"), "{out}");
    assert_eq!(sandbox.sh("exit 42").status, 42);
    assert_eq!(sandbox.sh("kill -9 $$; exit 1").status, 1, "process 1 can't be killed from within");
}
