//! What the schema can't say: values that exclude each other, names that lead nowhere, cycles.

use super::diagnostic::Diagnostic;
use super::tree::Node;

/// Faults within single things, found before names are filled in.
pub(in crate::spec) fn values(_model: &Node, _found: &mut Vec<Diagnostic>) {}
