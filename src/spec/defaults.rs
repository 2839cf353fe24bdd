//! What Compose assumes where a model is silent.

use super::tree::Node;

/// Fills in the defaults that are part of the model (compose-spec, `create_host_path`, secret targets, …).
pub(in crate::spec) fn fill(_model: &mut Node) {}
