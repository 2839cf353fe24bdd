//! Dockerfiles to images.
