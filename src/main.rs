//! The program: which role it plays, and its exit code.

fn main() {}
