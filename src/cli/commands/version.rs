//! `xcompose version`

use crate::cli::failure::{Exit, Failure};
use crate::cli::ui::Ui;

/// Show the version
#[derive(Debug, Default, clap::Args)]
pub struct Version {
    /// Format the output. Values: [pretty | json]
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show only the version number
    #[arg(long)]
    short: bool,
}

impl Version {
    /// Prints the version; reads no file.
    pub fn run(&self, ui: &Ui) -> Result<Exit, Failure> {
        let number = env!("CARGO_PKG_VERSION");
        if self.short {
            ui.line(number)?;
        } else if self.format.as_deref() == Some("json") {
            ui.line(&serde_json::json!({ "version": format!("v{number}") }).to_string())?;
        } else {
            ui.line(&format!("xcompose version v{number}"))?;
        }
        Ok(Exit::SUCCESS)
    }
}
