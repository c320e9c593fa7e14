//! Questions of the passes to a graph.

use tract_onnx::tract_core::ops::binary::{BinMiniOp, TypedBinOp};
use tract_onnx::tract_core::ops::cnn::PoolSpec;
use tract_onnx::tract_core::ops::nn::DataFormat;
use tract_onnx::tract_hir::internal::*;

/// Returns true for a window over two dimensions of float maps of which only the batch may be open.
pub(super) fn is_covered(spec: &PoolSpec, input: &TypedFact) -> bool {
    spec.data_format == DataFormat::NCHW && spec.rank() == 2 && is_float_maps(input)
}

/// Returns true for floats in dimensions of which only the first may be open.
pub(super) fn is_float_maps(input: &TypedFact) -> bool {
    input.datum_type == f32::datum_type() && input.shape.iter().skip(1).all(|dim| dim.to_usize().is_ok())
}

/// Returns the height and width of feature maps `[batch, channels, height, width]` if they are known.
pub(super) fn plane(shape: &[TDim]) -> Option<[usize; 2]> {
    let [_, _, height, width] = shape else { return None };
    Some([height.to_usize().ok()?, width.to_usize().ok()?])
}

/// Returns the constant of an outlet if it consists of plain 32-bit floats.
pub(super) fn floats(model: &TypedModel, outlet: OutletId) -> TractResult<Option<Arc<Tensor>>> {
    let konst = model.outlet_fact(outlet)?.konst.clone();
    Ok(konst.filter(|konst| konst.datum_type() == f32::datum_type() && konst.is_plain()))
}

/// Returns the only node that reads the result of a node, if there is exactly one.
pub(super) fn only_reader<'a>(model: &'a TypedModel, node: &TypedNode) -> TractResult<Option<&'a TypedNode>> {
    Ok(if model.outputs.contains(&node.id.into()) { None } else { model.single_succ(node.id)? })
}

/// Returns the axis of the weights that becomes the output channels. `None` unless the product sums over
/// the channels of the maps and keeps all their other axes in place.
pub(super) fn output_channels(axes: &AxesMapping, rank: usize) -> TractResult<Option<usize>> {
    let channels = axes.axis((InOut::Out(0), 1))?;
    let (&[], &[outputs]) = (&channels.inputs[0][..], &channels.inputs[1][..]) else { return Ok(None) };
    let summed = axes.axis((InOut::In(0), 1))?;
    let mut fits = summed.outputs[0].is_empty() && summed.inputs[1][..] == [1 - outputs];
    for place in (0..rank).filter(|place| *place != 1) {
        let axis = axes.axis((InOut::Out(0), place))?;
        fits &= axis.inputs[0][..] == [place] && axis.inputs[1].is_empty();
    }
    Ok(fits.then_some(outputs))
}

/// Returns the finite constants of a node that computes `B` with one for each of the `channels`, which are the second
/// dimension.
pub(super) fn by_channel<B: BinMiniOp>(
    model: &TypedModel,
    node: &TypedNode,
    channels: usize,
) -> TractResult<Option<Vec<f32>>> {
    if !node.op_as::<TypedBinOp>().is_some_and(|op| op.0.is::<B>()) {
        return Ok(None);
    }
    for input in &node.inputs {
        let Some(konst) = floats(model, *input)? else { continue };
        let mut dims = konst.shape().iter().enumerate();
        if konst.rank() > 1 && dims.all(|(axis, dim)| *dim == if axis == 1 { channels } else { 1 }) {
            let values = konst.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
            return Ok(values.iter().all(|value| value.is_finite()).then_some(values));
        }
    }
    Ok(None)
}
