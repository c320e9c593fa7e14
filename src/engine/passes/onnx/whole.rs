//! `Cast` to 64-bit integers.
//!
//! tract makes sizes of them, and cuts them to 32 bits on the way: a time in milliseconds becomes another one. Here only
//! sizes stay sizes.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::ops::cast::cast;
use tract_onnx::tract_hir::internal::*;

use super::build::{INT64, integer_of};

/// The operator that takes the place of such a `Cast`. No file may use it.
pub(super) const OPERATOR: &str = "weir.Whole";

/// Names a `Cast` to 64-bit integers anew.
pub(super) fn rename(node: &mut NodeProto) {
    if integer_of(node, "to", 0) == i64::from(INT64) {
        node.op_type = OPERATOR.into();
    }
}

/// Reads such a node.
pub(super) fn read(_: &ParsingContext<'_>, _: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    Ok((expand(ToWhole), Vec::new()))
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ToWhole;

fn target(from: DatumType) -> DatumType {
    if from == TDim::datum_type() { from } else { i64::datum_type() }
}

impl Expansion for ToWhole {
    fn name(&self) -> StaticName {
        "CastToWhole".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        solver.equals(&inputs[0].shape, &outputs[0].shape)?;
        solver.given(&inputs[0].datum_type, move |solver, from| solver.equals(&outputs[0].datum_type, target(from)))
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let from = model.outlet_fact(inputs[0])?.datum_type;
        if from == target(from) {
            return Ok(tvec!(inputs[0]));
        }
        model.wire_node(prefix, cast(target(from)), inputs)
    }
}
