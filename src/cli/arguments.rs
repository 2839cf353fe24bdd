//! Reading the command line as Docker Compose does, and saying what is wrong with it in its words.
//!
//! Two things differ from what clap does by itself: a switch may be given a value (`--build=false`), and every mistake is
//! one line with exit code 1.

use std::ffi::OsString;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, CommandFactory, FromArgMatches};

use crate::cli::Cli;
use crate::cli::failure::{Exit, Failure};
use crate::cli::ui::Ui;
use crate::planner::request::Wait;

/// Commands of Docker Compose that do not exist here yet.
const MISSING: [&str; 2] = ["bridge", "generate"];

/// What a command line asks for.
#[derive(Debug)]
pub enum Parsed {
    /// A command.
    Run(Box<Cli>),
    /// This text.
    Help(String),
}

/// Reads a command line; the first argument is the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Parsed, Failure> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let matches = with_valued_switches(Cli::command()).try_get_matches_from(&arguments);
    match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => Ok(Parsed::Run(Box::new(cli))),
        // Once more without the values of switches, which would clutter the help.
        Err(error) if error.kind() == ErrorKind::DisplayHelp => match Cli::command().try_get_matches_from(&arguments) {
            Err(error) => Ok(Parsed::Help(error.render().to_string())),
            Ok(_) => Ok(Parsed::Help(help())),
        },
        Err(error) => Err(Failure::usage(words(&error))),
    }
}

/// The help of the whole program.
pub fn help() -> String {
    Cli::command().render_help().to_string()
}

/// What to say to a command that is none of ours.
pub fn unknown_command(words: &[OsString], ui: &Ui) -> Result<Exit, Failure> {
    let name = words.first().map(|word| word.to_string_lossy()).unwrap_or_default();
    if MISSING.contains(&name.as_ref()) {
        return Err(Failure::usage(format!("xcompose does not support the command {name:?} yet")));
    }
    ui.text(&help())?;
    Err(Failure::usage(format!("unknown command: {name:?}")))
}

/// A time to wait for a stop, as `-t` gives it; negative is without end (Compose behaviours, §6).
pub fn grace(seconds: Option<i64>) -> Option<Duration> {
    // So far off that it never comes, and near enough that no clock overflows.
    const FOREVER: u64 = u32::MAX as u64;
    seconds.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(FOREVER).min(FOREVER)))
}

/// What `--wait` and `--wait-timeout` ask for; 0 is without limit.
pub fn wait(wait: bool, timeout: i64) -> Result<Wait, Failure> {
    match (wait, u64::try_from(timeout)) {
        (_, Err(_)) => Err(Failure::usage("--wait-timeout must be a non-negative integer")),
        (false, _) => Ok(Wait::No),
        (true, Ok(0)) => Ok(Wait::Yes { timeout: None }),
        (true, Ok(seconds)) => Ok(Wait::Yes { timeout: Some(Duration::from_secs(seconds)) }),
    }
}

/// Whether an environment variable says yes (Compose CLI reference, §3).
pub fn yes(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "y" | "1" | "t" | "true")
}

/// Lets every switch take `=true` and `=false`, and every option a value that begins with a hyphen, as Docker Compose does.
fn with_valued_switches(command: clap::Command) -> clap::Command {
    command.mut_subcommands(with_valued_switches).mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .default_value("false")
            .value_parser(boolean),
        ArgAction::Set | ArgAction::Append if !arg.is_positional() && arg.get_num_args().is_none() => {
            arg.allow_hyphen_values(true)
        }
        _ => arg,
    })
}

/// A truth value as Go's `strconv.ParseBool` reads it.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// Clap's error in Docker Compose's words.
fn words(error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" "),
        _ => String::new(),
    };
    let argument = context(ContextKind::InvalidArg);
    let flag = argument.split([' ', '=', '[']).next().unwrap_or(&argument);
    let value = context(ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::UnknownArgument if flag.starts_with("--") => format!("unknown flag: {flag}"),
        ErrorKind::UnknownArgument if flag.starts_with('-') => {
            format!("unknown shorthand flag: '{}' in {flag}", flag.trim_start_matches('-'))
        }
        ErrorKind::UnknownArgument => format!("unexpected argument {flag:?}"),
        ErrorKind::InvalidValue if value.is_empty() => format!("flag needs an argument: {flag}"),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let reason = match std::error::Error::source(error) {
                Some(source) if source.is::<std::num::ParseIntError>() => ": must be a whole number".to_owned(),
                Some(source) => format!(": {source}"),
                None => String::new(),
            };
            let what = if flag.starts_with('-') { format!("\"{flag}\" flag") } else { flag.to_owned() };
            format!("invalid argument {value:?} for {what}{reason}")
        }
        ErrorKind::MissingRequiredArgument => format!("{argument} is missing"),
        ErrorKind::InvalidUtf8 => "arguments must be valid UTF-8".to_owned(),
        _ => {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        }
    }
}
