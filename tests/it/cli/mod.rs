//! The command line as a user meets it: arguments, help, mistakes, exit codes.

mod arguments;
mod completion;
mod follow;
mod help;
mod live;
mod words;
