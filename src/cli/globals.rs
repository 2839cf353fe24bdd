//! Flags that hold for every command; they stand before it (Compose CLI reference, §2).

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::cli::failure::Failure;
use crate::cli::ui::progress::Mode;
use crate::cli::ui::style::Ansi;
use crate::cli::ui::{Look, Ui};

/// What holds for every command.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Globals {
    /// Compose configuration files
    #[arg(short, long = "file", value_name = "PATH")]
    pub files: Vec<PathBuf>,

    /// Project name
    #[arg(short, long, value_name = "NAME")]
    pub project_name: Option<String>,

    /// Specify an alternate working directory (default: the path of the, first specified, Compose file)
    #[arg(long, value_name = "DIR")]
    pub project_directory: Option<PathBuf>,

    /// Specify a profile to enable
    #[arg(long = "profile", value_name = "NAME")]
    pub profiles: Vec<String>,

    /// Specify an alternate environment file
    #[arg(long = "env-file", value_name = "PATH")]
    pub env_files: Vec<PathBuf>,

    /// Control when to print ANSI control characters ("never"|"always"|"auto")
    #[arg(long, value_name = "WHEN")]
    pub ansi: Option<String>,

    /// Set type of progress output (auto, tty, plain, json, quiet)
    #[arg(long, value_name = "TYPE")]
    pub progress: Option<String>,

    /// Control max parallelism, -1 for unlimited
    #[arg(long, value_name = "N")]
    pub parallel: Option<i64>,

    /// Run in backward compatibility mode
    #[arg(long)]
    pub compatibility: bool,

    /// Include all resources, even those not used by services
    #[arg(long)]
    pub all_resources: bool,

    /// Publish ports on a loopback address of the project's own, so that several copies can be up at once
    #[arg(long)]
    pub loopback: bool,

    /// Show what would be done and do nothing
    #[arg(long, global = true, display_order = 990)]
    pub dry_run: bool,

    /// The version
    #[arg(short, long, hide = true)]
    pub version: bool,

    /// Old name of `--project-directory`
    #[arg(long, hide = true)]
    pub workdir: Option<PathBuf>,

    /// Old form of `--ansi never`
    #[arg(long, hide = true)]
    pub no_ansi: bool,

    /// Tell more of what happens
    #[arg(long, hide = true)]
    pub verbose: bool,
}

impl Globals {
    /// How output is to look; says what is out of date and refuses what can't be (Compose CLI reference, §2).
    pub fn look(&self, environment: &BTreeMap<String, String>, ui: &Ui) -> Result<Look, Failure> {
        let variable = |name: &str| environment.get(name).map(String::as_str).filter(|text| !text.is_empty());
        if self.no_ansi {
            if self.ansi.is_some() {
                return Err(Failure::usage(
                    "cannot specify DEPRECATED '--no-ansi' and '--ansi'. Please use only '--ansi'",
                ));
            }
            ui.warn("option '--no-ansi' is DEPRECATED ! Please use '--ansi' instead.");
        }
        if self.workdir.is_some() {
            if self.project_directory.is_some() {
                return Err(Failure::usage(
                    "cannot specify DEPRECATED '--workdir' and '--project-directory'. Please use only '--project-directory' instead",
                ));
            }
            ui.warn("option '--workdir' is DEPRECATED at root level! Please use '--project-directory' instead.");
        }
        let asked = if self.no_ansi { Some("never") } else { self.ansi.as_deref().or(variable("COMPOSE_ANSI")) };
        let ansi = match asked {
            Some(word) => Ansi::from_word(word),
            None if variable("NO_COLOR").is_some() => Ansi::Never,
            None => Ansi::Auto,
        };
        let word = self.progress.as_deref().or(variable("COMPOSE_PROGRESS")).unwrap_or("auto");
        let progress = progress(word, ansi)?;
        let status_on_stdout = variable("COMPOSE_STATUS_STDOUT").is_some_and(crate::cli::arguments::yes);
        Ok(Look { ansi, progress, dry_run: self.dry_run, status_on_stdout })
    }

    /// How many things the engine may do at once; `None`: no limit.
    pub fn parallel(&self, environment: &BTreeMap<String, String>) -> Result<Option<NonZeroUsize>, Failure> {
        let number = match (self.parallel, environment.get("COMPOSE_PARALLEL_LIMIT")) {
            (Some(number), _) => number,
            (None, None) => return Ok(None),
            (None, Some(text)) => text
                .parse()
                .map_err(|_| Failure::usage(format!("COMPOSE_PARALLEL_LIMIT must be an integer (found: {text:?})")))?,
        };
        Ok(usize::try_from(number).ok().and_then(NonZeroUsize::new))
    }
}

/// How progress is shown.
pub fn progress(word: &str, ansi: Ansi) -> Result<Mode, Failure> {
    match word {
        "tty" if ansi == Ansi::Never => Err(Failure::usage("can't use --progress tty while ANSI support is disabled")),
        "plain" if ansi == Ansi::Always => {
            Err(Failure::usage("can't use --progress plain while ANSI support is forced"))
        }
        "auto" | "" if ansi != Ansi::Never && std::io::stderr().is_terminal() => Ok(Mode::Tty),
        "auto" | "" | "plain" => Ok(Mode::Plain),
        "tty" => Ok(Mode::Tty),
        "json" => Ok(Mode::Json),
        "quiet" | "none" => Ok(Mode::Quiet),
        other => Err(Failure::usage(format!("unsupported --progress value {other:?}"))),
    }
}
