//! The command line: the only place that talks to a person.
//!
//! [`main`] reads the arguments, runs one command and turns what came of it into an exit code. A command is a file in
//! [`commands`]: its arguments, whose doc comments are its help, and its `run`. Commands print through [`ui`] alone and
//! fail with a [`failure::Failure`].

pub mod arguments;
pub mod commands;
pub mod failure;
pub mod globals;
pub mod ui;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cli::arguments::Parsed;
use crate::cli::commands::*;
use crate::cli::failure::{Exit, Failure};
use crate::cli::globals::Globals;
use crate::cli::ui::Ui;

/// Run Compose files with a container runtime of its own
#[derive(Debug, Parser)]
#[command(
    name = "xcompose",
    disable_version_flag = true,
    args_override_self = true,
    infer_long_args = false,
    max_term_width = 110,
    after_help = "Run 'xcompose COMMAND --help' for more information on a command."
)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What can be done.
#[derive(Debug, Subcommand)]
#[allow(missing_docs)] // Each is described by its arguments' type; a comment here would replace that text in the help.
pub enum Command {
    Version(version::Version),
    #[command(external_subcommand)]
    Unknown(Vec<OsString>),
}

/// Runs the program with these arguments, the first being its own name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let ui = Ui::plain();
    let result = match arguments::parse(arguments) {
        Ok(Parsed::Run(cli)) => run(*cli, &ui),
        Ok(Parsed::Help(text)) => ui.text(&text).map(|()| Exit::SUCCESS),
        Err(failure) => Err(failure),
    };
    match result.and_then(|exit| ui.flush().map(|()| exit)) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            ui.failure(&failure);
            failure.exit().into()
        }
    }
}

fn run(cli: Cli, ui: &Ui) -> Result<Exit, Failure> {
    if cli.globals.version {
        return version::Version::default().run(ui);
    }
    match cli.command {
        None => ui.text(&arguments::help()).map(|()| Exit::SUCCESS),
        Some(Command::Version(command)) => command.run(ui),
        Some(Command::Unknown(words)) => arguments::unknown_command(&words, ui),
    }
}
