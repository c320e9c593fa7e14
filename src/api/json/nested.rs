//! The elements of nested lists → tensors of the shapes that the signature says.

use std::fmt::Display;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::signature::{Batching, Dim, TensorSpec, shape_text};
use crate::tensor::{Data, Tensor};

/// The elements of rectangular nested lists, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::api) struct Nested {
    shape: Vec<usize>,
    data: Data,
    files: Vec<Bytes>,
}

impl Nested {
    pub(super) fn new(shape: Vec<usize>, data: Data, files: Vec<Bytes>) -> Self {
        Self { shape, data, files }
    }

    /// Takes out the files, in their order; `None` if elements were sent.
    pub(in crate::api) fn take_files(&mut self) -> Option<Vec<Bytes>> {
        (!self.files.is_empty()).then(|| std::mem::take(&mut self.files))
    }

    /// Returns the length of the lists at each depth.
    pub(in crate::api) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns whether this is one sample of the given dimensions, as [`Nested::into_samples`] takes it.
    pub(in crate::api) fn is_sample(&self, dims: &[Dim]) -> bool {
        shape_of(&self.shape, dims).is_some()
    }

    /// Returns a list of this alone.
    pub(in crate::api) fn alone(mut self) -> Self {
        self.shape.insert(0, 1);
        self
    }

    /// Returns the tensor of an input: all of its samples, or the whole of it when the model has no batch dimension.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] naming the input, the expected and the given shape.
    pub(in crate::api) fn into_input(self, spec: &TensorSpec, batching: Batching) -> Result<Tensor> {
        let what = format_args!("input \"{}\"", spec.name);
        match batching {
            Batching::Whole => self.into_whole(what, &spec.shape),
            Batching::Any | Batching::Fixed(_) => self.into_samples(what, spec.sample_dims()),
        }
    }

    /// Returns a tensor of samples of the given dimensions, as many as there are. Each sample may be written in its
    /// shape or, if that is fixed, without its dimensions of 1, or flat.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] naming `what`, the expected and the given shape.
    pub(in crate::api) fn into_samples(self, what: impl Display, sample: &[Dim]) -> Result<Tensor> {
        let Self { shape, data, .. } = self;
        let (rows, given) = match shape.split_first() {
            Some((rows, given)) if *rows > 0 => (*rows, given),
            _ => return Err(Error::InvalidInput(format!("{what} is empty; expected at least one instance"))),
        };
        let sizes = shape_of(given, sample).ok_or_else(|| {
            Error::InvalidInput(format!("each of {what} must have the {}; got the shape {given:?}", expected(sample)))
        })?;
        Tensor::from_data(std::iter::once(rows).chain(sizes).collect(), data)
    }

    /// Returns a tensor of the given dimensions, written in them or, if they are fixed, without those of 1, or flat.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] naming `what`, the expected and the given shape.
    pub(in crate::api) fn into_whole(self, what: impl Display, dims: &[Dim]) -> Result<Tensor> {
        let Self { shape, data, .. } = self;
        let sizes = shape_of(&shape, dims).ok_or_else(|| {
            Error::InvalidInput(format!("{what} must have the {}; got the shape {shape:?}", expected(dims)))
        })?;
        Tensor::from_data(sizes, data)
    }

    /// Returns the one tensor that all instances bring alike.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] naming `what` when they differ, or are of another shape.
    pub(in crate::api) fn into_shared(self, what: impl Display, dims: &[Dim]) -> Result<Tensor> {
        let rows = self.into_samples(&what, dims)?;
        let first = rows.slice_rows(0..1);
        if let Some(row) = (1..rows.rows()).find(|row| !is_same(&first, &rows.slice_rows(*row..row + 1))) {
            return Err(Error::InvalidInput(format!(
                "{what} is one value for the whole request, but instances 0 and {row} give different ones; ask about them \
                 one by one"
            )));
        }
        Tensor::from_data(first.shape()[1..].to_vec(), first.into_data())
    }

    /// Returns the only instance in a list of one.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the list has another length.
    pub(in crate::api) fn into_only(mut self, what: impl Display) -> Result<Self> {
        if self.shape.first() != Some(&1) {
            let count = self.shape.first().copied().unwrap_or(0);
            return Err(Error::InvalidInput(format!(
                "the model has no batch dimension, so {what} must be a list of exactly one, got {count}"
            )));
        }
        self.shape.remove(0);
        Ok(self)
    }
}

/// Returns true if two tensors are alike bit by bit, so that NaN is like itself.
fn is_same(a: &Tensor, b: &Tensor) -> bool {
    let bytes = |tensor: &Tensor| {
        let mut bytes = Vec::new();
        tensor.data().feed(|part| bytes.extend_from_slice(part));
        bytes
    };
    a == b || bytes(a) == bytes(b)
}

/// Returns the sizes that a given shape stands for.
fn shape_of(given: &[usize], dims: &[Dim]) -> Option<Vec<usize>> {
    let fits = |(size, dim): (&usize, &Dim)| if let Dim::Fixed(expected) = dim { size == expected } else { true };
    if given.len() == dims.len() && given.iter().zip(dims).all(fits) {
        return Some(given.to_vec());
    }
    let sizes = dims.iter().map(|dim| if let Dim::Fixed(size) = dim { Some(*size) } else { None });
    let sizes: Vec<usize> = sizes.collect::<Option<_>>()?;
    let is_squeezed = given.iter().eq(sizes.iter().filter(|size| **size != 1));
    (is_squeezed || given == [sizes.iter().product::<usize>()]).then_some(sizes)
}

fn expected(dims: &[Dim]) -> String {
    let fixed =
        dims.iter().try_fold(1, |product, dim| if let Dim::Fixed(size) = dim { Some(product * size) } else { None });
    match fixed {
        Some(count) => format!("shape {} or be a flat list of {count} numbers", shape_text(dims)),
        None => format!("shape {}", shape_text(dims)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(shape: &[usize]) -> Nested {
        let data = (0..shape.iter().product::<usize>()).map(|index| index as f32).collect();
        Nested::new(shape.to_vec(), Data::Float32(data), Vec::new())
    }

    #[test]
    fn an_instance_may_be_shaped_squeezed_or_flat() {
        let dims = [1, 2, 2].map(Dim::Fixed);
        for shape in [&[1, 1, 2, 2][..], &[1, 2, 2], &[1, 4]] {
            let tensor = nested(shape).into_samples("\"instances\"", &dims).unwrap();
            assert_eq!((tensor.shape(), tensor.floats().unwrap()), (&[1, 1, 2, 2][..], &[0.0, 1.0, 2.0, 3.0][..]));
        }
        for shape in [&[0][..], &[1, 0], &[4], &[1, 3], &[1, 1, 4]] {
            let refused = nested(shape).into_samples("\"instances\"", &dims);
            assert!(matches!(refused, Err(Error::InvalidInput(_))), "{shape:?}");
        }
    }

    #[test]
    fn open_dimensions_take_any_size_but_not_another_rank() {
        let dims = [Dim::Symbol("L".into()), Dim::Fixed(2)];
        let samples = |shape: &[usize]| nested(shape).into_samples("x", &dims).map(|tensor| tensor.shape().to_vec());
        assert_eq!(samples(&[1, 3, 2]).unwrap(), [1, 3, 2]);
        for bad in [&[1, 2][..], &[1, 2, 1], &[1, 1, 1, 2]] {
            assert!(samples(bad).is_err(), "{bad:?}");
        }
        assert!(nested(&[2, 1]).into_only("x").is_err());
        let only = nested(&[1, 2]).into_only("x").unwrap();
        let alike = Nested::new(vec![2, 2], Data::Float32(vec![1.0, f32::NAN, 1.0, f32::NAN]), Vec::new());
        assert_eq!(alike.into_shared("x", &[Dim::Fixed(2)]).unwrap().shape(), [2]);
        let refused = nested(&[2, 2]).into_shared("x", &[Dim::Fixed(2)]).unwrap_err().to_string();
        assert!(refused.contains("instances 0 and 1 give different ones"), "{refused}");
        assert_eq!(only.into_whole("x", &[Dim::Fixed(2)]).unwrap().shape(), [2]);
        // A lone number cannot be in a list of none; a list of one stands for it.
        assert!(nested(&[1]).into_whole("x", &[]).unwrap().shape().is_empty());
    }
}
