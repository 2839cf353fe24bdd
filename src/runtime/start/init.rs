//! The small init of `init: true`: process 1 of a container, which starts the command, forwards signals and reaps.

/// What it is called in the container, as with Docker.
pub const NAME: &str = "/sbin/docker-init";

/// Its arguments before the command's.
pub const ARGUMENTS: [&str; 2] = [NAME, "--"];
