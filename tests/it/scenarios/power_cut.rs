//! What a power cut leaves of records that were just written: files without content, or with zeros.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::leftovers;
use crate::support::{Machine, cannot_run};

const STACK: &str = "services:\n  torn: {image: busybox, command: sleep 1000, stop_signal: SIGKILL, volumes: ['data:/data']}\n  whole: {image: busybox, command: sleep 1000, stop_signal: SIGKILL}\nvolumes: {data: {}}\n";

/// A stopped stack, and the record folder of its service `torn`.
fn stopped(machine: &Machine) -> PathBuf {
    machine.import_busybox();
    machine.write("compose.yaml", STACK);
    machine.xcompose(["-p", "cut", "up", "-d"]).ok();
    machine.xcompose(["-p", "cut", "stop"]).ok();
    let ids = machine.xcompose(["-p", "cut", "ps", "-aq", "--no-trunc", "torn"]).ok().stdout();
    machine.data().join("projects/cut/containers").join(ids.trim())
}

#[test]
fn a_container_whose_record_was_never_written_is_made_anew_and_its_volume_stays() {
    if cannot_run() {
        return;
    }
    for left in ["", "\0\0\0\0", "{\"id\":\"ab"] {
        let machine = Machine::new();
        let folder = stopped(&machine);
        fs::write(folder.join("container.json"), left).unwrap();
        let listed = machine.xcompose(["-p", "cut", "ps", "-a", "--services"]).ok().stdout();
        assert_eq!(listed, "whole\n");
        machine.xcompose(["-p", "cut", "up", "-d"]).ok();
        assert!(!folder.exists(), "what was half written is swept away");
        let listed = machine.xcompose(["-p", "cut", "ps", "--services"]).ok().stdout();
        assert_eq!(listed.lines().collect::<BTreeSet<_>>(), BTreeSet::from(["torn", "whole"]));
        assert_eq!(machine.xcompose(["-p", "cut", "volumes", "-q"]).ok().stdout(), "cut_data\n");
        machine.xcompose(["-p", "cut", "down", "-v"]).ok();
        leftovers::none(&machine, &[], &BTreeSet::new());
    }
}

#[test]
fn a_torn_state_reads_as_an_end_that_nobody_knows_and_hinders_nothing() {
    if cannot_run() {
        return;
    }
    let machine = Machine::new();
    let folder = stopped(&machine);
    fs::write(folder.join("state.json"), "").unwrap();
    let listed = machine.xcompose(["-p", "cut", "ps", "-a", "--format", "{{.Service}} {{.State}}"]).ok().stdout();
    assert_eq!(listed.lines().collect::<BTreeSet<_>>(), BTreeSet::from(["torn exited", "whole exited"]));
    machine.xcompose(["-p", "cut", "start"]).ok();
    machine.xcompose(["-p", "cut", "down", "-v"]).ok();
    leftovers::none(&machine, &[], &BTreeSet::new());
}

#[test]
fn the_folder_of_a_network_whose_record_is_gone_goes_with_the_next_command_of_any_project() {
    if cannot_run() {
        return;
    }
    let machine = Machine::new();
    machine.import_busybox();
    machine.write("compose.yaml", STACK);
    machine.xcompose(["-p", "cut", "up", "-d"]).ok();
    let networks = machine.run().join("networks");
    let folders = || fs::read_dir(&networks).unwrap().map(|entry| entry.unwrap().file_name()).collect::<BTreeSet<_>>();
    let alive = folders();
    assert_eq!(alive.len(), 1);
    // Killed behind the record: what was in it is still there. Killed before it knew that there is no record.
    for (left, file) in [("aaaaaaaaaaaa", Some("c.json")), ("bbbbbbbbbbbb", None)] {
        fs::create_dir(networks.join(left)).unwrap();
        if let Some(file) = file {
            fs::write(networks.join(left).join(file), "{").unwrap();
        }
    }
    machine.write("other.yaml", "services: {one: {image: busybox, command: sleep 1000, stop_signal: SIGKILL}}");
    machine.xcompose(["-p", "other", "-f", "other.yaml", "up", "-d"]).ok();
    assert!(folders().is_superset(&alive) && folders().len() == 2, "{:?}", folders());
    machine.xcompose(["-p", "other", "down"]).ok();
    machine.xcompose(["-p", "cut", "down", "-v"]).ok();
    leftovers::none(&machine, &[], &BTreeSet::new());
}
