//! The inputs that a request may name, whatever its protocol.

use bytes::Bytes;

use super::input::Input;
use crate::engine::OptionalInput;
use crate::error::{Error, Result};
use crate::ids::quote;
use crate::signature::{Batching, Column, ColumnKind, Signature, TensorSpec, places, row_width};
use crate::tensor::Tensor;

/// The most names that a message lists.
const MAX_LISTED: usize = 20;

/// The inputs of the signature, and behind them the optional ones: initializers that the graph also declares as inputs.
#[derive(Debug, Clone)]
pub struct NamedInputs<'a> {
    specs: Vec<&'a TensorSpec>,
    optional: &'a [OptionalInput],
    /// The number of inputs of the signature, from the first one on, that a request must bring.
    required: usize,
    batching: Batching,
    /// The columns of a table that the first input holds.
    columns: &'a [Column],
}

impl<'a> NamedInputs<'a> {
    /// Returns the inputs of a graph. Those of the signature behind the first `required` may be left out together.
    pub fn new(signature: &'a Signature, required: usize, optional: &'a [OptionalInput]) -> Self {
        let specs = signature.inputs.iter().chain(optional.iter().map(|optional| &optional.spec)).collect();
        Self { specs, optional, required, batching: signature.batching(), columns: &[] }
    }

    /// Says that the first input holds rows of a table of these columns.
    pub fn with_columns(self, columns: &'a [Column]) -> Self {
        Self { columns, ..self }
    }

    /// Returns all inputs, in their order.
    pub fn specs(&self) -> &[&'a TensorSpec] {
        &self.specs
    }

    /// Returns the number of inputs, from the first one on, that a request must bring.
    pub fn required(&self) -> usize {
        self.required
    }

    /// Returns the only input that a request must bring; `None` if it must bring several, or none.
    pub fn only(&self) -> Option<&'a TensorSpec> {
        if self.required == 1 { self.specs.first().copied() } else { None }
    }

    /// Returns the way in which samples go into a run.
    pub fn batching(&self) -> Batching {
        self.batching
    }

    /// Returns the place of the input of a name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.specs.iter().position(|spec| spec.name == name)
    }

    /// Returns true if an input holds one value for the whole request, as the optional ones do unless their first
    /// dimension is the batch.
    pub fn is_shared(&self, place: usize) -> bool {
        let is_batched = |spec: &&TensorSpec| spec.shape.first().is_some_and(|dim| dim.is_batch());
        place >= self.in_signature()
            && !(self.batching == Batching::Any && self.specs.get(place).is_some_and(is_batched))
    }

    /// Returns the error for a name that no input has.
    pub fn unknown(&self, name: &str) -> Error {
        Error::InvalidInput(format!("the model has no input {}; it {}", quote(name), self.listed()))
    }

    /// Returns the names of the inputs as the end of a sentence about the model: "has: a, b".
    pub fn listed(&self) -> String {
        if self.specs.is_empty() {
            return "has none".into();
        }
        let names = self.specs.iter().take(MAX_LISTED).map(|spec| spec.name.as_str());
        format!("has: {}", names.collect::<Vec<_>>().join(", "))
    }

    /// Returns the inputs of a request in their order, `given` by place: if it brings any of the optional ones, the others
    /// get their defaults.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] naming the input that is missing.
    pub fn arranged(&self, given: Vec<Option<Tensor>>) -> Result<Vec<Tensor>> {
        let in_signature = self.in_signature();
        let wanted = match given.iter().rposition(Option::is_some) {
            Some(last) if last >= in_signature => self.specs.len(),
            Some(last) if last >= self.required => in_signature,
            _ => self.required,
        };
        let input = |(place, tensor): (usize, Option<Tensor>)| {
            let default = || place.checked_sub(in_signature).map(|place| self.optional[place].default.clone());
            let missing = || Error::InvalidInput(format!("the input \"{}\" is missing", self.specs[place].name));
            tensor.or_else(default).ok_or_else(missing)
        };
        let arranged: Vec<Tensor> = given.into_iter().take(wanted).enumerate().map(input).collect::<Result<_>>()?;
        arranged.first().map_or(Ok(()), |first| self.check_differences(first))?;
        Ok(arranged)
    }

    /// Checks that a tensor of rows holds differences where the model takes such: a number that is nearer to the origin than
    /// to 0 was sent as it stands in the table.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] naming the column, the number, and what to send.
    pub fn check_differences(&self, rows: &Tensor) -> Result<()> {
        let Ok(elements) = rows.floats() else { return Ok(()) };
        let width = row_width(self.columns);
        // What has another shape is refused for that.
        if rows.row_elements() != width {
            return Ok(());
        }
        for (column, place) in self.columns.iter().zip(places(self.columns)) {
            let ColumnKind::Shifted { origin } = column.kind else { continue };
            let is_raw = |number: &f32| (f64::from(*number) - origin as f64).abs() < f64::from(number.abs());
            let numbers = elements.chunks_exact(width).map(|row| row[place.start]);
            if let Some((row, number)) = numbers.enumerate().find(|(_, number)| is_raw(number)) {
                return Err(Error::InvalidInput(format!(
                    "row {row}, column {}: tensors hold the difference from {origin}, the column's origin, got {number}; \
                     subtract it in 64 bits, or send rows as \"instances\" to /predict",
                    quote(&column.name)
                )));
            }
        }
        Ok(())
    }

    /// Returns encoded images as the input of a request that brings nothing beside them.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] naming what it brings.
    pub fn images_alone(&self, images: Vec<Bytes>, beside: &[Option<Tensor>]) -> Result<Input> {
        match beside.iter().position(Option::is_some) {
            None => Ok(Input::Images(images)),
            Some(place) => Err(Error::InvalidInput(format!(
                "the input \"{}\" cannot stand beside encoded images; send the pixels as numbers to send both",
                self.specs[place].name
            ))),
        }
    }

    /// Returns texts as the input of a request that brings nothing beside them.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] naming what it brings.
    pub fn texts_alone(&self, texts: Input, beside: &[Option<Tensor>]) -> Result<Input> {
        match beside.iter().position(Option::is_some) {
            None => Ok(texts),
            Some(place) => Err(Error::InvalidInput(format!(
                "the input \"{}\" cannot stand beside texts, which fill every input",
                self.specs[place].name
            ))),
        }
    }

    fn in_signature(&self) -> usize {
        self.specs.len() - self.optional.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{DType, Dim};

    fn spec(name: &str, shape: &[Dim]) -> TensorSpec {
        TensorSpec { name: name.into(), dtype: DType::Float32, shape: shape.to_vec() }
    }

    fn number(value: f32) -> Tensor {
        Tensor::new(vec![1], vec![value]).unwrap()
    }

    #[test]
    fn numbers_that_are_no_differences_are_refused() {
        let signature =
            Signature { inputs: vec![spec("features", &[Dim::Symbol("N".into()), Dim::Fixed(4)])], outputs: vec![] };
        let column = |name: &str, kind| Column { name: name.into(), kind };
        let columns = [
            column("title", ColumnKind::Text { grams: 2 }),
            column("when", ColumnKind::Shifted { origin: 1_700_000_000 }),
            column("size", ColumnKind::Number),
        ];
        let inputs = NamedInputs::new(&signature, 1, &[]).with_columns(&columns);
        let refused = |when: f32| {
            let rows = vec![5.0, 6.0, -3.5, 2e9, 5.0, 6.0, when, 2e9];
            let tensor = Tensor::new(vec![2, 4], rows).unwrap();
            inputs.arranged(vec![Some(tensor)]).err().map(|error| error.to_string())
        };
        for difference in [0.0, 12_000.0, -7e8, f32::NAN] {
            assert_eq!(refused(difference), None);
        }
        let message = refused(1_700_000_064.0).unwrap();
        assert!(message.contains("row 1, column \"when\"") && message.contains("1700000000"), "{message}");
    }

    #[test]
    fn optional_inputs_come_together_and_are_filled_with_their_defaults() {
        let batch = Dim::Symbol("N".into());
        let signature = Signature {
            inputs: vec![spec("a", std::slice::from_ref(&batch)), spec("noise", std::slice::from_ref(&batch))],
            outputs: vec![spec("y", std::slice::from_ref(&batch))],
        };
        let optional = [("k", Dim::Fixed(1), 5.0), ("rows", batch, 6.0)]
            .map(|(name, dim, default)| OptionalInput { spec: spec(name, &[dim]), default: number(default) });
        let inputs = NamedInputs::new(&signature, 1, &optional);
        let arranged = |given: [Option<f32>; 4]| inputs.arranged(given.map(|given| given.map(number)).to_vec());
        assert_eq!(arranged([Some(1.0), None, None, None]).unwrap(), [number(1.0)]);
        assert_eq!(arranged([Some(1.0), Some(2.0), None, None]).unwrap(), [1.0, 2.0].map(number));
        assert_eq!(arranged([Some(1.0), Some(2.0), None, Some(3.0)]).unwrap(), [1.0, 2.0, 5.0, 3.0].map(number));
        assert!(arranged([None, Some(2.0), None, None]).unwrap_err().to_string().contains("\"a\" is missing"));
        assert!(arranged([Some(1.0), None, Some(3.0), None]).unwrap_err().to_string().contains("\"noise\""));
        let shared: Vec<bool> = (0..4).map(|place| inputs.is_shared(place)).collect();
        assert_eq!(
            (shared, inputs.position("k"), inputs.only().is_some()),
            (vec![false, false, true, false], Some(2), true)
        );
        let unknown = inputs.unknown("q").to_string();
        assert_eq!(unknown, "the model has no input \"q\"; it has: a, noise, k, rows");
    }
}
