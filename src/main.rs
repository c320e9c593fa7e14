//! The `weir` program: parses the arguments, runs the command, returns its exit code.

use std::process::ExitCode;

/// Large batches of convolutions touch fresh memory at every layer. The allocator of the system would return it
/// and fault it in again each time, which costs a third of the run. Built without huge pages (`no_thp`): they
/// would double the memory at rest and make neither inference nor training faster.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The allocator's option for the milliseconds after which memory that was freed goes back to the system, by its number
/// in `mimalloc.h` of version 3.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
const PURGE_DELAY_BY_DEFAULT: std::ffi::c_long = 1000;
const PURGE_DELAY_HERE: std::ffi::c_long = 100;

fn main() -> ExitCode {
    return_memory_sooner();
    weir::cli::run(std::env::args_os())
}

/// Has freed memory given back after a tenth of a second: with the default, what loading took for a moment stays with a
/// server at rest. `MIMALLOC_PURGE_DELAY` overrides it.
#[expect(unsafe_code, reason = "the allocator's options have no safe interface")]
fn return_memory_sooner() {
    // SAFETY: both functions read and write one atomic number of the allocator; the option exists in the version that
    // is linked, and holds what the default is known to be.
    unsafe {
        if libmimalloc_sys::mi_option_get(PURGE_DELAY) == PURGE_DELAY_BY_DEFAULT {
            libmimalloc_sys::mi_option_set(PURGE_DELAY, PURGE_DELAY_HERE);
        }
    }
}
