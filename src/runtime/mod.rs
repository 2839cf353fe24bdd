//! The integrated engine.

pub mod build;
pub mod cgroup;
pub mod container;
pub mod image;
pub mod keeper;
pub mod layout;
pub mod network;
pub mod start;
pub mod store;
pub mod supervisor;
pub mod sys;
pub mod volume;
