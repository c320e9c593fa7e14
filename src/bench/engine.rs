//! Runs a model in the engine alone, without a server.
//!
//! This is the only file here that touches plans, sessions and tensors.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::latencies::Latencies;
use super::plan::{Live, MAX_THREADS};
use super::profile::StepProfile;
use super::report::EngineStep;
use super::stop::Stop;
use crate::engine::{EngineKind, Engines, NodeTimes, Plan, Session, peak_flops, zeros};
use crate::error::{Error, Result};
use crate::ids::Version;
use crate::repository::{FoundVersion, Graph, MODEL_FILE, Marks, ModelSettings, VersionFiles};
use crate::signature::{Batching, Dim, TensorSpec};
use crate::tensor::Tensor;

/// Larger batches are refused.
pub const MAX_BATCH: usize = 65_536;
/// Batches whose input holds more numbers are refused.
const MAX_ELEMENTS: usize = 1 << 28;

/// A model, ready to run.
#[derive(Debug)]
pub struct EngineModel {
    plan: Plan,
    path: PathBuf,
}

/// The conditions that a model is run under.
#[derive(Debug, Clone, PartialEq)]
pub struct EnginePlan {
    /// Samples in a batch.
    pub batch: usize,
    /// Threads, each with a session of its own.
    pub threads: usize,
    /// Time before the measurement.
    pub warmup: Duration,
    /// Measured time.
    pub duration: Duration,
    /// Set to take the time of each node, which only the built-in engine tells, on one thread.
    pub profile: bool,
}

impl EngineModel {
    /// Loads an ONNX file, a version's folder, or the newest version in a model's folder. A name that is none of these
    /// is looked up below `models`.
    ///
    /// # Errors
    /// [`Error::Config`] when there is no such model, and any error of reading or loading it.
    pub fn load(model: &Path, models: &Path, engine: EngineKind, engines: &Engines) -> Result<Self> {
        let found = if model.exists() { model.to_owned() } else { models.join(model) };
        let (path, onnx) = if found.is_file() {
            let (folder, file) = (found.parent().unwrap_or(&found), found.file_name().unwrap_or_default());
            let graph = Graph::read(&folder.into(), &file.to_string_lossy(), u64::MAX - 1, None, |_, _| Ok(()))?;
            (found, graph.onnx)
        } else {
            let (folder, model_file) = version_folder(found, model)?;
            let files = VersionFiles::read_named(&folder.as_path().into(), &model_file, u64::MAX - 1)?;
            (folder, files.onnx)
        };
        Ok(Self { plan: engines.load(engine, &onnx)?, path })
    }

    /// Returns the file or folder that it was loaded from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the name of the engine that runs it.
    pub fn engine(&self) -> &'static str {
        self.plan.engine().name()
    }

    /// Returns its inputs.
    pub fn inputs(&self) -> &[TensorSpec] {
        &self.plan.signature().inputs
    }

    /// Returns the only batch size that the graph accepts, unless it accepts any.
    pub fn fixed_batch(&self) -> Option<usize> {
        match self.plan.signature().batching() {
            Batching::Any => None,
            Batching::Fixed(size) => Some(size),
            Batching::Whole => Some(1),
        }
    }

    /// Returns a batch of random numbers from 0 to 1, always the same for one batch size; inputs of other types are
    /// zeros. A dimension that each request may choose is 1.
    fn inputs_of(&self, batch: usize) -> Result<Vec<Tensor>> {
        let count = |spec: &TensorSpec| {
            let size = |dim: &Dim| {
                if let Dim::Fixed(size) = dim {
                    *size
                } else if dim.is_batch() {
                    batch
                } else {
                    1
                }
            };
            spec.shape.iter().try_fold(1usize, |product, dim| product.checked_mul(size(dim)))
        };
        if self.inputs().iter().any(|spec| count(spec).is_none_or(|elements| elements > MAX_ELEMENTS)) {
            return Err(refuse("--batch", &format!("{batch} makes an input of more than {MAX_ELEMENTS} numbers")));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(batch as u64);
        let mut fill = |zeros: Tensor| match zeros.floats() {
            Ok(elements) => {
                let numbers: Vec<f32> = elements.iter().map(|_| rng.random()).collect();
                Tensor::new(zeros.shape().to_vec(), numbers)
            }
            Err(_) => Ok(zeros),
        };
        zeros(self.plan.signature(), batch)?.into_iter().map(&mut fill).collect()
    }
}

/// Returns a version's folder and the name of its graph, which the model's `config.pbtxt` may have changed. A model's
/// folder stands for its newest version.
fn version_folder(found: PathBuf, asked: &Path) -> Result<(PathBuf, String)> {
    let graph = model_file(&found)?;
    if found.join(&graph).exists() {
        return Ok((found, graph));
    }
    let newest = newest(&found, asked)?;
    let graph = model_file(&newest)?;
    Ok((newest, graph))
}

/// Returns the name of the graph in a folder. Outside of a repository there are no settings that could name another.
fn model_file(folder: &Path) -> Result<String> {
    let Ok(mut version) = FoundVersion::in_folder(folder) else { return Ok(MODEL_FILE.into()) };
    version.settings = ModelSettings::read(&version.name, &version.model_files)?.into();
    Marks::find(&mut version);
    Ok(version.model_file().to_owned())
}

/// Returns the newest version in a model's folder.
fn newest(folder: &Path, asked: &Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let version = |entry: std::fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        Some((Version::of_folder(&name)?, std::cmp::Reverse(name)))
    };
    let (_, std::cmp::Reverse(newest)) = entries.filter_map(version).max().ok_or_else(|| {
        let expected = "an .onnx file, models/<name> or models/<name>/<version>";
        refuse("MODEL", &format!("\"{}\" is not a model; expected {expected}", asked.display()))
    })?;
    Ok(folder.join(newest))
}

/// Runs batches on every thread for the planned time, or until the run is stopped.
///
/// # Errors
/// [`Error::Config`] when the plan is out of bounds or does not fit the model, and any error of the model's.
pub fn run_engine(model: &EngineModel, plan: &EnginePlan, stop: &Stop, live: &Arc<Live>) -> Result<EngineStep> {
    validate(model, plan)?;
    let inputs = model.inputs_of(plan.batch)?;
    let peak = plan.profile.then(peak_flops).transpose()?;
    let start = Instant::now() + plan.warmup;
    let end = start + plan.duration;
    let (latencies, span, times) = thread::scope(|scope| {
        let spawn = |index: usize| {
            let inputs = inputs.as_slice();
            let work = move || run_thread(model.plan.session()?, inputs, (start, end), stop, live, plan.profile);
            thread::Builder::new()
                .name(format!("bench-{index}"))
                .spawn_scoped(scope, work)
                .map_err(|error| Error::internal("a thread could not be started", error))
        };
        let running = (0..plan.threads).map(spawn).collect::<Result<Vec<_>>>()?;
        let (mut sum, mut span, mut of_nodes) = (Latencies::new()?, None::<(Instant, Instant)>, None);
        for thread in running {
            let (latencies, (begun, ended), times) =
                thread.join().map_err(|_| Error::internal("a thread failed", "it panicked"))??;
            sum.merge(&latencies)?;
            of_nodes = times;
            span = Some(span.map_or((begun, ended), |(first, last)| (first.min(begun), last.max(ended))));
        }
        Ok::<_, Error>((sum, span, of_nodes))
    })?;
    let seconds = span.map_or(0.0, |(first, last)| (last - first).as_secs_f64());
    let runs = latencies.len();
    let runs_per_second = if seconds > 0.0 { runs as f64 / seconds } else { 0.0 };
    Ok(EngineStep {
        batch: plan.batch,
        threads: plan.threads,
        seconds,
        runs,
        samples: runs * plan.batch as u64,
        runs_per_second,
        samples_per_second: runs_per_second * plan.batch as f64,
        latency_ms: latencies.percentiles(),
        latency_curve: latencies.curve(),
        slo: None,
        profile: peak.zip(times).map(|(peak, times)| StepProfile::of(times.profile(), peak)),
        latencies,
    })
}

fn validate(model: &EngineModel, plan: &EnginePlan) -> Result<()> {
    if !(1..=MAX_BATCH).contains(&plan.batch) {
        return Err(refuse("--batch", &format!("expected 1 to {MAX_BATCH}, got {}", plan.batch)));
    }
    if let Some(fixed) = model.fixed_batch().filter(|fixed| *fixed != plan.batch) {
        return Err(refuse("--batch", &format!("the graph takes batches of {fixed} only, got {}", plan.batch)));
    }
    if !(1..=MAX_THREADS).contains(&plan.threads) {
        return Err(refuse("--threads", &format!("expected 1 to {MAX_THREADS}, got {}", plan.threads)));
    }
    if plan.profile && plan.threads != 1 {
        return Err(refuse("--threads", &format!("a profile is that of one thread, got {}", plan.threads)));
    }
    Ok(())
}

/// Runs the model until `end`, and at least once. Runs that begin before `start` are warm-up. Returns the latencies,
/// the begin of the first measured run and the end of the last one, and the times of the nodes if they are asked for.
fn run_thread(
    mut session: Session,
    inputs: &[Tensor],
    (start, end): (Instant, Instant),
    stop: &Stop,
    live: &Live,
    profile: bool,
) -> Result<(Latencies, (Instant, Instant), Option<NodeTimes>)> {
    let mut latencies = Latencies::new()?;
    let mut times = profile.then(NodeTimes::default);
    let mut now = Instant::now();
    let mut first = None;
    while (now < end || latencies.is_empty()) && !stop.is_asked() {
        let begun = now;
        match &mut times {
            Some(times) if begun >= start => session.run_timed(inputs, times)?,
            _ => session.run(inputs)?,
        };
        now = Instant::now();
        live.count(true);
        if begun >= start {
            first.get_or_insert(begun);
            latencies.record(now - begun);
        }
    }
    Ok((latencies, (first.unwrap_or(now), now), times))
}

fn refuse(setting: &str, problem: &str) -> Error {
    Error::Config { setting: setting.into(), problem: problem.into() }
}
