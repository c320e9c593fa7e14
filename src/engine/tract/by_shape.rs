//! Plans for the sizes that requests bring, kept in a bounded cache.
//!
//! Where a plan for any sizes cannot be made, or fails, each new shape waits for a plan of its own. Where it can, a
//! shape that comes again gets one in the background, and whichever was measured to be faster runs it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tract_onnx::prelude::*;

use super::limits::Limits;
use super::source::{Source, except};
use super::times::NodeTimes;
use super::worker::{Base, BaseSession, Worker, optimise};
use crate::engine::contain::{contain, unusable};
use crate::engine::{ShapePlanCounts, faults};
use crate::error::{Error, Result};

/// The most plans of a graph, and the memory that they may take together, estimated by the size of the model file.
const MAX_PLANS: usize = 16;
const MAX_BYTES: usize = 256 << 20;

/// The plans that a session holds at once.
const MAX_HELD: usize = 4;

/// A shape that has been run this often, each time longer than this, gets a plan of its own.
const RUNS_BEFORE_PLAN: u32 = 4;
const WORTH_A_PLAN: Duration = Duration::from_micros(200);

/// The runs by which two plans are compared.
const RUNS_TO_COMPARE: u32 = 3;

/// The sizes by which a plan is found.
type Key = Box<[usize]>;

/// The number of runs and the time of the fastest, for one sample.
#[derive(Debug)]
struct Pace {
    runs: AtomicU32,
    fastest: AtomicU64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { runs: AtomicU32::new(0), fastest: AtomicU64::new(u64::MAX) }
    }
}

impl Pace {
    fn ran(&self, elapsed: Duration, samples: usize) {
        let each = elapsed.as_nanos() / samples.max(1) as u128;
        self.fastest.fetch_min(u64::try_from(each).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.runs.fetch_add(1, Ordering::Relaxed);
    }

    fn runs(&self) -> u32 {
        self.runs.load(Ordering::Relaxed)
    }

    fn fastest(&self) -> Duration {
        Duration::from_nanos(self.fastest.load(Ordering::Relaxed))
    }
}

/// A plan with the sizes that it bears, or why there is none.
type Made = std::result::Result<(Arc<TypedRunnableModel>, Limits), String>;

/// The findings about a shape.
#[derive(Debug)]
struct Known {
    key: Key,
    shapes: Vec<Vec<usize>>,
    /// The values that its plan is made for, by the places of their inputs.
    values: Vec<(usize, Arc<Tensor>)>,
    /// True if its plan takes any number of samples.
    any_batch: bool,
    /// True if the plan for any sizes may run it.
    suits_base: AtomicBool,
    by_base: Pace,
    by_plan: Pace,
    /// The plan with the sizes that it bears, or why there is none.
    plan: OnceLock<Made>,
}

impl Known {
    fn prefers_base(&self) -> bool {
        let is_slower = || self.by_plan.runs() >= RUNS_TO_COMPARE && self.by_plan.fastest() >= self.by_base.fastest();
        let has_plan = self.plan.get().is_some_and(std::result::Result::is_ok);
        self.suits_base.load(Ordering::Relaxed) && (!has_plan || is_slower())
    }
}

/// The plans of one graph by shape.
#[derive(Debug)]
pub(super) struct ShapePlans {
    source: Source,
    /// The plan for any sizes, with the sizes that it bears.
    base: Option<(Base, Limits)>,
    /// The dimensions that a request may choose, apart from the batch.
    open: Vec<(usize, usize)>,
    kept: Mutex<VecDeque<Arc<Known>>>,
    capacity: usize,
    /// True as long as plans take any number of samples.
    any_batch: AtomicBool,
    is_planning: AtomicBool,
    hits: AtomicU64,
    planned: AtomicU64,
    waited: AtomicU64,
}

impl ShapePlans {
    /// Makes an empty cache of plans of a graph whose file has `bytes`.
    pub(super) fn new(source: Source, base: Option<(Base, Limits)>, bytes: usize) -> Self {
        let open = source.open();
        let any_batch = source.symbols.has_batch() && !(open.is_empty() && source.optional.is_empty());
        let zero = AtomicU64::default;
        Self {
            source,
            base,
            open,
            kept: Mutex::default(),
            capacity: (MAX_BYTES / (bytes + 1)).clamp(1, MAX_PLANS),
            any_batch: AtomicBool::new(any_batch),
            is_planning: AtomicBool::new(false),
            hits: zero(),
            planned: zero(),
            waited: zero(),
        }
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// Returns true if inputs of any sizes can run without a plan of their own.
    pub(super) fn has_base(&self) -> bool {
        self.base.is_some()
    }

    /// Returns true if a plan was made for any shape.
    pub(super) fn has_planned(&self) -> bool {
        self.lock().iter().any(|known| known.plan.get().is_some_and(std::result::Result::is_ok))
    }

    pub(super) fn counts(&self) -> ShapePlanCounts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let kept = self.lock().iter().filter(|known| known.plan.get().is_some_and(std::result::Result::is_ok)).count();
        ShapePlanCounts {
            any_size: self.has_base(),
            kept,
            hits: count(&self.hits),
            made: count(&self.planned),
            waited: count(&self.waited),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<Known>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, shapes: &[&[usize]], values: &[(usize, Arc<Tensor>)], any_batch: bool) -> Key {
        let required = self.source.inputs.len();
        let mut key = vec![usize::from(any_batch), shapes.len()];
        key.extend(self.open.iter().filter_map(|(input, axis)| shapes.get(*input)?.get(*axis)));
        if !any_batch {
            key.extend(shapes.iter().take(required).filter_map(|shape| shape.first()));
        }
        key.extend(shapes.iter().skip(required).flat_map(|shape| shape.iter().copied()));
        for (_, value) in values {
            key.extend(value.shape());
            key.extend(value.as_bytes().iter().copied().map(usize::from));
        }
        key.into()
    }

    /// Returns what is known of a shape, which stays known for longer than others from now on.
    fn known(&self, key: Key, shapes: &[&[usize]], values: Vec<(usize, Arc<Tensor>)>, any_batch: bool) -> Arc<Known> {
        let mut kept = self.lock();
        let place = kept.iter().position(|known| known.key == key);
        let known = place.and_then(|place| kept.remove(place)).unwrap_or_else(|| {
            let shapes = self.planned_shapes(shapes, any_batch);
            let of_one: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
            let bears = self.base.as_ref().is_some_and(|(_, limits)| limits.check(&of_one).is_ok());
            Arc::new(Known {
                key,
                values,
                any_batch,
                suits_base: AtomicBool::new(bears && shapes.len() == self.source.inputs.len()),
                shapes,
                by_base: Pace::default(),
                by_plan: Pace::default(),
                plan: OnceLock::new(),
            })
        });
        kept.push_back(known.clone());
        if kept.len() > self.capacity {
            kept.pop_front();
        }
        known
    }

    /// Returns the shapes that a plan is made for. One for any number of samples is judged by one sample: what more of
    /// them would take is the fault of the request that brings them, and no other's.
    fn planned_shapes(&self, shapes: &[&[usize]], any_batch: bool) -> Vec<Vec<usize>> {
        let mut shapes: Vec<Vec<usize>> = shapes.iter().map(|shape| shape.to_vec()).collect();
        for (shape, spec) in shapes.iter_mut().zip(&self.source.inputs).filter(|_| any_batch) {
            let sizes = shape.iter_mut().zip(&spec.shape).filter(|(_, dim)| dim.is_batch());
            sizes.for_each(|(size, _)| *size = 1);
        }
        shapes
    }

    fn plan<'k>(&self, known: &'k Known) -> &'k Made {
        known.plan.get_or_init(|| {
            let begun = Instant::now();
            let plan = contain(|| self.make(known)).and_then(|plan| plan);
            self.planned.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(shapes = ?known.shapes, elapsed_ms = begun.elapsed().as_millis() as u64, ok = plan.is_ok(), "planned");
            plan
        })
    }

    fn make(&self, known: &Known) -> Made {
        let said = |error: TractError| format!("{error:#}");
        let shapes: Vec<&[usize]> = known.shapes.iter().map(Vec::as_slice).collect();
        let graph = self.source.typed(Some(&shapes), &known.values, known.any_batch).map_err(said)?;
        let limits = Limits::of(&graph, self.source.bounds).map_err(said)?;
        limits.check(&except(&known.values, shapes))?;
        Ok((optimise(graph).map_err(said)?, limits))
    }

    /// Makes a plan for a shape in the background, if it is worth one and no other is being made.
    fn consider(self: &Arc<Self>, known: &Arc<Known>) {
        let is_worth = known.by_base.runs() >= RUNS_BEFORE_PLAN && known.by_base.fastest() >= WORTH_A_PLAN;
        let is_due = is_worth && !self.open.is_empty() && known.plan.get().is_none();
        if !is_due || self.is_planning.swap(true, Ordering::Relaxed) {
            return;
        }
        let (plans, known) = (self.clone(), known.clone());
        let work = move || {
            plans.plan(&known);
            plans.is_planning.store(false, Ordering::Relaxed);
        };
        if let Err(error) = std::thread::Builder::new().name("plan".into()).spawn(work) {
            tracing::debug!(%error, "no thread for a plan");
            self.is_planning.store(false, Ordering::Relaxed);
        }
    }

    pub(super) fn session(self: &Arc<Self>) -> Result<ShapeSession> {
        let base = self.base.as_ref().map(|(base, _)| base.session()).transpose();
        let base = base.map_err(|error| unusable(faults::words(&format!("{error:#}"))))?;
        Ok(ShapeSession { plans: self.clone(), base, held: Vec::new() })
    }
}

/// A shape that a session has run.
#[derive(Debug)]
struct Held {
    known: Arc<Known>,
    worker: Option<Worker>,
    /// The most samples that were found within the limits of the plan for any sizes, and of its own.
    within_base: usize,
    within_plan: usize,
}

/// One thread's working memory for [`ShapePlans`].
#[derive(Debug)]
pub(super) struct ShapeSession {
    plans: Arc<ShapePlans>,
    base: Option<BaseSession>,
    held: Vec<Held>,
}

impl ShapeSession {
    /// Runs inputs of these shapes, and takes the times of the nodes if there is a place for them.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the graph does not take such inputs, [`Error::Internal`].
    pub(super) fn run(
        &mut self,
        inputs: TVec<TValue>,
        shapes: &[&[usize]],
        mut times: Option<&mut NodeTimes>,
    ) -> Result<TVec<TValue>> {
        let any_batch = self.plans.any_batch.load(Ordering::Relaxed);
        let place = self.place(&inputs, shapes, any_batch);
        let known = self.held[place].known.clone();
        let samples = shapes.first().and_then(|shape| shape.first()).copied().unwrap_or(1);
        let mut base_failed = false;
        if let Some(base) = self.base.as_mut().filter(|_| known.prefers_base()) {
            let held = &mut self.held[place];
            if let Some((_, limits)) = self.plans.base.as_ref().filter(|_| samples > held.within_base) {
                limits.check_tensors(shapes).map_err(Error::InvalidInput)?;
                held.within_base = samples;
            }
            let begun = Instant::now();
            match base.run(inputs.clone(), shapes, times.as_deref_mut()) {
                Ok(outputs) => {
                    known.by_base.ran(begun.elapsed(), samples);
                    self.plans.consider(&known);
                    return Ok(outputs);
                }
                Err(said) if known.by_base.runs() > 0 => return Err(faults::running(&said)),
                // The plan for any sizes may be at fault; one for these sizes says whether it is.
                Err(_) => base_failed = true,
            }
        }
        self.prepare(place, shapes, samples)?;
        let outputs = match self.run_planned(place, inputs.clone(), samples, times.as_deref_mut()) {
            Err(_) if any_batch => {
                let place = self.place(&inputs, shapes, false);
                self.prepare(place, shapes, samples)?;
                let outputs = self.run_planned(place, inputs, samples, times);
                if outputs.is_ok() {
                    self.plans.any_batch.store(false, Ordering::Relaxed);
                }
                outputs
            }
            outputs => outputs,
        };
        if base_failed && outputs.is_ok() {
            known.suits_base.store(false, Ordering::Relaxed);
        }
        outputs
    }

    /// Makes the plan of a shape unless there is one, and refuses more samples than it bears. Why no plan can be made is
    /// said when it is to run.
    fn prepare(&mut self, place: usize, shapes: &[&[usize]], samples: usize) -> Result<()> {
        let Self { plans, held, .. } = self;
        let Held { known, within_plan, .. } = &mut held[place];
        if known.plan.get().is_some() {
            plans.hits.fetch_add(1, Ordering::Relaxed);
        } else {
            plans.waited.fetch_add(1, Ordering::Relaxed);
        }
        let Ok((_, limits)) = plans.plan(known) else { return Ok(()) };
        if samples > *within_plan {
            let shapes = except(&known.values, shapes.iter().copied());
            limits.check_tensors(&shapes).map_err(Error::InvalidInput)?;
            *within_plan = samples;
        }
        Ok(())
    }

    fn run_planned(
        &mut self,
        place: usize,
        inputs: TVec<TValue>,
        samples: usize,
        times: Option<&mut NodeTimes>,
    ) -> Result<TVec<TValue>> {
        let Self { plans, held, .. } = self;
        let Held { known, worker, .. } = &mut held[place];
        let refuse = |said: &str| {
            Error::InvalidInput(format!("the model does not take inputs of these sizes: {}", faults::words(said)))
        };
        let (plan, _) = plans.plan(known).as_ref().map_err(|said| refuse(said))?;
        let worker = match worker {
            Some(worker) => worker,
            None => worker.insert(Worker::new(plan.clone()).map_err(|error| faults::running(&format!("{error:#}")))?),
        };
        let begun = Instant::now();
        let outputs = worker.run(except(&known.values, inputs), times).map_err(|said| faults::running(&said))?;
        known.by_plan.ran(begun.elapsed(), samples);
        Ok(outputs)
    }

    /// Returns the place of a shape among those that the session holds.
    fn place(&mut self, inputs: &[TValue], shapes: &[&[usize]], any_batch: bool) -> usize {
        let values = self.plans.source.values(inputs);
        let key = self.plans.key(shapes, &values, any_batch);
        if let Some(place) = self.held.iter().position(|held| held.known.key == key) {
            return place;
        }
        if self.held.len() >= MAX_HELD.min(self.plans.capacity) {
            self.held.remove(0);
        }
        let known = self.plans.known(key, shapes, values, any_batch);
        self.held.push(Held { known, worker: None, within_base: 0, within_plan: 0 });
        self.held.len() - 1
    }
}
