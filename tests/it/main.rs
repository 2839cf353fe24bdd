//! The one test program: each folder is a part of the product, `scenarios` the whole of it.

#![allow(clippy::print_stderr, reason = "a failing test says what it saw")]
#![allow(clippy::type_complexity, reason = "tables of cases")]

mod cli;
mod dns;
mod executor;
mod house;
mod images;
mod network;
mod planner;
mod runtime;
mod scenarios;
mod spec;
mod support;
