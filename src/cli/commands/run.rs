//! `xcompose run`

use std::collections::BTreeMap;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use crate::cli::commands::create::{pull, ready};
use crate::cli::context::{Context, Stack};
use crate::cli::failure::{Exit, Failure, Kind};
use crate::cli::interrupt::until_cancelled;
use crate::cli::observer::Shown;
use crate::cli::provider;
use crate::cli::terminal::detach::Keys;
use crate::cli::terminal::{End, Streams, attend};
use crate::engine::{Attended, ContainerId, EngineError, Labels, WaitFor};
use crate::executor::{Observer, StepError, hook};
use crate::planner::plan::{ContainerRef, HookRun, Target};
use crate::planner::request::{
    AfterExit, Answers, BuildPolicy, Dependencies, Operation, Request, Run as Options, RunAliases, RunPorts, RunStart,
};
use crate::spec::adjust::Adjustment;
use crate::values::names::ContainerName;

/// Run a one-off command on a service
#[derive(Debug, clap::Args)]
#[command(override_usage = "xcompose run [OPTIONS] SERVICE [COMMAND] [ARGS...]")]
pub struct Run {
    /// Build image before starting container
    #[arg(long)]
    build: bool,
    /// Add Linux capabilities
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Drop Linux capabilities
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
    /// Run container in background and print container ID
    #[arg(short, long)]
    detach: bool,
    /// Override the entrypoint of the image
    #[arg(long, value_name = "COMMAND")]
    entrypoint: Option<String>,
    /// Set environment variables
    #[arg(short, long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// Set environment variables from file
    #[arg(long, value_name = "PATH")]
    env_from_file: Vec<PathBuf>,
    /// Keep STDIN open even if not attached
    #[arg(short, long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = crate::cli::arguments::boolean, action = clap::ArgAction::Set, value_name = "BOOL")]
    interactive: bool,
    /// Add or override a label
    #[arg(short, long, value_name = "KEY=VALUE", alias = "labels")]
    label: Vec<String>,
    /// Assign a name to the container
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What counts as ready of a dependency without a health check: `off` (it was started), or `auto` (somebody listens on
    /// the ports that it declares)
    #[arg(long, value_name = "WHEN", value_parser = ["auto", "off"], hide_possible_values = true)]
    ready: Option<String>,
    /// Disable pseudo-TTY allocation (default: auto-detected)
    #[arg(short = 'T', long = "no-TTY", alias = "no-tty", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = crate::cli::arguments::boolean, value_name = "BOOL")]
    no_tty: Option<bool>,
    #[arg(short, long, hide = true)]
    tty: bool,
    /// Don't start linked services
    #[arg(long)]
    no_deps: bool,
    /// Publish a container's port(s) to the host
    #[arg(short, long, value_name = "PORT")]
    publish: Vec<String>,
    /// Pull image before running ("always"|"missing"|"never")
    #[arg(long, value_name = "WHEN", default_value = "policy")]
    pull: String,
    /// Don't print anything but what the command prints
    #[arg(short, long)]
    quiet: bool,
    /// Suppress progress output from the build process
    #[arg(long)]
    quiet_build: bool,
    /// Pull without printing progress information
    #[arg(long)]
    quiet_pull: bool,
    /// Remove containers for services not defined in the Compose file
    #[arg(long)]
    remove_orphans: bool,
    /// Automatically remove the container when it exits
    #[arg(long)]
    rm: bool,
    /// Run command with all service's ports enabled and mapped to the host
    #[arg(short = 'P', long)]
    service_ports: bool,
    /// Use the service's network aliases in the network(s) the container connects to
    #[arg(long)]
    use_aliases: bool,
    /// Run as specified username or uid
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// Bind mount a volume
    #[arg(short, long, value_name = "VOLUME", alias = "volumes")]
    volume: Vec<String>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    #[arg(hide = true, trailing_var_arg = true)]
    words: Vec<String>,
}

impl Run {
    /// Makes a container for one command and runs it; its exit code is ours.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let Some((service, command)) = self.words.split_first() else {
            return Err(Failure::too_few_arguments(1, 0));
        };
        if self.service_ports && !self.publish.is_empty() {
            return Err(Failure::usage("--service-ports and --publish are incompatible"));
        }
        if self.tty && self.no_tty == Some(true) {
            return Err(Failure::usage("--tty and --no-tty can't be used together"));
        }
        let streams = self.streams()?;
        // Before anything is made: what is wrong with them must leave nothing behind.
        let keys = Keys::chosen(None, context)?;
        context.ui().quiet_builds(self.quiet || self.quiet_build);
        let adjustment = Adjustment {
            volumes: self.volume.clone(),
            ports: self.publish.clone(),
            entrypoint: self.entrypoint.clone(),
        };
        let mut stack = context.load_adjusted(service, &adjustment)?;
        context.agree_to_remote(&stack, context.dry_run())?;
        provider::up(context, &mut stack).await?;
        let options = self.options(context, &stack, service, command, streams)?;
        let request =
            Request { services: stack.named(std::slice::from_ref(service))?, operation: Operation::Run(options) };
        if self.quiet {
            context.ui().silence();
        }
        let outcome = until_cancelled(context.carry_out(&stack, "run", request)).await?;
        if context.dry_run() {
            return Ok(Exit::SUCCESS);
        }
        let prefix = format!("{}-{service}-run-", stack.name);
        let wanted = |name: &ContainerName| match &self.name {
            Some(given) => name.as_str() == given,
            None => name.as_str().starts_with(&prefix) || name.as_str().starts_with(&prefix.replace('-', "_")),
        };
        let made = outcome.made.iter().find(|(name, _)| wanted(name)).or(outcome.made.last_key_value());
        let Some((name, id)) = made else { return Err(Kind::NothingMade.into()) };
        if self.detach {
            context.ui().line(&id.0)?;
            return Ok(Exit::SUCCESS);
        }
        self.attach(context, &stack, service, (name, id), streams, keys).await
    }

    async fn attach(
        &self,
        context: &Context<'_>,
        stack: &Stack,
        service: &str,
        (name, id): (&ContainerName, &ContainerId),
        streams: Streams,
        keys: Keys,
    ) -> Result<Exit, Failure> {
        let engine = context.engine();
        context.ui().flush()?;
        let mut process = match engine.start_attached(id, streams.io()?).await {
            Ok(process) => process,
            Err(error) => {
                if self.rm {
                    // The reason of the failed start is what matters.
                    let _ = engine.remove_container(id, true, true).await;
                }
                return Err(error.into());
            }
        };
        let hooks = async {
            let Some(project) = &stack.project else { return Ok(()) };
            let Some(service) = project.services.get(service) else { return Ok(()) };
            let target = Target { name: name.clone(), container: ContainerRef::Existing(id.clone()) };
            let shown = Shown::new(context.ui());
            for hook in &service.post_start {
                let run = HookRun::new(project, &service.name, &target, hook);
                hook::run(engine.as_ref(), id, &run, &|output| shown.hook(&run.source, output)).await?;
            }
            Ok::<(), StepError>(())
        };
        let (end, hooks) = futures_util::future::join(attend(&mut process, keys), hooks).await;
        let end = end?;
        // The command's own code is what counts; it may have ended before its hooks did.
        if let Err(error) = hooks {
            context.ui().warn(&error.to_string());
        }
        let End::Exited(status) = end else {
            if let Some(terminal) = process.terminal {
                engine.leave(id, Attended::First, terminal).await?;
            }
            return Ok(Exit::SUCCESS);
        };
        if self.rm {
            until_cancelled(async {
                match engine.wait_container(id, WaitFor::Removed).await {
                    Ok(_) | Err(EngineError::NotFound(_)) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            })
            .await?;
        }
        Ok(Exit::of_process(status))
    }

    fn streams(&self) -> Result<Streams, Failure> {
        let (input, output) = (std::io::stdin().is_terminal(), std::io::stdout().is_terminal());
        let asked = self.tty || self.no_tty == Some(false);
        if asked && !input && !self.detach {
            return Err(Failure::usage(
                "cannot attach stdin to a TTY-enabled container because stdin is not a terminal",
            ));
        }
        Ok(match self.no_tty {
            None | Some(false) if asked || (input && output) => Streams::Terminal,
            _ if self.interactive => Streams::Ours,
            _ => Streams::OursWithoutInput,
        })
    }

    fn options(
        &self,
        context: &Context<'_>,
        stack: &Stack,
        service: &str,
        command: &[String],
        streams: Streams,
    ) -> Result<Options, Failure> {
        let name =
            |text: &String| ContainerName::try_from(text.as_str()).map_err(|error| Failure::usage(error.to_string()));
        let name = self.name.as_ref().map(name).transpose()?;
        // What the flags say has been put over the service already.
        let service = stack.project.as_ref().and_then(|project| project.services.get(service));
        let entrypoint =
            self.entrypoint.is_some().then(|| service.and_then(|service| service.entrypoint.clone())).flatten();
        let ports = if self.service_ports || !self.publish.is_empty() { RunPorts::Service } else { RunPorts::None };
        Ok(Options {
            slug: slug()?,
            name,
            command: (!command.is_empty()).then(|| command.to_vec()),
            entrypoint,
            environment: self.environment(context)?,
            labels: self.labels()?,
            user: self.user.clone(),
            working_dir: self.workdir.clone(),
            cap_add: self.cap_add.clone(),
            cap_drop: self.cap_drop.clone(),
            ports,
            aliases: if self.use_aliases { RunAliases::Service } else { RunAliases::Own },
            after_exit: if self.rm { AfterExit::Remove } else { AfterExit::Keep },
            ready: ready(self.ready.as_deref(), context)?,
            tty: streams == Streams::Terminal && !self.detach,
            stdin_open: self.interactive && !self.detach,
            start: if self.detach { RunStart::Detached } else { RunStart::Attached },
            dependencies: if self.no_deps { Dependencies::Exclude } else { Dependencies::Include },
            orphans: context.orphans(stack, self.remove_orphans),
            build: if self.build { BuildPolicy::Always } else { BuildPolicy::Missing },
            pull: pull(&self.pull)?,
            answers: Answers::default(),
        })
    }

    /// Files first, then `-e`, which counts more; a name without value takes that of the project's environment, and is
    /// taken away where there is none (Compose end-to-end checklist, 123).
    fn environment(&self, context: &Context<'_>) -> Result<BTreeMap<String, Option<String>>, Failure> {
        let mut all = BTreeMap::new();
        for (name, value) in context.env_files(&self.env_from_file)? {
            all.insert(name, Some(value));
        }
        for text in &self.env {
            match text.split_once('=') {
                Some((name, value)) => all.insert(name.to_owned(), Some(value.to_owned())),
                None => context.variable(text).and_then(|value| all.insert(text.clone(), Some(value))),
            };
        }
        Ok(all)
    }

    fn labels(&self) -> Result<Labels, Failure> {
        let pair = |text: &String| match text.split_once('=') {
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Err(Failure::usage("label must be set as KEY=VALUE")),
        };
        self.label.iter().map(pair).collect()
    }
}

/// 64 hexadecimal digits that no other container has.
fn slug() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    let mut random = std::fs::File::open("/dev/urandom").map_err(Failure::system("read random numbers"))?;
    random.read_exact(&mut bytes).map_err(Failure::system("read random numbers"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
