//! What can come next on a command line: commands and flags from their own definitions; services, profiles and projects
//! from what the line so far is about. An incomplete or broken project completes to what can be known of it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, CommandFactory};

use crate::cli::Cli;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::globals::Globals;
use crate::cli::ui::Ui;
use crate::spec::Options;

/// What a shell is told besides: nothing follows the word at once (cobra's `ShellCompDirectiveNoSpace`).
const NO_SPACE: u8 = 2;
/// Files are no candidates (`ShellCompDirectiveNoFileComp`).
const NO_FILES: u8 = 4;

/// Commands that take no service.
const WITHOUT_SERVICES: [&str; 8] = ["ls", "version", "completion", "image", "env", "help", "resume", "boot"];

/// What can come next, each with a description, and cobra's directive for the shell.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    /// Word and description.
    pub words: Vec<(String, String)>,
    /// Bits.
    pub directive: u8,
}

/// The candidates for the last of these words; the program's own name is not among them.
pub fn complete(words: &[OsString], ui: &Ui) -> Result<Candidates, Failure> {
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let Some((current, before)) = words.split_last() else { return Ok(Candidates::default()) };
    let mut command = Cli::command();
    command.build();
    let line = Line::read(&command, before);
    let candidates = match &line.open_flag {
        Some(flag) => line.values(flag, ui)?,
        None if current.starts_with('-') => flags(line.command),
        None if line.name.is_none() => commands(&command),
        None => line.arguments(current, ui)?,
    };
    let fits = |(word, _): &(String, String)| word.starts_with(current.as_str());
    Ok(Candidates { words: candidates.words.into_iter().filter(fits).collect(), directive: candidates.directive })
}

/// A command line up to the word that is being written.
struct Line<'c> {
    command: &'c clap::Command,
    /// The command's name, once there is one.
    name: Option<String>,
    globals: Globals,
    /// Arguments that are no flags.
    positional: usize,
    /// The last word was a flag whose value comes next.
    open_flag: Option<String>,
}

impl<'c> Line<'c> {
    fn read(command: &'c clap::Command, words: &[String]) -> Line<'c> {
        let mut line = Line { command, name: None, globals: Globals::default(), positional: 0, open_flag: None };
        for word in words {
            if let Some(flag) = line.open_flag.take() {
                line.set(&flag, word);
            } else if let Some((flag, value)) = word.split_once('=').filter(|_| word.starts_with("--")) {
                line.set(flag, value);
            } else if word.starts_with('-') && word.len() > 1 {
                line.open_flag = takes_value(line.command, word).then(|| word.clone());
            } else if line.name.is_none() {
                line.name = Some(word.clone());
                line.command = command.find_subcommand(word).unwrap_or(command);
            } else {
                line.positional += 1;
            }
        }
        line
    }

    /// Flags that say which project it is.
    fn set(&mut self, flag: &str, value: &str) {
        if self.name.is_some() {
            return;
        }
        match flag {
            "-f" | "--file" => self.globals.files.push(PathBuf::from(value)),
            "-p" | "--project-name" => self.globals.project_name = Some(value.to_owned()),
            "--project-directory" => self.globals.project_directory = Some(PathBuf::from(value)),
            "--profile" => self.globals.profiles.push(value.to_owned()),
            "--env-file" => self.globals.env_files.push(PathBuf::from(value)),
            _ => {}
        }
    }

    /// What a flag's value can be.
    fn values(&self, flag: &str, ui: &Ui) -> Result<Candidates, Failure> {
        let value =
            argument(self.command, flag).and_then(|arg| arg.get_value_names()?.first().map(ToString::to_string));
        let words = match (flag, value.as_deref()) {
            ("-p" | "--project-name", _) if self.name.is_none() => plain(self.projects(ui)?),
            ("--profile", _) => plain(self.known(ui).1),
            ("--progress", _) => fixed(&["auto", "tty", "plain", "json", "quiet"]),
            ("--ansi", _) => fixed(&["auto", "never", "always"]),
            ("--pull", _) => fixed(&["always", "missing", "never", "build"]),
            ("--format", _) => fixed(&["table", "json"]),
            (_, Some("SERVICE")) => plain(self.known(ui).0),
            ("--scale", _) => {
                let words = self.known(ui).0.into_iter().map(|name| (name + "=", String::new())).collect();
                return Ok(Candidates { words, directive: NO_FILES | NO_SPACE });
            }
            (_, Some("PATH" | "DIR" | "FILE" | "VOLUME")) => return Ok(Candidates::default()),
            _ => Vec::new(),
        };
        Ok(Candidates { words, directive: NO_FILES })
    }

    /// What an argument can be.
    fn arguments(&self, current: &str, ui: &Ui) -> Result<Candidates, Failure> {
        let name = self.name.as_deref().unwrap_or_default();
        let (words, directive) = match (name, self.positional) {
            ("completion", 0) => (fixed(&["bash", "zsh", "fish"]), NO_FILES),
            ("cp", _) if current.contains('/') || current.contains(':') => (Vec::new(), 0),
            // A path is as good.
            ("cp", _) => (suffixed(self.known(ui).0, ":"), NO_SPACE),
            ("scale", _) => (suffixed(self.known(ui).0, "="), NO_FILES | NO_SPACE),
            ("image", _) => (Vec::new(), 0),
            (name, _) if WITHOUT_SERVICES.contains(&name) => (Vec::new(), NO_FILES),
            // What follows is the container's own command line.
            ("run" | "exec", 1..) => (Vec::new(), 0),
            ("port" | "attach" | "export" | "commit", 1..) => (Vec::new(), NO_FILES),
            _ => (plain(self.known(ui).0), NO_FILES),
        };
        Ok(Candidates { words, directive })
    }

    /// The services and the profiles of the files. What is wrong with the files is told by commands that do something.
    fn known(&self, ui: &Ui) -> (Vec<String>, Vec<String>) {
        let options = Options { env_files: false, consistency: false, keep_others: true, ..Options::default() };
        let model = Context::new(&self.globals, ui).and_then(|context| context.model(&options));
        let Ok(model) = model else { return (Vec::new(), Vec::new()) };
        let mut services: Vec<String> = model.service_names().into_iter().map(str::to_owned).collect();
        if let Ok(project) = model.project() {
            services.extend(project.disabled.keys().map(ToString::to_string));
        }
        services.sort();
        services.dedup();
        (services, model.profiles().iter().map(ToString::to_string).collect())
    }

    fn projects(&self, ui: &Ui) -> Result<Vec<String>, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Failure::system("start"))?;
        let engine = Context::new(&self.globals, ui)?.engine();
        let projects = runtime.block_on(engine.projects())?;
        Ok(projects.into_iter().map(|project| project.name.to_string()).collect())
    }
}

fn plain(words: Vec<String>) -> Vec<(String, String)> {
    suffixed(words, "")
}

fn suffixed(words: Vec<String>, suffix: &str) -> Vec<(String, String)> {
    words.into_iter().map(|word| (word + suffix, String::new())).collect()
}

fn fixed(words: &[&str]) -> Vec<(String, String)> {
    words.iter().map(|word| ((*word).to_owned(), String::new())).collect()
}

fn commands(command: &clap::Command) -> Candidates {
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    let words = shown.map(|command| (command.get_name().to_owned(), first_line(command.get_about())));
    Candidates { words: words.collect(), directive: NO_FILES }
}

fn flags(command: &clap::Command) -> Candidates {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let words = shown.filter_map(|arg| Some((format!("--{}", arg.get_long()?), first_line(arg.get_help()))));
    Candidates { words: words.collect(), directive: NO_FILES }
}

fn first_line(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

/// The argument that a flag names; of short ones together the last.
fn argument<'c>(command: &'c clap::Command, flag: &str) -> Option<&'c clap::Arg> {
    let long = flag.strip_prefix("--");
    let short = flag.chars().next_back();
    command.get_arguments().find(|arg| match long {
        Some(long) => arg.get_long() == Some(long),
        None => arg.get_short().is_some() && arg.get_short() == short,
    })
}

/// Whether a flag's value is the next word.
fn takes_value(command: &clap::Command, flag: &str) -> bool {
    let takes = |arg: &clap::Arg| {
        matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
            && arg.get_num_args().is_none_or(|count| count.min_values() > 0)
    };
    argument(command, flag).is_some_and(takes)
}
