//! The last steps of a sum of products before it is written: a bias and a Relu.

use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::math::{Add, Max};
use tract_onnx::tract_hir::internal::*;

/// A bias for each channel, followed by a Relu or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Epilogue {
    channels: usize,
    bias: Arc<Tensor>,
    pub(super) relu: bool,
}

impl Epilogue {
    /// Creates an epilogue without a Relu. Zeros fill the bias up to a multiple of `width`.
    pub(super) fn new(bias: &[f32], width: usize) -> Self {
        let mut padded = bias.to_vec();
        padded.resize(bias.len().next_multiple_of(width), 0.0);
        Self { channels: bias.len(), bias: Arc::new(tensor1(&padded)), relu: false }
    }

    pub(super) fn bias(&self) -> TractResult<PlainView<'_>> {
        self.bias.try_as_plain_ram()
    }

    /// Returns this epilogue extended by the operation of `node`, which reads its result; `None` if that
    /// operation is neither a Relu nor a bias.
    pub(super) fn with(&self, model: &TypedModel, node: &TypedNode) -> TractResult<Option<Self>> {
        let Some(op) = node.op_as::<TypedBinOp>() else { return Ok(None) };
        for input in &node.inputs {
            let Some(konst) = &model.outlet_fact(*input)?.konst else { continue };
            if op.0.is::<Max>() && konst.len() == 1 && konst.is_all_zero()? {
                return Ok(Some(Self { relu: true, ..self.clone() }));
            }
            if op.0.is::<Add>() && !self.relu {
                return self.plus(konst);
            }
        }
        Ok(None)
    }

    fn plus(&self, konst: &Tensor) -> TractResult<Option<Self>> {
        let is_by_channel =
            konst.shape().iter().enumerate().all(|(axis, dim)| *dim == if axis == 1 { self.channels } else { 1 });
        if konst.rank() < 2 || !is_by_channel || konst.datum_type() != f32::datum_type() {
            return Ok(None);
        }
        let mut bias = self.bias()?.as_slice::<f32>()?.to_vec();
        let more = konst.try_as_plain_ram()?;
        bias.iter_mut().zip(more.as_slice::<f32>()?).for_each(|(bias, more)| *bias += more);
        Ok(Some(Self { bias: Arc::new(tensor1(&bias)), ..self.clone() }))
    }
}
