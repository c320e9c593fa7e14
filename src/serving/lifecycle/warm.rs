//! Sessions that have run, and the costs of runs.

use super::engines::Tried;
use crate::engine::{self, ExampleInputs, Hints, Plan, Session};
use crate::error::Result;
use crate::repository::triton::View;
use crate::serving::execution::{BATCH_PROBE, BatchCost, Declared, Pinned, Sharing, Tuning, TuningStage};
use crate::tensor::Tensor;

/// A graph that is ready for its first request.
pub(super) struct WarmGraph {
    pub(super) plan: Plan,
    pub(super) view: View,
    /// Sessions, which have run if there are examples.
    pub(super) sessions: Vec<Session>,
    pub(super) tuning: Tuning,
    /// The declaration about the first dimension.
    pub(super) batches: Declared,
    /// Inputs that it runs on; `None` if none are known.
    pub(super) examples: Option<ExampleInputs>,
}

/// The terms on which a graph is readied.
pub(super) struct Terms {
    /// The threads that will run it.
    pub(super) threads: usize,
    /// The costs that earlier runs measured.
    pub(super) remembered: Option<Vec<BatchCost>>,
    /// The choices of the settings.
    pub(super) pinned: Pinned,
    /// The declaration about the first dimension.
    pub(super) batches: Declared,
}

impl WarmGraph {
    /// Makes the sessions that must be there before the first request, and chooses how requests run: by the
    /// remembered costs, or else by a brief measurement now.
    ///
    /// # Errors
    /// The failure of the model.
    pub(super) fn new(tried: Tried, view: View, hints: &Hints, terms: Terms) -> Result<Self> {
        let Tried { plan, trial } = tried;
        let Terms { threads, remembered, pinned, batches } = terms;
        let sharing = Sharing::new(view.batching, batches, &trial);
        let examples = trial.example.map(|example| ExampleInputs::new(plan.signature(), hints, example));
        let mut sessions = sessions(&plan, examples.as_ref(), threads)?;
        let (stage, costs) = match (remembered, &examples) {
            (Some(costs), _) => (TuningStage::Remembered, costs),
            (None, None) => (TuningStage::Unmeasured, Vec::new()),
            (None, Some(examples)) => (TuningStage::Loading, first_costs(&mut sessions[0], examples, &sharing)?),
        };
        let tuning = Tuning::choose(stage, plan.engine(), costs, sharing, pinned);
        Ok(Self { plan, view, sessions, tuning, batches, examples })
    }
}

/// Measures briefly what has to be known before a graph serves.
///
/// # Errors
/// The failure of the model.
pub(super) fn first_costs(
    session: &mut Session,
    examples: &ExampleInputs,
    sharing: &Sharing,
) -> Result<Vec<BatchCost>> {
    let mut costs = vec![cost(session, 1, &examples.of(sharing.batch(1))?)?];
    if sharing.is_shared {
        costs.push(cost(session, BATCH_PROBE, &examples.of(Some(BATCH_PROBE))?)?);
    }
    Ok(costs)
}

/// Returns sessions that have run if there are examples: one for each compute thread, or a single one if more are quickly
/// made when they are needed.
///
/// # Errors
/// The failure of the model.
pub(super) fn sessions(plan: &Plan, examples: Option<&ExampleInputs>, threads: usize) -> Result<Vec<Session>> {
    let count = if plan.has_cheap_sessions() { 1 } else { threads };
    let inputs = examples.map(|examples| examples.of(None)).transpose()?;
    let warm = |_| {
        let mut session = plan.session()?;
        if let Some(inputs) = &inputs {
            session.run(inputs)?;
        }
        Ok(session)
    };
    (0..count.max(1)).map(warm).collect()
}

/// Measures a run of this many samples.
///
/// # Errors
/// The failure of the model.
pub(super) fn cost(session: &mut Session, batch: usize, inputs: &[Tensor]) -> Result<BatchCost> {
    let median = engine::measure(session, inputs)?;
    let elements = inputs.iter().map(|tensor| tensor.data().len()).sum();
    Ok(BatchCost { batch, microseconds: median.as_nanos() as f64 / 1e3, elements })
}
