//! `xcompose build`

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::cli::bake::Bake;
use crate::cli::context::{Context, Need, Stack};
use crate::cli::failure::{Exit, Failure};
use crate::engine::{BuildConfig, Observed};
use crate::planner;
use crate::planner::plan::{Action, Loss, Plan};
use crate::planner::request::{Build as Options, Dependencies, Operation, Push, Request};
use crate::values::byte_size;

/// Build or rebuild services
#[derive(Debug, clap::Args)]
pub struct Build {
    /// Services to build (default: all that have a build section)
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Set build-time variables for services
    #[arg(long, value_name = "KEY=VALUE")]
    build_arg: Vec<String>,
    /// Set builder to use: there is one, `default`
    #[arg(long, value_name = "NAME")]
    builder: Option<String>,
    /// Check build configuration
    #[arg(long)]
    check: bool,
    /// Set memory limit for the commands of a build
    #[arg(short, long, value_name = "BYTES", value_parser = bytes)]
    memory: Option<u64>,
    /// Do not use cache when building the image
    #[arg(long)]
    no_cache: bool,
    /// Print equivalent bake file
    #[arg(long)]
    print: bool,
    /// Add a provenance attestation (not supported: none is added)
    #[arg(long, value_name = "ATTRIBUTES", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    provenance: Option<String>,
    /// Always attempt to pull a newer version of the image
    #[arg(long)]
    pull: bool,
    /// Push service images
    #[arg(long)]
    push: bool,
    /// Suppress the build output
    #[arg(short, long)]
    quiet: bool,
    /// Add a SBOM attestation (not supported: none is added)
    #[arg(long, value_name = "ATTRIBUTES", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sbom: Option<String>,
    /// Set SSH authentications used when building service images (use 'default' for using your default SSH Agent)
    #[arg(long, value_name = "default|ID=PATH")]
    ssh: Option<String>,
    /// Also build dependencies (transitively)
    #[arg(long)]
    with_dependencies: bool,
    /// Old name of the root flag `--progress`
    #[arg(long, hide = true)]
    progress: Option<String>,
    #[arg(long, hide = true)]
    force_rm: bool,
    #[arg(long, hide = true)]
    no_rm: bool,
    #[arg(long, hide = true)]
    compress: bool,
    #[arg(long, hide = true)]
    parallel: bool,
}

impl Build {
    /// Builds images; starts nothing.
    pub async fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        if let Some(word) = &self.progress {
            context.set_progress(word)?;
        }
        if let Some(name) = self.builder.as_deref().filter(|name| !matches!(*name, "" | "default")) {
            return Err(Failure::usage(format!("no builder {name:?} found")));
        }
        let ui = context.ui();
        ui.quiet_builds(self.quiet);
        if self.quiet {
            ui.silence();
        }
        let stack = context.load(Need::Files, &self.services)?;
        warn_of_attestations(context, self.provenance.as_deref(), self.sbom.as_deref());
        let build = Options {
            dependencies: if self.with_dependencies { Dependencies::Include } else { Dependencies::Exclude },
            args: pairs(context, &self.build_arg),
            no_cache: self.no_cache,
            pull: self.pull,
            ssh: self.ssh.as_deref().map(keys).transpose()?.unwrap_or_default(),
            memory: self.memory,
        };
        let request = Request { services: stack.named(&self.services)?, operation: Operation::Build(build) };
        let plan = match &stack.project {
            Some(project) => planner::images::plan(project, &Observed::default(), &request)?,
            None => Plan::default(),
        };
        if plan.steps().is_empty() {
            ui.warn("No services to build");
        } else if self.print {
            ui.line(&serde_json::to_string_pretty(&bake(&stack, &plan)).map_err(std::io::Error::from)?)?;
        } else if self.check {
            let mut found = false;
            for config in configs(&plan) {
                found |= check(context, config)?;
            }
            return Ok(if found { Exit(1) } else { Exit::SUCCESS });
        } else {
            let services = request.services.clone();
            context.carry_out(&stack, "build", request).await?;
            if self.push {
                let dependencies = if self.with_dependencies { Dependencies::Include } else { Dependencies::Exclude };
                let push = Push { dependencies, failures: Loss::Fatal };
                context.carry_out(&stack, "push", Request { services, operation: Operation::Push(push) }).await?;
            }
        }
        Ok(Exit::SUCCESS)
    }
}

fn configs(plan: &Plan) -> impl Iterator<Item = &BuildConfig> {
    plan.steps().iter().filter_map(|step| match &step.action {
        Action::Build { config, .. } => Some(&**config),
        _ => None,
    })
}

/// The builds of a plan with the services they are for.
fn bake(stack: &Stack, plan: &Plan) -> Option<Bake> {
    let project = stack.project.as_ref()?;
    let services = || project.services.values().chain(project.disabled.values());
    let builds = configs(plan).filter_map(|config| {
        let service = services().find(|service| service.build.is_some() && config.tags.contains(&service.image))?;
        Some((service, service.build.as_ref()?, config))
    });
    Some(Bake::new(project, builds))
}

/// Prints what is doubtful in the Dockerfile of a build; says whether anything is.
pub fn check(context: &Context<'_>, config: &BuildConfig) -> Result<bool, Failure> {
    let layout = crate::runtime::layout::Layout::from_environment();
    let found = crate::runtime::build::check(&layout, config)?;
    let ui = context.ui();
    match found.len() {
        0 => ui.line("Check complete, no warnings found.")?,
        1 => ui.line("Check complete, 1 warning has been found!")?,
        count => ui.line(&format!("Check complete, {count} warnings have been found!"))?,
    }
    for warning in &found {
        ui.line("")?;
        ui.line(&format!("WARNING: {warning}"))?;
    }
    Ok(!found.is_empty())
}

/// What can't be honoured is said, unless it was switched off.
fn warn_of_attestations(context: &Context<'_>, provenance: Option<&str>, sbom: Option<&str>) {
    for (flag, value) in [("provenance", provenance), ("sbom", sbom)] {
        if value.is_some_and(|value| value != "false") {
            context.ui().warn(&format!("--{flag}: attestations are not supported, none is added"));
        }
    }
}

/// `KEY=VALUE`; a key alone takes its value from the environment, and is dropped if it has none.
pub fn pairs(context: &Context<'_>, texts: &[String]) -> BTreeMap<String, String> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => context.variable(text).map(|value| (text.clone(), value)),
    };
    texts.iter().filter_map(pair).collect()
}

/// `default`, `ID=PATH`; nothing is the default.
pub fn keys(text: &str) -> Result<BTreeMap<String, Option<PathBuf>>, Failure> {
    let (id, path) = match text.split_once('=') {
        Some((id, path)) if !id.is_empty() => (id, Some(path)),
        None if text.is_empty() || text == "default" => ("default", None),
        _ => return Err(Failure::usage(format!("invalid ssh key {text:?}"))),
    };
    let path = path.filter(|path| !path.is_empty());
    let path = path.map(absolute).transpose()?;
    Ok(BTreeMap::from([(id.to_owned(), path)]))
}

/// A path as seen from here.
pub fn absolute(path: &str) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(Failure::file("find", path.as_ref()))
}

/// A size, for clap.
pub fn bytes(text: &str) -> Result<u64, String> {
    byte_size::parse(text)
        .ok()
        .and_then(|size| u64::try_from(size).ok())
        .ok_or_else(|| format!("invalid size: '{text}'"))
}
