//! An answer, not yet written.

use std::sync::Arc;

use crate::api::shared_memory::RegionSlice;
use crate::metrics::Stages;
use crate::serving::Servable;
use crate::tensor::Tensor;

/// The answer to an inference.
#[derive(Debug)]
pub(crate) struct InferResponse {
    /// The version that answered.
    pub(crate) servable: Arc<Servable>,
    /// The id in the request.
    pub(crate) id: Option<String>,
    /// In the order that was asked for, or that of the signature.
    pub(crate) outputs: Vec<InferOutput>,
    /// The time of each stage.
    pub(crate) stages: Stages,
}

/// One output tensor.
#[derive(Debug)]
pub(crate) struct InferOutput {
    /// Where it stands in the signature.
    pub(super) index: usize,
    /// Its name, if it is none of the signature's.
    pub(super) name: Option<&'static str>,
    pub(super) value: Value,
    /// Where its bytes were left, if not in the answer.
    pub(crate) region: Option<RegionSlice>,
}

#[derive(Debug)]
pub(super) enum Value {
    /// The model's outputs, shared with the response cache.
    Given(Arc<Vec<Tensor>>),
    /// A tensor made of an output.
    Made(Tensor),
}

impl InferResponse {
    /// The name of an output of this answer.
    pub(crate) fn name<'a>(&'a self, output: &InferOutput) -> &'a str {
        output.name.unwrap_or_else(|| &self.servable.signature().outputs[output.index].name)
    }
}

impl InferOutput {
    /// Its type, shape and elements.
    pub(crate) fn tensor(&self) -> &Tensor {
        match &self.value {
            Value::Given(tensors) => &tensors[self.index],
            Value::Made(tensor) => tensor,
        }
    }
}
