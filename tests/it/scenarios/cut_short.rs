//! Commands besides `up` and `down` are killed at their writes to the file system: the same command again, or the one that
//! undoes it, makes all good, and in the end nothing is left. One write of each command is tried, and with
//! `XCOMPOSE_CRASH_POINTS=all` every one.

use std::process::Stdio;

use super::crash_points::{CALLS, all, assert_nothing_is_left, stack, strace};
use crate::support::cannot_run;

/// What is there before, what is killed, and what makes it good.
const CASES: [(&[&str], &str, &[&str]); 11] = [
    (&["up -d"], "run --rm b true", &["run --rm b true"]),
    (&["up -d"], "up -d --scale b=3", &["up -d --scale b=3"]),
    (&["up -d --scale b=3"], "up -d --scale b=1 -t 0", &["up -d --scale b=1 -t 0"]),
    (&["up -d"], "suspend", &["suspend", "resume", "up -d"]),
    (&["up -d"], "restart -t 0", &["up -d"]),
    (&["up -d"], "rm -sf", &["rm -sf"]),
    (&[], "create", &["create"]),
    (&["up -d"], "commit a kept", &["commit a kept", "image rm kept"]),
    (&[], "image import root.tar other", &["image import root.tar other", "image rm other"]),
    (&[], "image load -i saved.tar", &["image load -i saved.tar", "create"]),
    (&[], "image build -t built context", &["image build -t built context", "image rm built"]),
];

#[test]
fn any_command_that_is_killed_at_a_write_is_made_good_by_the_same_one() {
    if cannot_run() {
        return;
    }
    let machine = stack();
    let run = |line: &str| machine.xcompose(line.split(' ')).ok();
    run("image save -o saved.tar busybox");
    run("create");
    run("export -o root.tar a");
    run("down -v");
    machine.write("context/Dockerfile", "FROM busybox\nCOPY file /file\nRUN echo made > /made\n");
    machine.write("context/file", "content");
    let mut tried = 0;
    for (place, (before, line, after)) in CASES.into_iter().enumerate() {
        let some = if all() { &CALLS[..] } else { &CALLS[place % 4..=place % 4] };
        for calls in some {
            // Another one for each, where it makes so many.
            for number in if all() { 1.. } else { 1 + place % 3.. } {
                before.iter().for_each(|line| drop(run(line)));
                let plain = machine.command(line.split(' '));
                let mut traced = strace(calls, number);
                traced.arg("-qq").arg(plain.get_program()).args(plain.get_args()).current_dir(machine.project());
                traced.env("XCOMPOSE_DATA", machine.data()).env("XCOMPOSE_RUN", machine.run());
                let ended = traced.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
                after.iter().for_each(|line| drop(run(line)));
                assert_nothing_is_left(&machine, &format!("{line:?} was killed at its {number}th of {calls}"));
                // It came to its end before it made that many of these calls.
                let survived = ended.success();
                tried += usize::from(!survived);
                if survived || !all() {
                    break;
                }
            }
        }
    }
    assert!(tried > 5, "only {tried} commands were killed");
    eprintln!("{tried} crash points of further commands");
}
