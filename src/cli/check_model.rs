//! `weir check-model`, which the server starts for itself: takes a model from standard input, loads it
//! and runs it once, under limits that it sets for itself first. The last line of its output is JSON.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use rlimit::Resource;

use super::engine::EngineName;
use crate::engine::{EngineKind, Engines, zeros};
use crate::error::{Error, Result};

/// A little less than the threads of the server have, whose call stack is deeper.
const STACK_BYTES: usize = (2 << 20) - (256 << 10);

/// Files that an engine needs: its library and what that reads at its start.
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
}

pub(super) fn run(args: CheckModelArgs) -> Result<ExitCode> {
    let engine = args.engine.prepare();
    confine(args.memory_bytes, args.cpu_seconds)?;
    let mut onnx = Vec::new();
    let mut input = std::io::stdin().lock().take(args.memory_bytes);
    input.read_to_end(&mut onnx).map_err(Error::io("read", "standard input"))?;
    let tried = std::thread::Builder::new()
        .name("model".into())
        .stack_size(STACK_BYTES)
        .spawn(move || attempt(&Engines::new(args.onnxruntime), engine, &onnx))
        .map_err(|error| Error::internal("no thread could be started", error))?
        .join();
    let problem = match tried {
        Ok(Ok(())) => None,
        Ok(Err(Error::Repository { problem, .. })) => Some(problem),
        Ok(Err(Error::Internal { message, source })) => Some(format!("{message}: {source}")),
        Ok(Err(other)) => Some(other.to_string()),
        Err(_) => Some("the model crashed the engine".into()),
    };
    super::print(&format!("{}\n", serde_json::json!({ "problem": problem })))?;
    Ok(ExitCode::SUCCESS)
}

/// Loads a model and runs it on one sample of zeros.
fn attempt(engines: &Engines, engine: EngineKind, onnx: &[u8]) -> Result<()> {
    let plan = engines.load(engine, onnx)?;
    plan.session()?.run(&zeros(plan.signature(), 1)?).map(drop)
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
