//! The supervisor: owns what a project's running containers do.

pub mod control;
pub mod logs;
pub mod machine;
