//! Compose files to a [`project::Project`].

pub mod diagnostic;
pub mod model;
pub mod project;
pub mod tree;
