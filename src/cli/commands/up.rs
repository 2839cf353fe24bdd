//! `xcompose up`

use std::io::IsTerminal;

use crate::cli::arguments::{grace, wait};
use crate::cli::commands::create::Making;
use crate::cli::context::{Context, Stack};
use crate::cli::failure::{Exit, Failure, Kind};
use crate::cli::foreground::{Around, Ending, Foreground, Menu};
use crate::cli::provider;
use crate::cli::ui::logs::Form;
use crate::cli::ui::progress::Mode;
use crate::cli::watch::session::{Builds, ReplacedImages, Session, Settings};
use crate::planner::request::{AnonymousVolumes, Dependencies, Recreate, Request, Until, Up as Options};

/// Create and start containers
#[derive(Debug, clap::Args)]
pub struct Up {
    /// Services to bring up, with what they depend on (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// What is made and replaced.
    #[command(flatten)]
    making: Making,
    /// Detached mode: Run containers in the background
    #[arg(short, long)]
    detach: bool,
    /// Suppress the build output
    #[arg(long)]
    quiet_build: bool,
    /// Recreate dependent containers. Incompatible with --no-recreate.
    #[arg(long)]
    always_recreate_deps: bool,
    /// Recreate anonymous volumes instead of retrieving data from the previous containers
    #[arg(short = 'V', long)]
    renew_anon_volumes: bool,
    /// Don't start the services after creating them
    #[arg(long)]
    no_start: bool,
    /// Don't start linked services
    #[arg(long)]
    no_deps: bool,
    /// Use this timeout in seconds for container shutdown when attached or when containers are already running
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<i64>,
    /// Stops all containers if any container was stopped. Incompatible with -d
    #[arg(long)]
    abort_on_container_exit: bool,
    /// Stops all containers if any container exited with failure. Incompatible with -d
    #[arg(long)]
    abort_on_container_failure: bool,
    /// Return the exit code of the selected service container. Implies --abort-on-container-exit
    #[arg(long, value_name = "SERVICE")]
    exit_code_from: Option<String>,
    /// Restrict attaching to the specified services. Incompatible with --attach-dependencies.
    #[arg(long, value_name = "SERVICE")]
    attach: Vec<String>,
    /// Do not attach (stream logs) to the specified services
    #[arg(long, value_name = "SERVICE")]
    no_attach: Vec<String>,
    /// Automatically attach to log output of dependent services
    #[arg(long)]
    attach_dependencies: bool,
    /// Produce monochrome output
    #[arg(long)]
    no_color: bool,
    /// Don't print prefix in logs
    #[arg(long)]
    no_log_prefix: bool,
    /// Show timestamps
    #[arg(long)]
    timestamps: bool,
    /// Wait for services to be running|healthy. Implies detached mode.
    #[arg(long)]
    wait: bool,
    /// Maximum duration in seconds to wait for the project to be running|healthy
    #[arg(long, value_name = "SECONDS", default_value_t = 0, hide_default_value = true)]
    wait_timeout: i64,
    /// Enable interactive shortcuts when running attached (default: on at a terminal)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = crate::cli::arguments::boolean, value_name = "BOOL")]
    menu: Option<bool>,
    /// Watch source code and rebuild/refresh containers when files are updated
    #[arg(short, long)]
    watch: bool,
}

impl Up {
    /// Brings the project up, and shows its output unless detached.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        self.check()?;
        context.ui().quiet_builds(self.quiet_build || self.making.quiet_pull);
        context.ui().quiet_parts(self.making.quiet_pull);
        let (mut stack, request) = self.request(context)?;
        provider::up(context, &mut stack).await?;
        if !self.in_foreground() || context.dry_run() {
            context.carry_out(&stack, "up", request).await?;
            return Ok(Exit::SUCCESS);
        }
        let foreground = self.foreground(context, &stack)?;
        let session = if self.watch { Some(self.session(context, &stack)?) } else { None };
        let menu = if self.has_menu(context) { Menu::Shown } else { Menu::Absent };
        let around = Around { watch: session, menu, session: &|| self.session(context, &stack) };
        foreground.run(context, &stack, request, around).await
    }

    fn session<'c>(&self, context: &'c Context<'c>, stack: &'c Stack) -> Result<Session<'c>, Failure> {
        let builds = if self.making.no_build { Builds::Refused } else { Builds::Allowed };
        Session::new(context, stack, &self.services, Settings { replaced: ReplacedImages::Remove, builds })
    }

    /// Whether the user can press keys: at a terminal, unless told otherwise.
    fn has_menu(&self, context: &Context<'_>) -> bool {
        let wanted = self
            .menu
            .unwrap_or_else(|| context.variable("COMPOSE_MENU").is_none_or(|text| crate::cli::arguments::yes(&text)));
        wanted
            && std::io::stdin().is_terminal()
            && std::io::stdout().is_terminal()
            && context.ui().look().progress == Mode::Tty
    }

    /// Whether it stays and shows the output of containers.
    pub fn in_foreground(&self) -> bool {
        !(self.detach || self.wait || self.no_start)
    }

    /// What `plan` prints.
    pub async fn plan(self, context: &Context<'_>) -> Result<Exit, Failure> {
        self.check()?;
        let (stack, request) = self.request(context)?;
        let plan = context.plan(&stack, request).await?;
        context.ui().text(&plan.to_string())?;
        Ok(Exit::SUCCESS)
    }

    fn request(&self, context: &Context<'_>) -> Result<(Stack, Request), Failure> {
        let stack = self.making.load(context, &self.services)?;
        let mut up = Options {
            dependencies: if self.no_deps { Dependencies::Exclude } else { Dependencies::Include },
            grace: grace(self.timeout),
            until: if self.no_start { Until::Created } else { Until::Started(wait(self.wait, self.wait_timeout)?) },
            ..self.making.up(context, &stack)?
        };
        if self.renew_anon_volumes {
            up.anonymous_volumes = AnonymousVolumes::Renew;
            up.recreate = Recreate::Always;
        }
        if self.always_recreate_deps {
            up.recreate_dependencies = Recreate::Always;
        }
        let services = stack.named(&self.services)?;
        Ok((stack, Request::up(&services, up)))
    }

    /// Refuses what excludes each other, in Docker Compose's words and order.
    fn check(&self) -> Result<(), Failure> {
        let refuse = |text: &str| Err(Failure::usage(text));
        let abort = self.abort_on_container_exit || self.abort_on_container_failure;
        if self.wait_timeout < 0 {
            return refuse("--wait-timeout must be a non-negative integer");
        }
        if self.abort_on_container_exit && self.abort_on_container_failure {
            return refuse("--abort-on-container-failure cannot be combined with --abort-on-container-exit");
        }
        if self.wait && (self.abort_on_container_exit || !self.attach.is_empty() || self.attach_dependencies) {
            return refuse(
                "--wait cannot be combined with --abort-on-container-exit, --attach or --attach-dependencies",
            );
        }
        if self.making.build && self.making.no_build {
            return refuse("--build and --no-build are incompatible");
        }
        if (self.detach || self.wait) && (abort || !self.attach.is_empty() || self.attach_dependencies || self.watch) {
            let word = if self.wait { "--wait" } else { "--detach" };
            return refuse(&format!(
                "{word} cannot be combined with --abort-on-container-exit, --abort-on-container-failure, --attach, \
                 --attach-dependencies or --watch"
            ));
        }
        if self.making.no_recreate && self.renew_anon_volumes {
            return refuse("--no-recreate and --renew-anon-volumes are incompatible");
        }
        self.making.check()?;
        if self.always_recreate_deps && self.making.no_recreate {
            return refuse("--always-recreate-deps and --no-recreate are incompatible");
        }
        if self.making.no_build && self.watch {
            return refuse("--no-build and --watch are incompatible");
        }
        if !self.attach.is_empty() && self.attach_dependencies {
            return refuse("cannot combine --attach and --attach-dependencies");
        }
        Ok(())
    }

    fn foreground(&self, context: &Context<'_>, stack: &Stack) -> Result<Foreground, Failure> {
        let active = stack.services();
        if let Some(unknown) = self.attach.iter().find(|service| !active.contains(service)) {
            return Err(Failure::usage(format!("cannot attach to services not included in up: {unknown}")));
        }
        if let Some(service) = self.exit_code_from.as_ref().filter(|service| !active.contains(service)) {
            return Err(Kind::NoSuchService(service.clone()).into());
        }
        let chosen = |service: &String| {
            if !self.attach.is_empty() {
                self.attach.contains(service)
            } else {
                self.services.is_empty() || self.attach_dependencies || self.services.contains(service)
            }
        };
        let attached: Vec<String> = active
            .iter()
            .filter(|service| chosen(service) && !self.no_attach.contains(service) && stack.attaches(service))
            .cloned()
            .collect();
        let ending = match (self.abort_on_container_failure, &self.exit_code_from) {
            (true, _) => Ending::FirstFailure,
            (false, Some(_)) => Ending::FirstExit,
            (false, None) if self.abort_on_container_exit => Ending::FirstExit,
            (false, None) => Ending::AllExited,
        };
        Ok(Foreground {
            watched: if self.services.is_empty() { attached.clone() } else { self.services.clone() },
            attached,
            stopped: self.services.clone(),
            ending,
            exit_code_from: self.exit_code_from.clone(),
            grace: grace(self.timeout),
            form: Form {
                prefix: !self.no_log_prefix,
                colour: !self.no_color && context.ui().colour_on_stdout(),
                timestamps: self.timestamps,
                split: true,
            },
        })
    }
}
