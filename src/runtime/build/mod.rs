//! Dockerfiles to images.
//!
//! A Dockerfile is read whole and split into stages; the stages that the target needs are done in order, each step on top of the layers
//! before it. A step's result is a layer in the image store, found again by what it was made from; only the finished image gets a name.

pub(in crate::runtime) mod cache;
pub(in crate::runtime) mod changes;
mod context;
pub(in crate::runtime) mod copy;
mod dockerfile;
mod epoch;
mod expand;
mod fault;
mod flags;

pub mod ignore;
mod instruction;
mod lint;
mod mask;
mod mode;
mod mounts;
mod outside;
mod remote;
pub(in crate::runtime) mod rootfs;
pub(in crate::runtime) mod run;
pub(in crate::runtime) mod source;
mod ssh;
mod stages;
mod state;
mod steps;
pub(in crate::runtime) mod under_way;
mod wildcard;

use tokio::sync::mpsc;

use crate::engine::{BuildConfig, CacheExtent, CacheStore, EngineError, ImageId, Progress, Subject};
use crate::runtime::build::context::Contexts;
use crate::runtime::build::dockerfile::Dockerfile;
use crate::runtime::build::fault::invalid;
use crate::runtime::build::outside::Outside;
use crate::runtime::build::steps::{Builder, Job};
use crate::runtime::image::store::Store;
use crate::runtime::layout::Layout;

/// What is doubtful in the Dockerfile of a build, a text each; builds nothing.
pub fn check(layout: &Layout, config: &BuildConfig) -> Result<Vec<String>, EngineError> {
    let staging = Store::open(layout)?.stage()?;
    let (context, name, text) = context::open(config, &staging, &|| false)?;
    let file = Dockerfile::parse(&name, &text).map_err(invalid)?;
    let contexts = Contexts::new(&config.contexts, &staging, &|| false);
    let (stages, globals) = stages::stages(&file, config, &contexts).map_err(invalid)?;
    stages::target(&stages, config.target.as_deref())
        .map_err(|reason| EngineError::Invalid { subject: Subject::Path(name), reason })?;
    Ok(lint::lint(&file, &stages, &globals.0, &context))
}

/// Builds an image. Blocks, on a thread without an asynchronous runtime; dropping the receiver of the progress cancels the build.
pub fn build(layout: &Layout, config: &BuildConfig, progress: &mpsc::Sender<Progress>) -> Result<ImageId, EngineError> {
    let store = Store::open(layout)?;
    let _hold = store.hold()?;
    let staging = store.stage()?;
    let cancelled = || progress.is_closed();
    let (context, name, text) = context::open(config, &staging, &cancelled)?;
    let wrong = |reason| EngineError::Invalid { subject: Subject::Path(name.clone()), reason };
    let file = Dockerfile::parse(&name, &text).map_err(invalid)?;
    if let Some(syntax) = &file.syntax {
        let text = format!("{name}: the syntax {syntax} is another frontend's; the Dockerfile is read as Docker's own");
        // Whoever has gone is noticed with the first step.
        let _ = progress.blocking_send(Progress::Warning { text });
    }
    let (outside, mut doubts) = Outside::open(&config.cache_from, &store, &cancelled);
    doubts.extend(outside::doubts(&config.cache_to));
    for text in doubts {
        let _ = progress.blocking_send(Progress::Warning { text });
    }
    let contexts = Contexts::new(&config.contexts, &staging, &cancelled);
    let (stages, globals) = stages::stages(&file, config, &contexts).map_err(invalid)?;
    let target = stages::target(&stages, config.target.as_deref()).map_err(wrong)?;
    let builder = Builder::new(Job {
        layout,
        store: &store,
        config,
        file: &file,
        stages: &stages,
        globals: &globals.0,
        context: &context,
        contexts: &contexts,
        outside: &outside,
        staging: &staging,
        progress,
        epoch: epoch::given(&config.args).map_err(wrong)?,
    });
    let needed = stages::needed(&stages, target);
    let mut state = builder.build(&needed)?;
    let made = |extent: &CacheExtent| {
        let stages = match extent {
            CacheExtent::All => needed.clone(),
            CacheExtent::Image => stages::chain(&stages, target),
        };
        builder.used(&stages)
    };
    for place in &config.cache_to {
        match place {
            CacheStore::Local { folder, extent } => outside::export(&store, folder, made(extent))?,
            CacheStore::Registry { image, extent } => outside::push(&store, &staging, image, made(extent))?,
            CacheStore::Inline => outside::embed(&mut state.document, made(&CacheExtent::Image)),
            // Warned of above.
            CacheStore::Other(_) => {}
        }
    }
    state.document.config.labels.extend(config.labels.clone());
    store.publish(&staging, &state.document, &config.tags)
}
