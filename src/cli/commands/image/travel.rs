//! `xcompose image pull` and `image push`: one image, without a project.

use tokio::sync::mpsc;

use crate::cli::carry_out::FRAME;
use crate::cli::commands::image::reference;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::observer::Shown;
use crate::cli::ui::phase::Phase;
use crate::cli::ui::progress::News;
use crate::engine::{EngineError, Progress};
use crate::values::image_ref::ImageRef;
use crate::values::platform::Platform;

/// Gets an image; its full name is told.
pub async fn pull(context: &Context<'_>, name: &str, platform: Option<&str>, quiet: bool) -> Result<(), Failure> {
    let name = reference(name)?;
    let platform = platform.map(str::parse::<Platform>).transpose();
    let platform = platform.map_err(|error| Failure::usage(error.to_string()))?;
    let engine = context.engine();
    let (sender, news) = mpsc::channel(64);
    let pull = engine.pull(&name, platform.as_ref(), sender);
    let pulled = show(context, "pull", &name, ["Pulling", "Pulled"], quiet, news, pull).await?;
    if !quiet {
        let ui = context.ui();
        ui.line(&format!("Digest: {}", pulled.digest))?;
        let status = if pulled.fresh { "Downloaded newer image for" } else { "Image is up to date for" };
        ui.line(&format!("Status: {status} {}", name.tagged()))?;
    }
    context.ui().line(&name.canonical())
}

/// Sends an image; what the registry knows it by is told.
pub async fn push(context: &Context<'_>, name: &str, quiet: bool) -> Result<(), Failure> {
    let name = reference(name)?;
    let engine = context.engine();
    let (sender, news) = mpsc::channel(64);
    let push = engine.push(&name, sender);
    let pushed = show(context, "push", &name, ["Pushing", "Pushed"], quiet, news, push).await?;
    if quiet {
        return context.ui().line(&name.canonical());
    }
    let tag = name.tag().unwrap_or("latest");
    context.ui().line(&format!("{tag}: digest: {} size: {}", pushed.digest, pushed.size))
}

async fn show<T>(
    context: &Context<'_>,
    operation: &'static str,
    name: &ImageRef,
    words: [&str; 2],
    quiet: bool,
    mut news: mpsc::Receiver<Progress>,
    work: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, Failure> {
    let ui = context.ui();
    if quiet {
        ui.silence();
    }
    ui.begin(operation);
    let shown = Shown::new(ui);
    let tell = |phase, text: &str| {
        ui.news(News { id: format!("Image {name}"), phase, text: text.to_owned(), details: String::new() });
    };
    tell(Phase::Working, words[0]);
    let mut work = std::pin::pin!(work);
    let mut frame = tokio::time::interval(FRAME);
    let done = loop {
        tokio::select! {
            biased;
            Some(progress) = news.recv() => shown.layer(name, progress),
            done = &mut work => break done,
            _ = frame.tick() => ui.tick(),
        }
    };
    // What it told with its last breath.
    while let Ok(progress) = news.try_recv() {
        shown.layer(name, progress);
    }
    match &done {
        Ok(_) => tell(Phase::Done, words[1]),
        Err(_) => tell(Phase::Error, "Error"),
    }
    ui.end();
    Ok(done?)
}
