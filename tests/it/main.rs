//! The one test program: each folder is a part of the product, `scenarios` the whole of it.

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
