//! The squared error of numbers, and its gradient.

/// Turns predicted numbers ŷ into the gradient of the mean of (ŷ − y)², 2 (ŷ − y) / N, in place; returns
/// the sum of the squares.
pub(super) fn squared_error(outputs: &mut [f32], values: &[f32]) -> f64 {
    let scale = 2.0 / values.len() as f32;
    let mut loss_sum = 0.0;
    for (output, value) in outputs.iter_mut().zip(values) {
        let error = *output - value;
        loss_sum += f64::from(error) * f64::from(error);
        *output = error * scale;
    }
    loss_sum
}

/// The sum of the squared errors of samples.
pub(super) fn of_values(outputs: &[f32], values: &[f64]) -> f64 {
    outputs.iter().zip(values).map(|(output, value)| (f64::from(*output) - value).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_of_the_squared_error_is_that_of_finite_differences() {
        let (outputs, values) = ([0.5f32, -1.0], [0.0f32, 2.0]);
        let mut gradient = outputs;
        assert_eq!(squared_error(&mut gradient, &values), 9.25);
        let loss = |moved: [f32; 2]| squared_error(&mut moved.clone(), &values) / 2.0;
        for index in 0..2 {
            let moved = |by: f32| {
                let mut moved = outputs;
                moved[index] += by;
                loss(moved)
            };
            let numeric = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert!((numeric - f64::from(gradient[index])).abs() < 1e-3);
        }
        assert_eq!(of_values(&outputs, &[0.0, 2.0]), 9.25);
    }
}
