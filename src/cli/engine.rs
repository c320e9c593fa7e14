//! The engine that a command runs models in, and what must be settled before its library is loaded.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use clap::ValueEnum;

use crate::engine::EngineKind;

/// An engine as an argument names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum EngineName {
    /// Built in
    Tract,
    /// A shared library
    #[value(name = "onnxruntime")]
    OnnxRuntime,
}

impl From<EngineName> for EngineKind {
    fn from(name: EngineName) -> Self {
        match name {
            EngineName::Tract => Self::Tract,
            EngineName::OnnxRuntime => Self::OnnxRuntime,
        }
    }
}

impl EngineName {
    /// Prepares this process for the engine: for ONNX Runtime, as [`without_telemetry`] does.
    pub(super) fn prepare(self) -> EngineKind {
        if self == Self::OnnxRuntime {
            without_telemetry();
        }
        self.into()
    }
}

/// Starts the program over with `ORT_DISABLE_TELEMETRY=1`, unless the variable is set to something. ONNX Runtime
/// reports to its maker otherwise, and reads the variable so early that only the environment of the process will do.
/// Every command that may load the library calls this before it reads or writes anything.
pub(super) fn without_telemetry() {
    const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";
    // A static program cannot load the library at all.
    if cfg!(target_feature = "crt-static") || std::env::var_os(VARIABLE).is_some() {
        return;
    }
    if let Ok(program) = std::env::current_exe() {
        // Only returns if it fails, and then the engine refuses to be loaded and says why.
        drop(Command::new(program).args(std::env::args_os().skip(1)).env(VARIABLE, "1").exec());
    }
}
