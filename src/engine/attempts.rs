//! Runs on inputs that a graph need not take.

use super::{Plan, Session};
use crate::error::Result;
use crate::tensor::Tensor;

/// Runs of a plan, any of which may fail.
pub(super) struct Attempts<'p> {
    plan: &'p Plan,
    session: Option<Session>,
}

impl<'p> Attempts<'p> {
    pub(super) fn new(plan: &'p Plan) -> Self {
        Self { plan, session: None }
    }

    /// Returns the plan.
    pub(super) fn plan(&self) -> &'p Plan {
        self.plan
    }

    /// Runs the plan. A session that failed is not used again.
    ///
    /// # Errors
    /// The failure of the model.
    pub(super) fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.plan.session()?,
        };
        let outputs = session.run(inputs)?;
        self.session = Some(session);
        Ok(outputs)
    }
}
