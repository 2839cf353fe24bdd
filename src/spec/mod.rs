//! Compose files to a [`project::Project`].
