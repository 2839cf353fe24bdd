//! Doing the steps of a stage: which are known already, and what the others make.
//!
//! Stages are done on several threads. A stage that needs another waits for it, or does it if nobody does yet; since a stage needs
//! only earlier ones, no two wait for each other.

mod add;
mod copy;
mod run;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::sync::mpsc;

use crate::engine::{BuildConfig, EngineError, Progress, Subject};
use crate::runtime::build::cache::{self, Key, Made};
use crate::runtime::build::context::{Context, Contexts};
use crate::runtime::build::copy::{Destination, Manner};
use crate::runtime::build::dockerfile::{Dockerfile, Step};
use crate::runtime::build::epoch;
use crate::runtime::build::fault::{Fault, cancelled, invalid};
use crate::runtime::build::instruction::Instruction;
use crate::runtime::build::outside::Outside;
use crate::runtime::build::rootfs::{Change, writable};
use crate::runtime::build::run::Runner;
use crate::runtime::build::source::{Exclude, Origin};
use crate::runtime::build::stages::{Base, Stage};
use crate::runtime::build::state::State;
use crate::runtime::build::wildcard::Wildcards;
use crate::runtime::image::Image;
use crate::runtime::image::digest::Digest;
use crate::runtime::image::pull::pull_blocking;
use crate::runtime::image::staging::Staging;
use crate::runtime::image::store::Store;
use crate::runtime::image::tree::{names, open_directory};
use crate::runtime::layout::Layout;
use crate::values::image_ref::{ImageRef, InvalidImageRef};

/// How many stages are done at once: most of them wait, for the network or for each other.
const WORKERS: usize = 8;

/// What is to be built, from what, with what.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) layout: &'a Layout,
    pub(super) store: &'a Store,
    pub(super) config: &'a BuildConfig,
    pub(super) file: &'a Dockerfile,
    pub(super) stages: &'a [Stage],
    pub(super) globals: &'a BTreeMap<String, String>,
    pub(super) context: &'a Context,
    pub(super) contexts: &'a Contexts<'a>,
    pub(super) outside: &'a Outside,
    pub(super) staging: &'a Staging,
    pub(super) progress: &'a mpsc::Sender<Progress>,
    /// No layer has a file that is newer: seconds since 1970 (`SOURCE_DATE_EPOCH`).
    pub(super) epoch: Option<i64>,
}

/// One build.
pub(super) struct Builder<'a> {
    pub(super) job: Job<'a>,
    /// Those that no stage uses at the moment.
    runners: Mutex<Vec<Runner>>,
    /// What became of each stage; `None` inside: it failed.
    done: Vec<OnceLock<Option<State>>>,
    /// Why the first stage failed.
    failure: Mutex<Option<EngineError>>,
    /// Counts folders in the staging folder.
    changes: AtomicUsize,
    /// The results that this build consists of, by stage.
    used: Mutex<Vec<(usize, Digest, Made)>>,
}

/// An instruction within its stage.
#[derive(Clone, Copy)]
struct At<'a> {
    stage: usize,
    step: &'a Step,
    /// Of the step, unique within the build.
    id: &'a str,
}

impl<'a> Builder<'a> {
    /// Nothing is done yet.
    pub(super) fn new(job: Job<'a>) -> Builder<'a> {
        Builder {
            job,
            runners: Mutex::default(),
            done: job.stages.iter().map(|_| OnceLock::new()).collect(),
            failure: Mutex::default(),
            changes: AtomicUsize::new(0),
            used: Mutex::default(),
        }
    }

    /// Does these stages, in order where one needs another; gives the last.
    pub(super) fn build(&self, needed: &[usize]) -> Result<State, EngineError> {
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(number) = needed.get(next.fetch_add(1, Ordering::Relaxed)) {
                if self.stage_done(*number).is_none() {
                    return;
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..needed.len().min(WORKERS) {
                scope.spawn(work);
            }
            work();
        });
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (failure, needed.last().and_then(|target| self.done[*target].get()?.clone())) {
            (None, Some(state)) => Ok(state),
            (Some(error), _) => Err(error),
            (None, None) => Err(cancelled()),
        }
    }

    /// The results that a build of these stages consists of.
    pub(super) fn used(&self, stages: &[usize]) -> BTreeMap<Digest, Made> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.iter()
            .filter(|(stage, ..)| stages.contains(stage))
            .map(|(_, key, made)| (key.clone(), made.clone()))
            .collect()
    }

    /// A stage's end; `None` if it or another one failed.
    fn stage_done(&self, number: usize) -> Option<&State> {
        let stage = || match self.stage(number) {
            Ok(state) => Some(state),
            Err(error) => {
                self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                None
            }
        };
        self.done.get(number)?.get_or_init(stage).as_ref()
    }

    /// An earlier stage's end.
    fn earlier(&self, number: usize) -> Result<&State, Fault> {
        self.stage_done(number).ok_or_else(|| Fault::Failed(cancelled()))
    }

    /// Whether nobody waits for what is being done: the caller is gone, or another stage has failed.
    pub(in crate::runtime::build) fn is_over(&self) -> bool {
        self.job.progress.is_closed() || self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Says what goes on. Whoever does not listen any more does not want the build any more.
    fn tell(&self, progress: Progress) -> Result<(), EngineError> {
        if self.is_over() {
            return Err(cancelled());
        }
        self.job.progress.blocking_send(progress).map_err(|_| cancelled())
    }

    /// Does one stage from its base to its end.
    fn stage(&self, number: usize) -> Result<State, EngineError> {
        let (file, stage) = (self.job.file, &self.job.stages[number]);
        let label = match (&stage.name, self.job.stages.len()) {
            (_, 1) => String::new(),
            (Some(name), _) => format!("{name} "),
            (None, _) => format!("stage-{number} "),
        };
        let count = stage.steps.len() + 1;
        let from = &file.steps[stage.from];
        let id = format!("{number}.1");
        self.tell(Progress::Step { id: id.clone(), text: format!("[{label}1/{count}] {}", from.text) })?;
        let at = At { stage: number, step: from, id: &id };
        let (mut state, cached) = self.base(at, &stage.base).map_err(|fault| fault.placed(file, from))?;
        self.tell(Progress::Done { id, cached })?;
        for (index, trigger) in state.triggers().into_iter().enumerate() {
            let name = format!("ONBUILD of {}", self.name_of(&stage.base));
            let triggers = Dockerfile::parse(&name, &trigger).map_err(invalid)?;
            for step in triggers.steps {
                let step =
                    Step { text: format!("ONBUILD {}", step.text), instruction: step.instruction, ..from.clone() };
                self.step(
                    &mut state,
                    number,
                    &step,
                    format!("{number}.1.{}", index + 1),
                    &format!("[{label}on build {}]", index + 1),
                )?;
            }
        }
        for (index, step) in file.steps[stage.steps.clone()].iter().enumerate() {
            let place = format!("[{label}{}/{count}]", index + 2);
            self.step(&mut state, number, step, format!("{number}.{}", index + 2), &place)?;
        }
        Ok(state)
    }

    fn step(&self, state: &mut State, stage: usize, step: &Step, id: String, place: &str) -> Result<(), EngineError> {
        self.tell(Progress::Step { id: id.clone(), text: format!("{place} {}", step.text) })?;
        let done = self.instruction(state, At { stage, step, id: &id });
        let cached = done.map_err(|fault| fault.placed(self.job.file, step))?;
        self.tell(Progress::Done { id, cached })
    }

    /// What a stage begins with, and whether that was known.
    fn base(&self, at: At<'_>, base: &Base) -> Result<(State, bool), Fault> {
        Ok(match base {
            Base::Scratch => (State::scratch(), true),
            Base::Stage(number) => (State::following(self.earlier(*number)?), true),
            Base::Image(name) => {
                let (image, cached) = self.image(Some(at.id), name)?;
                (State::on(image.document), cached)
            }
            Base::Context(name) => match self.job.contexts.image(name) {
                Some(image) => {
                    let (image, cached) = self.named_image(Some(at.id), image)?;
                    (State::on(image.document), cached)
                }
                None => {
                    let mut state = State::scratch();
                    let cached = self.whole_context(&mut state, at, name)?;
                    (state, cached)
                }
            },
        })
    }

    /// A stage that begins with a folder of files.
    fn whole_context(&self, state: &mut State, at: At<'_>, name: &str) -> Result<bool, Fault> {
        let context = self.job.contexts.open(name)?;
        let root = open_directory(&context.folder).map_err(io::Error::from)?;
        let origin = Origin { root, ignore: Some(&context.ignore) };
        let selected = origin.select(&Wildcards::plain(Path::new("")), &Exclude::default())?;
        let mut key = Key::new("context", &[]);
        key.add(origin.digest(&selected)?.hex());
        self.layer(state, at, &key, None, |change| {
            let target = writable(&[], change)?;
            let to = Destination { root: &target, path: Path::new("/"), folder: true };
            Ok(crate::runtime::build::copy::copy(&origin, &selected, &to, Manner::owned((0, 0)))?)
        })
    }

    /// An image of the store, pulled if it is not there or is to be as new as its registry's, and whether that was so already. A
    /// stage's `FROM` tells how far it is.
    fn image(&self, step: Option<&str>, name: &str) -> Result<(Image, bool), Fault> {
        let store = self.job.store;
        if let Some(image) = store.find(name)?.filter(|_| !self.job.config.pull) {
            return Ok((image, true));
        }
        let missing = |reason: String| {
            Fault::at(name, format!("the image {name} is not in the store and cannot be pulled: {reason}"))
        };
        let reference: ImageRef = name.parse().map_err(|error: InvalidImageRef| missing(error.to_string()))?;
        let tell = |done, total| {
            if let Some(id) = step.map(str::to_owned) {
                // Numbers are left out where nobody keeps up.
                let _ = self.job.progress.try_send(Progress::Bytes { id, done, total: Some(total) });
            }
        };
        let pulled = pull_blocking(store, &reference, tell, || self.is_over()).map_err(|error| {
            let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
            missing(causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
        })?;
        let Some(pulled) = pulled else { return Err(cancelled().into()) };
        let image = store.find(name)?.ok_or_else(|| missing("it is gone again".to_owned()))?;
        Ok((image, !pulled.fresh))
    }

    /// The image of a named context: what is there is what was meant, as it may just have been built.
    fn named_image(&self, step: Option<&str>, image: &ImageRef) -> Result<(Image, bool), Fault> {
        match self.job.store.resolve(image)? {
            Some(found) => Ok((found, true)),
            None => self.image(step, &image.to_string()),
        }
    }

    fn name_of(&self, base: &Base) -> String {
        match base {
            Base::Scratch => "scratch".to_owned(),
            Base::Stage(number) => self.job.stages[*number].name.clone().unwrap_or_else(|| format!("stage {number}")),
            Base::Image(name) | Base::Context(name) => name.clone(),
        }
    }

    /// Does one instruction; says whether its result was known.
    fn instruction(&self, state: &mut State, at: At<'_>) -> Result<bool, Fault> {
        let escape = self.job.file.escape;
        match &at.step.instruction {
            // Stages begin with it; there is none within.
            Instruction::From { .. } => return Err(Fault::at("", "FROM can't be put off")),
            Instruction::Run(run) => return self.run(state, at, run),
            Instruction::Copy(copy) => return self.copy(state, at, copy),
            Instruction::Add(add) => return self.add(state, at, add),
            Instruction::Workdir(path) => {
                let path = state.word(path, escape)?;
                state.working_dir(&path);
                return self.working_dir(state, at);
            }
            Instruction::Arg(arguments) => {
                for (name, default) in arguments {
                    let default = default.as_deref().map(|text| state.word(text, escape)).transpose()?;
                    let given = self.job.config.args.get(name).cloned();
                    let value = given.or(default).or_else(|| self.job.globals.get(name).cloned());
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
        state.done(&at.step.text, None);
        Ok(true)
    }

    fn working_dir(&self, state: &mut State, at: At<'_>) -> Result<bool, Fault> {
        let path = state.document.config.working_dir.clone();
        let user = state.document.config.user.clone();
        let mut key = Key::new("workdir", &state.document.rootfs.diff_ids);
        key.add(&path);
        key.add(&user);
        let layers = self.directories(&state.document.rootfs.diff_ids);
        self.layer(state, at, &key, None, |change| {
            let root = writable(&layers, change)?;
            let below = crate::runtime::build::copy::relative(Path::new(&path));
            if crate::runtime::image::tree::open_directory_in(&root, &below).is_ok() {
                return Ok(());
            }
            let owner = copy::owner(&root, &user)?;
            Ok(crate::runtime::build::copy::make_folder(&root, Path::new(&path), owner)?)
        })
    }

    /// Whether the steps of this stage are done anew.
    fn anew(&self, stage: usize) -> bool {
        let named = |name: &String| {
            self.job.stages[stage].name.as_deref() == Some(&name.to_ascii_lowercase()) || *name == stage.to_string()
        };
        self.job.config.no_cache || self.job.config.no_cache_stages.iter().any(named)
    }

    /// The known result of a key.
    fn known(&self, stage: usize, key: &Digest) -> Result<Option<Made>, Fault> {
        if self.anew(stage) {
            return Ok(None);
        }
        let Job { store, staging, .. } = self.job;
        if let Some(made) = cache::find(store, key)? {
            return Ok(Some(made));
        }
        let found = self.job.outside.find(key, store, staging)?;
        if let Some(made) = &found {
            cache::keep(store, key, made)?;
        }
        Ok(found)
    }

    /// Takes a result as that of a step.
    fn take(&self, state: &mut State, at: At<'_>, key: &Digest, made: Made) {
        self.note(at, key, &made);
        state.created = Some(made.created);
        state.done(&at.step.text, made.layer.map(|layer| layer.to_string()));
    }

    fn note(&self, at: At<'_>, key: &Digest, made: &Made) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).push((at.stage, key.clone(), made.clone()));
    }

    /// A key with what the whole build adds to it.
    fn epochal(&self, key: &Key) -> Digest {
        let mut key = key.clone();
        key.add(self.job.epoch.map_or(String::new(), |epoch| epoch.to_string()));
        key.digest()
    }

    /// Takes the known result of a key, or makes it; says whether it was known. A second key, looked up by the caller, leads to the
    /// same result from now on.
    fn layer(
        &self,
        state: &mut State,
        at: At<'_>,
        key: &Key,
        second: Option<Digest>,
        make: impl FnOnce(&Change) -> Result<(), Fault>,
    ) -> Result<bool, Fault> {
        let key = self.epochal(key);
        let known = self.known(at.stage, &key)?;
        let cached = known.is_some();
        let made = match known {
            Some(made) => made,
            None => {
                let made = self.make(at, make)?;
                cache::keep(self.job.store, &key, &made)?;
                made
            }
        };
        if let Some(second) = second {
            cache::keep(self.job.store, &second, &made)?;
            self.note(at, &second, &made);
        }
        self.take(state, at, &key, made);
        Ok(cached)
    }

    fn make(&self, at: At<'_>, make: impl FnOnce(&Change) -> Result<(), Fault>) -> Result<Made, Fault> {
        let change = Change::new(&self.scratch("change"))?;
        make(&change)?;
        let upper = open_directory(&change.upper).map_err(io::Error::from)?;
        let layer = match names(&upper).map_err(io::Error::from)?.is_empty() {
            true => None,
            false => {
                if let Some(epoch) = self.job.epoch {
                    epoch::clamp(&upper, epoch)?;
                }
                let subject = Subject::Path(self.job.file.place(at.step));
                Some(self.job.store.add_made_layer(self.job.staging, &change.upper, subject)?.0)
            }
        };
        let created = match self.job.epoch {
            Some(epoch) => jiff::Timestamp::from_second(epoch).map_err(io::Error::other)?,
            None => jiff::Timestamp::now(),
        };
        Ok(Made { layer, created: created.to_string() })
    }

    /// The folders of these layers, the topmost last.
    pub(in crate::runtime::build) fn directories(&self, layers: &[String]) -> Vec<PathBuf> {
        let ids = layers.iter().filter_map(|id| Digest::try_from(id.as_str()).ok());
        ids.map(|id| self.job.store.layer_files(&id)).collect()
    }
}
