//! All printing. Standard output is data, standard error is for people; both are buffered here and nowhere else.

use std::io::Write;
use std::sync::Mutex;

use crate::cli::failure::{Failure, Kind};

/// Where a command prints.
pub struct Ui {
    stdout: Mutex<std::io::BufWriter<std::io::Stdout>>,
}

impl Ui {
    /// Without colour and progress.
    pub fn plain() -> Ui {
        Ui { stdout: Mutex::new(std::io::BufWriter::new(std::io::stdout())) }
    }

    /// Prints text as it is on standard output.
    pub fn text(&self, text: &str) -> Result<(), Failure> {
        Ok(self.stdout().write_all(text.as_bytes())?)
    }

    /// Prints a line on standard output.
    pub fn line(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = self.stdout();
        stdout.write_all(text.as_bytes())?;
        Ok(stdout.write_all(b"\n")?)
    }

    /// Nothing more will be printed.
    pub fn finish(&self) -> Result<(), Failure> {
        Ok(self.stdout().flush()?)
    }

    /// Says why the command failed.
    pub fn failure(&self, failure: &Failure) {
        if matches!(failure.kind, Kind::OutputClosed) {
            return;
        }
        let mut text = String::new();
        let mut cause: Option<&dyn std::error::Error> = Some(&failure.kind);
        while let Some(error) = cause {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&error.to_string());
            cause = error.source();
        }
        for hint in &failure.hints {
            text.push('\n');
            text.push_str(hint);
        }
        text.push('\n');
        // Nobody is left to tell if this fails.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    fn stdout(&self) -> std::sync::MutexGuard<'_, std::io::BufWriter<std::io::Stdout>> {
        self.stdout.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
