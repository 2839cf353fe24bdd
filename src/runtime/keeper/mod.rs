//! The parent of a project's containers.
