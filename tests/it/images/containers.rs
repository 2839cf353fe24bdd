//! Images from containers, containers as archives, and what lies on disk.

use std::fs;
use std::process::Command;

use super::registries::command;
use crate::support::{Machine, cannot_run, eventually, finish};

const FILE: &str = "services:
  web:
    image: busybox
    command: [sh, -c, 'echo changed > /etc/motd; rm /bin/vi; mkdir /made; echo kept > /volume/x; echo ready > /made/ready; exec sleep 1000']
    environment: {COLOUR: blue}
    volumes: [data:/volume]
    scale: 2
volumes: {data: {}}
";

fn up() -> Machine {
    let machine = Machine::new();
    machine.import_busybox();
    machine.write("compose.yaml", FILE);
    machine.xcompose(["up", "-d"]).ok();
    for number in ["1", "2"] {
        eventually("the container has done its work", || {
            let done = machine.xcompose(["exec", "-T", "--index", number, "web", "cat", "/made/ready"]);
            (done.code() == 0).then_some(())
        });
    }
    machine
}

#[test]
fn a_container_becomes_an_image_that_runs_as_it_does_and_holds_what_it_changed() {
    if cannot_run() {
        return;
    }
    let machine = up();
    let told = machine
        .xcompose([
            "commit",
            "--index",
            "2",
            "-a",
            "Ada <ada@example.org>",
            "-m",
            "as it is",
            "-c",
            "ENV COLOUR=red",
            "-c",
            "CMD [\"cat\", \"/etc/motd\"]",
            "web",
            "copy:1",
        ])
        .ok();
    assert!(told.stderr().contains(" Container project-web-2 Committed as sha256:"), "{}", told.stderr());
    let text = machine.xcompose(["image", "inspect", "copy:1"]).ok().stdout();
    let made: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(made[0]["Author"], "Ada <ada@example.org>");
    assert_eq!(made[0]["Config"]["Cmd"], serde_json::json!(["cat", "/etc/motd"]));
    assert!(machine.xcompose(["image", "history", "copy:1"]).ok().stdout().contains("as it is"));
    machine.write("copy/compose.yaml", "services: {copy: {image: 'copy:1'}}");
    let run = |words: &[&str]| {
        let arguments = ["-f", "copy/compose.yaml", "run", "--rm", "copy"];
        machine.xcompose([&arguments[..], words].concat()).ok().stdout()
    };
    assert_eq!(run(&[]), "changed\n");
    assert_eq!(
        run(&["sh", "-c", "echo $COLOUR; ls -d /bin/vi /volume/x 2>&1 | grep -c 'No such'; ls /made"]),
        "red\n2\nready\n"
    );
    // It goes on running, and a wrong instruction makes nothing.
    assert!(machine.xcompose(["ps", "web"]).ok().stdout().contains("Up"));
    let wrong = machine.xcompose(["commit", "-c", "RUN true", "web", "wrong:1"]).fails(1).stderr();
    assert!(wrong.contains("change how an image is run"), "{wrong}");
    assert!(machine.xcompose(["image", "inspect", "wrong:1"]).fails(1).stderr().contains("no such image wrong:1"));
    assert!(machine.xcompose(["commit", "nosuch"]).fails(1).stderr().contains("service \"nosuch\" is not running"));
}

#[test]
fn a_containers_files_are_exported_whole_without_what_is_mounted() {
    if cannot_run() {
        return;
    }
    let machine = up();
    let list = |archive: &std::path::Path| finish(Command::new("tar").arg("-tf").arg(archive)).ok().stdout();
    let (one, two) = (machine.project().join("one.tar"), machine.project().join("two.tar"));
    machine.xcompose(["export", "-o", one.to_str().unwrap(), "web"]).ok();
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(&one).unwrap().permissions().mode() & 0o777, 0o600);
    let names = list(&one);
    for (name, is_there) in
        [("bin/busybox", true), ("made/ready", true), ("bin/vi", false), ("volume/", true), ("volume/x", false)]
    {
        assert_eq!(names.lines().any(|line| line == name), is_there, "{name}\n{names}");
    }
    let bytes = machine.command(["export", "--index", "2", "web"]).output().unwrap();
    fs::write(&two, bytes.stdout).unwrap();
    assert_eq!(list(&two), names);
    // It is a root file system: it can be taken in again.
    machine.xcompose(["image", "import", two.to_str().unwrap(), "again"]).ok();
    let terminal = format!("{} -p project export web", env!("CARGO_BIN_EXE_xcompose"));
    let mut script = Command::new("script");
    script
        .args(["-qec", &terminal, "/dev/null"])
        .env("XCOMPOSE_DATA", machine.data())
        .env("XCOMPOSE_RUN", machine.run());
    let told = finish(&mut script).fails(1).stdout();
    assert!(told.contains("output option is required when exporting to terminal"), "{told}");
    machine.xcompose(["export", "-o", "/nonexistent/x.tar", "web"]).fails(1);
}

#[test]
fn what_lies_on_disk_is_told_and_what_nothing_uses_can_go() {
    if cannot_run() {
        return;
    }
    let machine = up();
    let rows = || -> Vec<serde_json::Value> {
        let told = machine.xcompose(["system", "df", "--format", "json"]).ok().stdout();
        told.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let found = rows();
    assert_eq!(
        (&found[0]["Type"], &found[0]["TotalCount"], &found[0]["Active"]),
        (&"Images".into(), &"1".into(), &"1".into())
    );
    assert_eq!((&found[1]["TotalCount"], &found[1]["Active"]), (&"2".into(), &"2".into()));
    assert_eq!(&found[2]["TotalCount"], "1");
    machine.xcompose(["commit", "web"]).ok();
    assert_eq!(rows()[0]["TotalCount"], "2");
    let refused = finish(command(&machine, ["system", "prune"]).stdin(std::process::Stdio::null())).ok();
    assert!(refused.stdout().contains("all dangling images") && rows()[0]["TotalCount"] == "2", "{}", refused.stdout());
    let told = machine.xcompose(["system", "prune", "-f"]).ok().stdout();
    assert!(told.contains("Deleted: sha256:") && told.contains("Total reclaimed space: "), "{told}");
    assert_eq!(rows()[0]["TotalCount"], "1");
    assert!(
        machine.xcompose(["image", "rm", "busybox"]).fails(1).stderr().contains("is in use by container project-web-1")
    );
}
