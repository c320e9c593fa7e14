//! `weir check-model`, which the server starts for itself: takes a model from standard input, loads it
//! and runs it once, under limits that it sets for itself first. The last line of its output is JSON.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use rlimit::Resource;

use super::engine::EngineName;
use super::sandbox::{self, Sandbox};
use crate::engine::{Bounds, EngineKind, Engines, Hints, Trial};
use crate::error::{Error, Result};

/// A little less than the threads of the server have, whose call stack is deeper.
const STACK_BYTES: usize = (2 << 20) - (256 << 10);

/// The most open files: an engine needs its library and what that reads when it starts.
const MAX_OPEN_FILES: u64 = 64;

#[derive(Debug, Args)]
pub(super) struct CheckModelArgs {
    /// Engine to load it in
    #[arg(long)]
    engine: EngineName,
    /// Library of ONNX Runtime
    #[arg(long, value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
    /// Memory limit for loading and one run
    #[arg(long, value_name = "BYTES")]
    memory_bytes: u64,
    /// CPU time limit for loading and one run
    #[arg(long, value_name = "S")]
    cpu_seconds: u64,
    /// Largest tensor that a graph may make from an input
    #[arg(long, value_name = "BYTES", default_value_t = Bounds::default().tensor_bytes)]
    max_tensor_bytes: u64,
    /// Keep this process from the network, from other programs, and from all files but the engine's
    #[arg(long)]
    sandbox: bool,
    /// Known sizes of inputs, as JSON
    #[arg(long, value_name = "JSON", value_parser = hints, default_value = "")]
    hints: Hints,
}

pub(super) fn run(args: CheckModelArgs) -> Result<ExitCode> {
    let engine = args.engine.prepare();
    confine(args.memory_bytes, args.cpu_seconds)?;
    let engines = Engines::new(args.onnxruntime).with_bounds(Bounds { tensor_bytes: args.max_tensor_bytes });
    if engine == EngineKind::OnnxRuntime {
        // Its library is loaded from wherever it lies, and trusted. That it cannot be is said when it is used.
        drop(engines.onnxruntime());
    }
    let sandbox = args.sandbox.then(sandbox::enter).transpose()?;
    let mut onnx = Vec::new();
    let mut input = std::io::stdin().lock().take(args.memory_bytes);
    input.read_to_end(&mut onnx).map_err(Error::io("read", "standard input"))?;
    let tried = std::thread::Builder::new()
        .name("model".into())
        .stack_size(STACK_BYTES)
        .spawn(move || attempt(&engines, engine, &onnx, &args.hints))
        .map_err(|error| Error::internal("no thread could be started", error))?
        .join();
    let tried = match tried {
        Ok(Ok(trial)) => Ok(trial),
        Ok(Err(Error::Repository { problem, .. })) => Err(problem),
        Ok(Err(Error::Internal { message, source })) => Err(format!("{message}: {source}")),
        Ok(Err(other)) => Err(other.to_string()),
        Err(_) => Err("the model crashed the engine".into()),
    };
    let mut answer = match tried {
        Ok(trial) => serde_json::json!({ "trial": trial }),
        Err(problem) => serde_json::json!({ "problem": problem }),
    };
    answer["sandbox"] = sandbox.map(Sandbox::parts).into();
    super::print(&format!("{answer}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Loads a model and tries it on example inputs.
fn attempt(engines: &Engines, engine: EngineKind, onnx: &[u8], hints: &Hints) -> Result<Trial> {
    Trial::of(&engines.load(engine, onnx)?, hints, onnx)
}

fn hints(text: &str) -> std::result::Result<Hints, serde_json::Error> {
    if text.is_empty() { Ok(Hints::default()) } else { serde_json::from_str(text) }
}

/// Sets what this process may use. If the machine runs out of memory, it goes before the server.
fn confine(memory: u64, cpu_seconds: u64) -> Result<()> {
    // Not every system has it, and it is only a preference.
    drop(std::fs::write("/proc/self/oom_score_adj", "1000"));
    for (resource, limit) in [
        (Resource::DATA, memory),
        (Resource::CPU, cpu_seconds.max(1)),
        (Resource::CORE, 0),
        (Resource::FSIZE, 0),
        (Resource::NOFILE, MAX_OPEN_FILES),
    ] {
        let (_, hard) = resource.get().map_err(|error| Error::internal("limits cannot be read", error))?;
        let limit = limit.min(hard);
        resource.set(limit, limit).map_err(|error| Error::internal("limits cannot be set", error))?;
    }
    Ok(())
}
