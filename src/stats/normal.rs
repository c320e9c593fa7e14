//! Draws from the standard normal distribution.

use rand::Rng;

/// Appends `count` independent draws (Box and Muller 1958). Two numbers take two draws of 53 bits, so the same
/// generator always gives the same numbers.
pub fn standard_normal(rng: &mut impl Rng, count: usize, to: &mut Vec<f32>) {
    let end = to.len() + count;
    while to.len() < end {
        // In (0, 1], whose logarithm is finite.
        let [first, second] = [(); 2].map(|()| ((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64);
        let (radius, angle) = ((-2.0 * first.ln()).sqrt(), std::f64::consts::TAU * second);
        to.push((radius * angle.cos()) as f32);
        if to.len() < end {
            to.push((radius * angle.sin()) as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn the_moments_are_those_of_the_normal_distribution() {
        let mut numbers = Vec::new();
        standard_normal(&mut ChaCha8Rng::seed_from_u64(3), 200_001, &mut numbers);
        assert_eq!(numbers.len(), 200_001);
        let moment = |power: i32| numbers.iter().map(|x| f64::from(*x).powi(power)).sum::<f64>() / 200_001.0;
        for (power, expected, tolerance) in [(1, 0.0, 0.01), (2, 1.0, 0.015), (3, 0.0, 0.04), (4, 3.0, 0.1)] {
            assert!((moment(power) - expected).abs() < tolerance, "{power}: {}", moment(power));
        }
        let neighbours = numbers.windows(2).map(|pair| f64::from(pair[0] * pair[1])).sum::<f64>() / 200_000.0;
        assert!(neighbours.abs() < 0.01, "{neighbours}");
    }
}
