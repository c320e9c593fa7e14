//! Trying a plan: the inputs that it runs on, and whether its samples are independent of each other.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Plan;
use super::attempts::Attempts;
use super::example::{self, Example, Hints};
use super::independence::{self, Care, Independence};
use super::look;
use crate::error::{Error, Result};
use crate::signature::TensorSpec;
use crate::tensor::Tensor;

/// Numbers of samples that a graph is asked to take, in this order, until it takes one.
const BATCHES: [usize; 7] = [1, 2, 3, 4, 8, 16, 32];

/// The samples of a graph that takes longer for one are not compared: that would delay serving, and gain little.
const LONGEST_SAMPLE: Duration = Duration::from_secs(1);

/// The findings about a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Inputs that it ran on; `None` if it ran on none of the guesses.
    pub example: Option<Example>,
    /// The findings about its samples.
    pub independence: Independence,
    /// The samples in the largest run that was compared: no more may share one.
    pub samples: usize,
}

impl Trial {
    /// Tries the plan of a file.
    ///
    /// # Errors
    /// The failure of the model, if it fails on every guess and a client could choose nothing else.
    pub fn of(plan: &Plan, hints: &Hints, onnx: &[u8]) -> Result<Self> {
        Self::with(plan, hints, if look::is_suspicious(onnx) { Care::Great } else { Care::Usual })
    }

    fn with(plan: &Plan, hints: &Hints, care: Care) -> Result<Self> {
        let specs = hints.specs(plan.signature());
        let mut attempts = Attempts::new(plan);
        let mut failure = None;
        let batches = if specs.iter().any(|spec| spec.shape.iter().any(crate::signature::Dim::is_batch)) {
            &BATCHES[..]
        } else {
            &BATCHES[..1]
        };
        for batch in batches {
            for guess in example::guesses(&specs, hints, *batch) {
                let begun = Instant::now();
                match guess.inputs(&specs, None).and_then(|inputs| attempts.run(&inputs)) {
                    Ok(_) => {
                        let unknown = |reason: &str| Independence::Unknown { reason: reason.into() };
                        let (independence, samples) = match batch {
                            1 if begun.elapsed() > LONGEST_SAMPLE => {
                                (unknown("a sample takes too long to compare runs"), 1)
                            }
                            1 => independence::check(&mut attempts, hints, &specs, &guess, care),
                            _ => (unknown("it does not run on one sample"), 1),
                        };
                        return Ok(Self { example: Some(guess), independence, samples });
                    }
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
        }
        let failure = failure.unwrap_or_else(|| Error::internal("the model failed", "its inputs are too large"));
        if !example::leaves_a_choice(&specs) {
            return Err(failure);
        }
        Ok(Self { example: None, independence: Independence::Unknown { reason: unproven(&failure) }, samples: 1 })
    }

    /// Tries a plan at the sizes of inputs that it has answered.
    ///
    /// # Errors
    /// As [`Trial::of`].
    pub fn at(plan: &Plan, hints: &Hints, inputs: &[Tensor]) -> Result<Self> {
        let size = |size: &usize| i64::try_from(*size).unwrap_or(-1);
        let shape = |(spec, tensor): (&TensorSpec, &Tensor)| {
            (spec.name.clone(), tensor.shape().iter().map(size).collect::<Vec<i64>>())
        };
        let seen = plan.signature().inputs.iter().zip(inputs).map(shape).collect();
        Self::with(plan, &Hints { examples: vec![seen], ..hints.clone() }, Care::Great)
    }
}

/// Returns the reason why nothing is known of a model, and the way to change that.
fn unproven(failure: &Error) -> String {
    let why = match failure {
        Error::Internal { source, .. } => source.to_string(),
        other => other.to_string(),
    };
    let brief: String = why.lines().next().unwrap_or_default().chars().take(200).collect();
    format!(
        "it failed on all example inputs ({brief}); it is measured after its first requests, or name the sizes of its \
         inputs in model.toml: [engine.example]"
    )
}
