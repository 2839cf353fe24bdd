//! What every command works with, built once a run: settings, screen, engine, and the project it is about.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use crate::cli::arguments;
use crate::cli::failure::{Failure, Kind};
use crate::cli::globals::{self, Globals};
use crate::cli::members;
use crate::cli::remote::Remote;
use crate::cli::ui::table::Table;
use crate::cli::ui::{Look, Ui};
use crate::engine::{Engine, Observed, ObservedContainer};
use crate::planner::error::PlanError;
use crate::planner::request::{Orphans, UnusedResources};
use crate::planner::{self, Wanted};
use crate::runtime::Runtime;
use crate::runtime::image::credentials::CredentialFile;
use crate::runtime::layout::Layout;
use crate::spec::adjust::Adjustment;
use crate::spec::diagnostic::nearest;
use crate::spec::environment::{Environment, Origin};
use crate::spec::lists::Variable;
use crate::spec::model::Model;
use crate::spec::project::Project;
use crate::spec::source::Source;
use crate::spec::{self, Options};
use crate::values::names::{ProjectName, ServiceName};

/// How a command finds its project (Compose CLI reference, §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The compose files.
    Files,
    /// The compose files, unless only a name was given.
    FilesOrName,
    /// A name; the compose files are read only if nothing else tells it.
    Name,
}

/// The project a command is about.
#[derive(Debug)]
pub struct Stack {
    /// Its name.
    pub name: ProjectName,
    /// What its files say; `None`: only the name is known, the rest is what labels tell.
    pub project: Option<Project>,
}

/// What every command works with.
pub struct Context<'a> {
    globals: &'a Globals,
    ui: &'a Ui,
    source: Source,
    remote: Remote,
    variables: RefCell<BTreeMap<String, String>>,
    /// The services that the files have, once they are read.
    services: RefCell<Vec<String>>,
    engine: OnceCell<Arc<dyn Engine>>,
}

impl Stack {
    /// The active services, by name.
    pub fn services(&self) -> Vec<String> {
        self.project.iter().flat_map(|project| project.services.keys()).map(ToString::to_string).collect()
    }

    /// Whether the files have this service, active or not; a name alone knows every service.
    pub fn knows(&self, service: &str) -> bool {
        let Some(project) = &self.project else { return true };
        project.services.contains_key(service) || project.disabled.contains_key(service)
    }

    /// Whether the service wants its output shown when nobody asks for it.
    pub fn attaches(&self, service: &str) -> bool {
        let found = self.project.as_ref().and_then(|project| project.services.get(service));
        found.is_none_or(|service| service.attach)
    }

    /// The services named on the command line.
    pub fn named(&self, services: &[String]) -> Result<Vec<ServiceName>, Failure> {
        let named = |service: &String| {
            let unknown = || Failure::from(Kind::NoSuchService(service.clone()));
            if !self.knows(service) {
                return Err(unknown());
            }
            ServiceName::try_from(service.as_str()).map_err(|_| unknown())
        };
        services.iter().map(named).collect()
    }

    /// What the planner is told of it.
    pub fn wanted(&self) -> Wanted<'_> {
        match &self.project {
            Some(project) => Wanted::Project(project),
            None => Wanted::Name(&self.name),
        }
    }
}

impl<'a> Context<'a> {
    /// From the flags and the process's environment.
    pub fn new(globals: &'a Globals, ui: &'a Ui) -> Result<Context<'a>, Failure> {
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let source = Source {
            current_dir: std::env::current_dir().map_err(Failure::system("find the current directory"))?,
            environment: environment.clone(),
            files: globals.files.clone(),
            project_directory: globals.project_directory.clone().or_else(|| globals.workdir.clone()),
            project_name: globals.project_name.clone(),
            env_files: globals.env_files.clone(),
            profiles: globals.profiles.clone(),
        };
        ui.set_look(globals.look(&environment, ui)?);
        let engine = OnceCell::new();
        let remote = Remote::new(&environment);
        let variables = RefCell::new(environment);
        Ok(Context { globals, ui, source, remote, variables, services: RefCell::default(), engine })
    }

    /// The screen.
    pub fn ui(&self) -> &'a Ui {
        self.ui
    }

    /// The flags that hold for every command.
    pub fn globals(&self) -> &'a Globals {
        self.globals
    }

    /// Where the files are looked for.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Who fetches files that lie elsewhere.
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Nothing is to be changed.
    pub fn dry_run(&self) -> bool {
        self.globals.dry_run
    }

    /// The engine.
    pub fn engine(&self) -> Arc<dyn Engine> {
        let make = || Arc::new(Runtime::new(Layout::from_environment())) as Arc<dyn Engine>;
        self.engine.get_or_init(make).clone()
    }

    /// Progress is shown so from now on (`build --progress`).
    pub fn set_progress(&self, word: &str) -> Result<(), Failure> {
        let look = self.ui.look();
        self.ui.set_look(Look { progress: globals::progress(word, look.ansi)?, ..look });
        Ok(())
    }

    /// A variable of the process, or of the project's env files once it is loaded.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.variables.borrow().get(name).cloned()
    }

    /// What the user's configuration of Docker's command line says (Compose CLI reference, §3); nothing, with a warning, if
    /// it can't be read.
    pub fn preference(&self, name: &str) -> Option<String> {
        self.docker_config()?.preference(name).map(str::to_owned)
    }

    /// The proxies that it tells commands of builds and containers, by variable.
    pub fn proxies(&self) -> Vec<(String, String)> {
        self.docker_config().map(|file| file.proxies()).unwrap_or_default()
    }

    fn docker_config(&self) -> Option<CredentialFile> {
        CredentialFile::from_environment().inspect_err(|error| self.ui().warn(&error.to_string())).ok()
    }

    /// Whether a variable says yes (Compose CLI reference, §3: `y`, `1`, `t`, `true`).
    pub fn flag_variable(&self, name: &str) -> bool {
        self.variable(name).is_some_and(|text| arguments::yes(&text))
    }

    /// How many things the engine may do at once; `None`: no limit.
    pub fn parallel(&self) -> Result<Option<NonZeroUsize>, Failure> {
        self.globals.parallel(&self.variables.borrow())
    }

    /// What becomes of containers whose service the files do not have.
    pub fn orphans(&self, stack: &Stack, remove: bool) -> Orphans {
        if remove || self.flag_variable("COMPOSE_REMOVE_ORPHANS") {
            Orphans::Include
        } else if stack.project.is_none() || self.flag_variable("COMPOSE_IGNORE_ORPHANS") {
            Orphans::Ignore
        } else {
            Orphans::Warn
        }
    }

    /// Whether things that no service uses are made too.
    pub fn unused_resources(&self) -> UnusedResources {
        if self.globals.all_resources { UnusedResources::Create } else { UnusedResources::Skip }
    }

    /// Finds the project that a command is about.
    ///
    /// `services` are those named on the command line: they are active whatever their profiles, and unknown ones are refused.
    pub fn load(&self, need: Need, services: &[String]) -> Result<Stack, Failure> {
        if need != Need::Files
            && self.globals.files.is_empty()
            && let Some(name) = self.given_name(need)
        {
            let name = ProjectName::try_from(name.to_lowercase()).map_err(|error| Failure::usage(error.to_string()))?;
            return Ok(Stack { name, project: None });
        }
        let files = need == Need::Files;
        let options = Options {
            all_resources: self.globals.all_resources,
            services: services.to_vec(),
            keep_others: !files,
            // Commands on what is there must not fail for an env file that is missing.
            env_files: files,
            ..Options::default()
        };
        let model = match self.model(&options) {
            Ok(model) => model,
            Err(failure) if need == Need::FilesOrName => {
                let Some(name) = self.source.environment.get("COMPOSE_PROJECT_NAME") else { return Err(failure) };
                let name = ProjectName::try_from(name.as_str()).map_err(|_| failure)?;
                return Ok(Stack { name, project: None });
            }
            Err(failure) => return Err(failure),
        };
        if need == Need::Name {
            return Ok(Stack { name: model.name, project: None });
        }
        self.stack(need, &model, services)
    }

    /// The same for `run`, with what its flags put over the service.
    pub fn load_adjusted(&self, service: &str, adjustment: &Adjustment) -> Result<Stack, Failure> {
        let services = [service.to_owned()];
        let all_resources = self.globals.all_resources;
        let mut model = self.model(&Options { all_resources, services: services.to_vec(), ..Options::default() })?;
        model.adjust(service, adjustment, &self.source.current_dir)?;
        self.stack(Need::Files, &model, &services)
    }

    fn stack(&self, need: Need, model: &Model, services: &[String]) -> Result<Stack, Failure> {
        if need == Need::Files {
            for warning in model.unhonoured() {
                self.ui.diagnostic(&warning);
            }
        }
        let mut project = model.project()?;
        if self.globals.compatibility || self.flag_variable("COMPOSE_COMPATIBILITY") {
            project.name_as_version_1();
        }
        if need == Need::Files {
            for (name, value) in self.proxies() {
                project.offer(&name, &value);
            }
        }
        let apart = project.loopback || self.globals.loopback || self.flag_variable("XCOMPOSE_LOOPBACK");
        let mut stack = Stack { name: project.name.clone(), project: Some(project) };
        stack.named(services)?;
        if need == Need::Files && apart {
            self.set_apart(&mut stack)?;
        }
        Ok(stack)
    }

    /// Publishes a project's ports on its own loopback address.
    pub fn set_apart(&self, stack: &mut Stack) -> Result<(), Failure> {
        if let Some(project) = &mut stack.project {
            project.publish_on(self.engine().loopback(&project.name)?);
        }
        Ok(())
    }

    /// The name given without files, where that is enough.
    fn given_name(&self, need: Need) -> Option<&str> {
        let flag = self.globals.project_name.as_deref().filter(|name| !name.is_empty());
        let variable = self.source.environment.get("COMPOSE_PROJECT_NAME").map(String::as_str);
        match need {
            Need::Name => flag.or(variable.filter(|name| !name.is_empty())),
            Need::Files | Need::FilesOrName => flag,
        }
    }

    /// Reads the files, telling warnings.
    pub fn model(&self, options: &Options) -> Result<Model, Failure> {
        let loaded = spec::load_with(&self.source, options, &self.remote)?;
        for warning in &loaded.warnings {
            self.ui.diagnostic(warning);
        }
        let mut variables = self.variables.borrow_mut();
        for (name, value) in &loaded.model.environment {
            variables.entry(name.clone()).or_insert_with(|| value.clone());
        }
        self.services.replace(loaded.model.keys("services").into_iter().map(str::to_owned).collect());
        Ok(loaded.model)
    }

    /// The failure, with what the user may have meant where it is about a service that the files do not have.
    pub fn guess(&self, failure: Failure) -> Failure {
        let services = self.services.borrow();
        let name = match &*failure.kind {
            Kind::NoSuchService(name) | Kind::NotRunning { service: name, .. } => name.as_str(),
            Kind::Plan(PlanError::NoSuchService(name)) => name.as_str(),
            _ => return failure,
        };
        let unknown = !services.iter().any(|service| service == name);
        match nearest(name, services.iter().map(String::as_str)).filter(|_| unknown).map(str::to_owned) {
            Some(near) => failure.hint(format!("did you mean {near}?")),
            None => failure,
        }
    }

    /// Has the user agree to what comes from elsewhere before it is run: a stack with its variables, or what one includes
    /// (Compose CLI reference, §5).
    pub fn agree_to_remote(&self, stack: &Stack, yes: bool) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        let (main, included): (Vec<_>, Vec<_>) = self
            .remote
            .fetched()
            .into_iter()
            .partition(|(address, _)| self.globals.files.iter().any(|file| file.as_os_str() == address.as_str()));
        let agree = |question: &str, default: bool| match self.ui.confirm(question, default)? {
            true => Ok(()),
            false => Err(Failure::usage("operation cancelled by user")),
        };
        if !main.is_empty() {
            for (address, folder) in &main {
                self.ui.line(&format!("Your compose stack {address:?} is stored in {:?}", folder.display()))?;
            }
            let variables = spec::load_with(&self.source, &Options::as_written(), &self.remote)?.model.variables();
            if !variables.is_empty() {
                let environment = self.source.locate(&self.remote, &mut Vec::new())?.environment;
                self.ui.text(&variables_table(&variables, &environment))?;
                agree("Do you want to proceed with these variables?", true)?;
            }
        }
        if !included.is_empty() && stack.project.is_some() {
            let listed: String = included.iter().map(|(address, _)| format!("\n  {address}")).collect();
            agree(&format!("The stack includes files from elsewhere:{listed}\nDo you want to continue?"), false)?;
        }
        Ok(())
    }

    /// What further env files say; they see the project's variables.
    pub fn env_files(&self, files: &[PathBuf]) -> Result<BTreeMap<String, String>, Failure> {
        let mut found = Vec::new();
        let read = self.source.further_env_files(files, &self.variables.borrow(), &mut found)?;
        for warning in &found {
            self.ui.diagnostic(warning);
        }
        Ok(read)
    }

    /// How the project stands, with the images of its services.
    pub async fn observe(&self, stack: &Stack) -> Result<Observed, Failure> {
        let images = match &stack.project {
            Some(project) => planner::images::named(project),
            None => Vec::new(),
        };
        Ok(self.engine().observe(&stack.name, &images).await?)
    }

    /// The running container that `exec`, `port` and their like mean.
    pub fn target<'o>(
        &self,
        observed: &'o Observed,
        service: &str,
        index: u32,
    ) -> Result<&'o ObservedContainer, Failure> {
        let running = members::running_of(observed, service);
        let found = match index {
            0 => running.first(),
            _ => running.iter().find(|container| members::number(&container.config.labels) == Some(index)),
        };
        found.copied().ok_or_else(|| Kind::NotRunning { service: service.to_owned(), index }.into())
    }
}

fn variables_table(variables: &BTreeMap<String, Variable>, environment: &Environment) -> String {
    let mut table = Table::new(&["VARIABLE", "VALUE", "SOURCE", "REQUIRED", "DEFAULT"]);
    for (name, variable) in variables {
        let known = environment.candidates(name).first();
        let value = known.map_or(variable.default.clone(), |candidate| candidate.value.clone());
        let source = match known.map(|candidate| &candidate.origin) {
            Some(Origin::Process | Origin::Compose) => "environment".to_owned(),
            Some(Origin::File(at)) => at.to_string(),
            None => "compose file".to_owned(),
        };
        let required = if variable.required { "yes" } else { "no" };
        table.row(vec![name.clone(), value, source, required.to_owned(), variable.default.clone()]);
    }
    table.to_string()
}
