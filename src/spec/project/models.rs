//! Models, and how a service is told of them.

use crate::spec::diagnostic::Location;

/// How a service is told of a model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelUse {
    /// Variable for the address; default `<KEY>_URL`.
    pub endpoint_variable: Option<String>,
    /// Variable for the name; default `<KEY>_MODEL`.
    pub model_variable: Option<String>,
}

/// A model of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// What the model runner calls it.
    pub name: String,
    /// Which.
    pub model: String,
    /// Tokens.
    pub context_size: Option<u64>,
    /// For the runner.
    pub runtime_flags: Vec<String>,
    /// Where it stands.
    pub location: Location,
}
