//! Systems of equations with a symmetric positive definite matrix.

use rayon::prelude::*;

/// A lower triangle L, L·Lᵀ being a symmetric matrix.
pub(super) struct Triangle {
    size: usize,
    rows: Vec<f64>,
}

impl Triangle {
    /// Decomposes a positive definite matrix (Cholesky).
    pub(super) fn of(size: usize, mut matrix: Vec<f64>) -> Option<Self> {
        for i in 0..size {
            let (done, rest) = matrix.split_at_mut(i * size);
            for j in 0..i {
                let above = &done[j * size..];
                rest[j] = (rest[j] - wide_product(&rest[..j], &above[..j])) / above[j];
            }
            let square = rest[i] - wide_product(&rest[..i], &rest[..i]);
            if !(square > 0.0 && square.is_finite()) {
                return None;
            }
            rest[i] = square.sqrt();
        }
        Some(Self { size, rows: matrix })
    }

    fn row(&self, at: usize) -> &[f64] {
        &self.rows[at * self.size..][..=at]
    }

    /// Solves the matrix for several right sides, row by row.
    pub(super) fn solve(&self, mut sides: Vec<f64>, count: usize) -> Vec<f64> {
        for i in 0..self.size {
            for j in 0..i {
                let factor = self.row(i)[j];
                (0..count).for_each(|side| sides[i * count + side] -= factor * sides[j * count + side]);
            }
            (0..count).for_each(|side| sides[i * count + side] /= self.row(i)[i]);
        }
        for i in (0..self.size).rev() {
            (0..count).for_each(|side| sides[i * count + side] /= self.row(i)[i]);
            for j in 0..i {
                let factor = self.row(i)[j];
                (0..count).for_each(|side| sides[j * count + side] -= factor * sides[i * count + side]);
            }
        }
        sides
    }

    /// Returns the product of a vector, the inverse of the matrix, and the vector.
    pub(super) fn leverage(&self, vector: &[f64]) -> f64 {
        let mut solved: Vec<f64> = Vec::with_capacity(self.size);
        for (at, value) in vector.iter().enumerate() {
            let row = self.row(at);
            solved.push((value - wide_product(&row[..at], &solved)) / row[at]);
        }
        wide_product(&solved, &solved)
    }

    /// Returns the diagonal of the inverse of the matrix.
    pub(super) fn diagonal_of_inverse(&self) -> Vec<f64> {
        let column = |j: usize| {
            let mut column = Vec::with_capacity(self.size - j);
            column.push(1.0 / self.row(j)[j]);
            for i in j + 1..self.size {
                column.push(-wide_product(&self.row(i)[j..i], &column) / self.row(i)[i]);
            }
            column.iter().map(|value| value * value).sum()
        };
        (0..self.size).into_par_iter().map(column).collect()
    }
}

fn wide_product(a: &[f64], b: &[f64]) -> f64 {
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        (0..8).for_each(|at| sums[at] += a[at] * b[at]);
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}
