//! A dense tensor of 32-bit floats, row-major: what moves between transforms and engines.

use crate::error::{Error, Result};

/// A dense, row-major tensor of `f32`; the first dimension of a batch is the sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Vec<f32>,
}

impl Tensor {
    /// A tensor of `shape` over `data`.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the shape's product overflows or is not the length of `data`.
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Result<Self> {
        let elements = shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
        if elements != Some(data.len()) {
            return Err(Error::InvalidInput(format!(
                "a tensor of shape {shape:?} does not hold {} numbers",
                data.len()
            )));
        }
        Ok(Self { shape, data })
    }

    /// The dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements, row by row.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The number of samples: the first dimension, 1 for a scalar.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// The elements of one sample.
    pub fn row_elements(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// The samples, one slice each; none for a tensor without elements.
    pub fn rows_iter(&self) -> impl Iterator<Item = &[f32]> {
        self.data.chunks_exact(self.row_elements().max(1))
    }

    /// Gives up the elements.
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_must_hold_exactly_the_data() {
        assert!(Tensor::new(vec![2, 3], vec![0.0; 6]).is_ok());
        assert!(Tensor::new(vec![2, 3], vec![0.0; 5]).is_err());
        assert!(Tensor::new(vec![1 << 60, 1 << 60], vec![]).is_err());
        assert!(Tensor::new(vec![0, 3], vec![]).is_ok());
    }

    #[test]
    fn rows_are_slices_of_the_first_dimension() {
        let tensor = Tensor::new(vec![2, 2], vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        let rows: Vec<_> = tensor.rows_iter().collect();
        assert_eq!(rows, [[1.0, 2.0], [3.0, 4.0]]);
    }
}
