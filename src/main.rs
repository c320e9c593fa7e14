//! The `weir` program: arguments → command → exit code.

use std::process::ExitCode;

/// Large batches of convolutions touch fresh memory at every layer; the system's allocator gives it
/// back and faults it in again each time, which costs a third of the run.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    weir::cli::run(std::env::args_os())
}
