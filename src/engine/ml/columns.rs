//! Operators on the columns of a table: Scaler, Imputer, Binarizer, Normalizer.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::operator::{Kind, Operator, node as operator_node, table};

type Parsed = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// Checks that there is one number for all columns or one for each.
fn expect_columns(what: &str, numbers: usize, columns: &TDim) -> TractResult<()> {
    match columns.to_usize() {
        Ok(columns) if numbers != 1 && numbers != columns => {
            bail!("{what} has {numbers} numbers, the input {columns} columns")
        }
        _ => Ok(()),
    }
}

/// Returns the number of a column, where a single one stands for all.
fn of_column<T: Copy>(numbers: &[T], column: usize) -> T {
    if numbers.len() == 1 { numbers[0] } else { numbers[column] }
}

/// (x - offset) * scale.
#[derive(Debug)]
struct Scaler {
    offset: Vec<f32>,
    scale: Vec<f32>,
}

pub(super) fn scaler(_ctx: &ParsingContext, node: &NodeProto) -> Parsed {
    let offset: Vec<f32> = node.get_attr_opt_vec("offset")?.unwrap_or_else(|| vec![0.0]);
    let scale: Vec<f32> = node.get_attr_opt_vec("scale")?.unwrap_or_else(|| vec![1.0]);
    node.expect(!offset.is_empty() && !scale.is_empty(), "an offset and a scale")?;
    Ok(operator_node(Scaler { offset, scale }))
}

impl Operator for Scaler {
    fn name(&self) -> &'static str {
        "Scaler"
    }

    fn outputs(&self, inputs: &[Kind]) -> TractResult<TVec<Kind>> {
        inputs[0].expect_numbers()?;
        let (_, columns) = inputs[0].table()?;
        expect_columns("the scale", self.scale.len(), &columns)?;
        expect_columns("the offset", self.offset.len(), &columns)?;
        Ok(tvec!(Kind::new(DatumType::F32, inputs[0].shape.iter().cloned())))
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let (_, columns) = table(inputs[0].shape())?;
        expect_columns("the scale", self.scale.len(), &columns.to_dim())?;
        expect_columns("the offset", self.offset.len(), &columns.to_dim())?;
        let scaled: Vec<f32> = if inputs[0].datum_type() == DatumType::F64 {
            let numbers = inputs[0].try_as_plain_ram()?.as_slice::<f64>()?;
            let scaled = |(index, number): (usize, &f64)| {
                let column = index % columns;
                ((number - f64::from(of_column(&self.offset, column))) * f64::from(of_column(&self.scale, column)))
                    as f32
            };
            numbers.iter().enumerate().map(scaled).collect()
        } else {
            let numbers = inputs[0].cast_to::<f32>()?;
            let numbers = numbers.try_as_plain_ram()?.as_slice::<f32>()?;
            let scaled = |(index, number): (usize, &f32)| {
                let column = index % columns;
                (number - of_column(&self.offset, column)) * of_column(&self.scale, column)
            };
            numbers.iter().enumerate().map(scaled).collect()
        };
        Ok(tvec!(Tensor::from_shape(inputs[0].shape(), &scaled)?.into_tvalue()))
    }
}

/// Puts a number in the place of a missing one.
#[derive(Debug)]
enum Imputer {
    Floats { missing: f32, values: Vec<f32> },
    Integers { missing: i64, values: Vec<i64> },
}

pub(super) fn imputer(_ctx: &ParsingContext, node: &NodeProto) -> Parsed {
    let floats: Vec<f32> = node.get_attr_opt_vec("imputed_value_floats")?.unwrap_or_default();
    if !floats.is_empty() {
        let missing = node.get_attr_opt("replaced_value_float")?.unwrap_or(0.0);
        return Ok(operator_node(Imputer::Floats { missing, values: floats }));
    }
    let values: Vec<i64> = node.get_attr_opt_vec("imputed_value_int64s")?.unwrap_or_default();
    node.expect(!values.is_empty(), "imputed_value_floats or imputed_value_int64s")?;
    let missing = node.get_attr_opt("replaced_value_int64")?.unwrap_or(0i64);
    Ok(operator_node(Imputer::Integers { missing, values }))
}

impl Imputer {
    fn count(&self) -> usize {
        match self {
            Self::Floats { values, .. } => values.len(),
            Self::Integers { values, .. } => values.len(),
        }
    }
}

/// Returns the numbers with the missing ones replaced by those of their columns.
fn imputed<T: Copy>(numbers: &[T], columns: usize, is_missing: impl Fn(T) -> bool, values: &[T]) -> Vec<T> {
    let filled = |(index, number): (usize, &T)| {
        if is_missing(*number) { of_column(values, index % columns) } else { *number }
    };
    numbers.iter().enumerate().map(filled).collect()
}

impl Operator for Imputer {
    fn name(&self) -> &'static str {
        "Imputer"
    }

    fn outputs(&self, inputs: &[Kind]) -> TractResult<TVec<Kind>> {
        let (_, columns) = inputs[0].table()?;
        let fits = match self {
            Self::Floats { .. } => inputs[0].datum.is_float(),
            Self::Integers { .. } => inputs[0].datum.is_integer(),
        };
        ensure!(fits, "the imputed values are not of the input's type {:?}", inputs[0].datum);
        expect_columns("the list of imputed values", self.count(), &columns)?;
        Ok(tvec!(inputs[0].clone()))
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let (_, columns) = table(inputs[0].shape())?;
        expect_columns("the list of imputed values", self.count(), &columns.to_dim())?;
        let shape = inputs[0].shape();
        let output = match self {
            Self::Floats { missing, values } => {
                let (missing, values) = (f64::from(*missing), values.iter().map(|value| f64::from(*value)));
                let is_missing = |number: f64| number == missing || (number.is_nan() && missing.is_nan());
                let numbers = inputs[0].cast_to::<f64>()?;
                let numbers = numbers.try_as_plain_ram()?.as_slice::<f64>()?;
                Tensor::from_shape(shape, &imputed(numbers, columns, is_missing, &values.collect::<Vec<_>>()))?
            }
            Self::Integers { missing, values } => {
                let numbers = inputs[0].cast_to::<i64>()?;
                let numbers = numbers.try_as_plain_ram()?.as_slice::<i64>()?;
                Tensor::from_shape(shape, &imputed(numbers, columns, |number| number == *missing, values))?
            }
        };
        Ok(tvec!(output.cast_to_dt(inputs[0].datum_type())?.into_owned().into_tvalue()))
    }
}

/// 1 for what is above the threshold, 0 for the rest.
#[derive(Debug)]
struct Binarizer {
    threshold: f32,
}

pub(super) fn binarizer(_ctx: &ParsingContext, node: &NodeProto) -> Parsed {
    Ok(operator_node(Binarizer { threshold: node.get_attr_opt("threshold")?.unwrap_or(0.0) }))
}

impl Operator for Binarizer {
    fn name(&self) -> &'static str {
        "Binarizer"
    }

    fn outputs(&self, inputs: &[Kind]) -> TractResult<TVec<Kind>> {
        inputs[0].expect_numbers()?;
        Ok(tvec!(inputs[0].clone()))
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let numbers = inputs[0].cast_to::<f64>()?;
        let numbers = numbers.try_as_plain_ram()?.as_slice::<f64>()?;
        let threshold = f64::from(self.threshold);
        let bits: Vec<f32> = numbers.iter().map(|number| f32::from(u8::from(*number > threshold))).collect();
        let output = Tensor::from_shape(inputs[0].shape(), &bits)?;
        Ok(tvec!(output.cast_to_dt(inputs[0].datum_type())?.into_owned().into_tvalue()))
    }
}

/// Divides each sample by its norm. A sample whose norm is 0 stays as it is.
#[derive(Debug, Clone, Copy)]
enum Normalizer {
    Max,
    L1,
    L2,
}

pub(super) fn normalizer(_ctx: &ParsingContext, node: &NodeProto) -> Parsed {
    Ok(operator_node(match node.get_attr_opt::<&str>("norm")?.unwrap_or("MAX") {
        "MAX" => Normalizer::Max,
        "L1" => Normalizer::L1,
        "L2" => Normalizer::L2,
        other => return node.bail(&format!("norm is {}, expected MAX, L1 or L2", crate::ids::quote(other))),
    }))
}

impl Normalizer {
    fn norm(self, sample: &[f32]) -> f32 {
        match self {
            Self::Max => sample.iter().copied().fold(f32::MIN, f32::max),
            Self::L1 => sample.iter().map(|number| number.abs()).sum(),
            Self::L2 => sample.iter().map(|number| number * number).sum::<f32>().sqrt(),
        }
    }
}

impl Operator for Normalizer {
    fn name(&self) -> &'static str {
        "Normalizer"
    }

    fn outputs(&self, inputs: &[Kind]) -> TractResult<TVec<Kind>> {
        inputs[0].expect_numbers()?;
        inputs[0].table()?;
        Ok(tvec!(Kind::new(DatumType::F32, inputs[0].shape.iter().cloned())))
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let (_, columns) = table(inputs[0].shape())?;
        let mut output = inputs[0].cast_to::<f32>()?.into_owned();
        for sample in output.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?.chunks_exact_mut(columns.max(1)) {
            let norm = self.norm(sample);
            if norm != 0.0 {
                sample.iter_mut().for_each(|number| *number /= norm);
            }
        }
        Ok(tvec!(output.into_tvalue()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(operator: &impl Operator, input: Tensor) -> Tensor {
        operator.run(&[input.into_tvalue()]).unwrap().remove(0).into_tensor()
    }

    #[test]
    fn columns_are_scaled_each_by_its_own_numbers() {
        let scaler = Scaler { offset: vec![1.0, 2.0], scale: vec![10.0] };
        let want = tensor2(&[[0f32, 10.0], [20.0, 30.0]]);
        assert_eq!(run(&scaler, tensor2(&[[1f32, 3.0], [3.0, 5.0]])), want);
        assert_eq!(run(&scaler, tensor2(&[[1f64, 3.0], [3.0, 5.0]])), want);
        assert_eq!(run(&scaler, tensor2(&[[1i64, 3], [3, 5]])), want);
        assert!(scaler.outputs(&[Kind::new(DatumType::F32, [1.to_dim(), 3.to_dim()])]).is_err());
    }

    #[test]
    fn missing_numbers_are_replaced() {
        let floats = Imputer::Floats { missing: f32::NAN, values: vec![7.0, 8.0] };
        let output = run(&floats, tensor2(&[[f32::NAN, 1.0], [2.0, f32::NAN]]));
        assert_eq!(output, tensor2(&[[7f32, 1.0], [2.0, 8.0]]));
        let integers = Imputer::Integers { missing: -1, values: vec![5] };
        assert_eq!(run(&integers, tensor2(&[[-1i64, 3], [4, -1]])), tensor2(&[[5i64, 3], [4, 5]]));
    }

    #[test]
    fn numbers_become_bits_and_shares() {
        let binarizer = Binarizer { threshold: 0.5 };
        assert_eq!(run(&binarizer, tensor2(&[[0.5f32, 0.6]])), tensor2(&[[0f32, 1.0]]));
        for (norm, want) in [(Normalizer::Max, [-1.5f32, 1.0]), (Normalizer::L1, [-0.6, 0.4])] {
            assert_eq!(run(&norm, tensor2(&[[-3f32, 2.0], [0.0, 0.0]])), tensor2(&[want, [0.0, 0.0]]));
        }
        let output = run(&Normalizer::L2, tensor1(&[3f32, 4.0]));
        output.close_enough(&tensor1(&[0.6f32, 0.8]), true).unwrap();
    }
}
