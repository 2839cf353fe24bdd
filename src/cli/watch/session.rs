//! One session of watching: the project's lock, the rules, and what a change leads to. Files of one batch go in this order:
//! builds, copies, restarts, commands. What fails is told, and watching goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use crate::cli::context::{Context, Stack};
use crate::cli::failure::Failure;
use crate::cli::members;
use crate::cli::observer::Shown;
use crate::cli::watch::Changes;
use crate::cli::watch::rules::Rule;
use crate::engine::{CopyOptions, CopyOwner, EngineError, ObservedContainer, Outside, Parents, SourceLink};
use crate::executor::{Observer, StepError, hook};
use crate::planner::plan::{ContainerRef, HookRun, Target};
use crate::planner::request::{Build, BuildPolicy, Dependencies, Operation, Recreate, Request, Until, Up, Wait};
use crate::runtime::layout::Layout;
use crate::spec::project::hooks::{Hook, WatchAction};
use crate::values::names::ServiceName;

/// More changes at once than a person makes by hand.
const MANY: usize = 1000;

/// What the user chose.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// What becomes of an image that a build replaced.
    pub replaced: ReplacedImages,
    /// Whether images may be built.
    pub builds: Builds,
}

/// What becomes of images that lost their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplacedImages {
    /// They go.
    Remove,
    /// They stay.
    Keep,
}

/// Whether images may be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builds {
    /// They may.
    Allowed,
    /// `--no-build`.
    Refused,
}

/// A session.
pub struct Session<'c> {
    context: &'c Context<'c>,
    stack: &'c Stack,
    rules: Vec<Rule>,
    settings: Settings,
    /// Held: there is one session a project.
    _lock: File,
}

/// What one batch of changes asks for.
#[derive(Default)]
struct Batch<'r> {
    rebuild: BTreeSet<ServiceName>,
    /// By service: path of the host and path in the container.
    sync: BTreeMap<ServiceName, BTreeMap<PathBuf, String>>,
    restart: BTreeSet<ServiceName>,
    exec: Vec<(ServiceName, &'r Hook)>,
}

impl<'c> Session<'c> {
    /// For the services named (all, if none is). Refused if none of them has rules, or somebody watches already.
    pub fn new(
        context: &'c Context<'c>,
        stack: &'c Stack,
        services: &[String],
        settings: Settings,
    ) -> Result<Session<'c>, Failure> {
        let rules = rules(stack, services, settings.builds)?;
        let lock = lock(stack)?;
        for rule in rules.iter().filter(|rule| rule.is_mounted()) {
            context.ui().warn(&format!(
                "path '{}' also declared by a bind mount volume, this path won't be monitored!",
                rule.rule.path.display()
            ));
        }
        let rules = rules.into_iter().filter(|rule| !rule.is_mounted()).collect();
        Ok(Session { context, stack, rules, settings, _lock: lock })
    }

    /// Watches without end.
    pub async fn run(&self) -> Result<Infallible, Failure> {
        let mut changes = Changes::below(&self.rules.iter().map(|rule| rule.rule.path.clone()).collect())?;
        self.say("Watch enabled");
        self.first_sync().await?;
        loop {
            let paths = changes.next().await;
            let batch = self.batch(&paths);
            if let Err(failure) = self.follow(batch).await {
                self.context.ui().warn(&failure.text());
            }
        }
    }

    /// Tells a person, beside the containers' output.
    fn say(&self, text: &str) {
        self.context.ui().watching(text);
    }

    async fn first_sync(&self) -> Result<(), Failure> {
        let mut batch = Batch::default();
        for rule in self.rules.iter().filter(|rule| rule.syncs() && rule.rule.initial_sync) {
            self.take(rule, &rule.rule.path, &mut batch);
        }
        let done = self.sync(&batch).await;
        if let Err(failure) = done {
            self.context.ui().warn(&failure.text());
        }
        Ok(())
    }

    fn take<'r>(&self, rule: &'r Rule, path: &std::path::Path, batch: &mut Batch<'r>) {
        let files = batch.sync.entry(rule.service.name.clone()).or_default();
        for file in rule.files(path) {
            if let Some(below) = rule.concerns(&file) {
                let target = rule.target(below);
                files.insert(file, target);
            }
        }
    }

    fn batch(&self, paths: &BTreeSet<PathBuf>) -> Batch<'_> {
        if paths.len() > MANY {
            self.context
                .ui()
                .warn("Large batch of file changes detected. If you just switched branches, this is expected.");
        }
        let mut batch = Batch::default();
        for rule in &self.rules {
            let name = &rule.service.name;
            let concerned: Vec<_> = paths.iter().filter(|path| rule.concerns(path).is_some()).collect();
            // A folder that was moved here tells of itself alone.
            let folders = paths.iter().filter(|path| path.is_dir() && path.starts_with(&rule.rule.path));
            let below: Vec<_> = folders.flat_map(|folder| rule.files(folder)).collect();
            if concerned.iter().all(|path| path.is_dir()) && below.is_empty() {
                continue;
            }
            if rule.syncs() {
                let files = batch.sync.entry(name.clone()).or_default();
                let all = concerned.into_iter().chain(&below).filter(|path| !path.is_dir());
                for path in all {
                    if let Some(below) = rule.concerns(path) {
                        files.insert(path.clone(), rule.target(below));
                    }
                }
            }
            match rule.rule.action {
                WatchAction::Rebuild => drop(batch.rebuild.insert(name.clone())),
                WatchAction::Restart | WatchAction::SyncRestart => drop(batch.restart.insert(name.clone())),
                WatchAction::SyncExec => batch.exec.extend(rule.rule.exec.iter().map(|hook| (name.clone(), hook))),
                WatchAction::Sync => {}
            }
        }
        batch
    }

    async fn follow(&self, batch: Batch<'_>) -> Result<(), Failure> {
        if !batch.rebuild.is_empty() {
            self.rebuild(&batch.rebuild).await?;
        }
        self.sync(&batch).await?;
        if !batch.restart.is_empty() {
            let services = batch.restart.iter().cloned().collect();
            let operation =
                Operation::Restart { grace: None, dependents: crate::planner::request::Dependents::Include };
            self.context.carry_out_in_lines(self.stack, Request { services, operation }).await?;
            self.say(&format!("service(s) {} restarted", listed(&batch.restart)));
        }
        for (service, hook) in &batch.exec {
            self.exec(service, hook).await?;
        }
        Ok(())
    }

    async fn rebuild(&self, services: &BTreeSet<ServiceName>) -> Result<(), Failure> {
        self.say(&format!("Rebuilding service(s) {} after changes were detected...", listed(services)));
        let before = self.context.observe(self.stack).await?.images;
        let named: Vec<ServiceName> = services.iter().cloned().collect();
        let build = Build { dependencies: Dependencies::Exclude, ..Build::default() };
        let build = Request { services: named.clone(), operation: Operation::Build(build) };
        if let Err(failure) = self.context.carry_out_in_lines(self.stack, build).await {
            self.say(&format!("Build failed. Error: {}", failure.text()));
            return Ok(());
        }
        self.say(&format!("service(s) {} successfully built", listed(services)));
        let up = Up {
            recreate: Recreate::Always,
            dependencies: Dependencies::Exclude,
            build: BuildPolicy::Never,
            until: Until::Started(Wait::No),
            ..Up::default()
        };
        if let Err(failure) = self.context.carry_out_in_lines(self.stack, Request::up(&named, up)).await {
            self.say(&format!("Failed to recreate services after update. Error: {}", failure.text()));
            return Ok(());
        }
        if self.settings.replaced == ReplacedImages::Remove {
            let after = self.context.observe(self.stack).await?.images;
            for (name, image) in before {
                if after.get(&name).is_some_and(|now| now.id != image.id) {
                    match self.context.engine().remove_image(&image.id.0, false).await {
                        // Another name or another container has it.
                        Ok(_) | Err(EngineError::InUse { .. } | EngineError::NotFound(_)) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
        Ok(())
    }

    async fn containers(&self, service: &ServiceName) -> Result<Vec<ObservedContainer>, Failure> {
        let observed = self.context.observe(self.stack).await?;
        let own = observed.containers.into_iter().filter(|container| {
            let labels = &container.config.labels;
            members::service(labels) == service.as_str() && !members::one_off(labels)
        });
        Ok(own.collect())
    }

    async fn sync(&self, batch: &Batch<'_>) -> Result<(), Failure> {
        let options = CopyOptions { link: SourceLink::Itself, owner: CopyOwner::Source, parents: Parents::Made };
        for (service, files) in batch.sync.iter().filter(|(_, files)| !files.is_empty()) {
            self.say(&format!("Syncing service {:?} after {} changes were detected", service.as_str(), files.len()));
            for container in self.containers(service).await? {
                let engine = self.context.engine();
                let mut gone = Vec::new();
                for (path, target) in files {
                    if path.symlink_metadata().is_err() {
                        gone.push(target.clone());
                        continue;
                    }
                    match engine.copy_into(&container.id, Outside::Path(path.clone()), target, options).await {
                        // Removed since it was seen; that comes as the next change.
                        Err(_) if path.symlink_metadata().is_err() => {}
                        other => other?,
                    }
                }
                if !gone.is_empty() {
                    engine.remove_files(&container.id, &gone).await?;
                }
            }
        }
        Ok(())
    }

    async fn exec(&self, service: &ServiceName, hook: &Hook) -> Result<(), Failure> {
        for container in self.containers(service).await?.iter().filter(|container| members::running(container)) {
            let Some(project) = &self.stack.project else { continue };
            let (name, id) = (container.config.name.clone(), container.id.clone());
            let target = Target { name, container: ContainerRef::Existing(id) };
            let run = HookRun::new(project, service, &target, hook);
            let shown = Shown::new(self.context.ui());
            let tell = |output: &[u8]| shown.hook(&run.source, output);
            match hook::run(self.context.engine().as_ref(), &container.id, &run, &tell).await {
                Ok(()) => {}
                Err(error @ StepError::Hook { .. }) => self.context.ui().warn(&error.to_string()),
                Err(error) => return Err(Failure::usage(error.to_string())),
            }
        }
        Ok(())
    }
}

/// The rules of these services.
fn rules(stack: &Stack, services: &[String], builds: Builds) -> Result<Vec<Rule>, Failure> {
    let mut rules = Vec::new();
    for (name, service) in stack.project.iter().flat_map(|project| &project.services) {
        if !services.is_empty() && !services.iter().any(|wanted| wanted == name.as_str()) {
            continue;
        }
        for rule in &service.watch {
            if rule.action == WatchAction::Rebuild {
                if service.build.is_none() {
                    let text =
                        format!("can't watch service {:?} with action rebuild without a build context", name.as_str());
                    return Err(Failure::usage(text));
                }
                if builds == Builds::Refused {
                    let text = format!("--no-build is incompatible with watch action rebuild in service {name}");
                    return Err(Failure::usage(text));
                }
            }
            rules.push(Rule::new(service, rule)?);
        }
    }
    if rules.is_empty() {
        return Err(Failure::usage(
            "none of the selected services is configured for watch, consider setting a 'develop' section",
        ));
    }
    Ok(rules)
}

/// Takes the project's one place to watch, until the file is closed.
fn lock(stack: &Stack) -> Result<File, Failure> {
    let path = Layout::from_environment().watch_lock(&stack.name);
    let failed = |error| Failure::file("lock", &path)(error);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut options = File::options();
    let mut file = options.create(true).read(true).write(true).truncate(false).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            let holder = std::io::read_to_string(&file).unwrap_or_default();
            let holder = holder.trim();
            let name = stack.name.as_str();
            return Err(Failure::usage(format!(
                "cannot take exclusive lock for project {name:?}: process with PID {holder} is still running"
            )));
        }
        Err(std::fs::TryLockError::Error(error)) => return Err(failed(error)),
    }
    let written = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
    written.map_err(failed)?;
    Ok(file)
}

fn listed(services: &BTreeSet<ServiceName>) -> String {
    format!("{:?}", services.iter().map(ServiceName::as_str).collect::<Vec<_>>())
}
