//! `image build`, checks, failures and endings, as a user types and sees them.

use std::io::Write;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Finished, Machine, cannot_run, eventually, finish};

fn machine() -> Machine {
    let machine = Machine::new();
    machine.import_busybox();
    machine
}

fn fed(machine: &Machine, arguments: &[&str], input: &[u8]) -> Finished {
    let mut command = machine.command(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    Finished::of(child.wait_with_output().unwrap())
}

#[test]
fn a_single_image_is_built_from_a_folder_an_archive_or_a_file_alone() {
    if cannot_run() {
        return;
    }
    let machine = machine();
    machine.write(
        "app/Dockerfile",
        "FROM busybox\nARG A\nCOPY f /\nRUN --mount=type=secret,id=s echo $A $(cat /run/secrets/s) > /said\n",
    );
    machine.write("app/f", "f");
    machine.write("compose.yaml", "name: p\nservices: {s: {image: made, command: cat /said}}\n");
    let mut build = machine.command([
        "image",
        "build",
        "-q",
        "-t",
        "made",
        "--build-arg",
        "A=1",
        "--secret",
        "id=s,env=SECRET",
        "--iidfile",
        "id",
        "app",
    ]);
    let id = finish(build.env("SECRET", "hidden")).ok().stdout();
    assert_eq!(std::fs::read_to_string(machine.project().join("id")).unwrap(), id.trim());
    assert_eq!(machine.xcompose(["run", "--rm", "-T", "s"]).ok().stdout(), "1 hidden\n");

    let archive =
        finish(std::process::Command::new("tar").arg("-cz").arg("-C").arg(machine.project().join("app")).arg("."));
    let finished = fed(&machine, &["image", "build", "-t", "packed", "-"], archive.bytes());
    assert!(finished.ok().stdout().starts_with("sha256:"));
    fed(&machine, &["image", "build", "-t", "alone", "-"], b"FROM busybox\nENV x=y\n").ok();
    fed(&machine, &["image", "build", "-f", "-", "app"], b"FROM scratch\nCOPY f /\n").ok();
    let refused = fed(&machine, &["image", "build", "-"], b"FROM busybox\nCOPY f /\n").fails(1);
    assert!(refused.stderr().contains("f does not exist in the build context"), "{}", refused.stderr());
    for (arguments, words) in [
        (vec!["image", "build", "nosuch"], "nosuch is not a directory"),
        (vec!["image", "build", "-f", "nosuch", "app"], "there is no such Dockerfile"),
        (vec!["image", "build", "--secret", "id=x,src=nosuch", "app"], "there is no file"),
        (vec!["image", "build", "--target", "nosuch", "app"], "target stage \"nosuch\" could not be found"),
        (vec!["image", "build", "--allow", "everything", "app"], "unknown entitlement everything"),
    ] {
        let finished = machine.xcompose(&arguments).fails(1);
        assert!(finished.stderr().contains(words), "{arguments:?}: {}", finished.stderr());
    }
}

#[test]
fn a_check_names_what_is_doubtful_and_builds_nothing() {
    if cannot_run() {
        return;
    }
    let machine = machine();
    machine.write(
        "Dockerfile",
        "FROM nosuch AS a\nMAINTAINER me\nENV old way\nENV API_TOKEN=x\nWORKDIR rel\nCMD one\nCMD [\"two\"]\n",
    );
    let finished = machine.xcompose(["image", "build", "--check", "."]).fails(1);
    let said = finished.stdout();
    for words in [
        "Check complete, 6 warnings have been found!",
        "WARNING: MaintainerDeprecated: Dockerfile:2:1:",
        "WARNING: LegacyKeyValueFormat: Dockerfile:3:5:",
        "WARNING: SecretsUsedInArgOrEnv: Dockerfile:4:5:",
        "WARNING: WorkdirRelativePath: Dockerfile:5:9:",
        "WARNING: JSONArgsRecommended: Dockerfile:6:1:",
        "WARNING: MultipleInstructionsDisallowed: Dockerfile:7:1:",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    machine.write("Dockerfile", "FROM nosuch\nCMD [\"one\"]\n");
    machine.write("compose.yaml", "name: p\nservices: {s: {build: .}}\n");
    assert_eq!(machine.xcompose(["build", "--check"]).ok().stdout(), "Check complete, no warnings found.\n");
}

#[test]
fn a_failing_command_tells_its_code_its_place_and_its_last_words_once() {
    if cannot_run() {
        return;
    }
    let machine = machine();
    machine.write("compose.yaml", "name: p\nservices: {s: {build: .}}\n");
    machine.write("Dockerfile", "FROM busybox\nRUN printf '\\033[1;31mlast\\033[m words\\n'; exit 9\n");
    // Where it was not shown as it came, it is shown once.
    let quiet = machine.xcompose(["--progress", "quiet", "build"]).fails(9).stderr();
    assert_eq!(quiet.matches("> last words").count(), 1, "{quiet}");
    assert_eq!(quiet.lines().filter(|line| *line == "last words").count(), 0, "{quiet}");
    for progress in ["plain", "quiet", "json"] {
        let finished = machine.xcompose(["--progress", progress, "build"]).fails(9);
        let said = finished.stderr();
        assert!(
            said.contains("Dockerfile:2") && said.contains("last words") && said.contains("exit code: 9"),
            "{progress}: {said}"
        );
        let begun = said.lines().filter(|line| line.starts_with("{\"id\":") && line.ends_with("\"Building\"}")).count();
        assert_eq!(begun, usize::from(progress == "json"), "{said}");
    }
}

#[test]
fn what_a_dockerfile_quotes_does_nothing_to_a_terminal() {
    let machine = machine();
    for text in ["FROM scratch\nR\x1b[2JUN x\n", "FROM scratch\nCOPY a\x1b]0;b\x07 /\n", "FROM \x1b[31mx\n"] {
        machine.write("Dockerfile", text);
        let told = machine.xcompose(["--progress", "plain", "image", "build", "."]).fails(1).stderr();
        assert!(told.contains('␛') && !told.contains(['\x1b', '\x07']), "{told:?}");
    }
}

#[test]
fn interrupted_or_killed_it_leaves_nothing_and_goes_on_where_it_was() {
    if cannot_run() {
        return;
    }
    let machine = machine();
    machine.write(
        "Dockerfile",
        "FROM busybox\nRUN echo first > /first\nRUN --mount=type=cache,target=/c echo begun > /c/begun; test -e /c/go || sleep 1000\nRUN echo last > /last\n",
    );
    let begun = || {
        let mounts = machine.data().join("images/mounts");
        std::fs::read_dir(mounts).ok()?.flatten().find(|folder| folder.path().join("begun").exists())
    };
    for (signal, code) in [(Signal::SIGINT, Some(130)), (Signal::SIGKILL, None)] {
        let mut command = machine.command(["--progress", "plain", "image", "build", "-t", "result", "."]);
        let mut build = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let folder = eventually("the second command runs", begun);
        kill(Pid::from_raw(i32::try_from(build.id()).unwrap()), signal).unwrap();
        let status = build.wait().unwrap();
        assert_eq!(status.code(), code, "{signal}");
        if signal == Signal::SIGINT {
            assert_eq!(builds(&machine), ["lock"], "it took away its own");
        }
        std::fs::remove_file(folder.path().join("begun")).unwrap();
    }
    let list = machine.xcompose(["image", "ls", "-q", "result"]).ok().stdout();
    assert_eq!(list, "", "nothing half-made has a name");
    // What the killed one left goes with the next command that changes something.
    assert_eq!(builds(&machine).len(), 2);
    let networks = || std::fs::read_dir(machine.run().join("networks")).map_or(0, Iterator::count);
    assert_eq!(networks(), 1);
    machine.write("compose.yaml", "services: {a: {image: busybox}}");
    eventually("its container is gone", || {
        machine.xcompose(["down"]).ok();
        (builds(&machine) == ["lock"] && networks() == 0).then_some(())
    });
    std::fs::write(begun_folder(&machine).join("go"), "").unwrap();
    let finished = machine.xcompose(["--progress", "plain", "image", "build", "-t", "result", "."]).ok();
    let said = finished.stderr();
    assert!(said.contains("#0.2 CACHED") && said.contains("#0.3 DONE"), "{said}");
    assert_eq!(builds(&machine), ["lock"]);
    assert_eq!(std::fs::read_dir(machine.data().join("images/tmp")).unwrap().count(), 0);
}

/// What builds have on the machine.
fn builds(machine: &Machine) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> =
        std::fs::read_dir(machine.run().join("builds")).unwrap().flatten().map(|entry| entry.file_name()).collect();
    names.sort_by_key(|name| name != "lock");
    names
}

fn begun_folder(machine: &Machine) -> std::path::PathBuf {
    let mounts = std::fs::read_dir(machine.data().join("images/mounts")).unwrap();
    mounts.flatten().map(|entry| entry.path()).find(|path| path.is_dir()).unwrap()
}
