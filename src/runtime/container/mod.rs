//! Containers at rest: their records, making and removing them.

pub mod record;
