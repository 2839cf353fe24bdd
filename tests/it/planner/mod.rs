//! What is planned: each rule of convergence and order as a plan in words, and as what comes of it on a machine in memory.

mod down;
pub mod machine;
mod order;
mod recreate;
mod resources;
mod run;
mod stable;
pub mod stack;
mod up;
