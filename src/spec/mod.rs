//! Compose files to a [`project::Project`].

mod check;
mod defaults;
pub mod diagnostic;
mod expand;
mod finish;
pub mod model;
mod paths;
pub mod project;
mod schema;
pub mod tree;
