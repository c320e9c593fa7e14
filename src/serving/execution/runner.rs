//! A runner: one graph with all it needs to answer requests in tensors.

use std::sync::{Arc, Once, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::cache::{Key, ResponseCache};
use super::costs::Load;
use super::graph::Graph;
use super::inline::{InlineBatches, Ran};
use super::pool::Pool;
use super::sessions::Runtime;
use super::sharing::{Declared, Sharing};
use super::statistics::Statistics;
use super::terms::Terms;
use super::tuning::{Pinned, Tuning, TuningStage};
use super::work::Work;
use crate::config::{EngineChoice, SchedulingSettings};
use crate::engine::{Brake, ExampleInputs, Hints, OptionalInput, ShapePlanCounts};
use crate::error::{Error, Result};
use crate::ids::{ModelName, Version};
use crate::metrics::{ServableMetrics, Stage};
use crate::repository::Files;
use crate::repository::triton::View;
use crate::serving::context::DEFAULT_PRIORITY;
use crate::serving::scheduler::{BatchPolicy, Demand, Lane, LanePolicy};
use crate::signature::{Batching, Dim, Signature};
use crate::tensor::Tensor;

/// The file that a graph was read from, to be read again for another engine.
#[derive(Debug)]
pub(crate) struct GraphSource {
    /// The files of the version.
    pub(crate) files: Files,
    /// The name of the graph's file among them.
    pub(crate) file: String,
    /// The hash of its bytes.
    pub(crate) sha256: String,
    /// The engine that the settings want for it.
    pub(crate) choice: EngineChoice,
    /// Knowledge of its inputs.
    pub(crate) hints: Hints,
    /// The declaration about its first dimension.
    pub(crate) batches: Declared,
}

/// The parts of a runner.
#[derive(Debug)]
pub(crate) struct RunnerParts<'a> {
    pub(crate) name: ModelName,
    pub(crate) version: Version,
    pub(crate) view: View,
    pub(crate) runtime: Runtime,
    pub(crate) source: GraphSource,
    pub(crate) metrics: ServableMetrics,
    pub(crate) tuning: Tuning,
    /// Inputs that the graph runs on; `None` if none are known.
    pub(crate) examples: Option<ExampleInputs>,
    pub(crate) settings: SchedulingSettings,
    pub(crate) cache: Option<ResponseCache>,
    pub(crate) pool: &'a Pool,
}

/// The way in which a request runs on the thread that received it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InlineMode {
    /// By itself.
    Alone,
    /// Together with the requests that are ready on the same thread.
    Batched,
}

/// An answered request in tensors.
#[derive(Debug)]
pub(crate) struct Executed {
    /// The inputs, given back.
    pub(crate) inputs: Vec<Tensor>,
    /// The outputs, in the signature's order.
    pub(crate) outputs: Arc<Vec<Tensor>>,
    /// The time spent waiting for a run.
    pub(crate) queue: Duration,
    /// The time of the run.
    pub(crate) infer: Duration,
    /// Set if the response cache had the answer.
    pub(crate) cached: bool,
}

/// The answer of the response cache for some inputs.
pub(super) enum Recalled {
    /// The outputs.
    Known(Arc<Vec<Tensor>>),
    /// Nothing; with a cache, the key under which to keep the outputs.
    Unknown(Option<Key>),
}

/// A graph with its sessions, view, lane, tuning, cache and metrics.
#[derive(Debug)]
pub struct Runner {
    graph: Arc<Graph>,
    lane: Lane<Work>,
    inline: InlineBatches,
    tuning: ArcSwap<Tuning>,
    examples: ArcSwapOption<ExampleInputs>,
    /// Inputs that were answered while none were known that the graph runs on.
    answered: OnceLock<Vec<Tensor>>,
    settings: SchedulingSettings,
    cache: Option<ResponseCache>,
    /// Done once answers of shared runs, which were seen to be wrong, are out of the cache.
    forgotten: Once,
    source: GraphSource,
}

impl Runner {
    pub(crate) fn new(parts: RunnerParts<'_>) -> Self {
        let RunnerParts { name, version, view, runtime, source, metrics, tuning, examples, settings, cache, pool } =
            parts;
        metrics.set_tuning(tuning.single(), tuning.max_batch);
        let policy = lane_policy(&settings, &tuning, pool.size());
        Self {
            lane: Lane::new(pool.scheduler().clone(), policy, settings.queue_capacity),
            inline: InlineBatches::new(runtime.threads(), settings.max_batch_size),
            graph: Arc::new(Graph::new((name, version), view, metrics, runtime, tuning.sharing.is_shared)),
            tuning: ArcSwap::from_pointee(tuning),
            examples: ArcSwapOption::from_pointee(examples),
            answered: OnceLock::new(),
            settings,
            cache,
            forgotten: Once::new(),
            source,
        }
    }

    /// Returns the inputs and outputs as clients see them.
    pub fn signature(&self) -> &Signature {
        &self.graph.view.signature
    }

    /// Returns the inputs that a request may leave out. A request brings none of them or all, after the others.
    pub fn optional_inputs(&self) -> &[OptionalInput] {
        &self.graph.optional
    }

    /// Returns the plans for the sizes of requests, if the graph has such plans.
    pub fn shape_plans(&self) -> Option<ShapePlanCounts> {
        self.graph.runtime().plan().shape_plans()
    }

    /// Returns the way in which samples lie in the tensors of a request.
    pub fn batching(&self) -> Batching {
        self.graph.view.batching
    }

    /// Returns true if the first dimension is a batch: samples may share a run, and be run in several.
    pub fn shares_runs(&self) -> bool {
        self.graph.shares_runs()
    }

    /// Returns the settings by which its requests are scheduled.
    pub fn scheduling(&self) -> &SchedulingSettings {
        &self.settings
    }

    /// Returns the number of compute threads that may run it.
    pub fn compute_threads(&self) -> usize {
        self.lane.threads()
    }

    /// Returns its metric handles.
    pub fn metrics(&self) -> &ServableMetrics {
        &self.graph.metrics
    }

    /// Returns its figures since it was loaded.
    pub fn statistics(&self) -> &Statistics {
        &self.graph.statistics
    }

    /// Returns what was measured of it and chosen.
    pub fn tuning(&self) -> Arc<Tuning> {
        let tuning = self.tuning.load_full();
        match self.graph.refuted() {
            Some(reason) if tuning.sharing.is_shared => {
                let sharing = Sharing::refuted(reason.to_owned());
                Arc::new(Tuning { sharing, max_batch: 1, inline_batches: false, ..Tuning::clone(&tuning) })
            }
            _ => tuning,
        }
    }

    /// Records the time that writing an answer took.
    pub fn encoded(&self, elapsed: Duration) {
        self.graph.metrics.observe(Stage::Encode, elapsed);
        self.graph.statistics.encoded(elapsed);
    }

    /// Returns the samples in these inputs: the whole is one where the first dimension is no batch.
    pub fn samples(&self, inputs: &[Tensor]) -> usize {
        let rows = self.rows(inputs);
        if self.shares_runs() || self.graph.runs_one_by_one() { rows } else { rows.min(1) }
    }

    /// Returns the size of the first dimension of these inputs, if all tensors of the graph have it.
    pub fn rows(&self, inputs: &[Tensor]) -> usize {
        match self.batching() {
            Batching::Whole => 1,
            Batching::Any | Batching::Fixed(_) => inputs.first().map_or(0, Tensor::rows),
        }
    }

    /// Returns the shape of one sample of each input: the whole shape when the graph has no batch.
    pub fn sample_dims(&self) -> impl Iterator<Item = &[Dim]> {
        self.signature().inputs.iter().map(|input| match self.batching() {
            Batching::Whole => input.shape.as_slice(),
            Batching::Any | Batching::Fixed(_) => input.sample_dims(),
        })
    }

    /// Returns the file that the graph was read from.
    pub(crate) fn source(&self) -> &GraphSource {
        &self.source
    }

    /// Returns the place of an output of clients among those of the graph.
    pub(crate) fn graph_output(&self, output: usize) -> usize {
        self.graph.view.adapter.as_ref().map_or(output, |adapter| adapter.graph_output(output))
    }

    /// Returns the plan with its sessions.
    pub(crate) fn runtime(&self) -> Arc<Runtime> {
        self.graph.runtime()
    }

    /// Replaces the plan and its sessions.
    pub(crate) fn replace_runtime(&self, runtime: Runtime) {
        self.graph.replace_runtime(runtime);
    }

    /// Returns true while jobs are under way, which may outlive their requests.
    pub(crate) fn is_running(&self) -> bool {
        Arc::strong_count(&self.graph) > 1
    }

    /// Returns what the settings leave to be measured.
    pub(crate) fn pinned(&self) -> Pinned {
        Pinned::of(&self.settings)
    }

    /// Puts a choice into force.
    pub(crate) fn apply(&self, tuning: Tuning) {
        self.graph.metrics.set_tuning(tuning.single(), tuning.max_batch);
        self.lane.set_policy(lane_policy(&self.settings, &tuning, self.lane.threads()));
        self.graph.share_runs(tuning.sharing.is_shared);
        self.tuning.store(Arc::new(tuning));
    }

    /// Takes in inputs that the graph runs on.
    pub(crate) fn learn(&self, examples: ExampleInputs) {
        self.examples.store(Some(Arc::new(examples)));
    }

    /// Returns inputs that were answered while none were known that the graph runs on.
    pub(crate) fn answered(&self) -> Option<&[Tensor]> {
        self.answered.get().map(Vec::as_slice)
    }

    /// Keeps the inputs of the first answered request of a graph of which no example is known.
    pub(super) fn note(&self, inputs: &[Tensor]) {
        if self.tuning.load().stage == TuningStage::Unmeasured {
            self.answered.get_or_init(|| inputs.to_vec());
        }
    }

    /// Returns the error of a run that failed.
    pub(crate) fn failed(&self, error: Error) -> Error {
        self.graph.failed(error)
    }

    /// Brings a client's tensors into the shapes of the graph, once they fit the signature.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] naming the input, what it expects and what it got.
    pub(crate) fn prepare(&self, tensors: Vec<Tensor>) -> Result<Vec<Tensor>> {
        self.graph.prepare(tensors)
    }

    /// Returns inputs that the graph runs on, for a batch of this many samples if it has one; `None` if none are known.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when an input would be too large to be counted.
    pub(crate) fn example(&self, batch: usize) -> Result<Option<Vec<Tensor>>> {
        let batch = self.shares_runs().then_some(batch);
        self.examples.load_full().map(|examples| examples.of(batch)).transpose()
    }

    /// Runs prepared tensors on this thread, for nobody's statistics.
    ///
    /// # Errors
    /// [`Error::InvalidInput`], [`Error::ModelFailed`].
    pub(crate) fn infer_uncounted(&self, tensors: &[Tensor]) -> Result<Vec<Tensor>> {
        self.graph.infer(tensors, false, &Brake::default())
    }

    /// Checks that a request of one sample, which needs no decoding, would be admitted now.
    ///
    /// # Errors
    /// [`Error::Overloaded`].
    pub(crate) fn has_room(&self, terms: Terms) -> Result<()> {
        self.lane.has_room(self.demand(Load { encoded: 0, rows: 1 }, terms))
    }

    /// Returns the time that a request takes, as measured of others, and has from this moment on.
    pub(super) fn demand(&self, load: Load, terms: Terms) -> Demand {
        Demand {
            priority: self.priority(terms),
            cost: self.graph.costs.expected(load, self.tuning.load().single()),
            now: Instant::now(),
            deadline: terms.deadline.at,
        }
    }

    /// Returns the priority of a request: its own, or else that of the model.
    pub(super) fn priority(&self, terms: Terms) -> u8 {
        match terms.priority {
            DEFAULT_PRIORITY => self.scheduling().default_priority,
            stated => stated,
        }
    }

    /// Returns the way in which a request of these inputs runs on the thread that received it, if it may: if no more was
    /// measured to take little time, no plan has to be made first, and no value decides how long it takes.
    pub(crate) fn inline_mode(&self, inputs: &[Tensor]) -> Option<InlineMode> {
        let tuning = self.tuning.load();
        let elements = inputs.iter().map(|tensor| tensor.data().len()).sum();
        let is_measurable = inputs.len() <= self.signature().inputs.len() && self.graph.is_measurable();
        let mode = if tuning.inline_batches { InlineMode::Batched } else { InlineMode::Alone };
        (tuning.is_inline(elements) && is_measurable).then_some(mode)
    }

    /// Answers one prepared sample on this thread.
    ///
    /// # Errors
    /// [`Error::ModelFailed`].
    pub(crate) async fn run_inline(&self, mode: InlineMode, inputs: Vec<Tensor>, counted: bool) -> Result<Executed> {
        let begun = Instant::now();
        let key = match self.recall(&inputs, counted) {
            Recalled::Known(outputs) => return Ok(Executed::cached(inputs, outputs)),
            Recalled::Unknown(key) => key,
        };
        let Ran { inputs, outputs, infer } = match mode {
            InlineMode::Batched => {
                let most = self.tuning.load().sharing.largest;
                self.inline.run(&self.graph, inputs, most, counted).await?
            }
            InlineMode::Alone => {
                let outputs = self.graph.infer(&inputs, counted, &Brake::default())?;
                Ran { outputs, inputs, infer: begun.elapsed() }
            }
        };
        let outputs = Arc::new(outputs);
        self.note(&inputs);
        let queue = begun.elapsed().saturating_sub(infer);
        self.remember(key, &outputs, counted);
        Ok(Executed { inputs, outputs, queue, infer, cached: false })
    }

    /// Looks into the response cache, if there is one. It is for clients: what else the server asks would only fill it.
    pub(super) fn recall(&self, inputs: &[Tensor], counted: bool) -> Recalled {
        let Some(cache) = self.cache.as_ref().filter(|_| counted) else { return Recalled::Unknown(None) };
        if self.graph.refuted().is_some() {
            self.forgotten.call_once(|| cache.clear());
        }
        let start = Instant::now();
        let key = ResponseCache::key(inputs);
        let found = cache.get(&key);
        self.graph.statistics.looked_up(found.is_some(), start.elapsed());
        found.map_or(Recalled::Unknown(Some(key)), Recalled::Known)
    }

    /// Keeps outputs under the key that [`Runner::recall`] gave.
    pub(super) fn remember(&self, key: Option<Key>, outputs: &Arc<Vec<Tensor>>, counted: bool) {
        if let (Some(cache), Some(key)) = (&self.cache, key) {
            let start = Instant::now();
            cache.insert(key, outputs.clone());
            if counted {
                self.graph.statistics.kept(start.elapsed());
            }
        }
    }

    pub(super) fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    pub(super) fn lane(&self) -> &Lane<Work> {
        &self.lane
    }

    /// Returns the most samples of a request in one run of the pool; a request is cut only where requests may share
    /// runs as well. The first pieces hold two samples at least, so that there is something to compare with each alone.
    pub(super) fn piece(&self) -> usize {
        let may_be_cut = self.shares_runs() && self.settings.across_requests;
        if !may_be_cut {
            return usize::MAX;
        }
        match self.tuning.load().max_batch {
            0 | 1 if self.settings.max_batch_size != Some(1) && !self.graph.is_compared(2) => 2,
            most => most.max(1),
        }
    }

    /// Returns the most samples of a request if it is refused beyond them, as Triton does: the batch that the settings
    /// state, where requests are neither joined nor cut.
    pub(crate) fn largest_request(&self) -> Option<usize> {
        let is_batched = self.shares_runs() && !self.settings.across_requests;
        self.settings.max_batch_size.filter(|_| is_batched)
    }
}

impl Executed {
    pub(super) fn cached(inputs: Vec<Tensor>, outputs: Arc<Vec<Tensor>>) -> Self {
        Self { inputs, outputs, queue: Duration::ZERO, infer: Duration::ZERO, cached: true }
    }
}

fn lane_policy(settings: &SchedulingSettings, tuning: &Tuning, threads: usize) -> LanePolicy {
    let batch = if tuning.sharing.is_shared && settings.across_requests {
        BatchPolicy {
            max_samples: tuning.max_batch.max(1),
            max_delay: settings.max_queue_delay,
            preferred: settings.preferred_batch_sizes.clone(),
        }
    } else {
        BatchPolicy::single()
    };
    LanePolicy { batch, weight: settings.weight, concurrency: settings.concurrency.unwrap_or(threads).max(1) }
}
