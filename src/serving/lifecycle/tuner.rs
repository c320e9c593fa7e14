//! Measures versions in the background, after they serve, and puts the better choice into force.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::comparison::Rival;
use super::engines::{Candidates, Tried};
use super::tuning_store::TuningStore;
use super::{comparison, warm};
use crate::engine::{EngineKind, ExampleInputs, Plan, Trial};
use crate::error::{Error, Result};
use crate::metrics::{Metrics, ThreadName};
use crate::serving::execution::{BatchCost, Pool, Runner, Runtime, Sharing, Tuning, TuningStage};
use crate::serving::servable::{Part, Servable};

/// The batches that are measured.
const SIZES: [usize; 6] = [1, 2, 4, 8, 16, 32];
/// The rounds of measurements.
const ROUNDS: usize = 3;
/// A batch that is expected to take longer than this is not measured.
const LONGEST_RUN: Duration = Duration::from_millis(300);
/// The time in which the measurement under way has to end when the tuner closes.
const LAST_RUN: Duration = Duration::from_secs(2);
/// The time between two looks whether requests wait, and the most looks before measuring all the same.
const PAUSE: Duration = Duration::from_millis(50);
/// The time between two looks whether a graph that could not be measured has answered a request.
const LOOK: Duration = Duration::from_secs(1);
const PATIENCE: usize = 40;

/// The background measurer: one thread with a queue of versions that are not measured yet.
#[derive(Debug)]
pub struct Tuner {
    shared: Arc<Shared>,
    thread: Mutex<Option<Thread>>,
}

/// The thread, and a channel that closes when it ends.
#[derive(Debug)]
struct Thread {
    handle: JoinHandle<()>,
    ended: Receiver<()>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    store: TuningStore,
    pool: Arc<Pool>,
    candidates: Candidates,
    max_model_bytes: u64,
    metrics: Arc<Metrics>,
}

/// The graphs to be measured. A version that is gone before its turn is passed over, and each graph is in the
/// queue at most once, so the queue is as bounded as the repository.
#[derive(Debug, Default)]
struct State {
    queue: VecDeque<(Weak<Servable>, Part)>,
    /// Graphs that wait for a first answered request.
    unmeasured: Vec<(Weak<Servable>, Part)>,
    is_closed: bool,
}

impl Tuner {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`Error::Internal`] when the system gives no thread.
    pub fn start(
        store: TuningStore,
        pool: Arc<Pool>,
        candidates: Candidates,
        max_model_bytes: u64,
        metrics: Arc<Metrics>,
    ) -> Result<Self> {
        let (state, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { state, changed, store, pool, candidates, max_model_bytes, metrics });
        let (working, (alive, ended)) = (shared.clone(), bounded(0));
        let work = move || {
            working.work();
            drop(alive);
        };
        let handle = std::thread::Builder::new()
            .name("tuner".into())
            .spawn(work)
            .map_err(|error| Error::internal("the tuner could not be started", error))?;
        Ok(Self { shared, thread: Mutex::new(Some(Thread { handle, ended })) })
    }

    /// Queues the parts of a version that have not been measured in full.
    pub(super) fn add(&self, servable: &Arc<Servable>) {
        let mut state = self.shared.lock();
        for part in [Part::Model, Part::Decoder] {
            match servable.runner(part).map(|runner| runner.tuning().stage) {
                Ok(TuningStage::Loading) => state.queue.push_back((Arc::downgrade(servable), part)),
                Ok(TuningStage::Unmeasured) => state.unmeasured.push((Arc::downgrade(servable), part)),
                Ok(TuningStage::Measured | TuningStage::Remembered) | Err(_) => {}
            }
        }
        drop(state);
        self.shared.changed.notify_one();
    }

    /// Ends after the measurement under way and joins the thread, unless that takes long.
    pub fn close(&self) {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Thread { handle, ended }) = thread else { return };
        // Nothing is ever sent: the channel closes when the thread ends.
        if ended.recv_timeout(LAST_RUN) == Err(RecvTimeoutError::Disconnected) {
            drop(handle.join());
        } else {
            tracing::warn!("a version was still being measured; that ends with the process");
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
                let answered = state.take_answered();
                state.queue.extend(answered);
                state = match (state.queue.pop_front(), state.unmeasured.is_empty()) {
                    (Some(next), _) => break next,
                    (None, true) => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                    (None, false) => self
                        .changed
                        .wait_timeout(state, LOOK)
                        .map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state),
                };
            };
            drop(state);
            let (servable, part) = next;
            if let Some(servable) = servable.upgrade() {
                // It panics for a model at most, and the others wait.
                if catch_unwind(AssertUnwindSafe(|| self.tune(&servable, part))).is_err() {
                    self.metrics.lifecycle.count_fault(ThreadName::Tuner);
                    let (model, version) = (servable.name.as_str(), servable.version.0);
                    tracing::error!(model, version, "measuring a version failed; the first choice stands");
                }
            }
        }
    }

    fn tune(&self, servable: &Servable, part: Part) {
        let (model, version) = (servable.name.as_str(), servable.version.0);
        if let Err(error) = self.measure(servable, part) {
            tracing::warn!(model, version, error = %error, "could not be measured; the first choice stands");
        }
    }

    fn measure(&self, servable: &Servable, part: Part) -> Result<()> {
        let runner = servable.runner(part)?;
        let runtime = runner.runtime();
        if runner.tuning().stage == TuningStage::Unmeasured && !learn(servable, runner, runtime.plan())? {
            return Ok(());
        }
        let sharing = runner.tuning().sharing.clone();
        let Some(costs) = self.costs(runner, runtime.plan())? else { return Ok(()) };
        self.settle(servable, runner, runtime.plan().engine(), costs.clone(), sharing.clone());
        let Some(rival) = comparison::rival(&self.candidates, servable, part, self.max_model_bytes)? else {
            return Ok(());
        };
        let Rival { tried: Tried { plan, trial }, difference } = rival;
        let (model, engine) = (servable.name.as_str(), plan.engine());
        let others_sharing = Sharing::new(runner.batching(), runner.source().batches, &trial);
        if let Some(difference) = &difference {
            tracing::warn!(model, difference, "the engines disagree; ONNX Runtime, the reference, takes over");
        } else if others_sharing.is_shared != sharing.is_shared {
            let reason = &others_sharing.reason;
            tracing::info!(model, engine = engine.name(), reason, "the engines differ in what may share a run");
            return Ok(());
        }
        let Some(others) = self.costs(runner, &plan)? else { return Ok(()) };
        if difference.is_some() {
            self.store.remember_disagreement(&runner.source().sha256);
        }
        if difference.is_some() || comparison::is_better(&costs, &others) {
            let examples =
                trial.example.map(|example| ExampleInputs::new(plan.signature(), &runner.source().hints, example));
            let sessions = warm::sessions(&plan, examples.as_ref(), self.pool.size())?;
            runner.replace_runtime(Runtime::new(plan, runtime.threads(), sessions));
            self.settle(servable, runner, engine, others, others_sharing);
        } else {
            self.store.remember(&runner.source().sha256, engine, &others);
        }
        Ok(())
    }

    /// Puts what was measured into force.
    fn settle(
        &self,
        servable: &Servable,
        runner: &Runner,
        engine: EngineKind,
        costs: Vec<BatchCost>,
        sharing: Sharing,
    ) {
        self.store.remember(&runner.source().sha256, engine, &costs);
        let tuning = Tuning::choose(TuningStage::Measured, engine, costs, sharing, runner.pinned());
        tracing::info!(
            model = servable.name.as_str(),
            version = servable.version.0,
            engine = engine.name(),
            batch_1_us = tuning.single().as_micros() as u64,
            max_batch = tuning.max_batch,
            inline = tuning.inline,
            "tuned"
        );
        runner.apply(tuning);
    }

    /// Measures the cost by batch size: the least of several rounds, as whatever else the machine does only adds
    /// to it. `None` when the tuner closes, or no inputs are known that the graph runs on.
    fn costs(&self, runner: &Runner, plan: &Plan) -> Result<Option<Vec<BatchCost>>> {
        let mut session = plan.session()?;
        let mut costs: Vec<BatchCost> = Vec::new();
        for round in 0..ROUNDS {
            for (index, batch) in sizes(runner).enumerate() {
                let expected = costs.last().map_or(0.0, |last| last.microseconds * batch as f64 / last.batch as f64);
                if costs.get(index).is_none() && (round > 0 || expected > LONGEST_RUN.as_secs_f64() * 1e6) {
                    break;
                }
                if !self.wait_for_calm() {
                    return Ok(None);
                }
                let Some(inputs) = runner.example(batch)? else { return Ok(None) };
                let cost = warm::cost(&mut session, batch, &inputs)?;
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

impl State {
    /// Returns the graphs that have answered a request since, and forgets those that are gone.
    fn take_answered(&mut self) -> Vec<(Weak<Servable>, Part)> {
        let has_answered =
            |servable: &Servable, part: Part| servable.runner(part).is_ok_and(|runner| runner.answered().is_some());
        self.unmeasured.retain(|(servable, _)| servable.strong_count() > 0);
        self.unmeasured
            .extract_if(.., |(servable, part)| {
                servable.upgrade().is_some_and(|servable| has_answered(&servable, *part))
            })
            .collect()
    }
}

/// Tries a graph at the sizes of a request that it has answered; false if it fails on all other numbers.
///
/// # Errors
/// [`Error::InvalidInput`] when an input would be too large to be counted.
fn learn(servable: &Servable, runner: &Runner, plan: &Plan) -> Result<bool> {
    let Some(answered) = runner.answered() else { return Ok(false) };
    let hints = &runner.source().hints;
    let trial = Trial::at(plan, hints, answered)?;
    let sharing = Sharing::new(runner.batching(), runner.source().batches, &trial);
    let (model, version) = (servable.name.as_str(), servable.version.0);
    let Some(example) = trial.example else {
        tracing::info!(model, version, "fails on other numbers than those of its first request; it stays unmeasured");
        return Ok(false);
    };
    runner.learn(ExampleInputs::new(plan.signature(), hints, example));
    tracing::info!(model, version, batching = sharing.reason, "learnt from its first request");
    runner.apply(Tuning::choose(TuningStage::Loading, plan.engine(), Vec::new(), sharing, runner.pinned()));
    Ok(true)
}

fn sizes(runner: &Runner) -> impl Iterator<Item = usize> {
    let most = match runner.shares_runs() {
        true => runner.scheduling().max_batch_size.unwrap_or(SIZES[SIZES.len() - 1]),
        false => 1,
    };
    SIZES.into_iter().filter(move |size| *size <= most)
}
