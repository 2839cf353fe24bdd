//! The owner of a project's state.
