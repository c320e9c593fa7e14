//! Tells whether two answers for a sample are the same but for rounding.

use crate::signature::DType;
use crate::tensor::{Data, Tensor};

/// Returns true if two answers for a sample differ by no more than rounding: by a thousandth of an element, or by what
/// rounding loses of the largest element.
pub(super) fn is_same(a: &Tensor, b: &Tensor) -> bool {
    is_near(a, b, 1.0)
}

/// Returns true if two answers differ by no more than `factor` times what [`is_same`] allows.
fn is_near(a: &Tensor, b: &Tensor, factor: f64) -> bool {
    let Some((a_values, b_values)) = floats(a.data()).zip(floats(b.data())) else { return a == b };
    let (own, lost) = match a.dtype() {
        DType::Float16 => (1e-2, 2e-3),
        DType::Bfloat16 => (4e-2, 1e-2),
        _ => (1e-3, 1e-5),
    };
    let largest = a_values.iter().filter(|value| value.is_finite()).fold(0f64, |most, value| most.max(value.abs()));
    let is_near = |(a, b): (&f64, &f64)| {
        let allowed = factor * (own * a.abs().min(b.abs()) + lost * largest);
        a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= allowed
    };
    a_values.iter().zip(&b_values).all(is_near)
}

/// Returns true if a sample has the same answer alone as in a run of several, to within ten times what a measurement on
/// chosen numbers allows: real ones may cancel each other out.
pub fn agrees_in_company(alone: &[Tensor], in_company: &[Tensor]) -> bool {
    const FACTOR: f64 = 10.0;
    alone.len() == in_company.len()
        && alone.iter().zip(in_company).all(|(a, b)| a.shape() == b.shape() && is_near(a, b, FACTOR))
}

/// Returns the elements of a tensor of floats.
pub(super) fn floats(data: &Data) -> Option<Vec<f64>> {
    match data {
        Data::Float16(values) => Some(values.iter().map(|value| value.to_f64()).collect()),
        Data::Bfloat16(values) => Some(values.iter().map(|value| value.to_f64()).collect()),
        Data::Float32(values) => Some(values.iter().map(|value| f64::from(*value)).collect()),
        Data::Float64(values) => Some(values.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[f32]) -> Tensor {
        Tensor::new(vec![1, values.len()], values.to_vec()).unwrap()
    }

    #[test]
    fn rounding_is_the_same_and_a_neighbour_s_share_is_not() {
        assert!(is_same(&row(&[1.0, 1e-7]), &row(&[1.000_01, 2e-7])));
        assert!(is_same(&row(&[f32::NAN, f32::INFINITY]), &row(&[f32::NAN, f32::INFINITY])));
        assert!(!is_same(&row(&[0.1, 0.2]), &row(&[0.1, 0.201])));
        assert!(!is_same(&row(&[0.1, f32::NAN]), &row(&[0.1, 0.2])));
        assert!(!is_same(&row(&[100.0, 0.1]), &row(&[100.0, 0.11])));
        let whole = |value: i64| Tensor::new(vec![1], vec![value]).unwrap();
        assert!(is_same(&whole(3), &whole(3)) && !is_same(&whole(3), &whole(4)));
    }
}
