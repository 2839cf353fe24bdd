//! `xcompose completion`, and the hidden `__complete` that its scripts ask.

use std::ffi::OsString;

use crate::cli::completion;
use crate::cli::failure::{Exit, Failure};
use crate::cli::ui::Ui;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
pub struct Completion {
    /// bash, zsh or fish
    #[arg(value_name = "SHELL")]
    shell: String,
}

/// Print what can come next on a command line
#[derive(Debug, clap::Args)]
pub struct Complete {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

impl Completion {
    /// Prints the script.
    pub fn run(self, ui: &Ui) -> Result<Exit, Failure> {
        let script = match self.shell.as_str() {
            "bash" => include_str!("../completion/xcompose.bash"),
            "zsh" => include_str!("../completion/xcompose.zsh"),
            "fish" => include_str!("../completion/xcompose.fish"),
            other => return Err(Failure::usage(format!("no completion for {other:?}; there is bash, zsh and fish"))),
        };
        ui.text(script)?;
        Ok(Exit::SUCCESS)
    }
}

impl Complete {
    /// A candidate a line, with its description after a tab; then the directive, as cobra's shells know it.
    pub fn run(self, ui: &Ui) -> Result<Exit, Failure> {
        let found = completion::complete(&self.words, ui)?;
        for (word, description) in &found.words {
            ui.line(&if description.is_empty() { word.clone() } else { format!("{word}\t{description}") })?;
        }
        ui.line(&format!(":{}", found.directive))?;
        Ok(Exit::SUCCESS)
    }
}
