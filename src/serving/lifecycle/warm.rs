//! Sessions that have run, and the costs of runs.

use super::triton;
use crate::engine::{self, Plan, Session, zeros};
use crate::error::Result;
use crate::repository::triton::View;
use crate::serving::execution::{BATCH_PROBE, BatchCost, Pinned, Tuning, TuningStage};
use crate::signature::Batching;
use crate::tensor::Tensor;

/// A graph that is ready for its first request.
pub(super) struct WarmGraph {
    pub(super) plan: Plan,
    pub(super) view: View,
    /// Sessions that have run.
    pub(super) sessions: Vec<Session>,
    pub(super) tuning: Tuning,
}

impl WarmGraph {
    /// Makes the sessions that must be there before the first request, and chooses how requests run: by the
    /// `remembered` costs, or else by a brief measurement now.
    ///
    /// # Errors
    /// The failure of the model.
    pub(super) fn new(
        plan: Plan,
        view: View,
        threads: usize,
        remembered: Option<Vec<BatchCost>>,
        pinned: Pinned,
    ) -> Result<Self> {
        let mut sessions = sessions(&plan, threads)?;
        let (stage, costs) = match remembered {
            Some(costs) => (TuningStage::Remembered, costs),
            None => {
                let mut costs = vec![cost(&mut sessions[0], 1, &triton::zeros(&view, 1)?)?];
                if view.batching == Batching::Any {
                    costs.push(cost(&mut sessions[0], BATCH_PROBE, &triton::zeros(&view, BATCH_PROBE)?)?);
                }
                (TuningStage::Loading, costs)
            }
        };
        let tuning = Tuning::choose(stage, plan.engine(), costs, pinned);
        Ok(Self { plan, view, sessions, tuning })
    }
}

/// Returns sessions that have run: one for each compute thread, or a single one if more are quickly made when
/// they are needed.
///
/// # Errors
/// The failure of the model.
pub(super) fn sessions(plan: &Plan, threads: usize) -> Result<Vec<Session>> {
    let count = if plan.has_cheap_sessions() { 1 } else { threads };
    let zeros = zeros(plan.signature(), 1)?;
    let warm = |_| {
        let mut session = plan.session()?;
        session.run(&zeros).map(|_| session)
    };
    (0..count.max(1)).map(warm).collect()
}

/// Measures a run of this many samples.
///
/// # Errors
/// The failure of the model.
pub(super) fn cost(session: &mut Session, batch: usize, inputs: &[Tensor]) -> Result<BatchCost> {
    let median = engine::measure(session, inputs)?;
    Ok(BatchCost { batch, microseconds: median.as_nanos() as f64 / 1e3 })
}
