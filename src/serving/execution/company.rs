//! Watches the first runs of several samples: a measurement on chosen numbers cannot show what real ones do.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::{Session, agrees_in_company};
use crate::error::Result;
use crate::tensor::Tensor;

/// The runs that were compared with their samples alone, and whether one disagreed.
#[derive(Debug, Default)]
pub(super) struct Company {
    /// A bit for each number of binary digits that the samples of a compared run had.
    compared: AtomicU64,
    refuted: OnceLock<String>,
}

impl Company {
    /// Returns why samples may not share a run, if one was seen to have another answer in company.
    pub(super) fn refuted(&self) -> Option<&str> {
        self.refuted.get().map(String::as_str)
    }

    /// Returns true for the first run of about so many samples, which is to be compared.
    pub(super) fn is_due(&self, samples: usize) -> bool {
        let bit = bit(samples);
        self.compared.load(Ordering::Relaxed) & bit == 0 && self.compared.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    /// Returns true if a run of about so many samples was compared.
    pub(super) fn is_compared(&self, samples: usize) -> bool {
        self.compared.load(Ordering::Relaxed) & bit(samples) != 0
    }

    /// Compares the first and the last sample of a run with what they are alone. Returns false for the first that
    /// disagrees.
    ///
    /// # Errors
    /// The failure of the model on a sample alone.
    pub(super) fn compare(&self, session: &mut Session, inputs: &[Tensor], outputs: &[Tensor]) -> Result<bool> {
        let samples = inputs.first().map_or(0, Tensor::rows);
        for row in [0, samples.saturating_sub(1)] {
            let of = |tensors: &[Tensor]| -> Vec<Tensor> {
                tensors.iter().map(|tensor| tensor.slice_rows(row..row + 1)).collect()
            };
            let alone = session.run(&of(inputs))?;
            if !agrees_in_company(&alone, &of(outputs)) {
                let reason =
                    format!("sample {row} of a run of {samples} has another answer alone; each request runs whole");
                return Ok(self.refuted.set(reason).is_err());
            }
        }
        Ok(true)
    }
}

fn bit(samples: usize) -> u64 {
    1 << samples.checked_ilog2().unwrap_or(0).min(63)
}
