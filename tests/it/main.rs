//! The one test program: each folder is a part of the product, `scenarios` the whole of it.

mod house;
mod scenarios;
mod support;
