//! Dockerfiles to images.
//!
//! A Dockerfile is read whole and split into stages; the stages that the target needs are done in order, each step on top of the layers
//! before it. A step's result is a layer in the image store, found again by what it was made from; only the finished image gets a name.

pub(in crate::runtime) mod cache;
pub(in crate::runtime) mod copy;
mod dockerfile;
mod expand;
mod ignore;
mod instruction;
mod mounts;
pub(in crate::runtime) mod rootfs;
mod run;
mod source;
mod stages;
mod state;
mod steps;

use std::fs;
use std::io;
use std::path::Path;

use tokio::sync::mpsc;

use crate::engine::{BuildConfig, DockerfileSource, EngineError, ImageId, Progress, Subject};
use crate::runtime::build::dockerfile::Dockerfile;
use crate::runtime::build::ignore::Ignore;
use crate::runtime::build::state::State;
use crate::runtime::build::steps::{Builder, during, invalid};
use crate::runtime::image::store::Store;
use crate::runtime::layout::Layout;

/// Builds an image. Blocks, on a thread without an asynchronous runtime; dropping the receiver of the progress cancels the build.
pub fn build(layout: &Layout, config: &BuildConfig, progress: &mpsc::Sender<Progress>) -> Result<ImageId, EngineError> {
    let context = fs::metadata(&config.context);
    if !context.map_err(during("read the build context", &config.context))?.is_dir() {
        let reason = "the build context is not a directory".to_owned();
        return Err(EngineError::Invalid { subject: Subject::Path(config.context.display().to_string()), reason });
    }
    let (name, text) = dockerfile(config)?;
    let file = Dockerfile::parse(&name, &text).map_err(invalid)?;
    let (stages, globals) = stages::stages(&file, &config.args).map_err(invalid)?;
    let target = stages::target(&stages, config.target.as_deref());
    let target = target.map_err(|reason| EngineError::Invalid { subject: Subject::Path(name), reason })?;
    let store = Store::open(layout)?;
    let _hold = store.hold()?;
    let mut builder = Builder {
        layout,
        store: &store,
        config,
        file: &file,
        stages: &stages,
        globals: &globals.0,
        ignore: ignore(config)?,
        staging: store.stage()?,
        progress,
        runner: None,
        done: vec![None; stages.len()],
        changes: 0,
    };
    for number in stages::needed(&stages, target) {
        let state = builder.stage(number)?;
        builder.done[number] = Some(state);
    }
    let mut state = builder.done[target].take().unwrap_or_else(State::scratch);
    state.document.config.labels.extend(config.labels.clone());
    store.publish(&builder.staging, &state.document, &config.tags)
}

/// The Dockerfile's name and text.
fn dockerfile(config: &BuildConfig) -> Result<(String, String), EngineError> {
    match &config.dockerfile {
        DockerfileSource::Inline(text) => Ok(("Dockerfile".to_owned(), text.clone())),
        DockerfileSource::Path(path) => {
            let at = config.context.join(path);
            let text = fs::read(&at).map_err(during("read", &at))?;
            let text = String::from_utf8(text).map_err(|_| EngineError::Invalid {
                subject: Subject::Path(at.display().to_string()),
                reason: "it is no text (UTF-8)".to_owned(),
            })?;
            Ok((path.display().to_string(), text))
        }
    }
}

/// What the context leaves out: by the file beside the Dockerfile, else by the context's own.
fn ignore(config: &BuildConfig) -> Result<Ignore, EngineError> {
    let beside = match &config.dockerfile {
        DockerfileSource::Path(path) => {
            let mut name = config.context.join(path).into_os_string();
            name.push(".dockerignore");
            Some(name.into())
        }
        DockerfileSource::Inline(_) => None,
    };
    for path in beside.into_iter().chain([config.context.join(".dockerignore")]) {
        let path: &Path = &path;
        match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => {
                let text = other.map_err(during("read", path))?;
                return Ignore::parse(&text).map_err(|(line, reason)| EngineError::Invalid {
                    subject: Subject::Path(format!("{}:{line}", path.display())),
                    reason,
                });
            }
        }
    }
    Ok(Ignore::default())
}
