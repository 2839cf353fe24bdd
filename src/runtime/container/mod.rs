//! Containers at rest: their records, making and removing them, their logs.

pub mod commit;
pub mod copy;
pub mod create;
pub mod find;
pub mod log;
pub mod record;
pub mod remove;
pub mod rename;
pub mod sandbox;
pub mod top;
pub mod usage;
pub mod view;
