//! Loads the graphs of a version into runners.

use std::sync::Arc;

use super::comparison;
use super::engines::{Candidates, Tried};
use super::tuner::Tuner;
use super::tuning_store::TuningStore;
use super::warm::{Terms, WarmGraph};
use crate::config::{EngineChoice, SchedulingSettings};
use crate::engine::{EngineKind, Hints};
use crate::error::Result;
use crate::metrics::Metrics;
use crate::repository::FoundVersion;
use crate::repository::triton::View;
use crate::serving::execution::{Declared, GraphSource, Pinned, Pool, ResponseCache, Runner, RunnerParts, Runtime};
use crate::transform::ImageLimits;

/// The settings and the shared parts of loading.
#[derive(Debug, Clone)]
pub struct LoadSettings {
    /// The threads that may run a model at once.
    pub threads: usize,
    /// The largest model file.
    pub max_model_bytes: u64,
    /// The limits to an image.
    pub image_limits: ImageLimits,
    /// The server's scheduling of requests, which a model's own settings may change.
    pub scheduling: SchedulingSettings,
    /// The threads that will compute.
    pub pool: Arc<Pool>,
    /// The measurements of earlier processes.
    pub tuning: TuningStore,
    /// The engines that may run a version.
    pub candidates: Candidates,
    /// The measurer of versions that serve.
    pub tuner: Option<Arc<Tuner>>,
}

/// The name and the hash of a graph's file.
pub(super) struct GraphFile<'a> {
    pub(super) name: &'a str,
    pub(super) sha256: &'a str,
}

/// Loads the graphs of one version.
pub(super) struct GraphLoader<'a> {
    pub(super) found: &'a FoundVersion,
    pub(super) settings: &'a LoadSettings,
    pub(super) candidates: Candidates,
    pub(super) scheduling: SchedulingSettings,
    metrics: &'a Metrics,
}

impl<'a> GraphLoader<'a> {
    pub(super) fn new(found: &'a FoundVersion, settings: &'a LoadSettings, metrics: &'a Metrics) -> Self {
        let own = found.settings.engine.as_ref().and_then(|table| table.kind);
        let choice = own.unwrap_or(settings.candidates.choice);
        let batched = found.settings.triton.as_ref().is_some_and(|triton| triton.config.max_batch_size > 0);
        let scheduling = found.settings.scheduling_over(&settings.scheduling);
        let hints = Hints { batched, examples: found.settings.examples(), largest: scheduling.max_batch_size };
        let candidates = Candidates { choice, hints, ..settings.candidates.clone() };
        Self { found, settings, candidates, scheduling, metrics }
    }

    /// Parses a file in the engine that was measured to be the better one, if both were, or in the reference if they
    /// disagreed; else in the first that can run it.
    ///
    /// # Errors
    /// As [`Candidates::plan`].
    pub(super) fn plan(&self, onnx: &[u8], sha256: &str) -> Result<Tried> {
        let known = |engine| self.settings.tuning.recall(sha256, engine);
        let is_better = || match (known(EngineKind::Tract), known(EngineKind::OnnxRuntime)) {
            (Some(tract), Some(other)) => comparison::is_better(&tract, &other),
            _ => false,
        };
        if self.candidates.choice == EngineChoice::Auto
            && (self.settings.tuning.disagree(sha256) || is_better())
            && let Ok(tried) = self.candidates.load(EngineKind::OnnxRuntime, onnx, sha256)
        {
            return Ok(tried);
        }
        self.candidates.plan(onnx, sha256)
    }

    /// Readies a graph for its first request. `declared` is set if somebody answers for the independence of its samples.
    ///
    /// # Errors
    /// The failure of the model.
    pub(super) fn warm(&self, tried: Tried, view: View, sha256: &str, declared: bool) -> Result<WarmGraph> {
        let terms = Terms {
            threads: self.settings.pool.size(),
            remembered: self.settings.tuning.recall(sha256, tried.plan.engine()),
            pinned: Pinned::of(&self.scheduling),
            batches: self.batches(declared),
        };
        WarmGraph::new(tried, view, &self.candidates.hints, terms)
    }

    /// Returns what is said about the first dimension.
    fn batches(&self, declared: bool) -> Declared {
        match (self.found.settings.excludes_batch(), declared || self.found.settings.declares_batch()) {
            (true, _) => Declared::NoBatch,
            (false, true) => Declared::Batch,
            (false, false) => Declared::Nothing,
        }
    }

    /// Makes the runner of a graph, whose metrics appear as of the model `series`.
    ///
    /// # Errors
    /// [`crate::error::Error::Internal`] when a metric cannot be bound.
    pub(super) fn runner(
        &self,
        graph: WarmGraph,
        file: &GraphFile<'_>,
        series: &str,
        cache_bytes: u64,
    ) -> Result<Runner> {
        let WarmGraph { plan, view, sessions, tuning, batches, examples } = graph;
        let (found, settings) = (self.found, self.settings);
        let metrics = self.metrics.bind_servable(series, &found.version.to_string())?;
        let cache = match cache_bytes {
            0 => None,
            bytes => Some(ResponseCache::new(bytes, metrics.cache()?)),
        };
        Ok(Runner::new(RunnerParts {
            name: found.name.clone(),
            version: found.version,
            view,
            runtime: Runtime::new(plan, settings.threads, sessions),
            source: GraphSource {
                files: found.files.clone(),
                file: file.name.to_owned(),
                sha256: file.sha256.to_owned(),
                choice: self.candidates.choice,
                hints: self.candidates.hints.clone(),
                batches,
            },
            metrics,
            tuning,
            examples,
            settings: self.scheduling.clone(),
            cache,
            pool: &settings.pool,
        }))
    }
}
