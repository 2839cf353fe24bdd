//! One file a command: its arguments, whose doc comments are its help, and its `run`.

pub mod build;
pub mod config;
pub mod create;
pub mod down;
pub mod events;
pub mod exec;
pub mod image;
pub mod images;
pub mod kill;
pub mod logs;
pub mod ls;
pub mod pause;
pub mod plan;
pub mod port;
pub mod ps;
pub mod restart;
pub mod rm;
pub mod run;
pub mod scale;
pub mod start;
pub mod stop;
pub mod top;
pub mod up;
pub mod version;
pub mod volumes;
pub mod wait;
