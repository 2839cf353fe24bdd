//! Whole stories, as a user lives them: from a compose file to running containers and back.

mod boot;
mod chaos;
mod copy;
mod counter;
mod crash_points;
mod cut_short;
mod faults;
mod hello;
mod hooks;
pub mod leftovers;
mod lifecycle;
mod power_cut;
mod readiness;
mod upgrade;
mod watch;
