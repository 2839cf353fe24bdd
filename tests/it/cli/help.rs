//! The help against Docker Compose 2.40.3: every flag it has is ours too, or named here as absent.

use crate::support::Machine;

#[test]
fn every_flag_of_docker_compose_is_in_the_help() {
    let machine = Machine::new();
    let mut wrong = Vec::new();
    for line in include_str!("reference-flags.txt").lines() {
        let (command, flags) = line.split_once(": ").unwrap();
        let help = match command {
            "compose" => machine.xcompose(["--help"]).ok().stdout(),
            _ => machine.xcompose([command, "--help"]).ok().stdout(),
        };
        for flag in flags.split(' ') {
            let (short, long) = flag.split_once('/').map_or((None, flag), |(short, long)| (Some(short), long));
            let there = help.lines().any(|text| {
                let mut words = text.trim_start().split([' ', ',', '[']).filter(|word| !word.is_empty());
                match short {
                    Some(short) => words.next() == Some(short) && words.next() == Some(long),
                    None => words.next() == Some(long),
                }
            });
            if !there {
                wrong.push(format!("{command} {flag}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_command_of_the_help_has_a_help() {
    let machine = Machine::new();
    let help = machine.xcompose(["--help"]).ok().stdout();
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A description that is wrapped goes on below itself.
    let commands = commands.filter(|line| !line.starts_with("   "));
    let names: Vec<String> = commands.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names.iter().filter(|name| *name != "help") {
        let text = machine.xcompose([name.as_str(), "--help"]).ok().stdout();
        assert!(text.contains("Usage:"), "{name}: {text}");
    }
}
