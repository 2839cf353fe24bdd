//! `xcompose export`

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure};
use crate::cli::members;
use crate::cli::ui::phase::Phase;
use crate::cli::ui::progress::News;

/// Export a service container's filesystem as a tar archive
#[derive(Debug, clap::Args)]
pub struct Export {
    /// The service
    #[arg(value_name = "SERVICE")]
    service: String,
    /// Index of the container if service has multiple replicas
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "N")]
    index: u32,
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Export {
    /// Writes the archive; a file gets its name when it is whole.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let stack = context.load(Need::Name, &[])?;
        let observed = context.observe(&stack).await?;
        let container = members::existing(&observed, &self.service, self.index)?;
        let engine = context.engine();
        let Some(path) = &self.output else {
            if std::io::stdout().is_terminal() {
                return Err(Failure::usage("output option is required when exporting to terminal"));
            }
            let stdout = std::io::stdout().as_fd().try_clone_to_owned();
            let stdout = stdout.map_err(Failure::system("use the standard streams"))?;
            if !context.dry_run() {
                engine.export_container(&container.id, stdout).await?;
            }
            return Ok(Exit::SUCCESS);
        };
        let ui = context.ui();
        ui.begin("export");
        let news = |phase, text: &str| {
            let id = format!("Container {}", container.config.name);
            ui.news(News { id, phase, text: text.to_owned(), details: String::new() });
        };
        news(Phase::Working, "Exporting");
        let done = if context.dry_run() {
            Ok(())
        } else {
            let begun = Begun::new(path)?;
            let file = begun.file.try_clone().map_err(Failure::file("write", path))?;
            match engine.export_container(&container.id, file.into()).await {
                Ok(()) => begun.keep(path),
                Err(error) => Err(error.into()),
            }
        };
        match &done {
            Ok(()) => news(Phase::Done, "Exported"),
            Err(_) => news(Phase::Error, "Error"),
        }
        ui.end();
        done.map(|()| Exit::SUCCESS)
    }
}

/// A file beside the one that is wanted, gone unless it is kept.
struct Begun {
    path: PathBuf,
    file: File,
}

impl Begun {
    fn new(wanted: &Path) -> Result<Begun, Failure> {
        let name = wanted.file_name().ok_or_else(|| Failure::usage(format!("{} is no file", wanted.display())))?;
        let path = wanted.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
        let mut options = File::options();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        Ok(Begun { file: file.map_err(Failure::file("write", wanted))?, path })
    }

    fn keep(self, wanted: &Path) -> Result<(), Failure> {
        std::fs::rename(&self.path, wanted).map_err(Failure::file("write", wanted))
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        // After it was kept there is nothing of that name.
        let _ = std::fs::remove_file(&self.path);
    }
}
