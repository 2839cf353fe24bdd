//! Containers at rest: their records, making and removing them.

pub mod find;
pub mod log;
pub mod record;
