//! Gradients of bounded length (Pascanu et al. 2013, "On the difficulty of training recurrent neural networks",
//! section 3.2).

use rayon::prelude::*;

use super::CHUNK;

/// Running sums of a chunk; as many as make whole vectors, and the same on every CPU.
const SUMS: usize = 16;

/// Shortens the gradient, taken over all parameters as one vector, to `most` if it is longer; returns the length
/// it had. Squares are summed in 64 bits by chunks and the chunks in their order, on any number of threads.
pub(in crate::trainer) fn clip(gradients: &mut [Vec<f32>], most: f64) -> f64 {
    let squares: f64 = gradients
        .iter()
        .map(|gradient| gradient.par_chunks(CHUNK).map(sum_of_squares).collect::<Vec<f64>>())
        .map(|chunks| chunks.iter().sum::<f64>())
        .sum();
    let length = squares.sqrt();
    if length > most {
        let factor = (most / length) as f32;
        for gradient in gradients {
            gradient.par_chunks_mut(CHUNK).for_each(|chunk| chunk.iter_mut().for_each(|value| *value *= factor));
        }
    }
    length
}

fn sum_of_squares(chunk: &[f32]) -> f64 {
    let mut sums = [0.0f64; SUMS];
    let (blocks, rest) = chunk.as_chunks::<SUMS>();
    for block in blocks {
        for (sum, value) in sums.iter_mut().zip(block) {
            *sum += f64::from(*value) * f64::from(*value);
        }
    }
    let rest: f64 = rest.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_too_long_gets_the_wanted_length_and_keeps_its_direction(
            lengths in prop::collection::vec(1usize..40_000, 1..4), most in 0.01f64..100.0,
        ) {
            let mut gradients: Vec<Vec<f32>> =
                lengths.iter().map(|&len| (0..len).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect()).collect();
            let before = gradients.clone();
            let exact = |gradients: &[Vec<f32>]| gradients.iter().flatten().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            let length = clip(&mut gradients, most);
            prop_assert!((length - exact(&before)).abs() <= 1e-9 * length);
            if length <= most {
                prop_assert_eq!(gradients, before);
            } else {
                prop_assert!((exact(&gradients) - most).abs() < 1e-4 * most);
                let factor = (most / length) as f32;
                for (now, then) in gradients.iter().flatten().zip(before.iter().flatten()) {
                    prop_assert_eq!(*now, *then * factor);
                }
            }
        }
    }

    #[test]
    fn the_length_does_not_depend_on_the_number_of_threads() {
        let gradients = vec![(0..100_000).map(|i| (i as f32).sin()).collect::<Vec<f32>>(); 2];
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut clipped = gradients.clone();
                (clip(&mut clipped, 1.0), clipped)
            })
        };
        let alone = on(1);
        assert!([2, 3, 7].into_iter().all(|threads| on(threads) == alone));
    }
}
