//! `xcompose exec`

use std::collections::BTreeMap;
use std::io::IsTerminal;

use crate::cli::context::{Context, Need};
use crate::cli::failure::{Exit, Failure, Kind};
use crate::cli::terminal::detach::Keys;
use crate::cli::terminal::{self, End, Streams, attend};
use crate::engine::{Attended, EngineError, ExecConfig, ProcessIo};

/// Execute a command in a running container
#[derive(Debug, clap::Args)]
#[command(override_usage = "xcompose exec [OPTIONS] SERVICE COMMAND [ARGS...]")]
pub struct Exec {
    /// Detached mode: Run command in the background
    #[arg(short, long)]
    detach: bool,
    /// Set environment variables
    #[arg(short, long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// Index of the container if service has multiple replicas
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    index: u32,
    /// Disable pseudo-TTY allocation. By default a TTY is allocated where standard output is one.
    #[arg(short = 'T', long = "no-tty", alias = "no-TTY")]
    no_tty: bool,
    /// Give extended privileges to the process
    #[arg(long)]
    privileged: bool,
    /// Run the command as this user
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// Path to workdir directory for this command
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    #[arg(short, long, hide = true, overrides_with = "interactive")]
    interactive: bool,
    #[arg(short, long, hide = true)]
    tty: bool,
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = false)]
    words: Vec<String>,
}

impl Exec {
    /// Runs the command; its exit code is ours.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let [service, command @ ..] = self.words.as_slice() else {
            return Err(Failure::too_few_arguments(2, 0));
        };
        if command.is_empty() {
            return Err(Failure::too_few_arguments(2, 1));
        }
        let keys = Keys::chosen(None, context)?;
        let stack = context.load(Need::Name, std::slice::from_ref(service))?;
        let observed = context.observe(&stack).await?;
        let target = context.target(&observed, service, self.index)?;
        let streams = match (self.no_tty, std::io::stdout().is_terminal(), std::io::stdin().is_terminal()) {
            (false, true, true) => Streams::Terminal,
            (false, _, false) if self.tty => {
                return Err(Failure::usage(
                    "cannot attach stdin to a TTY-enabled container because stdin is not a terminal",
                ));
            }
            (false, _, true) if self.tty => Streams::Terminal,
            _ => Streams::Ours,
        };
        let mut environment = BTreeMap::new();
        if streams == Streams::Terminal {
            environment.insert("TERM".to_owned(), "xterm".to_owned());
        }
        for text in &self.env {
            match text.split_once('=') {
                Some((name, value)) => environment.insert(name.to_owned(), value.to_owned()),
                None => context.variable(text).and_then(|value| environment.insert(text.clone(), value)),
            };
        }
        let config = ExecConfig {
            command: command.to_vec(),
            environment,
            user: self.user.clone(),
            working_dir: self.workdir.clone(),
            privileged: self.privileged,
        };
        let io =
            if self.detach { ProcessIo::Files { stdin: None, stdout: None, stderr: None } } else { streams.io()? };
        let mut process = context.engine().exec(&target.id, &config, io).await.map_err(|error| match error {
            EngineError::Command { code, reason, .. } => {
                let code = u8::try_from(code).unwrap_or(1);
                Failure::from(Kind::Exec { container: target.config.name.to_string(), code, reason })
            }
            other => other.into(),
        })?;
        if self.detach {
            return Ok(Exit::SUCCESS);
        }
        match attend(&mut process, keys).await? {
            End::Exited(status) => Ok(Exit::of_process(status)),
            End::Left => {
                if let Some(terminal) = process.terminal {
                    context.engine().leave(&target.id, Attended::Further, terminal).await?;
                }
                Err(terminal::left())
            }
        }
    }
}
