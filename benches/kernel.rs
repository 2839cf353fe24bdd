//! What starting and stopping containers costs by itself: `cargo bench --bench kernel` (needs root and Debian's busybox-static).
//! The figures of `cargo bench --bench stack` are to be read against these.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its table")]

#[path = "support/bare.rs"]
mod bare;
#[path = "../tests/it/support/busybox.rs"]
mod busybox;

fn main() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("the benchmark starts containers: run it as root");
        std::process::exit(1);
    }
    let runs: usize = std::env::var("RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(7);
    println!("{:<12} {:>12} {:>12}", "containers", "up, ms", "down, ms");
    for count in [1, 20, 100] {
        let (up, down) = bare::medians(count, runs);
        println!("{count:<12} {up:>12.1} {down:>12.1}");
    }
}
