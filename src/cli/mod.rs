//! The command line: the only place that talks to a person.
//!
//! [`main`] reads the arguments, runs one command and turns what came of it into an exit code. A command is a file in
//! [`commands`]: its arguments, whose doc comments are its help, and its `run`. Commands print through [`ui`] alone and
//! fail with a [`failure::Failure`].

pub mod arguments;
pub mod bake;
pub mod carry_out;
pub mod commands;
pub mod completion;
pub mod context;
pub mod failure;
pub mod follow;
pub mod foreground;
pub mod globals;
pub mod interrupt;
pub mod members;
pub mod observer;
pub mod provider;
pub mod remote;
pub mod terminal;
pub mod ui;
pub mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cli::arguments::Parsed;
use crate::cli::commands::*;
use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::globals::Globals;
use crate::cli::interrupt::until_cancelled;
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
    Up(Box<up::Up>),
    Down(down::Down),
    Ps(ps::Ps),
    Logs(logs::Logs),
    Exec(exec::Exec),
    Run(Box<run::Run>),
    Start(start::Start),
    Stop(stop::Stop),
    Restart(restart::Restart),
    Resume(resume::Resume),
    Suspend(suspend::Suspend),
    Kill(kill::Kill),
    Pause(pause::Pause),
    Unpause(pause::Unpause),
    Rm(rm::Rm),
    Create(create::Create),
    Scale(scale::Scale),
    Build(build::Build),
    Pull(pull::Pull),
    Push(push::Push),
    Publish(publish::Publish),
    Commit(commit::Commit),
    Export(export::Export),
    #[command(alias = "convert")]
    Config(config::Config),
    Attach(attach::Attach),
    Cp(cp::Cp),
    Stats(stats::Stats),
    Plan(Box<plan::Plan>),
    Addr(addr::Addr),
    Dns(dns::Dns),
    Enable(enable::Enable),
    Disable(enable::Disable),
    Env(env::Env),
    Events(events::Events),
    Image(image::Image),
    Images(images::Images),
    Login(login::Login),
    Logout(login::Logout),
    System(system::System),
    Ls(ls::Ls),
    Network(network::Network),
    Port(port::Port),
    Top(top::Top),
    Volumes(volumes::Volumes),
    Wait(wait::Wait),
    Watch(commands::watch::Watch),
    Why(why::Why),
    Viz(viz::Viz),
    #[command(hide = true)]
    Alpha(viz::Alpha),
    Version(version::Version),
    Completion(commands::completion::Completion),
    #[command(name = "__complete", hide = true)]
    Complete(commands::completion::Complete),
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
    let Some(command) = cli.command else { return ui.text(&arguments::help()).map(|()| Exit::SUCCESS) };
    match command {
        Command::Version(command) => command.run(ui),
        Command::Completion(command) => command.run(ui),
        Command::Complete(command) => command.run(ui),
        Command::Unknown(words) => arguments::unknown_command(&words, ui),
        Command::Viz(command) => command.run(&Context::new(&cli.globals, ui)?),
        Command::Alpha(command) => command.run(&Context::new(&cli.globals, ui)?),
        Command::Config(command) => command.run(&Context::new(&cli.globals, ui)?),
        other => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(Failure::system("start"))?;
            let context = Context::new(&cli.globals, ui)?;
            let done = runtime.block_on(other.until_cancelled(&context));
            // A thread that waits for the user's next key must not keep us.
            runtime.shutdown_background();
            done.map_err(|failure| context.guess(failure))
        }
    }
}

impl Command {
    fn answers_signals(&self) -> bool {
        match self {
            Command::Up(up) => up.in_foreground(),
            Command::Run(_) | Command::Exec(_) | Command::Attach(_) | Command::Watch(_) => true,
            _ => false,
        }
    }

    /// Runs until it ends or the user says stop; commands that answer signals themselves are left alone.
    async fn until_cancelled(self, context: &Context<'_>) -> Result<Exit, Failure> {
        if self.answers_signals() { self.run(context).await } else { until_cancelled(self.run(context)).await }
    }

    async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        match self {
            Command::Up(command) => command.run(context).await,
            Command::Down(command) => command.run(context).await,
            Command::Ps(command) => command.run(context).await,
            Command::Logs(command) => command.run(context).await,
            Command::Exec(command) => command.run(context).await,
            Command::Run(command) => command.run(context).await,
            Command::Start(command) => command.run(context).await,
            Command::Stop(command) => command.run(context).await,
            Command::Restart(command) => command.run(context).await,
            Command::Kill(command) => command.run(context).await,
            Command::Pause(command) => command.run(context).await,
            Command::Unpause(command) => command.run(context).await,
            Command::Rm(command) => command.run(context).await,
            Command::Create(command) => command.run(context).await,
            Command::Scale(command) => command.run(context).await,
            Command::Build(command) => command.run(context).await,
            Command::Attach(command) => command.run(context).await,
            Command::Cp(command) => command.run(context).await,
            Command::Stats(command) => command.run(context).await,
            Command::Pull(command) => command.run(context).await,
            Command::Push(command) => command.run(context).await,
            Command::Publish(command) => command.run(context).await,
            Command::Commit(command) => command.run(context).await,
            Command::Export(command) => command.run(context).await,
            Command::Login(command) => command.run(context).await,
            Command::Logout(command) => command.run(context).await,
            Command::System(command) => command.run(context).await,
            Command::Plan(command) => command.run(context).await,
            Command::Dns(command) => command.run(context).await,
            Command::Enable(command) => command.run(context).await,
            Command::Disable(command) => command.run(context).await,
            Command::Resume(command) => command.run(context).await,
            Command::Suspend(command) => command.run(context).await,
            Command::Why(command) => command.run(context).await,
            Command::Events(command) => command.run(context).await,
            Command::Image(command) => command.run(context).await,
            Command::Images(command) => command.run(context).await,
            Command::Ls(command) => command.run(context).await,
            Command::Network(command) => command.run(context).await,
            Command::Port(command) => command.run(context).await,
            Command::Top(command) => command.run(context).await,
            Command::Volumes(command) => command.run(context).await,
            Command::Wait(command) => command.run(context).await,
            Command::Addr(command) => command.run(context).await,
            Command::Watch(command) => command.run(context).await,
            Command::Config(command) => command.run(context),
            Command::Env(command) => command.run(context).await,
            Command::Viz(command) => command.run(context),
            Command::Alpha(command) => command.run(context),
            Command::Version(command) => command.run(context.ui()),
            Command::Completion(command) => command.run(context.ui()),
            Command::Complete(command) => command.run(context.ui()),
            Command::Unknown(words) => arguments::unknown_command(&words, context.ui()),
        }
    }
}
