//! Replaces operations of tract that lose numbers by exact ones.
//!
//! tract begins a maximum with the least finite number, so that it never finds an infinite one; adds whole numbers in
//! 32 bits, and half-precision ones in half precision; and leaves shifts by more bits than there are to the processor.

use tract_onnx::tract_core::num_traits::{One, PrimInt, WrappingAdd, WrappingMul, Zero};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::{Cast, cast};
use tract_onnx::tract_core::ops::math::{Div, ShiftLeft, ShiftRight, div};
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer};
use tract_onnx::tract_hir::internal::*;

/// Replaces what is not exact. The graph need not be decluttered.
pub(super) fn rewrite(model: &mut TypedModel) -> TractResult<()> {
    for id in 0..model.nodes.len() {
        let node = model.node(id);
        let datum = node.inputs.first().map(|input| model.outlet_fact(*input)).transpose()?.map(|fact| fact.datum_type);
        let patch = match datum.and_then(|datum| exact(node, datum)) {
            Some(op) => TypedModelPatch::replace_single_op(model, node, &node.inputs, op)?,
            None if datum == Some(f16::datum_type()) => match widened(model, node)? {
                Some(patch) => patch,
                None => continue,
            },
            None => continue,
        };
        patch.apply(model)?;
    }
    Ok(())
}

/// Computes a sum or mean of half-precision numbers in 32 bits: the sum alone may be too large for the type.
fn widened(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let Some(reduce) = node.op_as::<Reduce>().filter(|reduce| reduce.reducer == Reducer::Sum) else { return Ok(None) };
    let mut patch = TypedModelPatch::default();
    let name = |part: &str| format!("{}.{part}", node.name);
    let input = patch.tap_model(model, node.inputs[0])?;
    let wide = patch.wire_node(name("wide"), cast(f32::datum_type()), &[input])?;
    let mut result = patch.wire_node(name("exact"), reduce.clone(), &wide)?;
    let mut replaced = OutletId::from(node.id);
    let shape = &model.outlet_fact(node.inputs[0])?.shape;
    let count: TDim = reduce.axes.iter().map(|axis| &shape[*axis]).product();
    if let [inlet] = &*node.outputs[0].successors
        && let next = model.node(inlet.node)
        && next.op_as::<TypedBinOp>().is_some_and(|op| op.0.is::<Div>())
        && inlet.slot == 0
        && is_count(model, next.inputs[1], &count)?
        && !model.outputs.contains(&replaced)
    {
        let count = tensor0(count).broadcast_into_rank(shape.rank())?;
        let count = patch.add_const(name("count"), count)?;
        let count = patch.wire_node(name("divisor"), cast(f32::datum_type()), &[count])?;
        result = patch.wire_node(name("mean"), div(), &[result[0], count[0]])?;
        replaced = next.id.into();
    }
    let narrow = patch.wire_node(name("narrow"), cast(f16::datum_type()), &result)?;
    patch.shunt_outside(model, replaced, narrow[0])?;
    Ok(Some(patch))
}

/// Returns true if a value is this number, as far as half precision can tell.
fn is_count(model: &TypedModel, value: OutletId, count: &TDim) -> TractResult<bool> {
    let node = model.node(value.node);
    if let (Some(number), Ok(count)) = (&model.outlet_fact(value)?.konst, count.to_i64()) {
        return Ok(number.len() == 1 && number.cast_to_scalar::<f32>()? == f16::from_f32(count as f32).to_f32());
    }
    let Some(input) = node.inputs.first().filter(|_| node.op_is::<Cast>()) else { return Ok(false) };
    let Some(whole) = &model.outlet_fact(*input)?.konst else { return Ok(false) };
    let whole = whole.cast_to::<TDim>()?;
    Ok(whole.try_as_plain_ram()?.as_slice::<TDim>()? == [count.clone()])
}

fn exact(node: &TypedNode, datum: DatumType) -> Option<Box<dyn TypedOp>> {
    if let Some(op) = node.op_as::<TypedBinOp>() {
        let left = op.0.is::<ShiftLeft>();
        return (left || op.0.is::<ShiftRight>()).then(|| Box::new(Shift { left }) as Box<dyn TypedOp>);
    }
    let op = node.op_as::<Reduce>()?;
    let is_wide = datum == i64::datum_type() || datum == u64::datum_type() || datum == u32::datum_type();
    let fold = match op.reducer {
        Reducer::Max if datum.is_float() || datum == bool::datum_type() => Fold::Max,
        Reducer::Min if datum.is_float() || datum == bool::datum_type() => Fold::Min,
        Reducer::Sum if is_wide => Fold::Sum,
        Reducer::Prod if is_wide => Fold::Product,
        _ => return None,
    };
    Some(Box::new(ExactReduce { axes: op.axes.clone(), fold }))
}

/// A reduction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Fold {
    Max,
    Min,
    Sum,
    Product,
}

/// Reduces over some axes, which stay with a size of 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ExactReduce {
    axes: TVec<usize>,
    fold: Fold,
}

impl Op for ExactReduce {
    fn name(&self) -> StaticName {
        format!("ExactReduce<{:?}>", self.fold).into()
    }

    op_as_typed_op!();
}

impl TypedOp for ExactReduce {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let mut shape: TVec<_> = inputs[0].shape.to_tvec();
        self.axes.iter().for_each(|axis| shape[*axis] = 1.to_dim());
        Ok(tvec!(inputs[0].datum_type.fact(shape)))
    }

    as_op!();
}

impl EvalOp for ExactReduce {
    op_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let output = match input.datum_type() {
            DatumType::F16 => self.extreme(&input, f16::NEG_INFINITY, f16::INFINITY)?,
            DatumType::F32 => self.extreme(&input, f32::NEG_INFINITY, f32::INFINITY)?,
            DatumType::F64 => self.extreme(&input, f64::NEG_INFINITY, f64::INFINITY)?,
            DatumType::Bool => self.extreme(&input, false, true)?,
            DatumType::I64 => self.total::<i64>(&input)?,
            DatumType::U64 => self.total::<u64>(&input)?,
            DatumType::U32 => self.total::<u32>(&input)?,
            other => bail!("{other:?} is not reduced here"),
        };
        Ok(tvec!(output.into_tvalue()))
    }
}

impl ExactReduce {
    /// The maximum or minimum; NaN if an element is.
    #[expect(clippy::eq_op, reason = "NaN alone differs from itself")]
    fn extreme<T: Datum + Copy + PartialOrd>(&self, input: &Tensor, least: T, most: T) -> TractResult<Tensor> {
        let is_max = self.fold == Fold::Max;
        let pick = |best: T, value: T| {
            let better = if is_max { value > best } else { value < best };
            if better || value != value { value } else { best }
        };
        self.folded(input, if is_max { least } else { most }, pick)
    }

    /// The sum or product, modulo the range of the type.
    fn total<T: Datum + Copy + WrappingAdd + WrappingMul + Zero + One>(&self, input: &Tensor) -> TractResult<Tensor> {
        match self.fold {
            Fold::Product => self.folded(input, T::one(), |product, value| product.wrapping_mul(&value)),
            _ => self.folded(input, T::zero(), |sum, value| sum.wrapping_add(&value)),
        }
    }

    fn folded<T: Datum + Copy>(&self, input: &Tensor, first: T, pick: impl Fn(T, T) -> T) -> TractResult<Tensor> {
        let mut shape: Vec<usize> = input.shape().to_vec();
        let mut elements = input.try_as_plain_ram()?.as_slice::<T>()?.to_vec();
        for &axis in &self.axes {
            let (before, after) =
                (shape[..axis].iter().product::<usize>(), shape[axis + 1..].iter().product::<usize>());
            let mut folded = vec![first; before * after];
            let rows = elements.chunks_exact((shape[axis] * after).max(1));
            for (folded, rows) in folded.chunks_exact_mut(after.max(1)).zip(rows) {
                for row in rows.chunks_exact(after.max(1)) {
                    folded.iter_mut().zip(row).for_each(|(folded, value)| *folded = pick(*folded, *value));
                }
            }
            (elements, shape[axis]) = (folded, 1);
        }
        Tensor::from_shape(&shape, &elements)
    }
}

/// Shifts bits; no bit is left of a shift by more bits than there are, or by a negative number. A negative number that
/// is shifted to the right keeps its sign.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Shift {
    left: bool,
}

impl Op for Shift {
    fn name(&self) -> StaticName {
        if self.left { "ExactShiftLeft" } else { "ExactShiftRight" }.into()
    }

    op_as_typed_op!();
}

impl TypedOp for Shift {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let shapes: TVec<&ShapeFact> = inputs.iter().map(|input| &input.shape).collect();
        let shape = tract_onnx::tract_core::broadcast::multi_broadcast(&shapes)?;
        Ok(tvec!(inputs[0].datum_type.fact(shape)))
    }

    as_op!();
}

impl EvalOp for Shift {
    op_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (values, places) = args_2!(inputs);
        let output = match values.datum_type() {
            DatumType::I8 => self.shifted::<i8>(&values, &places),
            DatumType::I16 => self.shifted::<i16>(&values, &places),
            DatumType::I32 => self.shifted::<i32>(&values, &places),
            DatumType::I64 => self.shifted::<i64>(&values, &places),
            DatumType::U8 => self.shifted::<u8>(&values, &places),
            DatumType::U16 => self.shifted::<u16>(&values, &places),
            DatumType::U32 => self.shifted::<u32>(&values, &places),
            DatumType::U64 => self.shifted::<u64>(&values, &places),
            other => bail!("{other:?} has no bits to shift"),
        };
        Ok(tvec!(output?.into_tvalue()))
    }
}

impl Shift {
    fn shifted<T: Datum + Copy + PrimInt>(&self, values: &Tensor, places: &Tensor) -> TractResult<Tensor> {
        let bits = u32::try_from(8 * size_of::<T>())?;
        let shift = |value: T, places: T| match places.to_u32().filter(|places| *places < bits) {
            Some(places) if self.left => value << places as usize,
            Some(places) => value >> places as usize,
            None if self.left || T::min_value() == T::zero() => T::zero(),
            None => value >> (bits - 1) as usize,
        };
        let (values, places) = (values.to_plain_array_view::<T>()?, places.to_plain_array_view::<T>()?);
        let shape = tract_onnx::tract_core::broadcast::multi_broadcast(&[values.shape(), places.shape()])?;
        let broadcast = |view: &tract_ndarray::ArrayViewD<'_, T>| view.broadcast(&*shape).map(|view| view.to_owned());
        let (values, places) = (broadcast(&values), broadcast(&places));
        let (Some(values), Some(places)) = (values, places) else { bail!("shapes do not fit") };
        Ok(tract_ndarray::Zip::from(&values)
            .and(&places)
            .map_collect(|value, places| shift(*value, *places))
            .into_tensor())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reduced(fold: Fold, axes: &[usize], input: Tensor) -> Tensor {
        let op = ExactReduce { axes: axes.into(), fold };
        op.eval(&EvalContext::out_of_plan(), tvec!(input.into_tvalue())).unwrap().remove(0).into_tensor()
    }

    #[test]
    fn infinite_numbers_and_empty_sets_have_a_maximum() {
        let least = f32::NEG_INFINITY;
        let input = tensor2(&[[least, least], [1.0, least]]);
        assert_eq!(reduced(Fold::Max, &[1], input.clone()), tensor2(&[[least], [1.0]]));
        assert_eq!(reduced(Fold::Max, &[0], input.clone()), tensor2(&[[1.0, least]]));
        assert_eq!(reduced(Fold::Min, &[0, 1], input), tensor2(&[[least]]));
        assert_eq!(reduced(Fold::Min, &[1], Tensor::zero::<f32>(&[1, 0]).unwrap()), tensor2(&[[f32::INFINITY]]));
        assert_eq!(reduced(Fold::Max, &[1], tensor2(&[[false, true]])), tensor2(&[[true]]));
        let nan = reduced(Fold::Max, &[0], tensor1(&[1.0f32, f32::NAN, 2.0]));
        assert!(nan.try_as_plain_ram().unwrap().as_slice::<f32>().unwrap()[0].is_nan());
    }

    #[test]
    fn whole_numbers_are_added_in_their_own_type() {
        let input = tensor1(&[1i64 << 31, 1 << 31, 7]);
        assert_eq!(reduced(Fold::Sum, &[0], input), tensor1(&[(1i64 << 32) + 7]));
        assert_eq!(reduced(Fold::Product, &[0], tensor1(&[1u64 << 40, 3])), tensor1(&[3u64 << 40]));
    }

    #[test]
    fn no_bit_is_left_of_a_long_shift() {
        let shift = |left, values: Tensor, places: Tensor| {
            let inputs = tvec!(values.into_tvalue(), places.into_tvalue());
            Shift { left }.eval(&EvalContext::out_of_plan(), inputs).unwrap().remove(0).into_tensor()
        };
        assert_eq!(shift(true, tensor1(&[16u8, 255, 1]), tensor1(&[1u8, 8, 0])), tensor1(&[32u8, 0, 1]));
        assert_eq!(shift(false, tensor1(&[16u8, 255, 255]), tensor1(&[1u8, 8, 7])), tensor1(&[8u8, 0, 1]));
        assert_eq!(shift(false, tensor1(&[-8i32, 4, -1]), tensor1(&[1i32, -1, 99])), tensor1(&[-4i32, 0, -1]));
        assert_eq!(shift(true, tensor1(&[-8i32, 4, 3]), tensor1(&[1i32])), tensor1(&[-16i32, 8, 6]));
    }

    #[test]
    fn the_mean_of_many_half_precision_numbers_is_finite() {
        let mut model = TypedModel::default();
        let x = model.add_source("x", f16::fact([1, 70_000])).unwrap();
        let mean = tract_onnx::tract_hir::ops::nn::Reducer::Mean.wire(tvec![1], "y", &mut model, x).unwrap();
        model.select_output_outlets(&[mean]).unwrap();
        rewrite(&mut model).unwrap();
        let plan = model.into_optimized().unwrap().into_runnable().unwrap();
        let input = tensor0(f16::from_f32(20.0)).broadcast_scalar_to_shape(&[1, 70_000]).unwrap();
        assert_eq!(*plan.run(tvec!(input.into_tvalue())).unwrap()[0], tensor2(&[[f16::from_f32(20.0)]]));
    }

    #[test]
    fn graphs_are_rewritten_before_they_are_simplified() {
        let mut model = TypedModel::default();
        let x = model.add_source("x", f32::fact([2])).unwrap();
        let reduce = Reduce { axes: tvec![0], reducer: Reducer::Max };
        let y = model.wire_node("y", reduce, &[x]).unwrap();
        model.select_output_outlets(&y).unwrap();
        rewrite(&mut model).unwrap();
        let plan = model.into_optimized().unwrap().into_runnable().unwrap();
        let outputs = plan.run(tvec!(tensor1(&[f32::NEG_INFINITY; 2]).into_tvalue())).unwrap();
        assert_eq!(*outputs[0], tensor1(&[f32::NEG_INFINITY]));
    }
}
