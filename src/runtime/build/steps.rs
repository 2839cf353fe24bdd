//! Doing the steps of a stage: which are known already, and what the others make.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;

use crate::engine::{BuildConfig, Cause, EngineError, Progress, Subject};
use crate::runtime::build::cache::{self, Key, Made};
use crate::runtime::build::copy::{self, Archives, CopyError, Destination, Manner, Parents};
use crate::runtime::build::dockerfile::{Dockerfile, DockerfileError, Step};
use crate::runtime::build::ignore::{self, Ignore};
use crate::runtime::build::instruction::{Command, Copy, Instruction, Run};
use crate::runtime::build::mounts;
use crate::runtime::build::rootfs::{Change, readable, writable};
use crate::runtime::build::run::{self, Connected, Ended, Listener, RunError, Runner};
use crate::runtime::build::source::{Origin, Selected};
use crate::runtime::build::stages::{Base, Stage, find};
use crate::runtime::build::state::{State, proxies};
use crate::runtime::image::digest::Digest;
use crate::runtime::image::staging::Staging;
use crate::runtime::image::store::{Store, failed};
use crate::runtime::image::tree::{names, open_directory};
use crate::runtime::layout::Layout;
use crate::runtime::start::StartError;
use crate::runtime::start::identity;
use crate::runtime::start::inside::Inside;
use crate::runtime::sys::OsError;

/// How many of its last lines a failed command shows.
const LAST_LINES: usize = 20;

/// One build.
pub(super) struct Builder<'a> {
    pub(super) layout: &'a Layout,
    pub(super) store: &'a Store,
    pub(super) config: &'a BuildConfig,
    pub(super) file: &'a Dockerfile,
    pub(super) stages: &'a [Stage],
    pub(super) globals: &'a std::collections::BTreeMap<String, String>,
    pub(super) ignore: Ignore,
    pub(super) staging: Staging,
    pub(super) progress: &'a mpsc::Sender<Progress>,
    /// Made with the first command.
    pub(super) runner: Option<Runner>,
    /// Stages that are done.
    pub(super) done: Vec<Option<State>>,
    /// Counts folders in the staging folder.
    pub(super) changes: usize,
}

/// Why a step failed, before it is given its place.
pub(super) enum Fault {
    /// Tell the user; at this word of the Dockerfile.
    Wrong { word: String, message: String },
    /// Something else.
    Failed(EngineError),
    /// A call or the like.
    Other(Cause),
}

impl Fault {
    fn at(word: &str, message: impl Into<String>) -> Fault {
        Fault::Wrong { word: word.to_owned(), message: message.into() }
    }
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Fault {
        Fault::Failed(error)
    }
}

macro_rules! other_faults {
    ($($error:ty),*) => {$(
        impl From<$error> for Fault {
            fn from(error: $error) -> Fault {
                Fault::Other(error.into())
            }
        }
    )*};
}
other_faults!(OsError, io::Error, StartError, RunError);

impl From<String> for Fault {
    fn from(message: String) -> Fault {
        Fault::at("", message)
    }
}

impl From<CopyError> for Fault {
    fn from(error: CopyError) -> Fault {
        match error {
            CopyError::Invalid(message) => Fault::at("", message),
            other => Fault::Other(other.into()),
        }
    }
}

/// A Dockerfile's error as an engine's.
pub(super) fn invalid(error: DockerfileError) -> EngineError {
    EngineError::Invalid { subject: Subject::Path(error.place.clone()), reason: error.to_string() }
}

impl Builder<'_> {
    /// Does one stage from its base to its end.
    pub(super) fn stage(&mut self, number: usize) -> Result<State, EngineError> {
        let stages = self.stages;
        let (file, stage) = (self.file, &stages[number]);
        let label = match (&stage.name, stages.len()) {
            (_, 1) => String::new(),
            (Some(name), _) => format!("{name} "),
            (None, _) => format!("stage-{number} "),
        };
        let count = stage.steps.len() + 1;
        let from = &file.steps[stage.from];
        let id = format!("{number}.1");
        self.tell(Progress::Step { id: id.clone(), text: format!("[{label}1/{count}] {}", from.text) })?;
        let mut state = self.base(&stage.base).map_err(|fault| self.place(from, fault))?;
        self.tell(Progress::Done { id, cached: true })?;
        let base = self.name_of(&stage.base);
        for trigger in state.triggers() {
            let instruction = crate::runtime::build::dockerfile::parse_trigger(&trigger, &base).map_err(invalid)?;
            let step = Step { instruction, text: format!("ONBUILD {trigger}"), ..from.clone() };
            self.step(&mut state, number, &step, &format!("{number}.on-{trigger}"), &format!("[{label}on build]"))?;
        }
        for (index, step) in file.steps[stage.steps.clone()].iter().enumerate() {
            self.step(
                &mut state,
                number,
                step,
                &format!("{number}.{}", index + 2),
                &format!("[{label}{}/{count}]", index + 2),
            )?;
        }
        Ok(state)
    }

    fn step(&mut self, state: &mut State, stage: usize, step: &Step, id: &str, place: &str) -> Result<(), EngineError> {
        self.tell(Progress::Step { id: id.to_owned(), text: format!("{place} {}", step.text) })?;
        let cached = self.instruction(state, stage, step, id).map_err(|fault| self.place(step, fault))?;
        self.tell(Progress::Done { id: id.to_owned(), cached })
    }

    fn place(&self, step: &Step, fault: Fault) -> EngineError {
        match fault {
            Fault::Wrong { word, message } => invalid(self.file.error(step, &word, message)),
            Fault::Failed(error) => error,
            Fault::Other(source) => {
                let subject = Subject::Path(format!("{}: {}", self.file.place(step), step.text));
                EngineError::Failed { verb: "do", subject, source }
            }
        }
    }

    /// Says what goes on. Whoever does not listen any more does not want the build any more.
    fn tell(&self, progress: Progress) -> Result<(), EngineError> {
        self.progress.blocking_send(progress).map_err(|_| cancelled())
    }

    fn base(&self, base: &Base) -> Result<State, Fault> {
        Ok(match base {
            Base::Scratch => State::scratch(),
            Base::Stage(number) => {
                let done = self.done.get(*number).and_then(Option::as_ref);
                let done = done.ok_or_else(|| Fault::at("", format!("stage {number} is not done yet")))?;
                State::on(done.document.clone())
            }
            Base::Image(name) => State::on(self.image(name)?.document),
        })
    }

    fn image(&self, name: &str) -> Result<crate::runtime::image::Image, Fault> {
        self.store.find(name)?.ok_or_else(|| {
            let hint = "images are not pulled yet: bring it with `xcompose image import` or `xcompose image load`";
            Fault::at(name, format!("the image {name} is not in the store ({hint})"))
        })
    }

    fn name_of(&self, base: &Base) -> String {
        match base {
            Base::Scratch => "scratch".to_owned(),
            Base::Stage(number) => self.stages[*number].name.clone().unwrap_or_else(|| format!("stage {number}")),
            Base::Image(name) => name.clone(),
        }
    }

    /// Does one instruction; says whether its result was known.
    fn instruction(&mut self, state: &mut State, stage: usize, step: &Step, id: &str) -> Result<bool, Fault> {
        let escape = self.file.escape;
        match &step.instruction {
            // Stages begin with it; there is none within.
            Instruction::From { .. } => return Err(Fault::at("", "FROM can't be put off")),
            Instruction::Run(run) => return self.run(state, stage, step, run, id),
            Instruction::Copy(copy) => return self.copy(state, stage, step, copy, Archives::Kept),
            Instruction::Add(add) => {
                let remote = ["http://", "https://", "git@", "git://", "ftp://"];
                if let Some(source) =
                    add.sources.iter().find(|source| remote.iter().any(|start| source.starts_with(start)))
                {
                    return Err(Fault::at(source, "ADD from the network is not supported yet"));
                }
                return self.copy(state, stage, step, add, Archives::Unpacked);
            }
            Instruction::Workdir(path) => {
                let path = state.word(path, escape)?;
                state.working_dir(&path);
                return self.working_dir(state, step);
            }
            Instruction::Arg(arguments) => {
                for (name, default) in arguments {
                    let default = default.as_deref().map(|text| state.word(text, escape)).transpose()?;
                    let given = self.config.args.get(name).cloned();
                    let value = given.or(default).or_else(|| self.globals.get(name).cloned());
                    state.argument(name, value);
                }
            }
            Instruction::Env(pairs) => state.environment(pairs, escape)?,
            Instruction::Label(pairs) => state.labels(pairs, escape)?,
            Instruction::User(user) => state.document.config.user = state.word(user, escape)?,
            Instruction::Expose(ports) => state.expose(ports, escape)?,
            Instruction::Volume(paths) => state.volumes(paths, escape)?,
            Instruction::Entrypoint(command) => state.entrypoint(command),
            Instruction::Cmd(command) => state.command(command),
            Instruction::Shell(words) => state.document.config.shell.clone_from(words),
            Instruction::StopSignal(signal) => {
                let signal = state.word(signal, escape)?;
                state.stop_signal(&signal)?;
            }
            Instruction::Healthcheck(check) => state.health(check.as_ref()),
            Instruction::OnBuild(text) => state.document.config.on_build.push(text.clone()),
            Instruction::Maintainer(author) => state.document.author = Some(author.clone()),
        }
        state.done(&step.text, None);
        Ok(true)
    }

    /// Takes the known result of a key, or makes it; says whether it was known.
    fn layer(
        &mut self,
        state: &mut State,
        step: &Step,
        key: &Digest,
        make: impl FnOnce(&mut Self, &[PathBuf], &Change) -> Result<(), Fault>,
    ) -> Result<bool, Fault> {
        let known = if self.config.no_cache { None } else { cache::find(self.store, key)? };
        let cached = known.is_some();
        let made = match known {
            Some(made) => made,
            None => {
                self.changes += 1;
                let change = Change::new(&self.staging.path().join(format!("change-{}", self.changes)))?;
                let layers = self.directories(state);
                make(self, &layers, &change)?;
                let empty =
                    names(open_directory(&change.upper).map_err(io::Error::from)?).map_err(io::Error::from)?.is_empty();
                let layer = match empty {
                    true => None,
                    false => {
                        let subject = Subject::Path(self.file.place(step));
                        Some(self.store.add_made_layer(&self.staging, &change.upper, subject)?.0)
                    }
                };
                let made = Made { layer, created: jiff::Timestamp::now().to_string() };
                cache::keep(self.store, key, &made)?;
                made
            }
        };
        state.created = Some(made.created);
        state.done(&step.text, made.layer.map(|layer| layer.to_string()));
        Ok(cached)
    }

    fn directories(&self, state: &State) -> Vec<PathBuf> {
        let ids = state.document.rootfs.diff_ids.iter().filter_map(|id| Digest::try_from(id.as_str()).ok());
        ids.map(|id| self.store.layer_files(&id)).collect()
    }

    fn working_dir(&mut self, state: &mut State, step: &Step) -> Result<bool, Fault> {
        let path = state.document.config.working_dir.clone();
        let user = state.document.config.user.clone();
        let mut key = Key::new("workdir", &state.document.rootfs.diff_ids);
        key.add(&path);
        key.add(&user);
        self.layer(state, step, &key.digest(), |_, layers, change| {
            let root = writable(layers, change)?;
            if crate::runtime::image::tree::open_directory_in(&root, &copy::relative(Path::new(&path))).is_ok() {
                return Ok(());
            }
            let owner = owner(&root, &user)?;
            Ok(copy::make_folder(&root, Path::new(&path), owner)?)
        })
    }

    fn copy(
        &mut self,
        state: &mut State,
        stage: usize,
        step: &Step,
        copy: &Copy,
        archives: Archives,
    ) -> Result<bool, Fault> {
        let escape = self.file.escape;
        let sources = state.words(&copy.sources, escape)?;
        let destination = state.word(&copy.destination, escape)?;
        let chown = copy.chown.as_deref().map(|text| state.word(text, escape)).transpose()?;
        let mode = copy.chmod.as_deref().map(|text| state.word(text, escape)).transpose()?;
        let mode = mode.map(|text| octal(&text).map_err(|message| Fault::at(&text, message))).transpose()?;
        let exclude =
            Ignore::parse(&copy.exclude.join("\n")).map_err(|(_, message)| Fault::at("--exclude", message))?;
        let path = state.absolute(&destination);

        let mut key =
            Key::new(if archives == Archives::Kept { "copy" } else { "add" }, &state.document.rootfs.diff_ids);
        key.add(&path);
        key.add(if destination.ends_with('/') { "folder" } else { "" });
        key.add(chown.as_deref().unwrap_or("none"));
        key.add(mode.map_or("none".to_owned(), |mode| format!("{mode:o}")));
        key.add(if copy.parents { "parents" } else { "" });
        key.add_all(&copy.exclude);

        let (origin, known_by) = self.origin(stage, copy.from.as_deref())?;
        let documents: Vec<(String, String)> = copy
            .heredocs
            .iter()
            .map(|document| {
                let content = if document.expand {
                    state.word_of_document(&document.content, escape)?
                } else {
                    document.content.clone()
                };
                Ok((document.name.clone(), content))
            })
            .collect::<Result<_, String>>()?;
        for (name, content) in &documents {
            key.add(name);
            key.add(content);
        }
        // What comes from a stage or an image is known by its layers; only if these are new, its content is looked at.
        let shortcut = known_by.map(|layers| {
            let mut shortcut = Key::new("from", &layers);
            shortcut.add(key.digest().hex());
            shortcut.add_all(&sources);
            shortcut.digest()
        });
        if let (Some(shortcut), false) = (&shortcut, self.config.no_cache)
            && let Some(made) = cache::find(self.store, shortcut)?
        {
            state.created = Some(made.created);
            state.done(&step.text, made.layer.map(|layer| layer.to_string()));
            return Ok(true);
        }
        let origin = Origin { root: origin, ignore: copy.from.is_none().then_some(&self.ignore) };
        let mut selected: Vec<Selected> = Vec::new();
        for source in &sources {
            let below = ignore::inside(source)
                .ok_or_else(|| Fault::at(source, format!("the path {source} leads out of the build context")))?;
            let found = origin.select(&below, &exclude)?;
            if found.is_empty() {
                return Err(Fault::at(source, missing(source, &below, &origin, copy.from.as_deref())));
            }
            selected.extend(found);
        }
        let folder = destination.ends_with('/')
            || matches!(destination.as_str(), "." | "..")
            || selected.len() + documents.len() > 1;
        key.add(origin.digest(&selected)?.hex());
        let key = key.digest();
        // The layer is made with a builder that can be changed; the origin borrows one of its fields.
        let from_context = copy.from.is_none();
        let root = origin.root;
        let ignore = from_context.then(|| self.ignore.clone());
        let cached = self.layer(state, step, &key, |_, layers, change| {
            let target = writable(layers, change)?;
            let owner = chown.as_deref().map(|chown| owner_of(&target, chown)).transpose()?;
            let manner = Manner {
                owner: owner.or(from_context.then_some((0, 0))),
                archive_owner: owner,
                mode,
                unpack: archives,
                parents: if copy.parents { Parents::Made } else { Parents::Dropped },
            };
            let origin = Origin { root, ignore: ignore.as_ref() };
            let to = Destination { root: &target, path: Path::new(&path), folder };
            copy::copy(&origin, &selected, &to, manner)?;
            for (name, content) in &documents {
                copy::write(content.as_bytes(), name, &to, manner)?;
            }
            Ok(())
        })?;
        if let Some(shortcut) = shortcut
            && let Some(made) = cache::find(self.store, &key)?
        {
            cache::keep(self.store, &shortcut, &made)?;
        }
        Ok(cached)
    }

    /// The root that files are taken from, and the layers it consists of unless it is the context.
    fn origin(&self, stage: usize, from: Option<&str>) -> Result<(OwnedFd, Option<Vec<String>>), Fault> {
        let Some(from) = from else {
            let root = open_directory(&self.config.context).map_err(io::Error::from)?;
            return Ok((root, None));
        };
        let layers = self.layers_of(stage, from)?;
        let directories: Vec<PathBuf> = layers
            .iter()
            .filter_map(|id| Digest::try_from(id.as_str()).ok())
            .map(|id| self.store.layer_files(&id))
            .collect();
        let empty = self.staging.path().join("empty");
        std::fs::create_dir_all(&empty)?;
        Ok((readable(&directories, &empty)?, Some(layers)))
    }

    /// The layers of another stage, or of an image.
    pub(super) fn layers_of(&self, stage: usize, from: &str) -> Result<Vec<String>, Fault> {
        match find(&self.stages[..stage], from) {
            Base::Stage(number) => {
                let done = self.done.get(number).and_then(Option::as_ref);
                let done = done.ok_or_else(|| Fault::at(from, format!("the stage {from} is not done yet")))?;
                Ok(done.document.rootfs.diff_ids.clone())
            }
            _ if from == "scratch" => Ok(Vec::new()),
            _ => Ok(self.image(from)?.document.rootfs.diff_ids),
        }
    }

    /// A digest of what a path of the context holds.
    pub(super) fn context_digest(&self, source: &str) -> Result<Digest, Fault> {
        let root = open_directory(&self.config.context).map_err(io::Error::from)?;
        let origin = Origin { root, ignore: Some(&self.ignore) };
        let below = ignore::inside(source)
            .ok_or_else(|| Fault::at(source, format!("the path {source} leads out of the build context")))?;
        Ok(origin.digest(&origin.select(&below, &Ignore::default())?)?)
    }

    fn run(&mut self, state: &mut State, stage: usize, step: &Step, run: &Run, id: &str) -> Result<bool, Fault> {
        let network = run.network.as_deref().or(self.config.network.as_deref());
        let connected = match network.unwrap_or("default") {
            "" | "default" | "bridge" => Connected::Bridge,
            "host" => Connected::Host,
            "none" => Connected::None,
            other => {
                return Err(Fault::at(
                    other,
                    format!("the network of a build is default, host or none, not {other:?}"),
                ));
            }
        };
        let mut argv = state.command_line(&run.command);
        // A document that begins so names its own interpreter (Dockerfile reference, "Here-Documents").
        if let Command::Shell(line) = &run.command
            && line.starts_with("#!")
        {
            argv = mounts::script(line);
        }
        let env = state.command_environment();
        let mut key = Key::new("run", &state.document.rootfs.diff_ids);
        key.add_all(&argv);
        key.add_all(&env);
        key.add(&state.document.config.user);
        key.add(&state.document.config.working_dir);
        key.add_all(&run.mounts);
        key.add(format!("{connected:?}"));
        let prepared = mounts::prepare(self, stage, &run.mounts, state)?;
        for layers in &prepared.depends_on {
            key.add_all(layers);
        }
        let user = Some(state.document.config.user.clone()).filter(|user| !user.is_empty());
        let working_dir = state.absolute("");
        self.layer(state, step, &key.digest(), |builder, layers, change| {
            let runner = match builder.runner.take() {
                Some(runner) => runner,
                None => Runner::new(builder.layout)?,
            };
            let mut env = env;
            env.extend(proxies(&builder.config.args));
            let places = match prepared.mounts.as_slice() {
                [] => Vec::new(),
                some => mounts::missing(&writable(layers, change)?, some),
            };
            let command = run::Command {
                layers,
                change,
                argv: argv.clone(),
                env,
                working_dir,
                user,
                mounts: prepared.mounts,
                connected,
                extra_hosts: &builder.config.extra_hosts,
                shm_size: builder.config.shm_size,
                ulimits: &builder.config.ulimits,
            };
            let mut output = Output { progress: builder.progress, id, last: Vec::new() };
            let result = runner.run(&command, &mut output);
            builder.runner = Some(runner);
            let status = match result {
                Ok(Ended::Exited(0)) => return Ok(mounts::clear(&places, &change.upper)?),
                Ok(Ended::Exited(status)) => status,
                Ok(Ended::Cancelled) => return Err(cancelled().into()),
                Err(RunError::Start(StartError::Command { code, reason })) => {
                    output.print(reason.as_bytes());
                    code
                }
                Err(error) => return Err(error.into()),
            };
            let step = format!("{}{}: process {:?}", output.last_lines(), builder.file.place(step), argv.join(" "));
            Err(Fault::Failed(EngineError::Build { step, status }))
        })
    }
}

fn cancelled() -> EngineError {
    EngineError::State { subject: Subject::Path("the build".to_owned()), state: "cancelled".to_owned() }
}

/// Passes on what a command prints, and remembers the end of it.
struct Output<'a> {
    progress: &'a mpsc::Sender<Progress>,
    id: &'a str,
    last: Vec<u8>,
}

impl Listener for Output<'_> {
    fn print(&mut self, bytes: &[u8]) {
        // That nobody listens is noticed by `is_gone`.
        let _ = self.progress.blocking_send(Progress::Output { id: self.id.to_owned(), bytes: bytes.to_vec() });
        self.last.extend(bytes);
        let surplus = self.last.len().saturating_sub(16 * 1024);
        self.last.drain(..surplus);
    }

    fn is_gone(&self) -> bool {
        self.progress.is_closed()
    }
}

impl Output<'_> {
    fn last_lines(&self) -> String {
        let text = String::from_utf8_lossy(&self.last);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.len().saturating_sub(LAST_LINES);
        lines[last..].iter().map(|line| format!(" > {line}\n")).collect()
    }
}

/// Why nothing was found, with what may be the reason.
fn missing(source: &str, below: &Path, origin: &Origin<'_>, from: Option<&str>) -> String {
    match from {
        Some(from) => format!("{source} does not exist in {from}"),
        None if origin.ignore.is_some_and(|ignore| ignore.excludes(below)) => {
            format!("{source} is not part of the build context: .dockerignore leaves it out")
        }
        None => format!("{source} does not exist in the build context"),
    }
}

/// The user of an image as numbers.
fn owner(root: &OwnedFd, user: &str) -> Result<(u32, u32), Fault> {
    use std::os::fd::AsFd;
    let identity = identity::look_up(Inside::new(root.as_fd()), user, &[])?;
    Ok((identity.uid, identity.gid))
}

/// `--chown`: a number alone is the group's, too.
fn owner_of(root: &OwnedFd, chown: &str) -> Result<(u32, u32), Fault> {
    let own =
        |user: &str| owner(root, user).map_err(|_| Fault::at(chown, format!("the image has no user or group {chown}")));
    match chown.parse::<u32>() {
        Ok(number) => Ok((number, number)),
        Err(_) => own(chown),
    }
}

fn octal(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| format!("--chmod takes an octal number such as 755, not {text:?}"))
}

/// Turns a failure into one of the whole build.
pub(super) fn during<E: Into<Cause>>(verb: &'static str, path: &Path) -> impl FnOnce(E) -> EngineError {
    failed(verb, Subject::Path(path.display().to_string()))
}
