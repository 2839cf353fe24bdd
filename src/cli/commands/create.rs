//! `xcompose create`, and the flags it shares with `up`

use std::collections::BTreeMap;

use crate::cli::context::{Context, Need, Stack};
use crate::cli::failure::{Exit, Failure, Kind};
use crate::planner::request::{Answers, BuildPolicy, Ready, Recreate, Request, Until, Up};
use crate::spec::project::service::PullPolicy;
use crate::values::names::ServiceName;

/// Creates containers for a service
#[derive(Debug, clap::Args)]
pub struct Create {
    /// Services to create, with what they depend on (default: all)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// What is made and replaced.
    #[command(flatten)]
    making: Making,
}

/// What is made and replaced: the same for `create` and `up`.
#[derive(Debug, clap::Args)]
pub struct Making {
    /// Build images before starting containers
    #[arg(long)]
    pub build: bool,
    /// Don't build an image, even if it's policy
    #[arg(long)]
    pub no_build: bool,
    /// Pull image before running ("always"|"missing"|"never"|"build")
    #[arg(long, value_name = "WHEN", default_value = "policy")]
    pub pull: String,
    /// Pull without printing progress information
    #[arg(long)]
    pub quiet_pull: bool,
    /// Recreate containers even if their configuration and image haven't changed
    #[arg(long)]
    pub force_recreate: bool,
    /// If containers already exist, don't recreate them. Incompatible with --force-recreate.
    #[arg(long)]
    pub no_recreate: bool,
    /// Remove containers for services not defined in the Compose file
    #[arg(long)]
    pub remove_orphans: bool,
    /// Scale SERVICE to NUM instances. Overrides the scale setting in the Compose file if present.
    #[arg(long, value_name = "SERVICE=NUM")]
    pub scale: Vec<String>,
    /// Publish ports on a loopback address of the project's own, so that several copies can be up at once
    #[arg(long)]
    pub loopback: bool,
    /// What counts as ready for dependents of a service without a health check: `off` (it was started), or `auto`
    /// (somebody listens on the ports that it declares)
    #[arg(long, value_name = "WHEN", value_parser = ["auto", "off"], hide_possible_values = true)]
    pub ready: Option<String>,
    /// Assume "yes" as answer to all prompts and run non-interactively
    #[arg(short, long, alias = "y")]
    pub yes: bool,
}

impl Create {
    /// Makes containers and what they need; starts none.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        self.making.check()?;
        context.ui().quiet_parts(self.making.quiet_pull);
        let stack = self.making.load(context, &self.services)?;
        let up = Up { until: Until::Created, ..self.making.up(context, &stack)? };
        context.carry_out(&stack, "create", Request::up(&stack.named(&self.services)?, up)).await?;
        Ok(Exit::SUCCESS)
    }
}

impl Making {
    /// The project, its ports where these flags want them.
    pub fn load(&self, context: &Context<'_>, services: &[String]) -> Result<Stack, Failure> {
        let mut stack = context.load(Need::Files, services)?;
        context.agree_to_remote(&stack, self.yes || context.dry_run())?;
        if self.loopback {
            context.set_apart(&mut stack)?;
        }
        Ok(stack)
    }

    /// Refuses what excludes each other, in Docker Compose's words.
    pub fn check(&self) -> Result<(), Failure> {
        if self.build && self.no_build {
            return Err(Failure::usage("--build and --no-build are incompatible"));
        }
        if self.force_recreate && self.no_recreate {
            return Err(Failure::usage("--force-recreate and --no-recreate are incompatible"));
        }
        pull(&self.pull).map(drop)
    }

    /// The request, as far as these flags make it.
    pub fn up(&self, context: &Context<'_>, stack: &Stack) -> Result<Up, Failure> {
        let recreate = match (self.force_recreate, self.no_recreate) {
            (true, _) => Recreate::Always,
            (_, true) => Recreate::Never,
            _ => Recreate::Diverged,
        };
        let (remove, ignore) = (self.remove_orphans, context.flag_variable("COMPOSE_IGNORE_ORPHANS"));
        if remove && ignore {
            return Err(Failure::usage("cannot combine COMPOSE_IGNORE_ORPHANS and --remove-orphans"));
        }
        Ok(Up {
            recreate,
            recreate_dependencies: if self.no_recreate { Recreate::Never } else { Recreate::Diverged },
            scale: self.scales(stack)?,
            orphans: context.orphans(stack, remove),
            build: match (self.build, self.no_build) {
                (_, true) => BuildPolicy::Never,
                (true, _) => BuildPolicy::Always,
                _ => BuildPolicy::Missing,
            },
            pull: pull(&self.pull)?,
            ready: ready(self.ready.as_deref(), context)?,
            unused_resources: context.unused_resources(),
            answers: if self.yes { Answers::Yes } else { Answers::default() },
            ..Up::default()
        })
    }

    fn scales(&self, stack: &Stack) -> Result<BTreeMap<ServiceName, u32>, Failure> {
        let scale = |text: &String| {
            let invalid = || Failure::usage(format!("invalid --scale option {text:?}. Should be SERVICE=NUM"));
            let (service, count) = text.split_once('=').ok_or_else(invalid)?;
            let service = ServiceName::try_from(service).map_err(|_| invalid())?;
            let count = count.parse().map_err(|_| invalid())?;
            match &stack.project {
                Some(project) if project.disabled.contains_key(&service) => {
                    Err(Failure::usage(format!("no such service: {service}: disabled")))
                }
                _ if !stack.knows(service.as_str()) => Err(Kind::NoSuchService(service.to_string()).into()),
                _ => Ok((service, count)),
            }
        };
        self.scale.iter().map(scale).collect()
    }
}

/// What `--ready` or `XCOMPOSE_READY` says.
pub fn ready(flag: Option<&str>, context: &Context<'_>) -> Result<Ready, Failure> {
    match flag.map(str::to_owned).or_else(|| context.variable("XCOMPOSE_READY")).as_deref() {
        None | Some("off" | "") => Ok(Ready::Started),
        Some("auto") => Ok(Ready::Listening),
        Some(other) => Err(Failure::usage(format!("XCOMPOSE_READY is {other:?}; it can be auto or off"))),
    }
}

/// What `--pull` says in place of every service's own policy.
pub fn pull(word: &str) -> Result<Option<PullPolicy>, Failure> {
    match word {
        "policy" => Ok(None),
        "missing" | "if_not_present" => Ok(Some(PullPolicy::Missing)),
        "never" => Ok(Some(PullPolicy::Never)),
        "build" => Ok(Some(PullPolicy::Build)),
        "always" => Ok(Some(PullPolicy::Always)),
        other => Err(Failure::usage(format!("invalid --pull option {other:?}"))),
    }
}
