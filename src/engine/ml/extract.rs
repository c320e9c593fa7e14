//! Operators that put columns together: ArrayFeatureExtractor, FeatureVectorizer.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::operator::{Kind, Operator, node as operator_node, table};

/// Takes columns by their places, which are the second input.
#[derive(Debug)]
struct ArrayFeatureExtractor;

pub(super) fn array_feature_extractor(
    _ctx: &ParsingContext,
    _node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    Ok(operator_node(ArrayFeatureExtractor))
}

impl Operator for ArrayFeatureExtractor {
    fn name(&self) -> &'static str {
        "ArrayFeatureExtractor"
    }

    fn input_count(&self) -> usize {
        2
    }

    fn outputs(&self, inputs: &[Kind]) -> TractResult<TVec<Kind>> {
        let count: TDim = inputs[1].shape.iter().product();
        let mut shape = inputs[0].shape.clone();
        match shape.len() {
            0 => bail!("expected an input with columns, got a scalar"),
            1 => shape = tvec!(1.to_dim(), count),
            rank => shape[rank - 1] = count,
        }
        Ok(tvec!(Kind { datum: inputs[0].datum, shape }))
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let places = inputs[1].cast_to::<i64>()?;
        let places = places.try_as_plain_ram()?.as_slice::<i64>()?;
        let Some((&columns, outer)) = inputs[0].shape().split_last() else {
            bail!("expected an input with columns, got a scalar")
        };
        let place = |place: &i64| {
            let place = usize::try_from(*place).ok().filter(|place| *place < columns);
            place.with_context(|| format!("expected a column from 0 to {}", columns.saturating_sub(1)))
        };
        let places = places.iter().map(place).collect::<TractResult<Vec<_>>>()?;
        let mut shape = if outer.is_empty() { tvec!(1) } else { TVec::from_slice(outer) };
        shape.push(places.len());
        let output = match inputs[0].datum_type() {
            DatumType::String => {
                let texts = inputs[0].try_as_plain_ram()?.as_slice::<String>()?;
                let taken = picked(texts, columns, &places);
                tract_ndarray::ArrayD::from_shape_vec(&*shape, taken)?.into_tensor()
            }
            DatumType::TDim => {
                let sizes = inputs[0].try_as_plain_ram()?.as_slice::<TDim>()?;
                tensor1(&picked(sizes, columns, &places)).into_shape(&shape)?
            }
            DatumType::F32 => numbers::<f32>(&inputs[0], &shape, columns, &places)?,
            DatumType::F64 => numbers::<f64>(&inputs[0], &shape, columns, &places)?,
            DatumType::I32 => numbers::<i32>(&inputs[0], &shape, columns, &places)?,
            DatumType::I64 => numbers::<i64>(&inputs[0], &shape, columns, &places)?,
            DatumType::Bool => numbers::<bool>(&inputs[0], &shape, columns, &places)?,
            other => bail!("cannot take columns of {other:?}"),
        };
        Ok(tvec!(output.into_tvalue()))
    }
}

fn numbers<T: Datum + Copy>(input: &Tensor, shape: &[usize], columns: usize, places: &[usize]) -> TractResult<Tensor> {
    Tensor::from_shape(shape, &picked(input.try_as_plain_ram()?.as_slice::<T>()?, columns, places))
}

fn picked<T: Clone>(elements: &[T], columns: usize, places: &[usize]) -> Vec<T> {
    let rows = elements.chunks_exact(columns.max(1));
    rows.flat_map(|row| places.iter().map(|place| row[*place].clone())).collect()
}

/// Puts tables side by side, as 32-bit floats.
#[derive(Debug)]
struct FeatureVectorizer {
    /// The columns to take of each input; missing ones are 0.
    columns: Vec<usize>,
}

pub(super) fn feature_vectorizer(
    _ctx: &ParsingContext,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let columns: Vec<usize> = node.get_attr_opt_vec("inputdimensions")?.unwrap_or_default();
    node.expect(columns.len() == node.input.len(), "as many inputdimensions as inputs")?;
    Ok(operator_node(FeatureVectorizer { columns }))
}

impl Operator for FeatureVectorizer {
    fn name(&self) -> &'static str {
        "FeatureVectorizer"
    }

    fn input_count(&self) -> usize {
        self.columns.len()
    }

    fn outputs(&self, inputs: &[Kind]) -> TractResult<TVec<Kind>> {
        inputs.iter().try_for_each(Kind::expect_numbers)?;
        let (samples, _) = inputs[0].table()?;
        Ok(tvec!(Kind::new(DatumType::F32, [samples, self.columns.iter().sum::<usize>().to_dim()])))
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let (samples, _) = table(inputs[0].shape())?;
        let width: usize = self.columns.iter().sum();
        let mut joined = vec![0f32; samples * width];
        let mut start = 0;
        for (input, columns) in inputs.iter().zip(&self.columns) {
            let (rows, given) = table(input.shape())?;
            ensure!(rows == samples, "the inputs have {samples} and {rows} samples");
            let numbers = input.cast_to::<f32>()?;
            let numbers = numbers.try_as_plain_ram()?.as_slice::<f32>()?;
            let taken = given.min(*columns);
            for sample in 0..samples {
                let to = sample * width + start;
                joined[to..to + taken].copy_from_slice(&numbers[sample * given..sample * given + taken]);
            }
            start += columns;
        }
        Ok(tvec!(Tensor::from_shape(&[samples, width], &joined)?.into_tvalue()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_taken_in_the_order_of_their_places() {
        let run = |input: Tensor, places: Tensor| {
            ArrayFeatureExtractor
                .run(&[input.into_tvalue(), places.into_tvalue()])
                .map(|mut out| out.remove(0).into_tensor())
        };
        let input = tensor2(&[[1f32, 2.0, 3.0], [4.0, 5.0, 6.0]]);
        assert_eq!(run(input.clone(), tensor1(&[2i64, 0])).unwrap(), tensor2(&[[3f32, 1.0], [6.0, 4.0]]));
        let texts = tract_ndarray::arr1(&["a".to_owned(), "b".to_owned()]).into_tensor();
        let want = tract_ndarray::arr2(&[["b".to_owned(), "b".to_owned()]]).into_tensor();
        assert_eq!(run(texts, tensor2(&[[1i64, 1]])).unwrap(), want);
        assert!(run(input.clone(), tensor1(&[3i64])).is_err());
        assert!(run(input, tensor1(&[-1i64])).is_err());
    }

    #[test]
    fn tables_are_joined_and_filled_up() {
        let join = FeatureVectorizer { columns: vec![1, 3] };
        let inputs = [tensor2(&[[1i64], [2]]).into_tvalue(), tensor2(&[[3f32, 4.0], [5.0, 6.0]]).into_tvalue()];
        let want = tensor2(&[[1f32, 3.0, 4.0, 0.0], [2.0, 5.0, 6.0, 0.0]]);
        assert_eq!(*join.run(&inputs).unwrap()[0], want);
    }
}
