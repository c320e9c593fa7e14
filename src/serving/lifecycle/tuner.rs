//! Measures versions in the background, after they serve, and puts the better choice into force.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::engine::{self, EngineKind, Plan};
use crate::error::{Error, Result};
use crate::serving::execution::sessions::Runtime;
use crate::serving::execution::tuning::{BatchCost, Tuning, TuningStage};
use crate::serving::lifecycle::comparison;
use crate::serving::lifecycle::engines::Candidates;
use crate::serving::lifecycle::tuning_store::TuningStore;
use crate::serving::scheduler::pool::Pool;
use crate::serving::servable::Servable;
use crate::signature::Batching;
use crate::tensor::Tensor;

/// The batches that are measured.
const SIZES: [usize; 6] = [1, 2, 4, 8, 16, 32];
/// How often each is measured.
const ROUNDS: usize = 3;
/// A batch that is expected to take longer than this is not measured.
const LONGEST_RUN: Duration = Duration::from_millis(300);
/// How often the tuner looks whether requests wait, and how often it gives way to them.
const PAUSE: Duration = Duration::from_millis(50);
const PATIENCE: usize = 40;

/// The background measurer: one thread with a queue of versions that are not measured yet.
#[derive(Debug)]
pub struct Tuner {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    store: TuningStore,
    pool: Arc<Pool>,
    candidates: Candidates,
    max_model_bytes: u64,
}

/// What is to be measured. A version that is gone before its turn is passed over, and each is in the
/// queue at most once, so the queue is as bounded as the repository.
#[derive(Debug, Default)]
struct State {
    queue: std::collections::VecDeque<Weak<Servable>>,
    is_closed: bool,
}

impl Tuner {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`Error::Internal`] when the system gives no thread.
    pub fn start(store: TuningStore, pool: Arc<Pool>, candidates: Candidates, max_model_bytes: u64) -> Result<Self> {
        let (state, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { state, changed, store, pool, candidates, max_model_bytes });
        let working = shared.clone();
        let thread = std::thread::Builder::new()
            .name("tuner".into())
            .spawn(move || working.work())
            .map_err(|error| Error::internal("the tuner could not be started", error))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Queues a version that serves, unless it has been measured in full.
    pub fn add(&self, servable: &Arc<Servable>) {
        if servable.tuning().stage == TuningStage::Loading {
            self.shared.lock().queue.push_back(Arc::downgrade(servable));
            self.shared.changed.notify_one();
        }
    }

    /// Ends after the measurement under way and joins the thread.
    pub fn close(&self) {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            drop(thread.join());
        }
    }
}

impl Drop for Tuner {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        loop {
            let mut state = self.lock();
            let next = loop {
                if state.is_closed {
                    return;
                }
                match state.queue.pop_front() {
                    Some(next) => break next,
                    None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(state);
            if let Some(servable) = next.upgrade() {
                self.tune(&servable);
            }
        }
    }

    fn tune(&self, servable: &Servable) {
        let (model, version) = (servable.name.as_str(), servable.version.0);
        if let Err(error) = self.measure(servable) {
            tracing::warn!(model, version, error = %error, "could not be measured; the first choice stands");
        }
    }

    fn measure(&self, servable: &Servable) -> Result<()> {
        let runtime = servable.runtime.load_full();
        let Some(costs) = self.costs(servable, runtime.plan())? else { return Ok(()) };
        self.settle(servable, runtime.plan().engine(), costs.clone());
        let Some(plan) = comparison::agreeing_plan(&self.candidates, servable, self.max_model_bytes)? else {
            return Ok(());
        };
        let Some(others) = self.costs(servable, &plan)? else { return Ok(()) };
        if comparison::is_better(&costs, &others) {
            let engine = plan.engine();
            let sessions = comparison::warm(&plan, self.pool.size())?;
            servable.runtime.store(Arc::new(Runtime::new(plan, runtime.threads(), sessions)));
            self.settle(servable, engine, others);
        } else {
            self.store.remember(&servable.onnx_sha256, plan.engine(), &others);
        }
        Ok(())
    }

    /// Puts what was measured into force.
    fn settle(&self, servable: &Servable, engine: EngineKind, costs: Vec<BatchCost>) {
        self.store.remember(&servable.onnx_sha256, engine, &costs);
        let tuning = Tuning::choose(TuningStage::Measured, engine, costs, servable.pinned());
        tracing::info!(
            model = servable.name.as_str(),
            version = servable.version.0,
            engine = engine.name(),
            batch_1_us = tuning.single().as_micros() as u64,
            max_batch = tuning.max_batch,
            inline = tuning.inline,
            "tuned"
        );
        servable.apply(tuning);
    }

    /// The cost by batch size: the least of several rounds, as whatever else the machine does only adds
    /// to it. `None` when the tuner closes.
    fn costs(&self, servable: &Servable, plan: &Plan) -> Result<Option<Vec<BatchCost>>> {
        let mut session = plan.session()?;
        let mut costs: Vec<BatchCost> = Vec::new();
        for round in 0..ROUNDS {
            for (index, batch) in sizes(servable).enumerate() {
                let expected = costs.last().map_or(0.0, |last| last.microseconds * batch as f64 / last.batch as f64);
                if costs.get(index).is_none() && (round > 0 || expected > LONGEST_RUN.as_secs_f64() * 1e6) {
                    break;
                }
                if !self.wait_for_calm() {
                    return Ok(None);
                }
                let cost = cost(&mut session, batch, &servable.zeros(batch)?)?;
                match costs.get_mut(index) {
                    Some(known) => known.microseconds = known.microseconds.min(cost.microseconds),
                    None => costs.push(cost),
                }
            }
        }
        Ok(Some(costs))
    }

    /// Gives way to requests for a while; false when the tuner closes.
    fn wait_for_calm(&self) -> bool {
        let mut state = self.lock();
        for _ in 0..PATIENCE {
            if state.is_closed || self.pool.is_idle() {
                break;
            }
            state = self
                .changed
                .wait_timeout(state, PAUSE)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
        }
        !state.is_closed
    }
}

fn sizes(servable: &Servable) -> impl Iterator<Item = usize> {
    let most = match servable.batching {
        Batching::Any => servable.settings.max_batch_size.unwrap_or(SIZES[SIZES.len() - 1]),
        Batching::Fixed(_) | Batching::Whole => 1,
    };
    SIZES.into_iter().filter(move |size| *size <= most)
}

/// What a run of this many samples costs.
///
/// # Errors
/// What the model fails with.
pub(crate) fn cost(session: &mut engine::Session, batch: usize, inputs: &[Tensor]) -> Result<BatchCost> {
    let median = engine::measure(session, inputs)?;
    Ok(BatchCost { batch, microseconds: median.as_nanos() as f64 / 1e3 })
}
