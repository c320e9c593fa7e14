//! The `weir` program: parses the arguments, runs the command, returns its exit code.

use std::process::ExitCode;

/// Large batches of convolutions touch fresh memory at every layer. The allocator of the system would return it
/// and fault it in again each time, which costs a third of the run. Built without huge pages (`no_thp`): they
/// would double the memory at rest and make neither inference nor training faster.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    weir::cli::run(std::env::args_os())
}
