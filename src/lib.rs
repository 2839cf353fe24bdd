//! xcompose: Docker Compose files run by one static binary with its own container runtime.
//!
//! ```text
//!                cli ── the only place that talks to a person
//!       ┌─────────┼───────────┬───────────────┐
//!     spec     planner     executor        runtime
//!   YAML→Project  Project × Observed    Plan → calls   does things
//!       │      → Plan (pure)    │            │
//!       │         │             └── engine ──┘          ← the port: one trait, plain data
//!       └─────────┴───────── values ─────── dns         ← names, ports, signals… no logic
//! ```
//!
//! `spec` has never heard of containers, `runtime` has never heard of Compose, `planner` does no I/O and decides
//! everything, `executor` decides nothing. Whoever wants both sides is `cli`.

// No file, packet, registry or container may make it panic.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable))]

pub mod cli;
pub mod dns;
pub mod engine;
pub mod executor;
pub mod planner;
pub mod runtime;
pub mod spec;
pub mod values;
