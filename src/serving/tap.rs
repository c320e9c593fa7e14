//! The one place where finished predictions can be observed.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;

use super::context::RequestContext;
use super::servable::{Identity, Part, Servable};
use crate::error::Error;
use crate::metrics::{Outcome, Stages};
use crate::tensor::Tensor;
use crate::transform::ImageFacts;

/// A prediction that has ended, in whatever way; what an observer wants to keep of it, it copies.
#[derive(Debug, Clone, Copy)]
pub struct Finished<'a> {
    /// The request.
    pub context: &'a RequestContext,
    /// The version that was asked.
    pub servable: &'a Arc<Servable>,
    /// The part of it that was asked.
    pub part: Part,
    /// The samples of the request; 0 when it was refused before its body was read.
    pub samples: usize,
    /// The inputs of the graph, if the model answered. They are shared, not copied.
    pub inputs: Option<&'a Arc<Vec<Tensor>>>,
    /// The outputs in the signature's order, if the model answered. They are shared, not copied.
    pub outputs: Option<&'a Arc<Vec<Tensor>>>,
    /// The samples as they came: files of images, or rows and sequences as JSON. Empty where the observer keeps none, and
    /// of a request in tensors.
    pub sent: &'a [Bytes],
    /// Facts about each image that the model answered; none of a request in tensors.
    pub images: &'a [ImageFacts],
    /// The time each stage took; zero for stages that were not reached.
    pub stages: Stages,
    /// The time from the call of the predictor to the end.
    pub total: Duration,
    /// Set if the response cache had the answer.
    pub cached: bool,
    /// The way it ended.
    pub outcome: Outcome,
    /// The reason, if it failed; a caller that left gives none.
    pub error: Option<&'a Error>,
}

/// Something that wants to see every finished prediction.
pub trait Observer: Debug + Send + Sync {
    /// Sees one prediction, on the thread that answers it: an observer takes what it needs, hands it to
    /// a bounded queue of its own without waiting, and returns.
    fn finished(&self, prediction: &Finished<'_>);

    /// Returns true if it wants the samples of a version as they came.
    fn keeps_inputs(&self, _version: &Identity) -> bool {
        false
    }
}

/// Passes every finished prediction to the observer, if one is installed.
#[derive(Debug, Default)]
pub(crate) struct Tap(OnceLock<Arc<dyn Observer>>);

impl Tap {
    /// Installs the observer; gives it back if there is one already.
    pub(crate) fn install(&self, observer: Arc<dyn Observer>) -> Result<(), Arc<dyn Observer>> {
        self.0.set(observer)
    }

    /// Returns true if an observer is installed.
    pub(crate) fn is_open(&self) -> bool {
        self.0.get().is_some()
    }

    /// Returns true if an observer wants the samples of a version as they came.
    pub(crate) fn keeps_inputs(&self, version: &Identity) -> bool {
        self.0.get().is_some_and(|observer| observer.keeps_inputs(version))
    }

    /// Shows a finished prediction, which is put together only for an observer.
    pub(crate) fn show<'a>(&self, prediction: impl FnOnce() -> Finished<'a>) {
        if let Some(observer) = self.0.get() {
            observer.finished(&prediction());
        }
    }
}
