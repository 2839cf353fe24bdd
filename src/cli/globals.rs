//! Flags that hold for every command; they stand before it (Compose CLI reference, §2).

use std::path::PathBuf;

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

    /// Show what would be done and do nothing
    #[arg(long, global = true)]
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
