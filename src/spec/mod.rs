//! Compose files to a [`project::Project`].

pub mod diagnostic;
pub mod tree;
