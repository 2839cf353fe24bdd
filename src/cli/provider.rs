//! Services that a program outside provides (behaviours §17): it is asked to bring one up, and what it tells goes into the
//! environment of those who depend on it; it is asked again when the project stops or goes down.
//!
//! The program is `docker-TYPE` or `TYPE`; what it says are lines of JSON.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::cli::context::{Context, Stack};
use crate::cli::failure::Failure;
use crate::cli::ui::phase::Phase;
use crate::cli::ui::progress::News;
use crate::spec::project::service::{Provider, Service};
use crate::values::names::ServiceName;

/// Where Docker's command line looks for programs besides `PATH`.
const PLUGINS: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// A line of a provider.
#[derive(Debug, Deserialize)]
struct Said {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    message: String,
}

/// What a provider says of itself.
#[derive(Debug, Default, Deserialize)]
struct Metadata {
    up: Option<Known>,
    down: Option<Known>,
    stop: Option<Known>,
}

/// A command that it knows.
#[derive(Debug, Default, Deserialize)]
struct Known {
    #[serde(default)]
    parameters: Vec<Parameter>,
}

/// An option of a command.
#[derive(Debug, Deserialize)]
struct Parameter {
    name: String,
    #[serde(default)]
    required: bool,
}

/// What is asked of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Provide.
    Up,
    /// Take away.
    Down,
    /// Rest; only those are asked who say that they know it.
    Stop,
}

impl Ask {
    fn word(self) -> &'static str {
        match self {
            Ask::Up => "up",
            Ask::Down => "down",
            Ask::Stop => "stop",
        }
    }

    /// The words of progress, at the beginning and the end.
    fn progress(self) -> (&'static str, &'static str) {
        match self {
            Ask::Up => ("Creating", "Created"),
            Ask::Down => ("Removing", "Removed"),
            Ask::Stop => ("Stopping", "Stopped"),
        }
    }
}

/// Has everything provided that the project's services need, and tells the services of it.
pub async fn up(context: &Context<'_>, stack: &mut Stack) -> Result<(), Failure> {
    for service in provided(stack) {
        let told = ask(context, stack, &service, Ask::Up).await?;
        let Some(project) = &mut stack.project else { return Ok(()) };
        let prefix = service.name.as_str().to_uppercase().replace('-', "_");
        for dependent in project.services.values_mut() {
            if !dependent.depends_on.contains_key(&service.name) {
                continue;
            }
            for (kind, name, value) in &told {
                let name = if *kind == Kind::Raw { name.clone() } else { format!("{prefix}_{name}") };
                let before = dependent.environment.insert(name.clone(), Some(value.clone()));
                if *kind == Kind::Raw && before.flatten().is_some_and(|before| before != *value) {
                    let (service, dependent) = (&service.name, &dependent.name);
                    context.ui().warn(&format!(
                        "service {dependent}: provider {service} overrides environment variable {name}"
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Has what was provided taken away or put to rest: of the services named, or of all.
pub async fn end(context: &Context<'_>, stack: &Stack, named: &[ServiceName], ask_for: Ask) -> Result<(), Failure> {
    for service in provided(stack).into_iter().rev() {
        if named.is_empty() || named.contains(&service.name) {
            ask(context, stack, &service, ask_for).await?;
        }
    }
    Ok(())
}

fn provided(stack: &Stack) -> Vec<Service> {
    let services = stack.project.iter().flat_map(|project| project.services.values());
    services.filter(|service| service.provider.is_some()).cloned().collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// With the service's name before it.
    Own,
    /// As it is.
    Raw,
}

/// Runs a provider; the variables it sets.
async fn ask(
    context: &Context<'_>,
    stack: &Stack,
    service: &Service,
    what: Ask,
) -> Result<Vec<(Kind, String, String)>, Failure> {
    let Some(provider) = &service.provider else { return Ok(Vec::new()) };
    let program = find(context, provider)?;
    let metadata = metadata(&program).await;
    let command = match what {
        Ask::Up => metadata.up.as_ref(),
        Ask::Down => metadata.down.as_ref(),
        Ask::Stop if metadata.stop.is_none() => return Ok(Vec::new()),
        Ask::Stop => metadata.stop.as_ref(),
    };
    let options = options(provider, command)?;
    if context.dry_run() {
        context.ui().say(&format!(" DRY-RUN MODE -  {} {} {}", provider.kind, what.word(), service.name));
        return Ok(Vec::new());
    }
    let tell = |phase, text: &str, details: &str| {
        let (text, details) = (text.to_owned(), details.to_owned());
        context.ui().news(News { id: format!("Service {}", service.name), phase, text, details });
    };
    context.ui().begin(what.word());
    let (begins, ends) = what.progress();
    tell(Phase::Working, begins, "");
    let failed = |reason: &str| {
        tell(Phase::Error, "Error", reason);
        context.ui().end();
        Failure::usage(format!(
            "failed to {} service provider: {reason}",
            if what == Ask::Up { "create" } else { what.word() }
        ))
    };
    let mut run = Command::new(&program);
    run.arg("compose").arg(format!("--project-name={}", stack.name)).arg(what.word()).args(options);
    run.arg(service.name.as_str()).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = run.spawn().map_err(|error| failed(&format!("{}: {error}", program.display())))?;
    let mut told = Vec::new();
    let mut complaint = None;
    if let Some(out) = child.stdout.take() {
        let mut lines = BufReader::new(out).lines();
        while let Some(line) = lines.next_line().await.map_err(|error| failed(&error.to_string()))? {
            if line.trim().is_empty() {
                continue;
            }
            let said: Said = serde_json::from_str(&line)
                .map_err(|_| failed(&format!("{} said what is no message: {line}", provider.kind)))?;
            match said.kind.as_str() {
                "info" => tell(Phase::Working, begins, &said.message),
                "debug" => tracing::debug!(provider = provider.kind, "{}", said.message),
                "error" => complaint = Some(said.message),
                "setenv" | "rawsetenv" => {
                    let kind = if said.kind == "setenv" { Kind::Own } else { Kind::Raw };
                    let (name, value) = said
                        .message
                        .split_once('=')
                        .ok_or_else(|| failed(&format!("{} sets no variable by {:?}", provider.kind, said.message)))?;
                    told.push((kind, name.to_owned(), value.to_owned()));
                }
                other => return Err(failed(&format!("{} said what is not known: {other:?}", provider.kind))),
            }
        }
    }
    let status = child.wait().await.map_err(|error| failed(&error.to_string()))?;
    if let Some(complaint) = complaint {
        return Err(failed(&complaint));
    }
    if !status.success() {
        return Err(failed(&status.to_string()));
    }
    tell(Phase::Done, ends, "");
    context.ui().end();
    Ok(told)
}

/// Its options as flags: those that it says it takes, or all if it says nothing.
fn options(provider: &Provider, command: Option<&Known>) -> Result<Vec<String>, Failure> {
    let known: BTreeMap<&str, bool> =
        command.iter().flat_map(|command| &command.parameters).map(|one| (one.name.as_str(), one.required)).collect();
    if let Some((missing, _)) =
        known.iter().find(|(name, required)| **required && !provider.options.contains_key(**name))
    {
        let kind = &provider.kind;
        let text = format!("required parameter {missing:?} is missing from provider {kind:?} definition");
        return Err(Failure::usage(text));
    }
    let passed = provider.options.iter().filter(|(name, _)| known.is_empty() || known.contains_key(name.as_str()));
    Ok(passed.flat_map(|(name, values)| values.iter().map(move |value| format!("--{name}={value}"))).collect())
}

/// What it says of itself; nothing, if it does not know the question.
async fn metadata(program: &PathBuf) -> Metadata {
    let asked = Command::new(program).args(["compose", "metadata"]).stdin(Stdio::null()).stderr(Stdio::null()).output();
    match asked.await {
        Ok(answer) if answer.status.success() => serde_json::from_slice(&answer.stdout).unwrap_or_default(),
        _ => Metadata::default(),
    }
}

fn find(context: &Context<'_>, provider: &Provider) -> Result<PathBuf, Failure> {
    let kind = provider.kind.as_str();
    if kind == "compose" || kind.contains('/') {
        return Err(Failure::usage(format!("{kind:?} is not a valid provider type")));
    }
    let path = context.variable("PATH").unwrap_or_default();
    let home = context.variable("HOME").map(|home| PathBuf::from(home).join(".docker/cli-plugins"));
    let folders = || std::env::split_paths(&path).collect::<Vec<_>>();
    let plugins = home.into_iter().chain(PLUGINS.map(PathBuf::from));
    let places = plugins.chain(folders()).map(|folder| folder.join(format!("docker-{kind}")));
    let found = places.chain(folders().into_iter().map(|folder| folder.join(kind))).find(|place| place.is_file());
    found.ok_or_else(|| {
        Failure::usage(format!(
            "provider {kind:?} is neither `docker-{kind}` nor `{kind}` in PATH: cannot find the program"
        ))
    })
}
