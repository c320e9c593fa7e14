//! Operators on categories: OneHotEncoder, LabelEncoder.

use std::collections::HashMap;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::{NodeProto, TensorProto};
use tract_onnx::tract_hir::internal::*;

use super::operator::{Kind, Operator, is_number, node as operator_node};

type Parsed = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// The places of keys of one type. Keys of floats are compared by value, and NaN is equal to itself.
#[derive(Debug)]
enum Places {
    Texts(HashMap<String, usize>),
    Integers(HashMap<i64, usize>),
    Floats(HashMap<u64, usize>),
}

/// Returns the bits that stand for a number: one pattern for both zeros, one for every NaN.
fn bits(number: f64) -> u64 {
    match number {
        number if number.is_nan() => f64::NAN.to_bits(),
        0.0 => 0,
        number => number.to_bits(),
    }
}

/// Returns the place of each key; the first one where a key occurs twice.
fn first_places<K: std::hash::Hash + Eq>(keys: impl IntoIterator<Item = K>) -> HashMap<K, usize> {
    let mut places = HashMap::new();
    for (place, key) in keys.into_iter().enumerate() {
        places.entry(key).or_insert(place);
    }
    places
}

impl Places {
    /// Returns the places of the elements of a list.
    fn of(keys: &Tensor) -> TractResult<Self> {
        Ok(match keys.datum_type() {
            DatumType::String => {
                Self::Texts(first_places(keys.try_as_plain_ram()?.as_slice::<String>()?.iter().cloned()))
            }
            datum if datum.is_float() => {
                let keys = keys.cast_to::<f64>()?;
                Self::Floats(first_places(keys.try_as_plain_ram()?.as_slice::<f64>()?.iter().map(|key| bits(*key))))
            }
            _ => {
                let keys = keys.cast_to::<i64>()?;
                Self::Integers(first_places(keys.try_as_plain_ram()?.as_slice::<i64>()?.iter().copied()))
            }
        })
    }

    /// Returns true if tensors of this type can hold the keys.
    fn take(&self, datum: DatumType) -> bool {
        match self {
            Self::Texts(_) => datum == DatumType::String,
            Self::Integers(_) => is_number(datum) || datum == DatumType::Bool,
            Self::Floats(_) => datum.is_float(),
        }
    }

    /// Returns the place of each element of a tensor; `None` for what is no key.
    fn find(&self, input: &Tensor) -> TractResult<Vec<Option<usize>>> {
        Ok(match self {
            Self::Texts(places) => {
                input.try_as_plain_ram()?.as_slice::<String>()?.iter().map(|text| places.get(text).copied()).collect()
            }
            Self::Integers(places) => {
                let input = input.cast_to::<i64>()?;
                input.try_as_plain_ram()?.as_slice::<i64>()?.iter().map(|key| places.get(key).copied()).collect()
            }
            Self::Floats(places) => {
                let input = input.cast_to::<f64>()?;
                input
                    .try_as_plain_ram()?
                    .as_slice::<f64>()?
                    .iter()
                    .map(|key| places.get(&bits(*key)).copied())
                    .collect()
            }
        })
    }
}

/// A 1 in the place of the category of each element.
#[derive(Debug)]
struct OneHotEncoder {
    places: Places,
    categories: usize,
    /// True if an unknown category becomes zeros, false if it is refused.
    zeros: bool,
}

pub(super) fn one_hot_encoder(_ctx: &ParsingContext, node: &NodeProto) -> Parsed {
    let texts: Vec<String> = node.get_attr_opt_vec("cats_strings")?.unwrap_or_default();
    let integers: Vec<i64> = node.get_attr_opt_vec("cats_int64s")?.unwrap_or_default();
    node.expect(texts.is_empty() != integers.is_empty(), "either cats_strings or cats_int64s")?;
    let zeros = node.get_attr_opt::<i64>("zeros")?.unwrap_or(1) != 0;
    let categories = texts.len() + integers.len();
    let places =
        if integers.is_empty() { Places::Texts(first_places(texts)) } else { Places::Integers(first_places(integers)) };
    Ok(operator_node(OneHotEncoder { places, categories, zeros }))
}

impl Operator for OneHotEncoder {
    fn name(&self) -> &'static str {
        "OneHotEncoder"
    }

    fn outputs(&self, inputs: &[Kind]) -> TractResult<TVec<Kind>> {
        ensure!(self.places.take(inputs[0].datum), "the categories are not of the input's type {:?}", inputs[0].datum);
        let shape = inputs[0].shape.iter().cloned().chain([self.categories.to_dim()]);
        Ok(tvec!(Kind::new(DatumType::F32, shape)))
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let mut shape = TVec::from_slice(inputs[0].shape());
        shape.push(self.categories);
        let mut coded = vec![0f32; inputs[0].len() * self.categories];
        for (place, codes) in self.places.find(&inputs[0])?.into_iter().zip(coded.chunks_exact_mut(self.categories)) {
            match place {
                Some(place) => codes[place] = 1.0,
                None => {
                    ensure!(self.zeros, "invalid input: a category is not among the {} of the model", self.categories)
                }
            }
        }
        Ok(tvec!(Tensor::from_shape(&shape, &coded)?.into_tvalue()))
    }
}

/// Values in the place of keys.
#[derive(Debug)]
struct LabelEncoder {
    places: Places,
    /// A list, of which the last is the value for what is no key.
    values: Tensor,
}

pub(super) fn label_encoder(ctx: &ParsingContext, node: &NodeProto) -> Parsed {
    let classes: Vec<String> = node.get_attr_opt_vec("classes_strings")?.unwrap_or_default();
    if !classes.is_empty() {
        return first_version(node, classes);
    }
    let keys = list(ctx, node, "keys")?;
    let values = list(ctx, node, "values")?;
    node.expect(keys.len() == values.len(), "as many values as keys")?;
    let default = match node.get_attr_opt::<&TensorProto>("default_tensor")? {
        Some(default) => ctx.load_tensor(default)?,
        None => default_of(node, values.datum_type())?,
    };
    node.expect(
        default.len() == 1 && default.datum_type() == values.datum_type(),
        "a default of the type of the values",
    )?;
    let values = Tensor::stack_tensors(0, &[values, default.into_shape(&[1])?])?;
    Ok(operator_node(LabelEncoder { places: Places::of(&keys)?, values }))
}

/// Reads the operator of version 1: texts and their places, in the direction that the input's type says.
fn first_version(node: &NodeProto, classes: Vec<String>) -> Parsed {
    let unknown: i64 = node.get_attr_opt("default_int64")?.unwrap_or(-1);
    let mut places: Vec<i64> = (0..classes.len() as i64).collect();
    places.push(unknown);
    Ok(operator_node(LabelEncoder { places: Places::Texts(first_places(classes)), values: tensor1(&places) }))
}

/// Reads keys or values, whatever their type.
fn list(ctx: &ParsingContext, node: &NodeProto, what: &str) -> TractResult<Tensor> {
    if let Some(tensor) = node.get_attr_opt::<&TensorProto>(&format!("{what}_tensor"))? {
        let tensor = ctx.load_tensor(tensor)?;
        let len = tensor.len();
        return tensor.into_shape(&[len]);
    }
    if let Some(texts) = node.get_attr_opt_vec::<String>(&format!("{what}_strings"))? {
        return Ok(tract_ndarray::Array1::from_vec(texts).into_tensor());
    }
    if let Some(integers) = node.get_attr_opt_vec::<i64>(&format!("{what}_int64s"))? {
        return Ok(tensor1(&integers));
    }
    match node.get_attr_opt_vec::<f32>(&format!("{what}_floats"))? {
        Some(floats) => Ok(tensor1(&floats)),
        None => node.bail(&format!("expected {what}")),
    }
}

/// Returns the value for what is no key, where the model names it by its type or not at all.
fn default_of(node: &NodeProto, datum: DatumType) -> TractResult<Tensor> {
    Ok(match datum {
        DatumType::String => {
            let text: Option<String> = node.get_attr_opt("default_string")?;
            tract_ndarray::arr1(&[text.unwrap_or_else(|| "_Unused".to_owned())]).into_tensor()
        }
        DatumType::F32 => tensor1(&[node.get_attr_opt("default_float")?.unwrap_or(-0.0f32)]),
        datum => tensor1(&[node.get_attr_opt("default_int64")?.unwrap_or(-1i64)]).cast_to_dt(datum)?.into_owned(),
    })
}

impl Operator for LabelEncoder {
    fn name(&self) -> &'static str {
        "LabelEncoder"
    }

    fn outputs(&self, inputs: &[Kind]) -> TractResult<TVec<Kind>> {
        ensure!(self.places.take(inputs[0].datum), "the keys are not of the input's type {:?}", inputs[0].datum);
        Ok(tvec!(Kind { datum: self.values.datum_type(), shape: inputs[0].shape.clone() }))
    }

    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let unknown = self.values.len() - 1;
        let places = self.places.find(&inputs[0])?.into_iter().map(|place| place.unwrap_or(unknown));
        let shape = inputs[0].shape();
        let output = match self.values.datum_type() {
            DatumType::String => {
                let values = self.values.try_as_plain_ram()?.as_slice::<String>()?;
                let texts = places.map(|place| values[place].clone()).collect();
                tract_ndarray::ArrayD::from_shape_vec(shape, texts)?.into_tensor()
            }
            DatumType::I64 => valued::<i64>(&self.values, places, shape)?,
            DatumType::F32 => valued::<f32>(&self.values, places, shape)?,
            DatumType::F64 => valued::<f64>(&self.values, places, shape)?,
            DatumType::I16 => valued::<i16>(&self.values, places, shape)?,
            DatumType::I32 => valued::<i32>(&self.values, places, shape)?,
            DatumType::Bool => valued::<bool>(&self.values, places, shape)?,
            other => bail!("cannot answer values of {other:?}"),
        };
        Ok(tvec!(output.into_tvalue()))
    }
}

fn valued<T: Datum + Copy>(
    values: &Tensor,
    places: impl Iterator<Item = usize>,
    shape: &[usize],
) -> TractResult<Tensor> {
    let values = values.try_as_plain_ram()?.as_slice::<T>()?;
    Tensor::from_shape(shape, &places.map(|place| values[place]).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Tensor {
        tract_ndarray::Array1::from_iter(texts.iter().map(|text| (*text).to_owned())).into_tensor()
    }

    #[test]
    fn unknown_categories_are_zeros_or_refused() {
        let encoder = |zeros| OneHotEncoder { places: Places::of(&texts(&["a", "b"])).unwrap(), categories: 2, zeros };
        let input = texts(&["b", "x"]).into_tvalue();
        let want = tensor2(&[[0f32, 1.0], [0.0, 0.0]]);
        assert_eq!(*encoder(true).run(std::slice::from_ref(&input)).unwrap()[0], want);
        assert!(encoder(false).run(&[input]).unwrap_err().to_string().contains("not among the 2 of the model"));
    }

    #[test]
    fn numbers_are_categories_by_their_whole_part() {
        let places = Places::of(&tensor1(&[3i64, 5])).unwrap();
        let encoder = OneHotEncoder { places, categories: 2, zeros: true };
        assert_eq!(*encoder.run(&[tensor1(&[5.2f32]).into_tvalue()]).unwrap()[0], tensor2(&[[0f32, 1.0]]));
    }

    #[test]
    fn keys_of_any_type_have_values_of_any_type() {
        let run = |keys: Tensor, values: Tensor, input: Tensor| {
            let encoder = LabelEncoder { places: Places::of(&keys).unwrap(), values };
            encoder.run(&[input.into_tvalue()]).unwrap().remove(0).into_tensor()
        };
        assert_eq!(run(texts(&["a", "b", "a"]), tensor1(&[1i64, 2, 3, -1]), texts(&["a", "c"])), tensor1(&[1i64, -1]));
        assert_eq!(
            run(tensor1(&[f32::NAN, 0.0]), texts(&["n", "z", "?"]), tensor1(&[-0.0f32, f32::NAN, 1.0])),
            texts(&["z", "n", "?"])
        );
        assert_eq!(run(tensor1(&[7i64]), tensor1(&[0.5f32, 0.0]), tensor1(&[7i64, 8])), tensor1(&[0.5f32, 0.0]));
    }
}
