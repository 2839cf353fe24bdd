//! The program: which role it plays, and its exit code.

fn main() -> std::process::ExitCode {
    xcompose::cli::main(std::env::args_os())
}
