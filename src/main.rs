//! The program: which role it plays, and its exit code.

fn main() -> std::process::ExitCode {
    // Keeper and supervisor are this same binary, named by a hidden first argument.
    xcompose::runtime::role().unwrap_or_else(|| xcompose::cli::main(std::env::args_os()))
}
