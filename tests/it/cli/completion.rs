//! Completion: what a shell is offered, also where a project is not whole.

use crate::support::Machine;

const STACK: &str = "
services:
  web: {image: busybox, depends_on: [db]}
  db: {image: busybox, env_file: missing.env}
  tools: {image: busybox, profiles: [debug]}
";

fn offered(machine: &Machine, words: &[&str]) -> Vec<String> {
    let answer = machine.xcompose(["__complete"].iter().chain(words)).ok().stdout();
    answer.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

#[test]
fn commands_flags_services_profiles_and_words_are_offered() {
    let machine = Machine::new();
    machine.write("compose.yaml", STACK);
    let offered = |words: &[&str]| offered(&machine, words);
    assert_eq!(offered(&["st"]), ["start", "stop", "stats", ":4"]);
    assert_eq!(offered(&["up", "--abort"]), ["--abort-on-container-exit", "--abort-on-container-failure", ":4"]);
    // A missing env file of one service hides no service.
    assert_eq!(offered(&["up", ""]), ["db", "tools", "web", ":4"]);
    assert_eq!(offered(&["logs", "-f", "w"]), ["web", ":4"]);
    assert_eq!(offered(&["up", "--scale", "d"]), ["db=", ":6"]);
    assert_eq!(offered(&["up", "--attach", "w"]), ["web", ":4"]);
    assert_eq!(offered(&["scale", "w"]), ["web=", ":6"]);
    assert_eq!(offered(&["cp", "w"]), ["web:", ":2"]);
    assert_eq!(offered(&["--profile", ""]), ["debug", ":4"]);
    assert_eq!(offered(&["--progress", "p"]), ["plain", ":4"]);
    assert_eq!(offered(&["-f", ""]), [":0"], "the shell offers files");
    assert_eq!(offered(&["exec", "web", "l"]), [":0"]);
    assert_eq!(offered(&["completion", ""]), ["bash", "zsh", "fish", ":4"]);
    assert_eq!(offered(&["-p", ""]), [":4"], "no project runs");
    machine.write("other.yaml", "services: {only: {image: busybox}}");
    assert_eq!(offered(&["-f", "other.yaml", "ps", ""]), ["only", ":4"]);
}

#[test]
fn without_a_project_there_is_nothing_to_offer_and_nothing_fails() {
    let machine = Machine::new();
    assert_eq!(offered(&machine, &["up", ""]), [":4"]);
    machine.write("compose.yaml", "services: [");
    assert_eq!(offered(&machine, &["up", ""]), [":4"]);
}

#[test]
fn the_script_of_bash_completes() {
    let machine = Machine::new();
    machine.write("compose.yaml", STACK);
    let script = machine.xcompose(["completion", "bash"]).ok().stdout();
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_xcompose")).parent().unwrap().display().to_string();
    let asked = format!(
        "{script}\nPATH={folder}:$PATH\nCOMP_WORDS=(xcompose up w); COMP_CWORD=2\n_xcompose 2>/dev/null\necho \"${{COMPREPLY[@]}}\""
    );
    let mut bash = std::process::Command::new("bash");
    let done = crate::support::finish(bash.args(["-c", &asked]).current_dir(machine.project())).ok();
    assert_eq!(done.stdout(), "web\n");
    machine.xcompose(["completion", "tcsh"]).fails(1);
}
