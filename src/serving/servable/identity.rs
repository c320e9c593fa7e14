//! What records of predictions say of the version that gave them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use super::transforms::{Answering, ScoredOutput, Transforms};
use crate::error::{Error, Result};
use crate::ids::{ModelName, Version};
use crate::repository::{DriftReference, FoundVersion, GuardReference};
use crate::signature::Signature;
use crate::transform::{InputParts, Squash};

/// A version as records of its predictions name it; it outlives the servable.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// A number that no other load of this process has.
    pub serial: u64,
    /// The model.
    pub model: ModelName,
    /// The version.
    pub version: Version,
    /// SHA-256 over the graph, its transform and its labels: all that decides what is answered, so that a version
    /// that is published again with other files is told from its predecessor.
    pub digest: [u8; 32],
    /// The labels by class; empty where classes have no names.
    pub labels: Vec<String>,
    /// The places of answers among the outputs.
    pub places: Places,
    /// The parts of its input that are watched one by one.
    pub parts: InputParts,
    /// The reference that its live traffic is compared with, if there is one.
    pub reference: Option<Arc<DriftReference>>,
    /// SHA-256 of its graph, in hexadecimal digits.
    pub graph_sha256: Arc<str>,
    /// The autoencoder that looks at its inputs, if its settings name one.
    pub guard_model: Option<ModelName>,
}

/// The places of what an answer is made of among the outputs of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Places {
    /// A classifier.
    Classes {
        /// The scores of the classes.
        scores: usize,
        /// The function that makes a distribution of them.
        squash: Squash,
        /// What the distribution is the softmax of, where the graph gives it.
        logits: Option<usize>,
    },
    /// A model of numbers.
    Number(usize),
    /// The score of an autoencoder.
    Score(usize),
    /// Outputs without a meaning that is declared.
    Outputs,
}

impl Identity {
    /// Returns the identity of a version that is being loaded.
    ///
    /// # Errors
    /// [`Error::Internal`] when its transform cannot be written, which tests rule out.
    pub(crate) fn new(
        found: &FoundVersion,
        onnx_sha256: &str,
        transforms: &Transforms,
        signature: &Signature,
        reference: Option<DriftReference>,
    ) -> Result<Self> {
        static LOADS: AtomicU64 = AtomicU64::new(0);
        let labels = &transforms.labels.classes;
        let declared = serde_json::to_vec(&(&transforms.declared, labels))
            .map_err(|error| Error::internal("a transform could not be written", error))?;
        let digest = Sha256::new().chain_update(onnx_sha256).chain_update(declared).finalize();
        Ok(Self {
            serial: LOADS.fetch_add(1, Ordering::Relaxed),
            model: found.name.clone(),
            version: found.version,
            digest: digest.into(),
            labels: labels.clone(),
            places: Places::of(transforms.answering(), signature),
            parts: transforms.declared.as_ref().map_or(InputParts::None, InputParts::of),
            reference: reference.map(Arc::new),
            graph_sha256: onnx_sha256.into(),
            guard_model: found.settings.guard.clone(),
        })
    }
}

impl Identity {
    /// Returns what is known of the scores of its guard: nothing without a guard.
    pub fn guard(&self) -> Option<&GuardReference> {
        self.guard_model.as_ref().and(self.reference.as_ref()?.guard.as_ref())
    }
}

impl Places {
    fn of(answering: &Answering, signature: &Signature) -> Self {
        match answering {
            Answering::Classes(ScoredOutput { output, squash: Squash::Softmax }) => {
                Self::Classes { scores: *output, squash: Squash::Softmax, logits: Some(*output) }
            }
            Answering::Classes(ScoredOutput { output: scores, squash }) => {
                let logits = signature.logits_of(*scores);
                Self::Classes { scores: *scores, squash: *squash, logits }
            }
            Answering::Value(output) => Self::Number(*output),
            Answering::Reconstruction(reconstruction) => Self::Score(reconstruction.score()),
            Answering::Labels(..) | Answering::Vision(_) | Answering::Text(_) | Answering::Outputs => Self::Outputs,
        }
    }
}
