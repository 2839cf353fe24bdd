//! Containers on disk and what is done to them.
