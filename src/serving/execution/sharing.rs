//! Decides whether samples may share a run: requests are joined and cut only where that was shown to change no answer.

use crate::engine::{Independence, Trial};
use crate::signature::Batching;

/// The declaration about the first dimension of a graph, in its manifest, `model.toml` or `config.pbtxt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Declared {
    /// It is a batch of samples.
    Batch,
    /// It is no batch.
    NoBatch,
    /// Nothing.
    Nothing,
}

/// The decision on samples sharing a run, and its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sharing {
    /// Set if the first dimension is a batch of samples, each independent of the others.
    pub is_shared: bool,
    /// The samples in the largest run that was compared: no run may have more.
    pub largest: usize,
    /// The reason, in words.
    pub reason: String,
}

impl Sharing {
    /// Decides by the shapes of a graph, by what is declared, and by what was measured. A declaration stands in for
    /// outputs that never varied; it does not overrule a measurement.
    pub(crate) fn new(batching: Batching, declared: Declared, trial: &Trial) -> Self {
        let (is_shared, reason) = match (batching, declared, &trial.independence) {
            (Batching::Whole, ..) => (false, "there is no batch dimension; each request runs whole".to_owned()),
            (Batching::Fixed(1), ..) => (false, "the batch is always 1; samples run one after the other".to_owned()),
            (Batching::Fixed(size), ..) => {
                (false, format!("the first dimension is always {size}; each request runs whole"))
            }
            (Batching::Any, Declared::NoBatch, _) => {
                (false, "config.pbtxt says max_batch_size: 0; each request runs whole".to_owned())
            }
            (Batching::Any, _, Independence::Shown) => (true, "samples are independent, checked".to_owned()),
            (Batching::Any, Declared::Batch, Independence::Constant { output }) => (
                true,
                format!("samples are declared independent; output \"{output}\" was the same for all that was tried"),
            ),
            (Batching::Any, Declared::Nothing, Independence::Constant { output }) => (
                false,
                format!(
                    "nothing was shown, as output \"{output}\" was the same for all that was tried; each request runs \
                     whole; declare max_batch_size in model.toml or config.pbtxt if samples are independent"
                ),
            ),
            (Batching::Any, _, Independence::Dependent { output }) => (
                false,
                format!("output \"{output}\" of a sample depends on the samples beside it; each request runs whole"),
            ),
            (Batching::Any, _, Independence::NoBatch) => {
                (false, "there is no batch dimension in this engine; each request runs whole".to_owned())
            }
            (Batching::Any, _, Independence::Unknown { reason }) => {
                (false, format!("not known to be independent: {reason}; each request runs whole"))
            }
        };
        Self { is_shared, largest: if is_shared { trial.samples } else { 1 }, reason }
    }

    /// Returns the decision after a sample was seen to have another answer in company.
    pub(crate) fn refuted(reason: String) -> Self {
        Self { is_shared: false, largest: 1, reason }
    }

    /// Returns the size of the batch of a run of `samples`; `None` for a graph that runs as it ran before.
    pub(crate) fn batch(&self, samples: usize) -> Option<usize> {
        self.is_shared.then_some(samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declaration_stands_in_for_what_never_varied_and_overrules_nothing() {
        let constant = Independence::Constant { output: "y".into() };
        let dependent = Independence::Dependent { output: "y".into() };
        let unknown = Independence::Unknown { reason: "it fails".into() };
        let trial = |measured: &Independence| Trial { example: None, independence: measured.clone(), samples: 64 };
        let shared =
            |declared, measured: &Independence| Sharing::new(Batching::Any, declared, &trial(measured)).is_shared;
        for (measured, batch, nothing) in [
            (Independence::Shown, true, true),
            (constant, true, false),
            (dependent, false, false),
            (unknown, false, false),
        ] {
            assert_eq!(shared(Declared::Batch, &measured), batch, "{measured:?}");
            assert_eq!(shared(Declared::Nothing, &measured), nothing, "{measured:?}");
            assert!(!shared(Declared::NoBatch, &measured));
            for batching in [Batching::Fixed(1), Batching::Fixed(3), Batching::Whole] {
                assert!(!Sharing::new(batching, Declared::Batch, &trial(&measured)).is_shared);
            }
        }
        assert_eq!(Sharing::new(Batching::Any, Declared::Nothing, &trial(&Independence::Shown)).batch(8), Some(8));
        assert_eq!(Sharing::new(Batching::Whole, Declared::Nothing, &trial(&Independence::NoBatch)).batch(8), None);
    }
}
