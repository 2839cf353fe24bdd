//! Dockerfiles to images.

pub(in crate::runtime) mod cache;
mod copy;
mod dockerfile;
mod expand;
mod ignore;
mod instruction;
mod rootfs;
mod source;
mod stages;

use tokio::sync::mpsc;

use crate::engine::{BuildConfig, EngineError, ImageId, Progress, Subject};
use crate::runtime::layout::Layout;

/// Builds an image. Blocks; the progress may be received by another thread.
pub fn build(
    _layout: &Layout,
    config: &BuildConfig,
    _progress: &mpsc::Sender<Progress>,
) -> Result<ImageId, EngineError> {
    Err(EngineError::Unsupported {
        subject: Subject::Path(config.context.display().to_string()),
        feature: "building".to_owned(),
    })
}
