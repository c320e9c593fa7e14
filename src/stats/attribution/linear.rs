//! Linear equations with a symmetric matrix.

/// Solves `matrix · x = right` for a symmetric, positive definite matrix in rows of `right.len()` by Cholesky's method;
/// returns `None` if the matrix is not positive definite.
pub(super) fn solve(mut matrix: Vec<f64>, mut right: Vec<f64>) -> Option<Vec<f64>> {
    let n = right.len();
    for row in 0..n {
        for column in 0..=row {
            let (above, below) = (&matrix[column * n..column * n + column], &matrix[row * n..row * n + column]);
            let known: f64 = above.iter().zip(below).map(|(a, b)| a * b).sum();
            let rest = matrix[row * n + column] - known;
            if row > column {
                matrix[row * n + column] = rest / matrix[column * n + column];
            } else if rest > 0.0 {
                matrix[row * n + row] = rest.sqrt();
            } else {
                return None;
            }
        }
    }
    for row in 0..n {
        let known: f64 = (0..row).map(|column| matrix[row * n + column] * right[column]).sum();
        right[row] = (right[row] - known) / matrix[row * n + row];
    }
    for row in (0..n).rev() {
        let known: f64 = (row + 1..n).map(|below| matrix[below * n + row] * right[below]).sum();
        right[row] = (right[row] - known) / matrix[row * n + row];
    }
    Some(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_solution_solves() {
        let solved = solve(vec![4.0, 2.0, 0.6, 2.0, 3.0, 0.4, 0.6, 0.4, 2.0], vec![1.0, 2.0, 3.0]).unwrap();
        for (row, right) in [[4.0, 2.0, 0.6], [2.0, 3.0, 0.4], [0.6, 0.4, 2.0]].iter().zip([1.0, 2.0, 3.0]) {
            let left: f64 = row.iter().zip(&solved).map(|(a, b)| a * b).sum();
            assert!((left - right).abs() < 1e-12);
        }
        assert_eq!(solve(vec![1.0, 2.0, 2.0, 1.0], vec![1.0, 1.0]), None);
    }
}
