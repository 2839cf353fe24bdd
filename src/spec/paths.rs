//! Relative paths become absolute.

use std::path::Path;

use super::tree::Node;

/// Makes every path of the model absolute that is relative to `base`; `~` is `home`.
pub(in crate::spec) fn resolve(_model: &mut Node, _base: &Path, _home: Option<&str>) {}
